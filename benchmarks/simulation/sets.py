"""Scenarios of the intervals of scores of a whole set: the cells of ``set_scores.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import set_scores

from simulation.cells import Cell, Row, rate

__all__ = ["SETS", "set_scores_cells"]

SETS = "coverage of scores of a set"


def set_scores_cells(folders: Sequence[Path], seed: int) -> Iterator[Cell]:
    """Yield cells: coverage of the intervals of scores and of their differences, and the bias of the scores."""
    populations = [*(one for folder in folders for one in set_scores.of_run(folder)), *set_scores.made(seed)]
    for population in populations:
        for n_images in set_scores.SIZES:
            labels: dict[str, str | int | float] = {"population": population.source, "metric": population.metric.text}
            yield Cell(SETS, {**labels, "n": n_images}, _set_scores, (population, n_images))


def _set_scores(trials: int, seed: int, population: set_scores.Population, n_images: int) -> Row:
    trials = max(trials // 2, 1)
    rows: list[dict[str, Any]] = list(set_scores.simulated(population, n_images, trials, seed))
    scores = [row for row in rows if row["of"] == "score" and row["coverage"] is not None]
    differences = [row["coverage"] for row in rows if row["of"] == "difference" and row["coverage"] is not None]
    if not scores:
        return {"trials": 0}
    worst = min(scores, key=lambda row: row["coverage"])
    covered = round(worst["coverage"] * worst["intervals"])
    return {
        "median": float(np.median([row["coverage"] for row in scores])),
        "differences, minimum": min(differences, default=None),
        "bias": max((row["bias"] for row in scores), key=abs),
        "estimated bias": max((row["estimated"] for row in scores), key=abs),
        "worst": worst["name"],
        **rate(covered, worst["intervals"], "minimum", worst_of=len(scores)),
    }
