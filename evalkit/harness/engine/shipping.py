"""The recipe of a run, in a form that another machine can use: with the model's bytes instead of its path."""

from __future__ import annotations

import io
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from evalkit.core.errors import ModelError
from evalkit.core.imports import first_line
from evalkit.datasets.entry import Entry
from evalkit.datasets.image import LabelledImage
from evalkit.datasets.image_set import ImageSource
from evalkit.harness.planning.recipe import LiveModel, ModelRecipe, ModelSource, NamedModel, WorkRecipe
from evalkit.models.blackbox import BlackBox
from evalkit.models.classifier import Classifier

__all__ = ["FileModel", "KerasModel", "Pickler", "packed"]

_FILE_OPTIONS = ("weights", "class_names")


@dataclass(frozen=True)
class Pickler:
    """A pickler that can take functions and classes along by their code, as cloudpickle does.

    Attributes:
        dumps: the function from an object to bytes, which ``pickle.loads`` reads.
        take_along: the function that makes it pickle what a module defines by value.
        forget: the function that ends this.
    """

    dumps: Callable[[object], bytes]
    take_along: Callable[[ModuleType], None]
    forget: Callable[[ModuleType], None]


@dataclass(frozen=True, eq=False)
class KerasModel:
    """A Keras model as the bytes of a .keras file.

    Attributes:
        data: the file.
        classes: the classes of layers and other objects that are not Keras' own, by the names that the file has.
        live: what else is known of the model.
    """

    data: bytes
    classes: Mapping[str, Any]
    live: LiveModel

    @classmethod
    def of(cls, classifier: Classifier) -> KerasModel:
        """Return the model of a classifier.

        Raises:
            ModelError: Keras cannot save it.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            assert isinstance(classifier.model, keras.Model)  # noqa: S101 - for the type checker
            try:
                classifier.model.save(path)
            except Exception as error:
                raise ModelError(
                    f"model '{classifier.name}' cannot be sent to workers: Keras cannot save it "
                    f"({type(error).__name__}: {first_line(error)}); give its layers get_config, or use --engine local"
                ) from error
            data = path.read_bytes()
        return cls(data, _own_classes(classifier.model), replace(LiveModel.of(classifier), model=None))

    def load(self, batch_size: int | None) -> Classifier:
        """Load the model; code in it runs, because this process's own driver sent it.

        Raises:
            ModelError: Keras cannot load it here.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            path.write_bytes(self.data)
            try:
                model = keras.models.load_model(path, compile=False, safe_mode=False, custom_objects=dict(self.classes))
            except Exception as error:
                raise ModelError(
                    f"model '{self.live.name}' cannot be loaded on a worker ({type(error).__name__}: "
                    f"{_last_line(error)}); register its classes with @keras.saving.register_keras_serializable(), or "
                    "install the package that defines them there"
                ) from error
        return replace(self.live, model=model).load(batch_size)


@dataclass(frozen=True, eq=False)
class FunctionModel:
    """A function of images; unlike ``LiveModel`` it takes any function that the pickler takes.

    Attributes:
        box: the function.
        live: what else is known of the model.
    """

    box: BlackBox
    live: LiveModel

    def load(self, batch_size: int | None) -> Classifier:
        """Return a classifier of the function."""
        return replace(self.live, model=self.box).load(batch_size)


@dataclass(frozen=True, eq=False)
class FileModel:
    """A model given by ``--model`` as a file or a folder, with its contents.

    Attributes:
        named: the model and its options, with paths of the driver's machine.
        files: by ``model`` or the option's name, the file's name and its contents as a tar archive.
    """

    named: NamedModel
    files: Mapping[str, tuple[str, bytes]]

    @classmethod
    def of(cls, named: NamedModel) -> FileModel:
        """Return the model with the contents of all files that it names."""
        given = {"model": named.source} | {name: named.options.get(name) for name in _FILE_OPTIONS}
        paths = {name: Path(text) for name, text in given.items() if isinstance(text, str) and Path(text).exists()}
        return cls(named, {name: (path.name, _archived(path)) for name, path in paths.items()})

    def load(self, batch_size: int | None) -> Classifier:
        """Load the model from copies of its files.

        Raises:
            ModelError: it cannot be loaded here.
        """
        folder = Path(tempfile.mkdtemp(prefix="evalkit-model-"))  # read as long as the worker lives
        paths: dict[str, str] = {}
        for name, (file_name, data) in self.files.items():
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                archive.extractall(folder / name, filter="data")
            paths[name] = str(folder / name / file_name)
        options = {**self.named.options, **{name: path for name, path in paths.items() if name != "model"}}
        return NamedModel(paths.get("model", self.named.source), options).load(batch_size)


@dataclass(frozen=True)
class SentPhotos:
    """The reader of a worker that gets every photo with its job."""

    def __call__(self, entry: Entry) -> LabelledImage:
        """Raise RuntimeError: a job without its photo is a defect."""
        raise RuntimeError(f"the photo '{entry.id}' was not sent with its job")


def packed(recipe: WorkRecipe, pickler: Pickler, *, read_here: bool) -> bytes:
    """Return the pickled recipe of a run for a worker on any machine.

    Classes and functions of modules that are not installed, such as a script's own, are taken along.

    Args:
        recipe: the recipe; its classifier is built.
        pickler: the pickler.
        read_here: True = photos are read here and sent with their jobs.

    Raises:
        ModelError: the model cannot be saved, or something cannot be pickled.
    """
    classifier = recipe.model.build()
    images = ImageSource(SentPhotos()) if read_here else recipe.images
    model = replace(recipe.model, source=_source(recipe.model, classifier), probes=classifier.probe_logits)
    with _own_modules(pickler):
        try:
            return pickler.dumps(replace(recipe, model=model, images=images))
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(
                "the run cannot be sent to workers: the model, an explainer, a metric or the images cannot be pickled "
                f"({type(error).__name__}: {first_line(error)}); use --engine local"
            ) from error


def _source(recipe: ModelRecipe, classifier: Classifier) -> ModelSource:
    """Return the model's source with everything that it reads."""
    if not isinstance(classifier.model, BlackBox):
        return KerasModel.of(classifier)
    if isinstance(recipe.source, NamedModel):
        return FileModel.of(recipe.source) if Path(recipe.source.source).exists() else recipe.source
    return FunctionModel(classifier.model, replace(LiveModel.of(classifier), model=None))


def _own_classes(model: keras.Model) -> dict[str, Any]:
    """Return the classes that Keras does not have, by the names under which it saves them."""
    layers = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}
    foreign = {name: kind for name, kind in layers.items() if kind.__module__.partition(".")[0] != "keras"}
    return {**foreign, **keras.saving.get_custom_objects()}


@contextmanager
def _own_modules(pickler: Pickler) -> Iterator[None]:
    """Take along the code of modules that are not installed, while the block pickles."""
    with ExitStack() as stack:
        installed = _installed()
        for name, module in [*sys.modules.items()]:
            if getattr(module, "__name__", "") == name and _is_own(module, installed):
                pickler.take_along(module)
                stack.callback(pickler.forget, module)
        yield


def _is_own(module: ModuleType | None, installed: Mapping[str, Sequence[Path]]) -> bool:
    """Return whether a module is the user's own: neither Python's nor where its package is installed."""
    file = getattr(module, "__file__", None)
    name = getattr(module, "__name__", "")
    if not file or name == "__main__" or name.partition(".")[0] == "evalkit":  # the main module always comes along
        return False
    path, package = Path(file).resolve(), name.partition(".")[0]
    return not any(path.is_relative_to(folder) for folder in (*installed[""], *installed.get(package, ())))


def _installed() -> dict[str, list[Path]]:
    """Return the folders that packages are installed in, by package; those of Python itself by the empty text."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    roots = {*(sysconfig.get_path(name) for name in names), sys.prefix, sys.base_prefix}
    of_package = {
        package: [Path(str(distribution(name).locate_file(""))).resolve() for name in distributions]
        for package, distributions in packages_distributions().items()
    }
    return {**of_package, "": [Path(root).resolve() for root in roots]}


def _archived(path: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(path, arcname=path.name)
    return buffer.getvalue()


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no message"
