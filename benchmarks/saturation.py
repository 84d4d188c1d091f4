r"""How log-odds change the ranks of explainers where the softmax is saturated: ``python benchmarks/saturation.py RUN``.

RUN is a finished run that has both variants of a metric, of which the second costs no pass of the model:

    python -m evalkit run --model vgg16 --data photos/ --output RUN --metrics "deletion,deletion(score=log_odds), \
        insertion,insertion(score=log_odds),symmetric_relevance_gain,symmetric_relevance_gain(score=log_odds)"

Without ``--model`` and ``--data`` it is made of scenes. Prints for every such metric the means and ranks of the
explainers side by side, on the photos that both variants scored for all of them; the rank correlation of the means,
also on the saturated photos alone, and the median of single photos' rank correlations; and the share of clean scores
above 0.999.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from evalkit.analysis.facts import metric_facts_of
from evalkit.analysis.load import RunScores, read_run
from evalkit.store.manifest import MetricFacts

SATURATED = 0.999
Floats = NDArray[np.float64]


def variants(run: RunScores) -> Iterator[tuple[MetricFacts, MetricFacts]]:
    """Yield the metrics of a run that differ in the score alone, softmax first."""
    of_settings: dict[object, dict[object, MetricFacts]] = {}
    for metric in metric_facts_of(run.manifest):
        settings = {**metric.parameters}
        score = settings.pop("score", None)
        of_settings.setdefault((metric.name, tuple(settings.items())), {})[score] = metric
    for by_score in of_settings.values():
        if {"softmax", "log_odds"} <= by_score.keys():
            yield by_score["softmax"], by_score["log_odds"]


def ranks(values: Floats, direction: str) -> Floats:
    """Return the ranks along the last axis, 1 = best, ties sharing the mean of theirs."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(-values if direction == "higher" else values, axis=-1))


def correlation(first: Floats, second: Floats) -> float:
    """Return the correlation of two rows of ranks; NaN if one has no differences."""
    varies = min(np.ptp(first), np.ptp(second)) > 0
    return float(np.corrcoef(first, second)[0, 1]) if varies else np.nan


def show(run: RunScores, pair: tuple[MetricFacts, MetricFacts], clean: Floats, console: Console) -> None:
    """Print one metric's two variants.

    Args:
        run: the run.
        pair: the variant on softmax scores, and that on log-odds.
        clean: the clean scores of all images, NaN where there is none.
        console: where to print.
    """
    both = np.stack([run.table.values[..., run.table.metrics.index(metric.text)] for metric in pair])
    scored = np.isfinite(both).all(axis=0)
    explainers = np.flatnonzero(scored.any(axis=0))  # without those that have no score at all
    used = scored[:, explainers].all(axis=1) & bool(explainers.size)
    title = f"{pair[0].text}, {pair[0].direction} is better, {used.sum()} photos"
    if not used.any():
        console.print(f"{title}: no photo was scored by both variants for every explainer\n")
        return
    both, sure = both[:, used][:, :, explainers], clean[used] > SATURATED
    means = both.mean(axis=1)
    places = ranks(means, pair[0].direction)
    table = Table(title=title, box=None)
    for heading in ("explainer", "softmax", "rank", "log-odds", "rank", "change"):
        table.add_column(heading, justify="left" if heading == "explainer" else "right")
    for index in np.argsort(places[0], kind="stable"):
        (before, after), (softmax, log_odds) = places[:, index], means[:, index]
        change = f"{before - after:+g}" if before != after else ""
        name = run.table.explainers[explainers[index]]
        table.add_row(name, f"{softmax:.4f}", f"{before:g}", f"{log_odds:.3f}", f"{after:g}", change)
    console.print(table)
    single = [correlation(*rows) for rows in ranks(both, pair[0].direction).swapaxes(0, 1)]
    known = [value for value in single if np.isfinite(value)]
    saturated = correlation(*ranks(both[:, sure].mean(axis=1), pair[0].direction)) if sure.any() else np.nan
    console.print(
        f"rank correlation: {correlation(*places):.3f} of the means; {saturated:.3f} of the means of the {sure.sum()} "
        f"photos with a clean score above {SATURATED}; {np.median(known) if known else np.nan:.3f} of single photos "
        "(median)\n"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN")
    given = parser.parse_args()
    run = read_run(given.run)
    pairs = list(variants(run))
    if not pairs:
        parser.error(f"{given.run} has no metric in both variants, e.g. deletion and deletion(score=log_odds)")
    console = Console(width=110)
    clean = np.array([np.nan if row.clean_score is None else row.clean_score for row in run.images])
    for pair in pairs:
        show(run, pair, clean, console)
    known = clean[np.isfinite(clean)]
    console.print(f"clean scores above {SATURATED}: {(known > SATURATED).mean():.1%} of {known.size} photos")


if __name__ == "__main__":
    main()
