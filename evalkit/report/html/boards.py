"""Leaderboards as the report's templates take them: texts, and the positions of bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalkit.analysis.results import LeaderboardCell, Results
from evalkit.report.tables.leaderboard import (
    Leaderboard,
    beaten,
    is_best,
    marks,
    number,
    substrate_lines,
    tied_for_best,
)
from evalkit.store.manifest import Manifest

__all__ = ["board_texts", "cell_texts", "name_parts", "span_of"]


def board_texts(board: Leaderboard, manifest: Manifest, results: Results) -> dict[str, Any]:
    """Return a leaderboard of one family."""
    cells = [[row.cells[index] for row in board.rows] for index in range(len(board.columns))]
    spans = [span_of(column) for column in cells]
    return {
        "title": board.title,
        "tied": tied_for_best(board),
        "notes": substrate_lines(manifest, board),
        "above": list(board.above),
        "columns": [
            {
                "parts": name_parts(column.metric),
                "better": column.facts.direction,
                "is_better": "" if column.facts.descriptive else f"{column.facts.direction} is better",
                "summary": column.facts.summary,
            }
            for column in board.columns
        ],
        "rows": [
            {
                "letter": row.letter,
                "explainer": row.explainer,
                "control": row.control,
                "cells": [
                    {
                        **cell_texts(cell, span),
                        "mark": marks(manifest, results, cell),
                        "letters": beaten(board, cell),
                    }
                    for cell, span in zip(row.cells, spans, strict=True)
                ],
            }
            for row in board.rows
        ],
    }


def name_parts(name: str) -> list[str]:
    """Return the parts of a name; a line may be broken between them."""
    *first, last = name.split("_")
    return [*(f"{part}_" for part in first), last]


def span_of(column: Sequence[LeaderboardCell]) -> tuple[float, float]:
    """Return the smallest and largest number of a column, intervals included."""
    values = [value for cell in column for value in (cell.mean, cell.ci_low, cell.ci_high) if value is not None]
    return (min(values), max(values)) if values else (0.0, 0.0)


def cell_texts(cell: LeaderboardCell, span: tuple[float, float]) -> dict[str, Any]:
    """Return a score and its bar on the column's scale."""
    return {
        **_bar(cell, span),
        "value": "" if cell.mean is None else repr(cell.mean),
        "text": number(cell.mean),
        "title": _title(cell),
        "best": is_best(cell),
    }


def _bar(cell: LeaderboardCell, span: tuple[float, float]) -> dict[str, float | None]:
    """Return the positions of mean and interval on the column's scale, in percent."""
    width = span[1] - span[0]
    if cell.mean is None or width <= 0:
        return {"at": None, "low": None, "width": None}
    at = round(100 * (cell.mean - span[0]) / width, 1)
    if cell.ci_low is None or cell.ci_high is None:
        return {"at": at, "low": None, "width": None}
    low = 100 * (cell.ci_low - span[0]) / width
    return {"at": at, "low": round(low, 1), "width": round(100 * (cell.ci_high - span[0]) / width - low, 1)}


def _title(cell: LeaderboardCell) -> str:
    interval = "" if cell.ci_low is None else f"95 % interval {number(cell.ci_low)} to {number(cell.ci_high)}; "
    return (
        f"{interval}{cell.n_scored} images scored, {cell.n_unscored} not"
        + (f"; {cell.ci_reason}" if cell.ci_reason else "")
        + (f"; no rank: {cell.rank_reason}" if cell.rank_reason else "")
    )
