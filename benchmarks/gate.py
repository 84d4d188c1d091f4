"""How often the gate raises false alarms, and how often it misses: ``python benchmarks/gate.py``.

Simulated baselines and runs: a family of 24 (8 explainers, 3 metrics), the paired differences of each image normal with
a given standard deviation. The tested code is the gate itself, with fewer flips.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from evalkit.analysis.gate.results import GateCell
from evalkit.analysis.gate.tolerance import Tolerance
from evalkit.analysis.gate.verdict import paired_scores, verdicts
from evalkit.core.randomness import generator

SPREADS, CELLS, DRAWS = (0.05, 0.10, 0.15, 0.20), 24, 2_000
TOLERANCE, WORSE = Tolerance(0.02, relative=False), 0.05


def simulated(rng: np.random.Generator, n_images: int, spread: float, worse: float) -> list[GateCell]:
    """Return the cells of one simulated check; the first is truly worse by ``worse``."""
    changes: NDArray[np.float64] = rng.normal(0.0, spread, (n_images, CELLS))
    changes[:, 0] -= worse
    before = np.full(n_images, 0.5)
    family = [
        paired_scores((f"explainer{index}", "gain"), "higher", before, before + changes[:, index], TOLERANCE)
        for index in range(CELLS)
    ]
    return verdicts(family, 0.05, DRAWS)


def rate(hits: int, trials: int) -> str:
    """Return a rate in percent with its 95 % binomial interval."""
    low, high = stats.binomtest(hits, trials).proportion_ci(0.95, method="exact")
    return f"{100 * hits / trials:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200, help="simulated checks per row (default: 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write every row to this file")
    given = parser.parse_args()
    rows = []
    for spread in SPREADS:
        alarms = caught = 0
        reached = {0.0: 0, WORSE: 0}
        inconclusive = {0.0: 0, WORSE: 0}
        for trial in range(given.trials):
            rng = generator(given.seed, "gate", str(spread), trial)
            alarms += any(cell.verdict == "regressed" for cell in simulated(rng, 100, spread, 0.0))
            caught += simulated(rng, 100, spread, WORSE)[0].verdict == "regressed"
            for worse in reached:
                first = simulated(rng, 30, spread, worse)[0]
                if first.verdict == "inconclusive" and first.n_wanted:
                    inconclusive[worse] += 1
                    reached[worse] += simulated(rng, first.n_wanted, spread, worse)[0].verdict != "inconclusive"
        without, with_one = (
            rate(reached[worse], inconclusive[worse]) if inconclusive[worse] else "never inconclusive"
            for worse in reached
        )
        rows.append(
            {
                "spread": f"{spread:.2f}",
                "false alarms, n = 100": rate(alarms, given.trials),
                f"worse by {WORSE}, n = 100: caught": rate(caught, given.trials),
                "decided at the n wanted, no difference": without,
                f"decided at the n wanted, {WORSE} worse": with_one,
            }
        )
    table = Table(title=f"the gate, {CELLS} cells, tolerance {TOLERANCE.amount}, percent [95 %]", box=None)
    for key in rows[0]:
        table.add_column(key, justify="right")
    for row in rows:
        table.add_row(*row.values())
    Console(width=130).print(table)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
