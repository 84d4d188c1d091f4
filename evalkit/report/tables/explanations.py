"""The explanations of photos: one line for each map, and the model's first choices."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from evalkit.report.formats import OutputFormat
from evalkit.report.tables.csv import to_csv
from evalkit.report.tables.leaderboard import number
from evalkit.report.tables.table import Board, natural_width, render_boards

__all__ = ["Explained", "TopClass", "render_explained"]

SCHEMA_VERSION = 1
_NOTHING = "-"
_HEADER = ("explainer", "class", "probability", "maximum", "seconds")


class TopClass(msgspec.Struct, frozen=True):
    """One of the model's first choices, and its softmax score."""

    class_index: int
    class_name: str
    probability: float


class Explained(msgspec.Struct, frozen=True):
    """One map that was computed and saved.

    Attributes:
        maximum: (x, y) of the maximum in the photo's own pixels; None if there is none.
        note: what is unusual about the map; empty if nothing is.
        seconds: time to compute the map.
        picture: path of the PNG file.
        values: path of the raw map, a NumPy file.
        chosen: whether the class is the model's first choice rather than given.
        top: the model's first choices.
    """

    image: str
    explainer: str
    class_index: int
    class_name: str
    probability: float
    maximum: tuple[float, float] | None
    note: str
    seconds: float
    picture: str
    values: str
    chosen: bool
    top: tuple[TopClass, ...]


def render_explained(rows: Sequence[Explained], form: OutputFormat, *, width: int, color: bool) -> str:
    """Return explanations in one of the formats.

    Args:
        rows: one for each map.
        form: table, json (``schema_version`` and ``explanations``), csv, markdown or latex.
        width: width of the terminal in columns; for the table only.
        color: whether to use bold and dim text; for the table only.
    """
    if form == "json":
        shown = {"schema_version": SCHEMA_VERSION, "explanations": msgspec.to_builtins(rows)}
        return json.dumps(shown, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    if form == "csv":
        fields = [field for field in Explained.__struct_fields__ if field not in ("maximum", "top")]
        table = [[*(getattr(row, field) for field in fields), *(row.maximum or (None, None))] for row in rows]
        return to_csv([*fields, "maximum_x", "maximum_y"], table)
    boards = _boards(rows)
    if form == "table" and natural_width(boards[0]) > width:
        boards = _boards_of_images(rows)
    return render_boards(boards, _notes(rows), form, width=width, color=color)


def _boards(rows: Sequence[Explained]) -> list[Board]:
    """Return one table of all maps."""
    header = [_HEADER[0], "image", *_HEADER[1:]]
    return [Board("Explanations", header, [[row.explainer, row.image, *_values(row)] for row in rows], range(3, 6))]


def _boards_of_images(rows: Sequence[Explained]) -> list[Board]:
    """Return one table for each image, titled with its name: in a column, a long name would be broken."""
    return [
        Board(image, _HEADER, [[row.explainer, *_values(row)] for row in rows if row.image == image], range(2, 5))
        for image in dict.fromkeys(row.image for row in rows)
    ]


def _values(row: Explained) -> list[str]:
    return [row.class_name, number(row.probability), _maximum(row), number(row.seconds, 2)]


def _maximum(row: Explained) -> str:
    return _NOTHING if row.maximum is None else f"{row.maximum[0]:.0f}, {row.maximum[1]:.0f}"


def _notes(rows: Sequence[Explained]) -> list[str]:
    lines = [f"{row.picture}: {row.note}." for row in rows if row.note]
    for image, row in {row.image: row for row in rows if row.chosen}.items():
        classes = ", ".join(f"{choice.class_name} {number(choice.probability)}" for choice in row.top)
        lines.append(f"{image}: the model's first choices are {classes}.")
    lines.append("Maximum: x, y in the photo's own pixels, from its upper left corner.")
    return lines
