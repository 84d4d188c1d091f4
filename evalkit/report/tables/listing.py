"""Plain lists in every format, e.g. of explainers, and the scores of every image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from evalkit.report.formats import OutputFormat
from evalkit.report.tables import latex, markdown
from evalkit.report.tables.csv import to_csv
from evalkit.report.tables.leaderboard import number
from evalkit.store.scores import ScoreTable

__all__ = ["render_listing", "render_scores"]

Value = str | float | None


def render_listing(columns: Sequence[str], rows: Sequence[Mapping[str, Value]], form: OutputFormat) -> str:
    """Return rows of named values in one of the formats.

    Args:
        columns: keys of the rows, in the order shown.
        rows: one mapping for each line; None is shown as empty.
        form: json (a list of objects), csv, markdown or latex.
    """
    if form == "json":
        return (
            json.dumps([{column: row[column] for column in columns} for row in rows], indent=2, allow_nan=False) + "\n"
        )
    if form == "csv":
        return to_csv(columns, [[row[column] for column in columns] for row in rows])
    texts = [[_text(row[column]) for column in columns] for row in rows]
    module = markdown if form == "markdown" else latex
    table = markdown.pipe_table if form == "markdown" else latex.tabular
    header = [module.escape(column) for column in columns]
    return table(header, [[module.escape(text) for text in line] for line in texts], left=len(columns)) + "\n"


def render_scores(
    table: ScoreTable, form: OutputFormat, *, width: int, titles: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return every image's scores, one line for each image, explainer and metric.

    The terminal shows one table for each explainer. Metrics that score the image set as a whole are left out.

    Args:
        table: the scores.
        form: one of the formats.
        width: width of the terminal in columns; for the table only.
        titles: short titles of metrics, by their text; for the table only.
    """
    metrics = [metric for metric in table.metrics if metric not in table.statistics]
    if form != "table":
        rows = [
            {"image": image, "explainer": explainer, "metric": metric, "value": value}
            for image, explainer, values in _lines(table)
            for metric, value in zip(table.metrics, values, strict=True)
            if metric in metrics
        ]
        return render_listing(["image", "explainer", "metric", "value"], rows, form)
    parts = []
    for index, explainer in enumerate(table.explainers):
        for start in range(0, len(metrics), _PER_TABLE):
            shown = metrics[start : start + _PER_TABLE]
            columns = [table.metrics.index(metric) for metric in shown]
            texts = [
                [image, *(number(_value(table.values[row, index, column])) for column in columns)]
                for row, image in enumerate(table.image_ids)
            ]
            header = ["image", *(titles.get(metric, metric) for metric in shown)]
            parts.append(_table(explainer, header, texts, width))
    return "\n".join(parts)


_PER_TABLE = 5


def _lines(table: ScoreTable) -> Iterator[tuple[str, str, list[float | None]]]:
    for row, image in enumerate(table.image_ids):
        for column, explainer in enumerate(table.explainers):
            yield image, explainer, [_value(value) for value in table.values[row, column]]


def _value(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _text(value: Value) -> str:
    return number(value) if isinstance(value, float) else value or ""


def _table(title: str, columns: Sequence[str], texts: Sequence[Sequence[str]], width: int) -> str:
    from evalkit.report.tables.rich_tables import listing_table, print_to_text

    return print_to_text([listing_table(title, columns, texts)], width=width, color=False)
