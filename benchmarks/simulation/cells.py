"""Cells of a simulation: run in several processes, printed as tables."""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from scipy import stats

__all__ = ["Cell", "Row", "pooled", "rate", "run_cells", "show"]

Row = dict[str, Any]
_NOT_SHARES = ("width", "bias", "estimated bias")


class Cell(NamedTuple):
    """One cell of a table, simulated in one process.

    Attributes:
        scenario: title of its table.
        labels: what the cell is: the row of the table; ``n`` is its column.
        simulate: called with the number of trials, the seed and the arguments; returns figures by name.
        arguments: the arguments.
    """

    scenario: str
    labels: dict[str, str | int | float]
    simulate: Callable[..., Row]
    arguments: tuple[object, ...]


def rate(errors: int, trials: int, name: str = "rate", *, worst_of: int = 1) -> Row:
    """Return an observed rate with its 95 % binomial interval (Clopper-Pearson); empty without trials.

    Args:
        errors: number of errors.
        trials: number of trials.
        name: name of the rate.
        worst_of: number of rates of which this is the most extreme; the interval is wider for it (Bonferroni).
    """
    if not trials:
        return {"trials": 0}
    low, high = stats.binomtest(int(errors), int(trials)).proportion_ci(1 - 0.05 / worst_of, method="exact")
    return {name: int(errors) / int(trials), "low": float(low), "high": float(high), "trials": int(trials)}


def pooled(rows: Sequence[Row], scenario: str, name: str) -> float | None:
    """Return a rate over all trials of a scenario; None without trials."""
    tried = [row for row in rows if row["scenario"] == scenario and row["trials"]]
    trials = sum(row["trials"] for row in tried)
    return sum(row[name] * row["trials"] for row in tried) / trials if trials else None


def _simulated(cell: Cell, trials: int, seed: int) -> Row:
    return {"scenario": cell.scenario, **cell.labels, **cell.simulate(trials, seed, *cell.arguments)}


def run_cells(cells: Sequence[Cell], trials: int, seed: int, jobs: int) -> list[Row]:
    """Return the row of each cell, in order."""
    started = time.perf_counter()
    rows: dict[int, Row] = {}
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork")) as pool:
        running = {pool.submit(_simulated, cell, trials, seed): index for index, cell in enumerate(cells)}
        for done in as_completed(running):
            rows[running[done]] = done.result()
            if sys.stderr.isatty() or len(rows) % 100 == 0:
                seconds = time.perf_counter() - started
                print(f"\r{len(rows)} of {len(cells)} cells, {seconds:.0f} s ", end="", file=sys.stderr, flush=True)
    return [rows[index] for index in range(len(cells))]


def report(rows: Sequence[Row], labels: Sequence[str], path: Path | None, failures: Sequence[str]) -> None:
    """Print and write the rows, print the targets that are missed, and exit with 1 if there are any."""
    show(rows, labels, Console(width=120))
    if path:
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    for line in failures:
        print(line)
    sys.exit(1 if failures else 0)


def show(rows: Sequence[Row], labels: Sequence[str], console: Console) -> None:
    """Print rows of each scenario as tables, one for each figure, the numbers of images as columns.

    Args:
        rows: from ``run_cells``.
        labels: names of the columns that identify a row.
        console: where to print.
    """
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        of_scenario = [row for row in rows if row["scenario"] == scenario]
        for figure in _figures(of_scenario, labels):
            _print_table(f"{scenario}: {figure}", of_scenario, figure, labels, console)


def _figures(rows: Sequence[Row], labels: Sequence[str]) -> list[str]:
    hidden = {"scenario", "n", "low", "high", "trials", *labels}
    return [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if name not in hidden and any(isinstance(row.get(name), float) for row in rows)
    ]


def _print_table(title: str, rows: Sequence[Row], figure: str, labels: Sequence[str], console: Console) -> None:
    shown = [label for label in labels if any(label in row for row in rows)]
    columns = sorted({row["n"] for row in rows})
    table = Table(title=title, box=None, title_justify="left")
    for label in shown:
        table.add_column(label)
    for column in columns:
        table.add_column(f"n = {column}", justify="right")
    for key, by_n in _grouped(rows, shown):
        table.add_row(*key, *(_written(by_n[n].get(figure), figure) if n in by_n else "" for n in columns))
    console.print(table)
    console.print()


def _grouped(rows: Sequence[Row], labels: Sequence[str]) -> Iterator[tuple[tuple[str, ...], dict[int, Row]]]:
    keys = dict.fromkeys(tuple(str(row.get(label, "")) for label in labels) for row in rows)
    for key in keys:
        yield key, {row["n"]: row for row in rows if tuple(str(row.get(label, "")) for label in labels) == key}


def _written(value: object, figure: str) -> str:
    if not isinstance(value, float):
        return "-"
    return f"{value:.3f}" if figure in _NOT_SHARES else f"{100 * value:.1f}"
