"""Explanations of single photos for ``explain``, without a labelled set and without metrics."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError, DataError, EvalkitError, ImageError, ModelError
from evalkit.core.names import escaped, path_of
from evalkit.datasets.channels import checked_pixels, require_whole_range
from evalkit.datasets.decode import Decoded
from evalkit.datasets.files import read_from_file
from evalkit.datasets.geometry import Geometry, fit
from evalkit.datasets.image import UNLABELLED, LabelledImage, Pixels
from evalkit.datasets.image_set import Entry
from evalkit.datasets.scenes.scenes import scenes
from evalkit.explainers.base import Explainer, MapFacts
from evalkit.explainers.catalog import EXPLAINERS, expand_listed, names_in
from evalkit.harness.planning.fitting import fitting, shared_layers
from evalkit.models.classifier import Classifier
from evalkit.store.maps import as_float32

__all__ = [
    "ClassScore",
    "ExplainedPhoto",
    "build_explainers",
    "class_index_of",
    "explain_photos",
    "is_scene",
    "read_photo",
]

_TOP = 5
_LISTED = 20  # names, in a message
_SCENE = "scene-"


@dataclass(frozen=True)
class ClassScore:
    """A class and the model's softmax score for it, 0..1."""

    class_index: int
    name: str
    probability: float


@dataclass(frozen=True, eq=False)
class ExplainedPhoto:
    """A map, and everything needed to draw and describe it.

    Attributes:
        image: the photo's file name or id.
        photo: the photo at its own size, uint8 or float32 (H, W, C) in 0..255; of a file uint8 RGB.
        region: the object's pixels, bool (H, W); None = unknown.
        saliency_map: the raw values at the model's input size, float32 (h, w), higher = more important; may hold NaN.
        explainer: the explainer's short spec, e.g. ``occlusion(patch_size=40)``.
        class_index: the class explained.
        class_name: the class's name; ``class 3`` if the model's classes have no names.
        probability: the class's softmax score, 0..1.
        chosen: True if the class is the model's prediction, False if the caller named it.
        top: the five most probable classes.
        geometry: how the photo was fitted to the model's input.
        seconds: the time to compute the map, as if its explainer ran alone.
        notes: what must be known of the map besides its values, one sentence each.
    """

    image: str
    photo: Pixels
    region: NDArray[np.bool_] | None
    saliency_map: NDArray[np.float32]
    explainer: str
    class_index: int
    class_name: str
    probability: float
    chosen: bool
    top: tuple[ClassScore, ...]
    geometry: Geometry
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        """The class, its score and the photo in a few words."""
        return f"{self.class_name}, score {self.probability:.3f} \N{MIDDLE DOT} {self.image}"


def is_scene(text: str) -> bool:
    """Return whether a text is the id of an embedded scene, such as ``scene-00003``, and not a file."""
    return text.startswith(_SCENE) and text.removeprefix(_SCENE).isdecimal() and not Path(text).exists()


def read_photo(source: str | Path | NDArray[np.generic] | Decoded, name: str = "image") -> LabelledImage:
    """Read a photo from its file, or return an array as a photo.

    Args:
        source: a file, the id of an embedded scene, or uint8 or float32 (H, W, C), or (H, W) for gray, in 0..255, or
            the pixels of a Pillow image.
        name: the displayed name of an array.

    Raises:
        DataError: the photo does not exist or cannot be decoded, or the array has another shape or type.
    """
    if isinstance(source, np.ndarray | Decoded):
        given, own = source if isinstance(source, Decoded) else (source, None)
        pixels = checked_pixels(given, name)
        require_whole_range([pixels], name)
        digest = hashlib.sha256(pixels.tobytes()).hexdigest()
        return LabelledImage(name, pixels, UNLABELLED, "", sha256=digest, own_channels=own)
    if is_scene(str(source)):
        return _scene(str(source))
    path = path_of(source)
    try:
        return read_from_file(Entry(escaped(path.name), path, None, ""))
    except ImageError as error:
        raise DataError(f"IMAGE '{source}': {error}; name a photo, or one of scene-00000 to scene-00999") from error


def _scene(name: str) -> LabelledImage:
    images = scenes()
    for entry in images.entries:
        if entry.id == name:
            return images.read(entry)
    raise DataError(f"IMAGE '{name}' does not exist; the embedded scenes are scene-00000 to {images.entries[-1].id}")


def build_explainers(
    given: object, classifier: Classifier, seed: int = 0, say: Callable[[str], None] = lambda _: None
) -> list[Explainer]:
    """Build explainers and check that they fit the model; members of a set and alternatives may be left out.

    Args:
        given: specs as one text, or specs and ``Explainer`` objects one by one.
        classifier: the model.
        seed: Random seed.
        say: a function that prints a sentence for each one that is left out.

    Raises:
        ConfigError: no explainer, an unknown one, or a parameter that is not allowed.
        ModelError: the model lacks what an explainer needs.
    """
    if not EXPLAINERS.all_of(given):
        raise ConfigError(f"--explainer is empty; name one of: {', '.join(EXPLAINERS.names())}")
    return list(
        dict.fromkeys(fitting(expand_listed(given, None, seed, say), classifier, names_in(given), sized=False, say=say))
    )


def class_index_of(classifier: Classifier, given: int | str | None) -> int | None:
    """Return the index of a class given by number or name; None = the predicted class.

    Raises:
        ConfigError: the model has no such class, or several of that name.
    """
    if given is None:
        return None
    names, text = classifier.class_names or (), str(given)
    if names.count(text) > 1:
        raise ConfigError(f"--class '{text}' names {names.count(text)} of the model's classes; give its number instead")
    if text in names and not isinstance(given, int):
        return names.index(text)
    if text.isdecimal() and int(text) < classifier.n_classes:
        return int(text)
    close = difflib.get_close_matches(text, names, n=3)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    unnamed = "" if names else "; --class-names FILE lets you use names"
    allowed = ", ".join(names) if 0 < len(names) <= _LISTED else "a name"
    raise ConfigError(
        f"--class '{text}' is unknown to model '{classifier.name}': {hint}Allowed: {allowed}, or 0 to "
        f"{classifier.n_classes - 1}{unnamed}"
    )


def explain_photos(
    classifier: Classifier,
    photos: Sequence[LabelledImage],
    explainers: Sequence[Explainer],
    *,
    class_index: int | None = None,
    geometry: Geometry = "squash",
) -> Iterator[ExplainedPhoto]:
    """Explain every photo by every explainer.

    Args:
        classifier: the model.
        photos: the photos, at their own size.
        explainers: the explainers, from ``build_explainers``.
        class_index: the class to explain; None = each photo's predicted class.
        geometry: how photos are fitted to the model's input.

    Raises:
        ModelError: the model's scores are not finite, or an explainer fails.
    """
    for photo in photos:
        fitted = fit(photo, classifier.input_size, geometry, classifier.channels)
        scores = classifier.probabilities(fitted.pixels[None])[0]
        if not np.isfinite(scores).all():
            raise ModelError(f"model '{classifier.name}' gives scores that are not finite for '{photo.id}'")
        order = np.argsort(-scores, kind="stable")[:_TOP].tolist()
        target = order[0] if class_index is None else class_index
        with classifier.sharing(shared_layers(classifier, explainers)):
            for explainer in explainers:
                saliency_map, seconds, notes = _timed_map(classifier, explainer, fitted, target)
                yield ExplainedPhoto(
                    image=photo.id,
                    photo=photo.pixels,
                    region=photo.region,
                    saliency_map=saliency_map,
                    explainer=explainer.text,
                    class_index=target,
                    class_name=_class_name(classifier, target),
                    probability=float(scores[target]),
                    chosen=class_index is None,
                    top=tuple(
                        ClassScore(index, _class_name(classifier, index), float(scores[index])) for index in order
                    ),
                    geometry=geometry,
                    seconds=seconds,
                    notes=notes,
                )


def _timed_map(
    classifier: Classifier, explainer: Explainer, fitted: LabelledImage, target: int
) -> tuple[NDArray[np.float32], float, tuple[str, ...]]:
    start, saved_s = perf_counter(), classifier.memo.saved_s
    try:
        maps, facts = explainer.explain_with_facts(classifier, fitted.pixels[None], [target])
    except EvalkitError:
        raise
    except Exception as error:
        message = str(error).strip().partition("\n")[0][:200]
        raise ModelError(f"{explainer.text} failed on '{fitted.id}': {type(error).__name__}: {message}") from error
    seconds = perf_counter() - start + classifier.memo.saved_s - saved_s
    known = [one.values for one in facts if one != MapFacts()]
    return as_float32(np.asarray(maps[0])), seconds, tuple(explainer.sentences(known)) if known else ()


def _class_name(classifier: Classifier, class_index: int) -> str:
    return classifier.class_names[class_index] if classifier.class_names else f"class {class_index}"
