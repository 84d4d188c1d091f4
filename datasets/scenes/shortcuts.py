"""Shortcuts in scenes: a cue outside the object, whose color tells the class in most scenes and another in the rest.

A mark is a small framed square in a corner that is free of the object; a tint lies on the background of a third of the
image. Corner and side are drawn at random, whatever the class. The cue is painted before light, blur and noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import DataError, nearest
from evalkit.core.randomness import generator

__all__ = ["CUE_COLORS", "CUE_VERSION", "Shortcut", "ShortcutKind", "cue_rng", "paint_cue", "shortcut_of"]

Floats = NDArray[np.float64]
ShortcutKind = Literal["mark", "tint"]

CUE_COLORS: tuple[tuple[int, int, int], ...] = (
    (230, 30, 40), (245, 140, 20), (240, 225, 40), (30, 160, 60), (40, 210, 225),
    (30, 70, 220), (130, 50, 200), (245, 90, 190), (15, 15, 15), (128, 128, 128),
)  # fmt: skip
"""The color of the cue that tells each class: red, orange, yellow, green, cyan, blue, violet, pink, black, gray."""

CUE_VERSION = 1  # increases when the bytes of a cue change
_FRAME = 255.0  # white, so that the mark is seen on any background
_MARK_PX, _FRAME_PX, _BORDER_PX = 24, 3, 4
_CLEAR_PX = 7  # between mark and object: blur moves either by three pixels
_TINT = 0.5  # the share of the tint in the color of the background
_PARAMETERS = ("shortcut", "strength")


@dataclass(frozen=True)
class Shortcut:
    """How the cue of a set of scenes is made.

    Attributes:
        kind: ``mark`` or ``tint``.
        strength: probability that the cue of a scene tells the class of its object, 0..1; else it tells one of the
            others.
    """

    kind: ShortcutKind
    strength: float = 0.9

    @property
    def text(self) -> str:
        """The parameters as they are written in ``--data``, without those that have their default."""
        strength = "" if self.strength == type(self).strength else f", strength={self.strength:g}"
        return f"shortcut={self.kind}{strength}"

    def cue_class(self, rng: np.random.Generator, class_index: int) -> int:
        """Return the class that the cue of one scene tells.

        Args:
            rng: random generator of the scene's shortcut; two numbers are drawn whatever they decide.
            class_index: class of the object.
        """
        agrees, other = rng.random() < self.strength, int(rng.integers(1, len(CUE_COLORS)))
        return class_index if agrees else (class_index + other) % len(CUE_COLORS)


def shortcut_of(parameters: Mapping[str, object]) -> Shortcut | None:
    """Return the shortcut that the parameters of ``scenes(...)`` describe; None without one.

    Args:
        parameters: ``shortcut``: ``mark``, ``tint`` or None; ``strength``: 0..1.

    Raises:
        DataError: an unknown parameter, or a value that is not allowed.
    """
    for name in parameters:
        if name not in _PARAMETERS:
            raise DataError(f"scenes: parameter '{name}' is unknown: {nearest(name, _PARAMETERS)}")
    kind, strength = parameters.get("shortcut"), parameters.get("strength", Shortcut.strength)
    if kind is None:
        if "strength" in parameters:
            raise DataError(
                f"scenes: strength={strength} has no effect without shortcut=mark or shortcut=tint; add one"
            )
        return None
    if kind not in get_args(ShortcutKind):
        raise DataError(f"scenes: shortcut={kind} is not allowed: {nearest(str(kind), get_args(ShortcutKind))}")
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength <= 1:
        raise DataError(f"scenes: strength={strength} is not allowed; it takes 0 to 1, for example 0.9")
    return Shortcut(cast("ShortcutKind", kind), float(strength))


def paint_cue(canvas: Floats, object_alpha: Floats, kind: ShortcutKind, color: int, rng: np.random.Generator) -> Floats:
    """Return a background with the cue painted on it.

    Args:
        canvas: float64 (H, W, 3), the background; not changed.
        object_alpha: float64 (H, W), how much of each pixel the object covers; a mark keeps clear of it.
        kind: ``mark`` or ``tint``.
        color: index into ``CUE_COLORS``.
        rng: random generator of the corner or side.
    """
    painted, paint = canvas.copy(), np.array(CUE_COLORS[color], dtype=np.float64)
    # Views that begin at each corner or side, so that one position serves all; they share the memory of `painted`.
    if kind == "mark":
        reach = _BORDER_PX + _MARK_PX + _CLEAR_PX
        turned = [np.s_[::down, ::across] for down in (1, -1) for across in (1, -1)]
        free = [corner for corner in turned if not object_alpha[corner][:reach, :reach].any()]
        view = painted[free[int(rng.integers(len(free)))]]
        start, end = _BORDER_PX, _BORDER_PX + _MARK_PX
        view[start:end, start:end] = _FRAME
        view[start + _FRAME_PX : end - _FRAME_PX, start + _FRAME_PX : end - _FRAME_PX] = paint
        return painted
    sides = (painted, painted[::-1], painted.transpose(1, 0, 2), painted.transpose(1, 0, 2)[::-1])
    strip = sides[int(rng.integers(len(sides)))][: len(canvas) // 3]
    strip += (paint - strip) * _TINT
    return painted


def cue_rng(seed: int, index: int, kind: ShortcutKind) -> np.random.Generator:
    """Return the random generator of the cue of one scene."""
    return generator(seed, "scene shortcut", kind, index)
