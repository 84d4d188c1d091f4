"""How often the gate raises false alarms, and what it detects, by simulation: ``python benchmarks/gate.py``.

Simulated baselines and runs: a family of 24 cells (8 explainers, 3 metrics), the changes of the scores symmetric or
skewed, with a given standard deviation. The tested code is the gate itself, with fewer resamples.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from simulation import checks
from simulation.cells import Row, pooled, report, run_cells

LABELS = ("changes", "worse", "spread")
NUMBERS, PROMISED_AT = (24, 50, 100, 200), (24, 50)
PARTS = {
    "alarms": lambda: checks.alarms(NUMBERS),
    "detection": lambda: checks.detection(NUMBERS),
    "promises": lambda: checks.promises(PROMISED_AT),
}


def main() -> None:
    """Simulate, print, and report which targets are missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400, help="simulated checks for each cell (default: 400)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one for each core)")
    parser.add_argument("--only", choices=tuple(PARTS), action="append", help="only this part; can be repeated")
    parser.add_argument("--json", type=Path, help="write every figure, with binomial 95 %% intervals, to this file")
    given = parser.parse_args()
    cells = [cell for part in given.only or PARTS for cell in PARTS[part]()]
    rows = run_cells(cells, given.trials, given.seed, given.jobs)
    report(rows, LABELS, given.json, list(missed(rows)))


def missed(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line for each target that is missed by more than chance explains."""
    for row in rows:
        if row["scenario"] == checks.ALARMS and row["low"] > 0.05:
            yield f"checks fail in more than 5 % although no cell is worse than the tolerance: {row}"
    kept = pooled(rows, checks.PROMISES, "kept")
    if kept is not None and kept < 0.8:
        yield f"the number of images that would decide is kept in {100 * kept:.0f} % of new checks, not in 80 %"


if __name__ == "__main__":
    main()
