"""Loads the model of ``--model`` as a ``Classifier``: a ``.keras`` file, a name, or ``module:function``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import keras

from evalkit.core.errors import ModelError, nearest
from evalkit.core.imports import first_line, import_object
from evalkit.core.specs import simplify
from evalkit.datasets.class_names import GivenNames, read_classes
from evalkit.datasets.scenes.scenes import CLASS_NAMES
from evalkit.models.applications import APPLICATIONS, MINI, MINI_FAMILY
from evalkit.models.classifier import Classifier
from evalkit.models.environment import standard_settings
from evalkit.models.keras.outputs import one_output
from evalkit.models.keras.own_preprocessing import attached_preprocessing, own_preprocessing
from evalkit.models.preprocessing import CHOICES, Preprocessing, PreprocessingMissingError

__all__ = ["ModelOptions", "as_classifier", "load_classifier"]

_FILE_ENDINGS = (".keras", ".h5", ".hdf5")


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
    """

    weights: str | Path | None
    preprocess: str | None
    head: str
    output_name: str | None
    class_names: GivenNames | None
    input_size: tuple[int, int] | None


def load_classifier(source: str, *, batch_size: int | None = None, **options: Unpack[ModelOptions]) -> Classifier:
    """Load a model as a ``Classifier``.

    Args:
        source: ``vgg16-mini``, which is in the package; a ``.keras`` (or ``.h5``) file; a name of
            ``keras.applications``; or ``module:function``, a function of no arguments that returns a Keras model.
        batch_size: the largest number of images in one pass; None = 32, or fewer if memory is short.
        **options: see ``ModelOptions``.

    Raises:
        ModelError: the model cannot be found, loaded or explained, or its preprocessing is not known.
    """
    preprocess, given = options.get("preprocess"), options.get("weights")
    weights = None if given is None else Path(given)
    if preprocess is not None:
        Preprocessing.parse(preprocess)  # a typo is reported before a model is loaded
    names, ids = _classes(options.get("class_names"))
    application = APPLICATIONS.get(simplify(source))
    if source.lower().endswith(_FILE_ENDINGS):
        model, name = _from_file(Path(source)), Path(source).name
    elif simplify(source) == simplify(MINI):
        model, name = _from_package(), MINI
        preprocess = preprocess or MINI_FAMILY
        names = names or CLASS_NAMES
    elif application is not None:
        model, name = _from_application(application.function, weights, names), source
        preprocess = preprocess or application.family
        weights = None
        names, ids = (names, ids) if names else _imagenet_classes(model)
    elif ":" in source:
        model, name = _from_function(source), source
    else:
        raise ModelError(
            f"--model '{source}' is not a .keras file, module:function or a known name; "
            f"{nearest(source, [MINI, *APPLICATIONS])}"
        )
    if weights is not None:
        _load_weights(model, weights)
    model = one_output(model, options.get("output_name"))
    return Classifier(
        model,
        name=name,
        preprocess=_preprocessing(model, preprocess, source),
        head=options.get("head") or "auto",
        class_names=names,
        class_ids=ids,
        batch_size=batch_size,
        input_size=options.get("input_size"),
    )


def as_classifier(
    model: keras.Model | Classifier, *, batch_size: int | None = None, **options: Unpack[ModelOptions]
) -> Classifier:
    """Return a Keras model as a ``Classifier``; a ``Classifier`` is returned unchanged.

    Args:
        model: the model, functional or Sequential.
        batch_size: the largest number of images in one pass; None = 32, or fewer if memory is short.
        **options: see ``ModelOptions``; it has its weights.

    Raises:
        ModelError: the model is not a Keras model, cannot be explained, or its preprocessing is not known.
    """
    if isinstance(model, Classifier):
        return model
    if not isinstance(model, keras.Model):
        raise ModelError(f"model is {type(model).__name__}; a Keras model is needed, or what --model takes")
    preprocess = options.get("preprocess")
    names, ids = _classes(options.get("class_names"))
    explained = one_output(model, options.get("output_name"))
    return Classifier(
        explained,
        name=model.name,
        preprocess=_preprocessing(explained, preprocess, model.name),
        head=options.get("head") or "auto",
        class_names=names,
        class_ids=ids,
        batch_size=batch_size,
        input_size=options.get("input_size"),
    )


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


def _from_file(path: Path) -> keras.Model:
    if not path.is_file():
        raise ModelError(f"--model '{path}': there is no such file")
    try:
        with standard_settings():
            return keras.saving.load_model(path, compile=False)
    except Exception as error:
        raise ModelError(
            f"--model '{path}' cannot be loaded by Keras {keras.__version__}: {first_line(error)}"
        ) from error


def _from_package() -> keras.Model:
    from evalkit.models.zoo.vgg16_mini import load_vgg16_mini

    with standard_settings():
        return load_vgg16_mini()


def _from_application(function: str, weights: Path | None, names: Sequence[str] | None) -> keras.Model:
    build = getattr(keras.applications, function)
    if weights is not None:
        with standard_settings():
            model = build(weights=None, classes=len(names) if names else 1000)
        _load_weights(model, weights)
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


def _load_weights(model: keras.Model, path: Path) -> None:
    if not path.is_file():
        raise ModelError(f"--weights '{path}': there is no such file")
    try:
        model.load_weights(path)
    except Exception as error:
        raise ModelError(f"--weights '{path}' do not fit model '{model.name}': {first_line(error)}") from error


def _from_function(source: str) -> keras.Model:
    function = import_object(source, f"--model '{source}'", ModelError)
    if not callable(function):
        raise ModelError(f"--model '{source}' is {type(function).__name__}; write MODULE:FUNCTION")
    try:
        model = function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ModelError(f"--model '{source}' failed: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(model, keras.Model):
        raise ModelError(f"--model '{source}' returned {type(model).__name__}; a Keras model is needed")
    return model


def _imagenet_classes(model: keras.Model) -> tuple[Sequence[str] | None, Sequence[str] | None]:
    """Return ImageNet's names and WordNet ids if Keras' cache has them; they are not downloaded."""
    path = _keras_cache() / "imagenet_class_index.json"
    if model.output_shape[-1] != 1000 or not path.is_file():
        return None, None
    return read_classes(path)
