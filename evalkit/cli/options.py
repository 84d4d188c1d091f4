"""The options that several verbs have in common: named, typed and explained once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from evalkit.core.settings import RunOptions

__all__ = ["DataFormat", "DataParameters", "Flag", "Geometry", "ModelParameters", "RunParameters", "Target", "given"]

DataFormat = Literal["folder", "masks", "csv", "coco", "voc", "imagenet"]
Geometry = Literal["squash", "center-crop"]
Target = Literal["label", "predicted"]
Flag = Annotated[bool | None, Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class DataParameters:
    """Which labelled images.

    Parameters
    ----------
    data
        A folder of class folders; a CSV manifest: image, class_index or label, and optionally x0,y0,x1,y1 or mask;
        COCO JSON; Pascal VOC or ImageNet XML (`list datasets` has them all); or scenes, which are built in.
        [default: scenes]
    data_format
        Which reader takes the data. [default: the one that fits what stands there]
    class_map
        What classes of the images stand for: JSON {"dog": [151, "beagle"]} or CSV class,output; outputs by index, name
        or WordNet id. The score of several is their summed probability; classes that stand for none are left out.
    """

    data: str | None = None
    data_format: DataFormat | None = None
    class_map: str | None = None


@Parameter(name="*")
@dataclass(frozen=True)
class ModelParameters:
    """Which model.

    Parameters
    ----------
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
    """

    model: str | None = None
    weights: str | None = None
    preprocess: str | None = None
    class_names: str | None = None


@Parameter(name="*")
@dataclass(frozen=True)
class RunParameters:
    """What is computed from them, where it is kept, what it is held against.

    Parameters
    ----------
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
    """

    explainers: str | None = None
    patch_sizes: str | None = None
    strides: str | None = None
    metrics: str | None = None
    criterion: str | None = None
    margin: float | None = None
    steps: int | None = None
    limit: int | None = None
    region_area: str | None = None
    only_correct: Flag = None
    target: Target | None = None
    geometry: Geometry | None = None
    precision: Literal["auto", "float32", "bfloat16"] | None = None
    batch_size: int | None = None
    seed: int | None = None
    output: str | None = None
    fresh: Flag = None
    fail_on_error: Flag = None
    baseline: str | None = None
    tolerance: str | None = None
    alpha: float | None = None
    fail_on_inconclusive: Flag = None
    fail_on_map_drift: Flag = None
    junit: str | None = None


def given(*parameters: DataParameters | ModelParameters | RunParameters) -> RunOptions:
    """Return what was given on the command line."""
    return RunOptions(**{key: value for one in parameters for key, value in asdict(one).items()})
