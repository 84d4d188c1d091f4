"""Comparison of two run folders, cell by cell: ``python benchmarks/same_numbers.py BEFORE AFTER``.

Compares every score, statistic, reason and curve bit for bit, matched by image, explainer and metric, and every map's
array; prints the differences, and exits with 1 if there are any. Keys, times and signatures may differ. Run both on
one machine, with one precision, batch size and number of threads.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalkit.store.statistics import unpack

# Older texts of explainers, metrics and reasons, and their present ones.
RENAMES: dict[str, str] = {}
_SHOWN = 20

Cell = tuple[str, ...]


def cells_of(folder: Path, table: str, columns: str, renames: dict[str, str]) -> dict[Cell, tuple[object, ...]]:
    """Return the rows of one table of a run, by image, explainer and metric under their newer texts."""
    n_keys = 2 if table == "maps" else 3
    with sqlite3.connect(f"file:{folder / 'results.sqlite'}?mode=ro", uri=True) as database:
        rows = database.execute(f"SELECT {columns} FROM {table}").fetchall()  # noqa: S608 - constants of this file
    if table == "scores" and "statistics" in columns:  # older runs hold the same numbers as plain float64
        rows = [
            (*row[:-1], None if row[-1] is None else unpack([row[-1]])[0].astype(np.float64).tobytes()) for row in rows
        ]
    renamed = [tuple(renames.get(value, value) if isinstance(value, str) else value for value in row) for row in rows]
    return {row[:n_keys]: row[n_keys:] for row in renamed}


def differences(before: Path, after: Path, renames: dict[str, str]) -> Iterator[str]:
    """Yield a line for everything that differs between two runs."""
    for table, columns in (
        ("scores", "image_id, explainer, metric, value, reason, statistics"),
        ("curves", "image_id, explainer, metric, points"),
    ):
        old, new = cells_of(before, table, columns, renames), cells_of(after, table, columns, {})
        for cell in sorted(old.keys() | new.keys()):
            if cell not in old or cell not in new:
                yield f"{table}: {cell} is only in {'AFTER' if cell in new else 'BEFORE'}"
            elif old[cell] != new[cell]:
                yield f"{table}: {cell}: {_shown(old[cell])} before, {_shown(new[cell])} after"
    old, new = (
        cells_of(folder, "maps", "image_id, explainer, file", table)
        for folder, table in ((before, renames), (after, {}))
    )
    for cell in sorted(old.keys() | new.keys()):
        if cell not in old or cell not in new:
            yield f"maps: {cell} is only in {'AFTER' if cell in new else 'BEFORE'}"
            continue
        first, second = (_map_of(run, str(cells[cell][0]), cell) for run, cells in ((before, old), (after, new)))
        if first is None or second is None:
            yield f"maps: {cell}: not kept in {'BEFORE' if first is None else 'AFTER'}"
            continue
        if first.dtype != second.dtype or first.shape != second.shape or first.tobytes() != second.tobytes():
            yield f"maps: {cell}: the arrays differ"


def _map_of(run: Path, file: str, cell: Cell) -> NDArray[np.generic] | None:
    if not file:
        return None
    stored = np.load(run / file)
    return stored if file.endswith(".npy") else np.asarray(stored[cell[1]])


def _shown(values: tuple[object, ...]) -> str:
    return ", ".join(f"{len(value)} bytes" if isinstance(value, bytes) else repr(value) for value in values)


def main() -> None:
    """Print the differences."""
    parser = argparse.ArgumentParser(prog="python benchmarks/same_numbers.py", description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--rename", action="append", default=[], metavar="OLD=>NEW", help="one more renamed text")
    given = parser.parse_args()
    renames = RENAMES | dict(pair.split("=>", 1) for pair in given.rename)
    lines = list(differences(given.before, given.after, renames))
    for line in lines[:_SHOWN]:
        print(line)
    counts = {
        table: len(cells_of(given.after, table, columns, {}))
        for table, columns in (
            ("scores", "image_id, explainer, metric, value"),
            ("curves", "image_id, explainer, metric, points"),
            ("maps", "image_id, explainer, file"),
        )
    }
    print(f"{len(lines)} differences in {', '.join(f'{count} {table}' for table, count in counts.items())}")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
