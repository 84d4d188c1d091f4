"""``score``: maps made elsewhere, in the leaderboard beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from evalkit.cli.output import color_wanted, print_result, quiet_native_stderr, stderr_console, terminal_width
from evalkit.config import DEFAULTS, RunOptions, merge
from evalkit.errors import ConfigError
from evalkit.report.formats import OutputFormat

__all__ = ["score"]


def score(  # noqa: PLR0913 - one parameter an option
    *maps_dirs: Path,
    data: str | None = None,
    model: str | None = None,
    weights: str | None = None,
    preprocess: str | None = None,
    class_names: str | None = None,
    explainers: str | None = None,
    patch_sizes: str | None = None,
    strides: str | None = None,
    metrics: str | None = None,
    criterion: str | None = None,
    margin: float | None = None,
    steps: int | None = None,
    limit: int | None = None,
    target: Literal["label", "predicted"] | None = None,
    geometry: Literal["squash", "center-crop"] | None = None,
    precision: Literal["auto", "float32", "bfloat16"] | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    output: str | None = None,
    fresh: Annotated[bool | None, Parameter(negative="")] = None,
    format: OutputFormat = "table",  # noqa: A002 - the option's name
    wide: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Score maps that anyone made, and enter them into the leaderboard beside evalkit's own explainers.

    A map is a .npy file of numbers (height, width) or a gray PNG of 8 or 16 bits, higher = more important, of any
    resolution: it covers what the model sees and is resized bilinearly to the model's input. It is called like its
    image: cats/1.npy or 1.npy for cats/1.jpg. With --output of an earlier run nothing of that run is computed again.

    Parameters
    ----------
    maps_dirs
        Folders of maps, each an entrant called maps(FOLDER'S NAME).
    data
        The labelled images, as for `run`. [default: scenes]
    model
        A .keras file, vgg16 or any other keras.applications name, module:function, or vgg16-mini, which is built in.
        [default for scenes: vgg16-mini]
    weights
        A weights file, instead of ImageNet's.
    preprocess
        How a .keras file wants its input: vgg16, resnet, mobilenet_v2 ... (any keras.applications family), or none.
    class_names
        The names of the model's outputs: a JSON list, or one name a line.
    explainers
        The explainers beside the maps, for example uniform,random,gradcam, which are quick. Default: all of
        `list explainers` that fit the model.
    patch_sizes
        Pixels, for occlusion without a patch_size of its own.
    strides
        patch (the patch size), half (of it), or pixels, for occlusion without a stride of its own. [default: patch]
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
    target
        Score for the labelled class, or the one that the model predicts. [default: label]
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
    format
        How to print the result.
    wide
        Print intervals at any width.
    """
    if not maps_dirs:
        raise ConfigError("MAPS_DIR is missing; name a folder with a map for each image: <image's name>.npy")
    options = merge(
        DEFAULTS,
        RunOptions(
            data=data,
            model=model,
            weights=weights,
            preprocess=preprocess,
            class_names=class_names,
            explainers=explainers,
            patch_sizes=patch_sizes,
            strides=strides,
            metrics=metrics,
            criterion=criterion,
            margin=margin,
            steps=steps,
            limit=limit,
            target=target,
            geometry=geometry,
            precision=precision,
            batch_size=batch_size,
            seed=seed,
            output=output,
            fresh=fresh,
        ),
    )
    console = stderr_console()
    with quiet_native_stderr():
        from evalkit.harness.prepare import default_output, prepare
    from evalkit.api import run_plan
    from evalkit.report import render

    plan = prepare(
        options, lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True), maps=maps_dirs
    )
    path = Path(options.output) if options.output else default_output(plan)
    manifest, results = run_plan(plan, path, fresh=bool(options.fresh), console=console)
    print_result(render(manifest, results, format, width=terminal_width(), wide=wide, color=color_wanted()))
    console.print(f"run folder: {path}", markup=False, highlight=False, soft_wrap=True)
