"""A map as an image file: the photo, the map over it, the color scale, and notes."""

from __future__ import annotations

import io
import textwrap
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evalkit.datasets.geometry import Geometry
from evalkit.datasets.image import Pixels
from evalkit.report.images.colormap import Scale, colored
from evalkit.report.images.overlay import Overlay, overlay

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["digits_of", "map_picture", "overlay_note", "plain_text", "shortened", "to_png", "value_label"]

Picture = NDArray[np.uint8]
_DPI = 100
_GAP, _TOP, _BOTTOM = 14, 68, 38  # pixels around the images
_BAR, _BAR_ROOM = 18, 112
_GRAY = 128
_INK, _FAINT = "#1b1f24", "#57606a"
_TITLE, _SMALL = 15, 12  # points
_WIDEST, _WIDEST_SMALL = 7.5, 6.2  # approximate width of a letter of either size, in points
_LINE = 20  # pixels from one line of small letters to the next


def map_picture(
    saliency_map: NDArray[np.floating],
    photo: Pixels | None = None,
    *,
    geometry: Geometry = "squash",
    region: NDArray[np.bool_] | None = None,
    title: str = "",
    about: str = "",
) -> bytes:
    """Draw one map: the photo on the left, the map over it on the right, beside its scale.

    Args:
        saliency_map: float (h, w), raw values; a note says if they are constant, negative or not finite.
        photo: uint8 or float32 (H, W, C) in 0..255, at its own size; None draws the map alone.
        geometry: how the photo was fitted to the model's input.
        region: bool (H, W), the object; outlined.
        title: title above the images, e.g. the explainer.
        about: line below the title, e.g. the class and its score.

    Returns:
        A PNG file.
    """
    from matplotlib.figure import Figure

    ground: Pixels = np.full((*saliency_map.shape, 3), _GRAY, dtype=np.uint8) if photo is None else photo
    drawn = overlay(ground, saliency_map, geometry="squash" if photo is None else geometry, region=region)
    height, width = drawn.pixels.shape[:2]
    images = [drawn.pixels] if photo is None else [drawn.photo, drawn.pixels]
    across = len(images) * (width + _GAP) + _BAR_ROOM + _GAP
    notes = textwrap.wrap(overlay_note(drawn), _letters(across, _WIDEST_SMALL))
    size = across, height + _TOP + _BOTTOM + max(0, len(notes) - 1) * _LINE
    figure = Figure(figsize=(size[0] / _DPI, size[1] / _DPI), dpi=_DPI, facecolor="white")
    for index, image in enumerate(images):
        axes = _axes(figure, size, (_GAP + index * (width + _GAP), _TOP, width, height))
        axes.imshow(image, interpolation="none", aspect="auto")
    _bar(figure, size, drawn, left=_GAP + len(images) * (width + _GAP))
    most = _letters(size[0], _WIDEST)
    _write(figure, size, (_GAP, 26), shortened(title, most), size=_TITLE, color=_INK, weight="bold")
    _write(figure, size, (_GAP, 52), shortened(about, most))
    for number, line in enumerate(notes):
        _write(figure, size, (_GAP, _TOP + height + 25 + number * _LINE), line)
    return to_png(figure)


def _letters(across: int, widest: float) -> int:
    """Return how many letters of a width in points fit into one line of an image of this width in pixels."""
    return max(12, int((across - 2 * _GAP) * 72 / _DPI / widest))


def to_png(figure: Figure, dpi: int = _DPI) -> bytes:
    """Return a figure as a PNG file, the same bytes each time."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box replaces letters that the font lacks
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def plain_text(text: str) -> str:
    """Return text in one line, with spaces for control characters."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def _axes(figure: Figure, size: tuple[int, int], box: tuple[int, int, int, int]) -> Axes:
    """Return empty axes over left, top, width, height in pixels."""
    left, top, width, height = box
    axes = figure.add_axes((left / size[0], 1 - (top + height) / size[1], width / size[0], height / size[1]))
    axes.set_axis_off()
    return axes


def _bar(figure: Figure, size: tuple[int, int], drawn: Overlay, left: int) -> None:
    """Draw the color scale over middle gray, with its ends and, if it is signed, zero."""
    scale, height = drawn.scale, drawn.pixels.shape[0]
    if scale.kind in ("constant", "empty"):
        return
    axes = _axes(figure, size, (left, _TOP, _BAR, height))
    values = np.linspace(scale.high, scale.low, 256)[:, None]
    axes.imshow(colored(values, scale), interpolation="none", aspect="auto")
    marked = {scale.high: 0.0, scale.low: 1.0} | ({0.0: 0.5} if scale.kind == "signed" else {})
    digits = digits_of(scale)
    for value, down in marked.items():
        baseline = _TOP + 9 + down * (height - 9)
        _write(figure, size, (left + _BAR + 6, baseline), value_label(value, digits), color=_INK)


def digits_of(scale: Scale) -> int:
    """Return the number of digits that distinguish the ends of a scale, at least two."""
    return next((n for n in range(2, 7) if f"{scale.low:.{n}g}" != f"{scale.high:.{n}g}"), 7)


def value_label(value: float, digits: int) -> str:
    """Return a value as written beside a color scale."""
    return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def overlay_note(drawn: Overlay) -> str:
    """Return what the marks and colors of an overlay mean, and what is unusual about its map."""
    parts = [drawn.scale.note] if drawn.scale.note else []
    if drawn.peak is not None:
        parts.append("ring: the maximum")
    if drawn.scale.kind == "signed" and not parts[0].startswith("no value"):
        parts.append("blue: against the class")
    if drawn.cropped:
        parts.append("frame: what the model saw")
    return "; ".join(parts)


def shortened(text: str, most: int) -> str:
    """Shorten text in its middle to this number of letters, in one line; both ends of a name remain."""
    text = plain_text(text)
    return text if len(text) <= most else f"{text[: most // 2]}\N{HORIZONTAL ELLIPSIS}{text[-(most // 2 - 1) :]}"


def _write(
    figure: Figure,
    page: tuple[int, int],
    position: tuple[float, float],
    text: str,
    *,
    size: int = _SMALL,
    color: str = _FAINT,
    weight: str = "normal",
) -> None:
    """Write text at x and baseline y in pixels, without interpreting dollar signs as mathematics."""
    x, y = position[0] / page[0], 1 - position[1] / page[1]
    figure.text(x, y, text, size=size, color=color, weight=weight, parse_math=False)
