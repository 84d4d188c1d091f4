"""Plain lists in every format, e.g. of explainers, and the scores of every image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from evalkit.report.formats import OutputFormat
from evalkit.report.tables import latex, markdown
from evalkit.report.tables.csv import to_csv
from evalkit.report.tables.leaderboard import number
from evalkit.report.tables.text_lines import named
from evalkit.store.scores import ScoreTable

__all__ = ["render_listing", "render_scores"]

Value = str | float | None


def render_listing(
    title: str, columns: Sequence[str], rows: Sequence[Mapping[str, Value]], form: OutputFormat, *, width: int
) -> str:
    """Return rows of named values in one of the formats.

    Args:
        title: title above the table.
        columns: keys of the rows, in the order shown.
        rows: one mapping for each line; None is shown as empty.
        form: table, json (a list of objects), csv, markdown or latex.
        width: width of the terminal in columns; for the table only.
    """
    if form == "json":
        return (
            json.dumps([{column: row[column] for column in columns} for row in rows], indent=2, allow_nan=False) + "\n"
        )
    if form == "csv":
        return to_csv(columns, [[row[column] for column in columns] for row in rows])
    texts = [[_text(row[column]) for column in columns] for row in rows]
    if form == "markdown":
        header = [markdown.escape(column) for column in columns]
        cells = [[markdown.escape(text) for text in line] for line in texts]
        return markdown.pipe_table(header, cells, left=len(columns)) + "\n"
    if form == "latex":
        header = [latex.escape(column) for column in columns]
        return (
            latex.tabular(header, [[latex.escape(text) for text in line] for line in texts], left=len(columns)) + "\n"
        )
    widths = _column_widths(columns, texts, width)
    if widths is None:
        return _one_below_another(title, columns, texts, width)
    return _table(title, columns, texts, width, widths)


def _column_widths(columns: Sequence[str], texts: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """Return the widths of columns in which no word is broken; None if the terminal is too narrow for that."""
    cells = [[column, *(line[index] for line in texts)] for index, column in enumerate(columns)]
    least = [max(len(word) for cell in column for word in cell.split() or [""]) for column in cells]
    widths = [max(len(line) for cell in column for line in cell.split("\n")) for column in cells]
    room = width - _BETWEEN * (len(columns) - 1)
    if sum(least) > room:
        return None
    for _ in range(sum(widths) - room):  # as rich does, but never below the longest word
        shrinking = [index for index in range(len(widths)) if widths[index] > least[index]]
        widths[max(shrinking, key=lambda index: widths[index])] -= 1
    return widths


def _one_below_another(title: str, columns: Sequence[str], texts: Sequence[Sequence[str]], width: int) -> str:
    """Return each row as its name and, below it, what the other columns say."""
    lines = [title]
    for name, *values in texts:
        described = [(column, " ".join(value.split())) for column, value in zip(columns[1:], values, strict=True)]
        lines += ["", name, *named([pair for pair in described if pair[1]], width)]
    return "\n".join(lines) + "\n"


def render_scores(table: ScoreTable, form: OutputFormat, *, width: int) -> str:
    """Return every image's scores, one line for each image, explainer and metric.

    The terminal shows one table for each explainer. Metrics that score the image set as a whole are left out.
    """
    metrics = [metric for metric in table.metrics if metric not in table.statistics]
    if form != "table":
        rows = [
            {"image": image, "explainer": explainer, "metric": metric, "value": value}
            for image, explainer, values in _lines(table)
            for metric, value in zip(table.metrics, values, strict=True)
            if metric in metrics
        ]
        return render_listing("scores", ["image", "explainer", "metric", "value"], rows, form, width=width)
    parts = []
    for index, explainer in enumerate(table.explainers):
        for start in range(0, len(metrics), _PER_TABLE):
            shown = metrics[start : start + _PER_TABLE]
            columns = [table.metrics.index(metric) for metric in shown]
            texts = [
                [image, *(number(_value(table.values[row, index, column])) for column in columns)]
                for row, image in enumerate(table.image_ids)
            ]
            parts.append(_table(explainer, ["image", *shown], texts, width))
    return "\n".join(parts)


_PER_TABLE = 5
_BETWEEN = 2  # columns of the terminal between two of the table


def _lines(table: ScoreTable) -> Iterator[tuple[str, str, list[float | None]]]:
    for row, image in enumerate(table.image_ids):
        for column, explainer in enumerate(table.explainers):
            yield image, explainer, [_value(value) for value in table.values[row, column]]


def _value(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _text(value: Value) -> str:
    return number(value) if isinstance(value, float) else value or ""


def _table(
    title: str,
    columns: Sequence[str],
    texts: Sequence[Sequence[str]],
    width: int,
    widths: Sequence[int] | None = None,
) -> str:
    from evalkit.report.tables.rich_tables import listing_table, print_to_text

    return print_to_text([listing_table(title, columns, texts, widths)], width=width, color=False)
