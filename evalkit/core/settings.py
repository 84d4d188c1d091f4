"""The options of a run: each is declared here once, with its type, default and help text.

From this declaration come the command line (``cli/options.py``), CONFIG.toml (``read_config``), the keywords of
``evalkit.evaluate`` and the command that repeats a run (``report/rerun.py``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from evalkit.core.engine_options import EngineOptions
from evalkit.core.errors import ConfigError, nearest
from evalkit.core.kept_maps import KeptMaps, read_kept_maps
from evalkit.core.options import (
    AreaRange,
    InputSize,
    Option,
    Shard,
    options_of,
    read_area_range,
    read_input_size,
    read_names,
    read_patch_sizes,
    read_shard,
    read_share,
    read_specs,
    read_strides,
    read_tolerance,
)
from evalkit.core.specs import simplify

__all__ = [
    "DEFAULT_ALPHA",
    "DEFAULT_CRITERION",
    "DEFAULT_MARGIN",
    "DEFAULT_MAX_LOST",
    "DEFAULT_TOLERANCE",
    "OPTIONS",
    "RunOptions",
    "completed",
    "merge",
    "parsed",
    "read_config",
]


DEFAULT_CRITERION, DEFAULT_MARGIN = "symmetric_relevance_gain", 0.02
DEFAULT_TOLERANCE, DEFAULT_ALPHA, DEFAULT_MAX_LOST = "0.02", 0.05, 0.2

_SCENES, _MINI, _SCENES_LIMIT = "scenes", "vgg16-mini", 24
_DATA_OF = {"vgg16mini": _SCENES, "vgg16minishortcut": "scenes(shortcut=mark)"}  # of the models in the package
_NO_NUMBER = "it changes no score"
_gate = partial(
    Option,
    "gate",
    not_in_python="evalkit.testing.assert_no_regression compares a run with a baseline",
    not_repeated=_NO_NUMBER,
)
_with_baseline = partial(_gate, needs="baseline")


@dataclass(frozen=True, kw_only=True)
class RunOptions(EngineOptions):
    """The options of a run, read and checked; ``merge`` makes one.

    The annotations are described in ``evalkit.core.options.Option``. None: not given; the default depends on the run.
    """

    data: Annotated[
        str | None,
        Option(
            "data",
            "A folder of class folders; a CSV manifest with the columns image, class_index or label, and "
            "optionally x0,y0,x1,y1 or mask; COCO JSON; Pascal VOC or ImageNet XML; YOLO or LabelMe files "
            "(`list datasets` shows all); or "
            'scenes or "scenes(shortcut=mark)", which are built in.',
            default="scenes",
            not_in_python="it is the argument images",
        ),
    ] = None
    data_format: Annotated[
        str | None,
        Option("data", "Format of the data, by its name in `list datasets`.", default="detected"),
    ] = None
    class_map: Annotated[
        str | None,
        Option(
            "data",
            'File that maps the classes of the images to outputs of the model: JSON {"dog": [151, "beagle"]} or '
            "CSV class,output; outputs by index, name or WordNet id. The score of a class with several outputs is the "
            "sum of their probabilities; images of a class without an output are left out.",
        ),
    ] = None
    class_order: Annotated[
        Literal["sorted", "numeric", "index", "index-from-1"] | None,
        Option(
            "data",
            "Which output a class is, where names do not say it: classes sorted as text, as Keras does (0, 1, 10, 2), "
            "in the order of the numbers in their names (0, 1, 2, 10), or the class's number is the output's index, "
            "counted from 0 or from 1.",
            default="by name; else sorted for as many class folders as outputs, or index",
        ),
    ] = None
    model: Annotated[
        str | None,
        Option(
            "model",
            "A .keras, .h5, .onnx or .tflite file, a SavedModel folder, vgg16 or any other keras.applications name, "
            "module:function (docs/models.md), or vgg16-mini, which is built in.",
            default="vgg16-mini for scenes",
            not_in_python="it is the argument model",
        ),
    ] = None
    weights: Annotated[
        str | None,
        Option(
            "model", "Weights file, instead of ImageNet's weights.", not_in_python="the argument model has its weights"
        ),
    ] = None
    preprocess: Annotated[
        str | None,
        Option(
            "model",
            "What the model's input is made of RGB in 0..255 by: none; 0..1 (x / 255); -1..1; imagenet-torch; "
            "mean=0.485,0.456,0.406,std=0.229,0.224,0.225 (of pixels in 0..1); a keras.applications family such as "
            "vgg16 or resnet; or module:function. A .keras file or Keras model needs it unless it preprocesses its "
            "input itself.",
        ),
    ] = None
    head: Annotated[
        Literal["auto", "softmax", "sigmoid", "multilabel", "probabilities"],
        Option(
            "model",
            "How the model's outputs become scores: softmax, also of logits; sigmoid, one unit for two classes; "
            "multilabel, a sigmoid for each class; probabilities, outputs taken as they are. auto finds it by what the "
            "model puts out.",
        ),
    ] = "auto"
    output_name: Annotated[
        str | None,
        Option("model", "Output to explain of a model with several: its name, or its number from 0."),
    ] = None
    class_names: Annotated[
        str | None,
        Option(
            "model",
            "Names of the model's outputs in their order, separated by commas (no,yes), or a file: one name per line, "
            "a JSON list, Keras' class_indices as JSON, lines such as 0 cat, YOLO's data.yaml, Keras' "
            "imagenet_class_index.json, or ImageNet's LOC_synset_mapping.txt.",
            in_python="Names of the model's outputs: in their order, as a dictionary of names and indices, or the "
            "path of a file as for --class-names.",
        ),
    ] = None
    input_size: Annotated[
        InputSize | None,
        Option(
            "model",
            "Size of the model's input in pixels, 224 or height x width (192x256), for a model that takes any size.",
            default="224",
            read=read_input_size,
        ),
    ] = None
    imports: Annotated[
        tuple[str, ...] | None,
        Option(
            "model",
            "Modules to import before the model is loaded, separated by commas: those that define its classes and "
            "register them with @keras.saving.register_keras_serializable().",
            read=read_names,
            called="import",
        ),
    ] = None
    allow_lambda: Annotated[
        bool,
        Option(
            "model",
            "Load a Keras file that holds Python code (Lambda layers), Keras' safe_mode=False. Loading runs that code, "
            "which can do anything that you can, so allow it only for files that you trust.",
        ),
    ] = False
    explainers: Annotated[
        tuple[Any, ...] | None,
        Option(
            "run",
            "Explainers with their parameters, for example gradcam,occlusion(stride=half),random. The words default, "
            "cams, gradients, masks, tf_explain, controls and all select sets of them; a|b after a parameter stands "
            "for one explainer each: 'gradcam(layer=block4_conv3|block5_conv3)'.",
            default="the set default, without those that do not fit the model",
            read=read_specs,
        ),
    ] = None
    patch_sizes: Annotated[
        tuple[int, ...] | None,
        Option(
            "run",
            "Patch sizes in pixels, for occlusion without a patch_size of its own.",
            default="16,24,32,40,56,64; for scenes 16,24,32,40,56",
            read=read_patch_sizes,
            not_repeated="the explainers of the command name their patch sizes",
        ),
    ] = None
    strides: Annotated[
        tuple[int | str, ...] | None,
        Option(
            "run",
            "Strides, for occlusion without a stride of its own: patch (the patch size), half (of it), or pixels. "
            "Every patch size is run with every stride; one number compares patch sizes at the same stride.",
            default="patch",
            read=read_strides,
            not_repeated="the explainers of the command name their strides",
        ),
    ] = None
    metrics: Annotated[
        tuple[Any, ...] | None,
        Option(
            "run",
            "Metrics with their parameters, for example deletion,insertion(steps=56). The words default and all select "
            "sets of them: default,max_sensitivity adds one metric.",
            default="the set default: all that need no further maps",
            read=read_specs,
        ),
    ] = None
    criterion: Annotated[
        str | None,
        Option("run", "Metric that decides the patch size and other parameters.", default=DEFAULT_CRITERION),
    ] = None
    margin: Annotated[
        float,
        Option("run", "Largest accepted loss of the criterion, relative to the best size or setting.", above=0),
    ] = DEFAULT_MARGIN
    steps: Annotated[int, Option("run", "Number of steps of deletion and insertion.", at_least=1)] = 28
    limit: Annotated[
        int | None,
        Option(
            "run",
            "Largest number of images, taken evenly over the classes, from photos that are there.",
            default=f"all; of scenes {_SCENES_LIMIT}",
            at_least=1,
        ),
    ] = None
    shard: Annotated[
        Shard | None,
        Option(
            "run",
            "Compute only this part of the images, I/N: 2/8 is every eighth image from the second on. `merge` puts the "
            "N run folders together.",
            default="all images",
            read=read_shard,
        ),
    ] = None
    region_area: Annotated[
        AreaRange | None,
        Option(
            "run",
            "Keep only images whose object covers this fraction of the image, e.g. 0.02..0.5",
            read=read_area_range,
        ),
    ] = None
    only_correct: Annotated[bool, Option("run", "Keep only images that the model classifies correctly.")] = False
    target: Annotated[
        Literal["label", "predicted"],
        Option("run", "Class to explain and score: the label, or the class that the model predicts."),
    ] = "label"
    geometry: Annotated[
        Literal["squash", "center-crop"],
        Option("run", "How photos are fitted to the model's input."),
    ] = "squash"
    precision: Annotated[
        Literal["auto", "float32", "tf32", "bfloat16", "float16"],
        Option(
            "run",
            "Number format of the model; auto is bfloat16 if the scores of the first photos agree with float32 and "
            "it is at least 1.2 times as fast on this processor, else float32; float16 and tf32 are for GPUs.",
        ),
    ] = "auto"
    batch_size: Annotated[
        int | None,
        Option(
            "run",
            "Largest number of images in one pass.",
            default="as many as fit in 1 GB, at most 32; fewer if memory is short",
            at_least=1,
            not_repeated="it depends on the memory of the machine",
        ),
    ] = None
    seed: Annotated[int, Option("run", "Random seed.", at_least=0)] = 0
    output: Annotated[
        str | None,
        Option(
            "run",
            "Run folder; a run that it holds is continued.",
            default="runs/DATA-MODEL-SIGNATURE",
            in_python="Run folder; a run that it holds is continued. [default: a temporary folder, removed with the "
            "returned object]",
            not_repeated=_NO_NUMBER,
        ),
    ] = None
    fresh: Annotated[
        bool,
        Option("run", "Delete the results in the run folder first.", not_repeated=_NO_NUMBER),
    ] = False
    keep_maps: Annotated[
        KeptMaps | None,
        Option(
            "run",
            "Images whose maps are kept in the run folder: all, none, or the first N. all,float16 or N,float16 keeps "
            "them in half the space, for pictures only.",
            default="as the run that is continued; else all",
            read=read_kept_maps,
        ),
    ] = None
    fail_on_error: Annotated[
        bool,
        Option(
            "run",
            "Stop at the first photo, explainer or metric that fails. Without it, only the scores that it would "
            "have given are missing.",
            not_repeated=_NO_NUMBER,
        ),
    ] = False
    baseline: Annotated[
        str | None,
        _gate(
            "Compare the run with this baseline file, as `check` does: exit 1 if explanations got worse, 3 if the "
            "two are not comparable. The baseline's precision is used unless --precision is given."
        ),
    ] = None
    tolerance: Annotated[
        str,
        _with_baseline(
            "Largest accepted loss of a mean: 0.02, 5% (of the baseline's mean), or by metric: "
            "deletion=0.02,insertion=5%.",
            read=read_tolerance,
        ),
    ] = DEFAULT_TOLERANCE
    alpha: Annotated[float, _with_baseline("Probability that a run that is not worse fails, over all comparisons.")] = (
        DEFAULT_ALPHA
    )
    max_lost: Annotated[
        float,
        _with_baseline(
            "Largest accepted share of the images that the baseline scored and the run did not, for example 0.1 or "
            "10%; with more the comparison is not made.",
            default="20%",
            read=read_share,
        ),
    ] = DEFAULT_MAX_LOST
    fail_on_inconclusive: Annotated[bool, _with_baseline("Also fail if there are too few images for a verdict.")] = (
        False
    )
    fail_on_map_drift: Annotated[
        bool, _with_baseline("Also fail if an explainer's maps changed, even if its scores did not.")
    ] = False
    junit: Annotated[str | None, _with_baseline("Write the verdicts to this file as JUnit XML.")] = None

    def model_options(self) -> dict[str, Any]:
        """Return the options that describe the model, by name, without ``model`` itself."""
        names = [name for name, option in OPTIONS.items() if option.group == "model" and name != "model"]
        return {name: getattr(self, name) for name in names}


OPTIONS: Mapping[str, Option] = options_of(RunOptions)
"""Every option, by name."""


def parsed(written: Mapping[str, object]) -> dict[str, Any]:
    """Return the typed values of the options that are given.

    Args:
        written: the values by option name, typed or as text; None = not given.

    Raises:
        ConfigError: a value that is not allowed; the option is named as on the command line.
    """
    return {name: OPTIONS[name].parsed(value) for name, value in written.items() if value is not None}


def read_config(path: Path) -> dict[str, Any]:
    """Return the options that CONFIG.toml gives.

    Raises:
        ConfigError: the file is missing, not TOML, or has an unknown key or a value that is not allowed.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"configuration '{path}' cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration '{path}' is not valid TOML: {error}") from error
    for key in table:
        if key not in OPTIONS:
            raise ConfigError(f"configuration '{path}': unknown key '{key}': {nearest(key, OPTIONS)}")
    try:
        return parsed(table)
    except ConfigError as error:
        raise ConfigError(f"configuration '{path}': {error}") from error


def merge(*layers: Mapping[str, object]) -> RunOptions:
    """Return the options of all layers; a later layer replaces what an earlier one gives.

    Raises:
        ConfigError: a value that is not allowed; the option is named as on the command line.
    """
    values: dict[str, Any] = {}
    for layer in layers:
        values.update(parsed(layer))
    return RunOptions(**values)


def is_scenes(data: str | None) -> bool:
    """Return whether the data are the scenes, with or without parameters."""
    return data is not None and (data == _SCENES or data.partition("(")[0].strip() == _SCENES != data.strip())


def completed(options: RunOptions) -> RunOptions:
    """Fill in the embedded benchmark: data without a model or for one in the package, model and limit for scenes."""
    if options.data is None:
        options = replace(options, data=_DATA_OF.get(simplify(options.model or _MINI)))
    if not is_scenes(options.data):
        return options
    limit = _SCENES_LIMIT if options.limit is None else options.limit
    return replace(options, model=_MINI if options.model is None else options.model, limit=limit)
