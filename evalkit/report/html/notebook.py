"""Runs, tables and maps as pieces of HTML for notebooks; they take the notebook's colors, light or dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evalkit.analysis.results import Results
from evalkit.datasets.geometry import Geometry
from evalkit.datasets.image import Pixels
from evalkit.report.html.first_screen import screen_texts
from evalkit.report.html.photos import data_uri
from evalkit.report.images.colormap import colored
from evalkit.report.images.figure import digits_of, overlay_note, value_label
from evalkit.report.images.overlay import Overlay, overlay
from evalkit.report.tables.parameter_sweep import shown_sweeps
from evalkit.report.tables.run_tables import ShownTable, shown_parameters, shown_patch_sizes
from evalkit.report.tables.screen import screen_of
from evalkit.store.manifest import Manifest

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["map_html", "run_html", "table_html"]

_TEMPLATES = Path(__file__).parent / "templates"
_SIDES_PX = (224, 320)
_BAR_PX = (12, 160)  # height, width


def run_html(manifest: Manifest, results: Results) -> str:
    """Return the first screen of a run: what was run, the answers, one leaderboard, the sweeps."""
    sweeps = [shown_patch_sizes(manifest, results)] if results.patch_sweep else []
    sweeps += [shown_parameters(manifest, sweep) for sweep in shown_sweeps(results)]
    screen = screen_texts(screen_of(manifest, results), results)
    return _rendered("run", screen=screen, sweeps=sweeps)


def table_html(shown: ShownTable) -> str:
    """Return a table of texts."""
    return _rendered("table", table=shown)


def map_html(
    saliency_map: NDArray[np.floating],
    photo: Pixels,
    *,
    geometry: Geometry,
    region: NDArray[np.bool_] | None,
    title: str,
    about: str,
    notes: Sequence[str] = (),
) -> str:
    """Return a photo, the map over it, and its scale.

    Args:
        saliency_map: float (h, w), raw values.
        photo: uint8 or float32 (H, W, C) in 0..255, at its own size.
        geometry: how the photo was fitted to the model's input.
        region: bool (H, W), the object; None = unknown.
        title: the explainer.
        about: the class, its score, the photo's name.
        notes: what must be known of the map besides its values, one sentence each.
    """
    drawn = overlay(photo, saliency_map, geometry=geometry, region=region, sides=_SIDES_PX)
    marks = overlay_note(drawn)
    return _rendered(
        "map",
        title=title,
        about=about,
        pictures=[("the photo", data_uri(drawn.photo)), (f"map of {title}", data_uri(drawn.pixels))],
        bar=_bar(drawn),
        notes=[*([marks] if marks else []), *notes],
    )


def _bar(drawn: Overlay) -> Mapping[str, str] | None:
    scale = drawn.scale
    if scale.kind in ("constant", "empty"):
        return None
    height, width = _BAR_PX
    values = np.repeat(np.linspace(scale.low, scale.high, width)[None, :], height, axis=0)
    digits = digits_of(scale)
    return {
        "picture": data_uri(colored(values, scale)),
        "low": value_label(scale.low, digits),
        "high": value_label(scale.high, digits),
    }


@cache
def _pages() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )


def _rendered(piece: str, **content: object) -> str:
    return _pages().get_template("notebook.html").render(piece=piece, **content)
