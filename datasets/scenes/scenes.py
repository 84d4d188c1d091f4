"""Scenes: procedural images in which one object, and nothing else, is the evidence for the class.

Each scene has a twin that lacks the object and is equal otherwise. The pixels in which they differ are the object's
exact mask. A scene is a function of (seed, index), computed when it is read, with the same bytes on every platform.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import DataError
from evalkit.core.randomness import generator
from evalkit.datasets.geometry import tight_box
from evalkit.datasets.image import LabelledImage
from evalkit.datasets.image_set import Entry, ImageSet, Labels
from evalkit.datasets.readers.base import Reader
from evalkit.datasets.scenes.shapes import CLASSES, DISTRACTORS, Shape
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
    """

    pixels: Pixels
    without_object: Pixels
    class_index: int

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The pixels in which scene and twin differ, bool (224, 224)."""
        return np.asarray((self.pixels != self.without_object).any(axis=-1))


def make_scene(seed: int, index: int, background: int = 0) -> Scene:
    """Make one scene.

    Args:
        seed: seed of the set.
        index: index of the scene, 0 or more; each ten that begin at a multiple of ten have one scene of each class.
        background: 0 for the scene's own background; any other number puts another background and other distractors
            behind the same object in the same light.
    """
    class_index = _class_of(seed, index)
    shape = CLASSES[class_index]
    drawn = generator(seed, "scene object", index)
    color, second = _color(drawn), _color(drawn)
    object_alpha = _placed(drawn, shape, _radius(drawn, shape))
    object_paint = _object_paint(drawn, color, second)
    canvas = _background(generator(seed, "scene background", index, background), color)
    together = canvas + (object_paint - canvas) * object_alpha[..., None]
    pixels, twin = (_finish(generator(seed, "scene light", index), painted) for painted in (together, canvas))
    return Scene(pixels, twin, class_index)


def scenes(count: int = 1000, seed: int = 0) -> ImageSet:
    """Return a set of scenes, each computed when it is read.

    Args:
        count: number of scenes, 1 or more.
        seed: seed of the set.

    Raises:
        DataError: ``count`` is below 1.
    """
    if count < 1:
        raise DataError(f"scenes: count {count} is not allowed; it takes 1 or more")
    entries = [_entry(seed, index) for index in range(count)]
    return ImageSet(_NAME, _NAME, entries, SceneReader(seed), CLASS_NAMES, labels=Labels("classes", ordered=True))


@dataclass(frozen=True)
class SceneReader:
    """Computes the image of a scene's entry.

    Attributes:
        seed: seed of the set.
    """

    seed: int

    def __call__(self, entry: Entry) -> LabelledImage:
        """Return the scene as a labelled image with an exact mask."""
        scene = make_scene(self.seed, int(entry.id.partition("-")[2]))
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
        )


def _open(_path: Path) -> ImageSet:
    return scenes()


READER = Reader(
    name=_NAME,
    data=_NAME,
    summary="1,000 images computed when they are read: ten shapes, each the only evidence for its class, with exact "
    "masks; for --model vgg16-mini, or any model with ten outputs in the order of their names",
    example=f"--data {_NAME} --limit 99\n--data {_NAME} --model x.keras",
    needs="nothing",
    open=_open,
)


def _class_of(seed: int, index: int) -> int:
    order = generator(seed, "scene classes", index // len(CLASSES)).permutation(len(CLASSES))
    return int(order[index % len(CLASSES)])


def _entry(seed: int, index: int) -> Entry:
    contents, label = f"scenes|v:{_VERSION}|seed:{seed}|index:{index}", CLASS_NAMES[_class_of(seed, index)]
    return Entry(f"scene-{index:05d}", None, None, label, where=contents, contents=contents)


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
