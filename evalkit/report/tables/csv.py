"""CSV output: the leaderboard in long form, one line for each cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from evalkit.analysis.results import Results

__all__ = ["render_csv", "to_csv"]

_COLUMNS = (
    "explainer",
    "metric",
    "direction",
    "mean",
    "ci_low",
    "ci_high",
    "ci_reason",
    "n_scored",
    "n_unscored",
    "rank",
    "better_than",
    "rank_reason",
    "rank_images",
    "bias",
)


def to_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return CSV text with one header line; None becomes an empty field."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return stream.getvalue()


def render_csv(results: Results) -> str:
    """Return the leaderboard, one line for each explainer and metric; ``better_than`` joined by semicolons.

    Sanity checks follow, without ranks.
    """
    rows = [
        [";".join(cell.better_than) if column == "better_than" else getattr(cell, column) for column in _COLUMNS]
        for cell in results.leaderboard
    ]
    rows += [[getattr(result, column, None) for column in _COLUMNS] for result in results.sanity]
    return to_csv(_COLUMNS, rows)
