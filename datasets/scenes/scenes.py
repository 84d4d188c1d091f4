"""Scenes: procedural images in which one object, and nothing else, is the evidence for the class.

Each scene has a twin that lacks the object and is equal otherwise. The pixels in which they differ are the object's
exact mask. A scene is a function of (seed, index), computed when it is read, with the same bytes on every platform.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError, DataError
from evalkit.core.randomness import generator
from evalkit.core.specs import parse_spec
from evalkit.datasets.geometry import tight_box
from evalkit.datasets.image import Cue, LabelledImage
from evalkit.datasets.image_set import Entry, ImageSet, Labels
from evalkit.datasets.readers.base import Reader
from evalkit.datasets.scenes.shapes import CLASSES, DISTRACTORS, Shape
from evalkit.datasets.scenes.shortcuts import (
    CUE_VERSION,
    Shortcut,
    ShortcutKind,
    cue_rng,
    paint_cue,
    shortcut_of,
)
from evalkit.datasets.scenes.textures import direction, fractal_noise, smoothstep, texture

__all__ = ["CLASS_NAMES", "READER", "SIZE_PX", "Scene", "make_scene", "scenes"]

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

_NAME = "scenes"
SIZE_PX = 224
CLASS_NAMES: tuple[str, ...] = tuple(shape.name for shape in CLASSES)
_VERSION = 1  # increases when a scene's bytes change
_SMALLEST, _LARGEST = 0.02, 0.40  # the object's share of the image
_LARGEST_RADIUS_PX = 100.0
_SAMPLES = 4  # samples per side of a pixel, for smooth edges
_CONTRAST = 170.0  # smallest difference between object and background, summed over the channels


@dataclass(frozen=True, eq=False)
class Scene:
    """One scene.

    Attributes:
        pixels: uint8 (224, 224, 3), RGB.
        without_object: uint8 (224, 224, 3), the twin without the object.
        class_index: index into ``CLASS_NAMES``.
        without_cue: uint8 (224, 224, 3), the twin without the cue; None in a scene without a shortcut.
        cue_class: the class that the cue tells, an index into ``CLASS_NAMES``; None in a scene without a shortcut.
    """

    pixels: Pixels
    without_object: Pixels
    class_index: int
    without_cue: Pixels | None = None
    cue_class: int | None = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The pixels in which scene and twin differ, bool (224, 224)."""
        return np.asarray((self.pixels != self.without_object).any(axis=-1))

    @property
    def cue_mask(self) -> NDArray[np.bool_] | None:
        """The pixels outside the object that change with the cue, bool (224, 224); None without a shortcut.

        Pixels at the blurred edge of an object on a tint, which both change, belong to the object.
        """
        if self.without_cue is None:
            return None
        return np.asarray((self.pixels != self.without_cue).any(axis=-1) & ~self.mask)


def make_scene(seed: int, index: int, background: int = 0, shortcut: Shortcut | None = None) -> Scene:
    """Make one scene.

    Args:
        seed: seed of the set.
        index: index of the scene, 0 or more; each ten that begin at a multiple of ten have one scene of each class.
        background: 0 for the scene's own background; any other number puts another background and other distractors
            behind the same object in the same light.
        shortcut: the cue to add; without it, the scene is that of the same seed and index without a shortcut.
    """
    class_index = _class_of(seed, index)
    shape = CLASSES[class_index]
    drawn = generator(seed, "scene object", index)
    color, second = _color(drawn), _color(drawn)
    object_alpha = _placed(drawn, shape, _radius(drawn, shape))
    object_paint = _object_paint(drawn, color, second)
    canvas = _background(generator(seed, "scene background", index, background), color)

    def finished(painted: Floats, *, with_object: bool) -> Pixels:
        together = painted + (object_paint - painted) * object_alpha[..., None] if with_object else painted
        return _finish(generator(seed, "scene light", index), together)

    plain = finished(canvas, with_object=True)
    if shortcut is None:
        return Scene(plain, finished(canvas, with_object=False), class_index)
    rng = cue_rng(seed, index, shortcut.kind)
    cue_class = shortcut.cue_class(rng, class_index)
    cued = paint_cue(canvas, object_alpha, shortcut.kind, cue_class, rng)
    pixels, twin = finished(cued, with_object=True), finished(cued, with_object=False)
    return Scene(pixels, twin, class_index, without_cue=plain, cue_class=cue_class)


def scenes(
    count: int = 1000, seed: int = 0, *, shortcut: ShortcutKind | None = None, strength: float | None = None
) -> ImageSet:
    """Return a set of scenes, each computed when it is read.

    Args:
        count: number of scenes, 1 or more.
        seed: seed of the set.
        shortcut: ``mark`` or ``tint`` adds a cue outside the object to every scene; None adds none.
        strength: probability that the cue tells the class of the object, 0..1; None = 0.9.

    Raises:
        DataError: ``count`` is below 1, or a value of the shortcut is not allowed.
    """
    if count < 1:
        raise DataError(f"scenes: count {count} is not allowed; it takes 1 or more")
    cue = shortcut_of({"shortcut": shortcut, **({} if strength is None else {"strength": strength})})
    name = _NAME if cue is None else f"{_NAME}({cue.text})"
    entries = [_entry(seed, index, cue) for index in range(count)]
    return ImageSet(name, _NAME, entries, SceneReader(seed, cue), CLASS_NAMES, labels=Labels("classes", ordered=True))


@dataclass(frozen=True)
class SceneReader:
    """Computes the image of a scene's entry.

    Attributes:
        seed: seed of the set.
        shortcut: the cue in every scene; None without one.
    """

    seed: int
    shortcut: Shortcut | None = None

    def __call__(self, entry: Entry) -> LabelledImage:
        """Return the scene as a labelled image with an exact mask of the object, and one of the cue."""
        scene = copy.deepcopy(_made(self.seed, int(entry.id.partition("-")[2]), self.shortcut))
        mask = scene.mask
        return LabelledImage(
            id=entry.id,
            pixels=scene.pixels,
            class_index=scene.class_index if entry.class_index is None else entry.class_index,
            label=entry.label,
            region=mask,
            boxes=np.array([tight_box(mask)], dtype=np.float64),
            exact=True,
            sha256=hashlib.sha256(scene.pixels.tobytes() + mask.tobytes()).hexdigest(),
            cue=_cue(scene),
        )


# The checks before a run read the same scenes as the run itself.
@lru_cache(maxsize=32)
def _made(seed: int, index: int, shortcut: Shortcut | None) -> Scene:
    return make_scene(seed, index, shortcut=shortcut)


def _cue(scene: Scene) -> Cue | None:
    mask = scene.cue_mask
    if mask is None or scene.without_cue is None or scene.cue_class is None:
        return None
    return Cue(mask, scene.without_cue, CLASS_NAMES[scene.cue_class], scene.without_object)


def _open(path: Path) -> ImageSet:
    try:
        given = parse_spec(str(path))
    except ConfigError as error:
        raise DataError(
            f"--data {error}; write scenes or scenes(shortcut=mark), or ./{path} for a folder of this name"
        ) from error
    if given.alternatives:
        raise DataError(f"--data '{path}': one value for {', '.join(given.alternatives)} is allowed, not several")
    cue = shortcut_of(given.parameters)
    return scenes() if cue is None else scenes(shortcut=cue.kind, strength=cue.strength)


READER = Reader(
    name=_NAME,
    data=_NAME,
    summary="1,000 computed images of ten shapes, with exact masks; each shape is the only evidence for its class; "
    "scenes(shortcut=mark) and (shortcut=tint) add a cue that tells the class in nine of ten (strength=0.9); "
    "for --model vgg16-mini, vgg16-mini-shortcut, or any with ten outputs in the order of their names",
    example=f'--data {_NAME} --limit 99\n--data "{_NAME}(shortcut=mark)"',
    needs="nothing",
    open=_open,
)


def _class_of(seed: int, index: int) -> int:
    order = generator(seed, "scene classes", index // len(CLASSES)).permutation(len(CLASSES))
    return int(order[index % len(CLASSES)])


def _entry(seed: int, index: int, shortcut: Shortcut | None) -> Entry:
    contents, label = f"scenes|v:{_VERSION}|seed:{seed}|index:{index}", CLASS_NAMES[_class_of(seed, index)]
    if shortcut is not None:
        contents += f"|{shortcut.kind}|v:{CUE_VERSION}|strength:{shortcut.strength!r}"
    return Entry(
        f"scene-{index:05d}", None, None, label, where=contents, contents=contents, has_cue=shortcut is not None
    )


def _color(rng: np.random.Generator, unlike: Floats | None = None) -> Floats:
    """Return a random RGB color of 20..245 that differs clearly from another."""
    while True:
        color = 20.0 + 225.0 * rng.random(3)
        if unlike is None or np.abs(color - unlike).sum() >= _CONTRAST:
            return color


def _radius(rng: np.random.Generator, shape: Shape) -> float:
    """Return a radius in pixels for which the shape covers a random share of the image, small shares more often."""
    share = _SMALLEST + (_LARGEST - _SMALLEST) * rng.random() * rng.random()
    return min(float(np.sqrt(share * SIZE_PX * SIZE_PX / shape.area)), _LARGEST_RADIUS_PX)


def _placed(rng: np.random.Generator, shape: Shape, radius_px: float) -> Floats:
    """Return how much of each pixel the shape covers, float64 (224, 224) in 0..1: rotated at random, wholly inside."""
    cosine, sine = direction(rng)
    low = radius_px * 1.03 + 5.0  # blur adds three pixels
    center_x, center_y = (low + (SIZE_PX - 2.0 * low) * rng.random(2)).tolist()
    first_x, first_y = int(center_x - radius_px - 3), int(center_y - radius_px - 3)
    side = int(2 * radius_px + 8)
    fine = (np.arange(side * _SAMPLES) + 0.5) / _SAMPLES
    across, down = (fine + first_x - center_x)[None, :] / radius_px, (fine + first_y - center_y)[:, None] / radius_px
    inside = shape.inside(across * cosine + down * sine, down * cosine - across * sine)
    counts = inside.reshape(side, _SAMPLES, side, _SAMPLES).sum(axis=(1, 3))
    covered = np.zeros((SIZE_PX + 2 * side, SIZE_PX + 2 * side))
    covered[first_y + side : first_y + 2 * side, first_x + side : first_x + 2 * side] = counts / _SAMPLES**2
    return covered[side:-side, side:-side]


def _object_paint(rng: np.random.Generator, color: Floats, second: Floats) -> Floats:
    """Return the object's color at every pixel, textured in every other scene."""
    strength = 0.5 * rng.random() if rng.random() < 0.5 else 0.0
    pattern = texture(rng, SIZE_PX)[..., None] * strength
    return color + (second - color) * pattern


def _background(rng: np.random.Generator, unlike: Floats) -> Floats:
    """Return a textured background with one to three distractors, float64 (224, 224, 3)."""
    first, second = _color(rng, unlike), _color(rng, unlike)
    canvas = first + (second - first) * texture(rng, SIZE_PX)[..., None]
    grain = 1.0 + (fractal_noise(rng, SIZE_PX) - 0.5)[..., None] * (0.1 + 0.4 * rng.random())
    canvas = canvas * grain
    for _ in range(int(rng.integers(1, 4))):
        shape = DISTRACTORS[int(rng.integers(len(DISTRACTORS)))]
        alpha = _placed(rng, shape, 14.0 + 40.0 * rng.random())
        canvas = canvas + (_color(rng) - canvas) * alpha[..., None]
    return canvas


def _finish(rng: np.random.Generator, canvas: Floats) -> Pixels:
    """Return the canvas with light, blur and noise, as uint8."""
    cosine, sine = direction(rng)
    centers = (np.arange(SIZE_PX) + 0.5) / SIZE_PX - 0.5
    slope = smoothstep((centers[None, :] * cosine + centers[:, None] * sine) * 0.8 + 0.5)
    lit = canvas * (0.75 + 0.35 * rng.random() * slope + 0.2 * rng.random())[..., None]
    for _ in range(int(rng.integers(0, 4))):
        lit = _softened(_softened(lit).transpose(1, 0, 2)).transpose(1, 0, 2)
    noise = rng.random((3, SIZE_PX, SIZE_PX, 3))
    grain = (noise[0] + noise[1] + noise[2] - 1.5) * (16.0 * rng.random())
    return np.asarray(np.floor(np.clip(lit + grain, 0.0, 255.0) + 0.5), dtype=np.uint8)


def _softened(canvas: Floats) -> Floats:
    """Return the canvas convolved down the columns with (1, 2, 1) / 4, borders repeated."""
    padded = np.concatenate([canvas[:1], canvas, canvas[-1:]])
    return np.asarray((padded[:-2] + 2.0 * padded[1:-1] + padded[2:]) / 4.0)
