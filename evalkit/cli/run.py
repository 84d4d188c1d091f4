"""``run``: explain, score, compare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from evalkit.cli.gating import gating_of
from evalkit.cli.output import color_wanted, print_result, quiet_native_stderr, stderr_console, terminal_width
from evalkit.config import DEFAULTS, RunOptions, merge, read_config
from evalkit.report.formats import OutputFormat

__all__ = ["run"]

_GO_ON = """
These were scenes and a small model made for them. With your own photos, one folder a class, and ImageNet's VGG16:
  python -m evalkit run --model vgg16 --data photos/
With your own model, and boxes or masks (python -m evalkit list datasets):
  python -m evalkit run --model my_model.keras --preprocess vgg16 --data labels.csv"""

DataFormat = Literal["folder", "masks", "csv", "coco", "voc", "imagenet"]
Flag = Annotated[bool | None, Parameter(negative="")]


def run(  # noqa: PLR0913 - one parameter an option
    config: Path | None = None,
    /,
    *,
    data: str | None = None,
    data_format: DataFormat | None = None,
    model: str | None = None,
    weights: str | None = None,
    preprocess: str | None = None,
    class_names: str | None = None,
    class_map: str | None = None,
    explainers: str | None = None,
    patch_sizes: str | None = None,
    strides: str | None = None,
    metrics: str | None = None,
    criterion: str | None = None,
    margin: float | None = None,
    steps: int | None = None,
    limit: int | None = None,
    region_area: str | None = None,
    only_correct: Flag = None,
    target: Literal["label", "predicted"] | None = None,
    geometry: Literal["squash", "center-crop"] | None = None,
    precision: Literal["auto", "float32", "bfloat16"] | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    output: str | None = None,
    fresh: Flag = None,
    fail_on_error: Flag = None,
    baseline: str | None = None,
    tolerance: str | None = None,
    alpha: float | None = None,
    fail_on_inconclusive: Flag = None,
    fail_on_map_drift: Flag = None,
    junit: str | None = None,
    format: OutputFormat = "table",  # noqa: A002 - the option's name
    wide: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Explain every photo of a labelled set, score the maps, and print the leaderboards.

    With nothing given it runs the embedded benchmark: 24 scenes and vgg16-mini, a model made for them. Repeating a
    command goes on where it stopped, or shows what is already computed.

    Parameters
    ----------
    config
        A TOML file with these options, underscores for dashes; the command line wins.
    data
        A folder of class folders; a CSV manifest: image, class_index or label, and optionally x0,y0,x1,y1 or mask;
        COCO JSON; Pascal VOC or ImageNet XML (`list datasets` has them all); or scenes, which are built in.
        [default: scenes]
    data_format
        Which reader takes the data. [default: the one that fits what stands there]
    model
        A .keras file, vgg16 or any other keras.applications name, module:function, or vgg16-mini, which is built in.
        [default for scenes: vgg16-mini]
    weights
        A weights file, instead of ImageNet's.
    preprocess
        How a .keras file wants its input: vgg16, resnet, mobilenet_v2 ... (any keras.applications family), or none.
    class_names
        The names of the model's outputs: a JSON list, one name a line, Keras' imagenet_class_index.json, or ImageNet's
        LOC_synset_mapping.txt.
    class_map
        What classes of the images stand for: JSON {"dog": [151, "beagle"]} or CSV class,output; outputs by index, name
        or WordNet id. The score of several is their summed probability; classes that stand for none are left out.
    explainers
        For example: gradcam,occlusion(stride=half),random. Default: all of `list explainers` that fit the model.
    patch_sizes
        Pixels, for occlusion without a patch_size of its own. [default: 16,24,32,40,56,64; for
        scenes 16,24,32,40,56]
    strides
        patch (the patch size), half (of it), or pixels, for occlusion without a stride of its own: every patch size
        is run at every stride. One number compares sizes at equal stride. [default: patch]
    metrics
        For example: deletion,insertion(steps=56). Default: all of `list metrics`.
    criterion
        The metric that decides the patch size. [default: symmetric_relevance_gain]
    margin
        The loss of it to the best size that is accepted for fewer passes. [default: 0.02]
    steps
        Steps of deletion and insertion. [default: 28]
    limit
        Take at most so many photos, evenly over the classes. [default: all; of scenes 24]
    region_area
        Take only photos of whose area the object takes such a share, for example 0.02..0.5.
    only_correct
        Take only photos that the model gets right.
    target
        Explain and score the labelled class, or the one that the model predicts. [default: label]
    geometry
        How photos are fitted to the model's input. [default: squash]
    precision
        auto takes bfloat16 where the processor has units for it and the first photos score alike. [default: auto]
    batch_size
        The most images in one pass. [default: what 1 GB holds, 32 or fewer; less where memory is short]
    seed
        Of everything random. [default: 0]
    output
        The run folder. [default: runs/DATA-MODEL-SIGNATURE]
    fresh
        Forget what the run folder holds.
    fail_on_error
        Stop at the first photo, explainer or metric that fails; without it, each costs its own scores.
    baseline
        Then hold the run against this file, as `check` does: exit 1 if explanations got worse, 3 if something is not
        comparable. The baseline's precision is used unless --precision says otherwise.
    tolerance
        With --baseline: how much worse a mean may be. [default: 0.02]
    alpha
        With --baseline: the chance that a run that is no worse fails. [default: 0.05]
    fail_on_inconclusive
        With --baseline: exit 1 as well where the images do not suffice to say.
    fail_on_map_drift
        With --baseline: exit 1 as well where an explainer's maps changed, whatever the scores.
    junit
        With --baseline: write the verdicts to this file as JUnit XML.
    format
        How to print the result.
    wide
        Print intervals at any width.
    """
    given = RunOptions(
        data=data,
        data_format=data_format,
        model=model,
        weights=weights,
        preprocess=preprocess,
        class_names=class_names,
        class_map=class_map,
        explainers=explainers,
        patch_sizes=patch_sizes,
        strides=strides,
        metrics=metrics,
        criterion=criterion,
        margin=margin,
        steps=steps,
        limit=limit,
        region_area=region_area,
        only_correct=only_correct,
        target=target,
        geometry=geometry,
        precision=precision,
        batch_size=batch_size,
        seed=seed,
        output=output,
        fresh=fresh,
        fail_on_error=fail_on_error,
        baseline=baseline,
        tolerance=tolerance,
        alpha=alpha,
        fail_on_inconclusive=fail_on_inconclusive,
        fail_on_map_drift=fail_on_map_drift,
        junit=junit,
    )
    options = merge(read_config(config) if config else RunOptions(), given)
    gating = gating_of(options)
    options = merge(DEFAULTS, RunOptions(precision=gating.precision) if gating else RunOptions(), options)
    console = stderr_console()
    with quiet_native_stderr():
        from evalkit.harness.prepare import default_output, prepare
    from evalkit.api import run_plan
    from evalkit.models.applications import MINI
    from evalkit.report import render

    plan = prepare(options, lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True))
    if gating:
        gating.require_comparable(plan.target_text, plan.geometry)
    path = Path(options.output) if options.output else default_output(plan)
    manifest, results = run_plan(plan, path, fresh=bool(options.fresh), console=console)
    gate = gating.gate_of(path) if gating else None
    shown = render(manifest, results, format, width=terminal_width(), wide=wide, color=color_wanted(), gate=gate)
    print_result(shown)
    console.print(f"run folder: {path}", markup=False, highlight=False, soft_wrap=True)
    if gate:
        console.print(gate.summary, markup=False, highlight=False, soft_wrap=True)
        sys.exit(gate.exit_code)
    if (plan.images.kind, plan.classifier.name) == ("scenes", MINI):
        console.print(_GO_ON, markup=False, highlight=False, soft_wrap=True)
