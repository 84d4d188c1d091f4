"""What ``--model`` means: a file or folder, a name, or ``module:function``, loaded as a ``Classifier``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import keras

from evalkit.core.errors import ModelError, nearest
from evalkit.core.imports import first_line, import_module
from evalkit.core.specs import simplify
from evalkit.datasets.class_names import GivenNames, read_classes
from evalkit.datasets.scenes.scenes import CLASS_NAMES
from evalkit.models.applications import APPLICATIONS, IN_PACKAGE, MINI_FAMILY
from evalkit.models.blackbox import BlackBox
from evalkit.models.classifier import Classifier
from evalkit.models.environment import standard_settings
from evalkit.models.keras.outputs import one_output, require_one_input
from evalkit.models.keras.own_preprocessing import attached_preprocessing, own_preprocessing
from evalkit.models.preprocessing import CHOICES, Preprocessing, PreprocessingMissingError
from evalkit.models.zoo.callables import (
    Described,
    from_function,
    from_keras,
    from_object,
    load_weights,
    with_output,
)
from evalkit.models.zoo.files import from_file, is_file_name
from evalkit.models.zoo.model_function import ModelFunction, black_box

__all__ = ["ModelOptions", "as_classifier", "load_classifier"]


class ModelOptions(TypedDict, total=False):
    """The options of a model, named and read as in ``core/settings.py``.

    Attributes:
        weights: a weights file, instead of ImageNet's or the model file's own weights.
        preprocess: a value of ``--preprocess``. Required for a file, ``module:function`` or Keras model unless it
            preprocesses its input itself.
        head: ``auto``, or a kind of head.
        output_name: the output to explain, by name or number, of a model with several.
        class_names: what ``read_classes`` takes; read before the model.
        input_size: (height, width) in pixels, for a model that takes any size.
        imports: modules to import first, which register the classes of the model.
        allow_lambda: run Python code that a Keras file holds.
    """

    weights: str | Path | None
    preprocess: str | None
    head: str
    output_name: str | None
    class_names: GivenNames | None
    input_size: tuple[int, int] | None
    imports: Sequence[str] | None
    allow_lambda: bool


@dataclass(frozen=True)
class _Given:
    """A model, and what its kind says of it; the options of the user come first.

    Attributes:
        model: the model.
        name: its name in tables.
        source: how the user names it, for messages.
        preprocess: its preprocessing; None if it has none of its own.
        class_names: the names of its outputs; None if unknown.
        class_ids: the WordNet ids of its outputs; None if unknown.
        has_weights: whether ``--weights`` are loaded already.
    """

    model: keras.Model | ModelFunction | Described
    name: str
    source: str
    preprocess: str | None = None
    class_names: Sequence[str] | None = None
    class_ids: Sequence[str] | None = None
    has_weights: bool = False


def load_classifier(source: str, *, batch_size: int | None = None, **options: Unpack[ModelOptions]) -> Classifier:
    """Load a model as a ``Classifier``.

    Args:
        source: ``vgg16-mini`` or ``vgg16-mini-shortcut``, which are in the package; a ``.keras``, ``.h5``, ``.onnx`` or
            ``.tflite`` file, or a SavedModel folder; a name of ``keras.applications``; or ``module:function``, as
            ``from_function`` reads it.
        batch_size: the largest number of images in one pass; None = 32, or fewer if memory is short.
        **options: see ``ModelOptions``.

    Raises:
        ModelError: the model cannot be found, loaded or explained, or its preprocessing is not known.
        MissingPackageError: the package that runs it is not installed.
    """
    if options.get("preprocess") is not None:
        Preprocessing.parse(options["preprocess"])  # a typo is reported before a model is loaded
    names, ids = _classes(options.get("class_names"))
    _import_modules(options.get("imports"))
    return _classifier(_found(source, options, names), names, ids, batch_size, options)


def _found(source: str, options: ModelOptions, names: Sequence[str] | None) -> _Given:
    """Return the model that a value of ``--model`` means."""
    application = APPLICATIONS.get(simplify(source))
    if name := IN_PACKAGE.get(simplify(source)):
        return _Given(_from_package(name), name, source, MINI_FAMILY, CLASS_NAMES)
    if application is not None:
        given = options.get("weights")
        model = _from_application(application.function, None if given is None else Path(given), names)
        known = (None, None) if names else _imagenet_classes(model)
        return _Given(model, source, source, application.family, *known, has_weights=True)
    if is_file_name(source):
        path = Path(source)
        return _Given(from_file(path, allow_lambda=bool(options.get("allow_lambda"))), path.resolve().name, source)
    if "://" in source:
        raise ModelError(
            f"--model '{source}' is an address; download the model and give its file or folder, or load it in a "
            "function, --model my_module:function (a preset of keras-hub with from_preset)"
        )
    if ":" in source:
        return _Given(from_function(source), source, source)
    close = nearest(source, [*IN_PACKAGE.values(), *APPLICATIONS]).partition("Allowed: ")[0]
    raise ModelError(
        f"--model '{source}' is not a file, a folder, module:function or a known name; {close}`list models` shows all"
    )


def as_classifier(
    model: Any,  # noqa: ANN401 - any object that is a model
    *,
    batch_size: int | None = None,
    **options: Unpack[ModelOptions],
) -> Classifier:
    """Return a model given from Python as a ``Classifier``; a ``Classifier`` is returned unchanged.

    Args:
        model: a Keras model, a ``BlackBox``, a function of images with ``input_size``, or a loaded SavedModel.
        batch_size: the largest number of images in one pass; None = 32, or fewer if memory is short.
        **options: see ``ModelOptions``; it has its weights.

    Raises:
        ModelError: the object is no model, cannot be explained, or its preprocessing is not known.
    """
    if isinstance(model, Classifier):
        return model
    names, ids = _classes(options.get("class_names"))
    _import_modules(options.get("imports"))
    found = from_object(model, "model is")
    name = found.box.name if isinstance(found, Described) else found.name
    return _classifier(_Given(found, name, name), names, ids, batch_size, options)


def _classifier(
    given: _Given,
    names: Sequence[str] | None,
    ids: Sequence[str] | None,
    batch_size: int | None,
    options: ModelOptions,
) -> Classifier:
    model, preprocess, head = given.model, options.get("preprocess") or given.preprocess, options.get("head") or "auto"
    size, output, file = options.get("input_size"), options.get("output_name"), options.get("weights")
    weights = None if file is None or given.has_weights else Path(file)
    if not names:
        names, ids = given.class_names, given.class_ids
    if isinstance(model, keras.Model):
        require_one_input(model)
        model = from_keras(model, given.name, size, weights) or model
    elif weights is not None:
        raise ModelError(f"--weights '{weights}': model '{given.name}' has its weights; leave the option out")
    explained: keras.Model | BlackBox
    if isinstance(model, Described):
        explained, preprocess = with_output(model.box, output), _of_a_function(preprocess, size, model.box)
        names, head = names or model.class_names, model.head if model.head and head == "auto" else head
    elif isinstance(model, ModelFunction):
        explained, preprocess = black_box(model, preprocess, size, output)
    else:
        if weights is not None:
            load_weights(model, weights)
        explained = one_output(model, output)
        preprocess = _preprocessing(explained, preprocess, given.source)
    return Classifier(
        explained,
        name=given.name,
        preprocess=preprocess,
        head=head,
        class_names=names,
        class_ids=ids,
        batch_size=batch_size,
        input_size=size,
    )


def _of_a_function(preprocess: str | None, size: tuple[int, int] | None, box: BlackBox) -> str:
    """Return the preprocessing of a function of images, which is part of it.

    Raises:
        ModelError: the user gives another preprocessing or size.
    """
    if preprocess not in (None, "none"):
        raise ModelError(
            f"--preprocess {preprocess} does not fit model '{box.name}': it is a function of images in 0..255, which "
            "preprocesses them itself; leave the option out"
        )
    if size not in (None, box.input_size):
        raise ModelError(
            f"--input-size {size[0]}x{size[1]} contradicts model '{box.name}', whose input_size is {box.input_size}; "
            "leave the option out"
        )
    return "none"


def _import_modules(names: Sequence[str] | None) -> None:
    for name in names or ():
        import_module(name, f"--import '{name}'", ModelError)


def _classes(given: GivenNames | None) -> tuple[Sequence[str] | None, Sequence[str] | None]:
    """Return the names and WordNet ids of the outputs."""
    return (None, None) if given is None else read_classes(given)


def _preprocessing(model: keras.Model, preprocess: str | None, source: str) -> str:
    if preprocess is not None:
        return preprocess
    if own_preprocessing(model):
        return "none"
    attached = attached_preprocessing(model)
    if attached:
        raise PreprocessingMissingError(
            f"--model '{source}' has a preprocessor beside it, which is no part of its graph; add --preprocess "
            f"{attached}, which is what it does to pixels"
        )
    raise PreprocessingMissingError(
        f"--model '{source}' does not say how its input is preprocessed; add --preprocess with what it was trained "
        f"with: {CHOICES}"
    )


def _from_package(name: str) -> keras.Model:
    from evalkit.models.zoo.vgg16_mini import load_vgg16_mini

    with standard_settings():
        return load_vgg16_mini(name=name)


def _from_application(function: str, weights: Path | None, names: Sequence[str] | None) -> keras.Model:
    build = getattr(keras.applications, function)
    if weights is not None:
        with standard_settings():
            model = build(weights=None, classes=len(names) if names else 1000)
        load_weights(model, weights)
        return model
    try:
        with standard_settings():
            return build(weights="imagenet")
    except Exception as error:
        raise ModelError(
            f"the ImageNet weights of {function} could not be fetched ({first_line(error)}); connect to the network "
            f"once, put the file into Keras' cache ({_keras_cache()}), or pass --weights FILE"
        ) from error


def _keras_cache() -> Path:
    """Return the folder of Keras' downloaded files."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"


def _imagenet_classes(model: keras.Model) -> tuple[Sequence[str] | None, Sequence[str] | None]:
    """Return ImageNet's names and WordNet ids if Keras' cache has them; they are not downloaded."""
    path = _keras_cache() / "imagenet_class_index.json"
    if model.output_shape[-1] != 1000 or not path.is_file():
        return None, None
    return read_classes(path)
