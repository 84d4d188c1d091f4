"""The content of the patch-size table in every format, and what tables of other parameters share with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalkit.analysis.choice.candidates import NAME, cost_text, value_text
from evalkit.analysis.facts import metric_facts_of, sweep_columns
from evalkit.analysis.results import ParameterChoice, PatchSizeChoice, Results, SweepRow, SweepScore
from evalkit.report.tables.leaderboard import Column, number
from evalkit.store.manifest import Manifest

__all__ = [
    "EXPLORATORY",
    "SweepTable",
    "best_scores",
    "choice_lines",
    "chosen_mark",
    "equal_stride_lines",
    "listed",
    "metric_columns",
    "object_size_rows",
    "recommendation",
    "score_cells",
    "sweep_table",
    "sweep_title",
    "swept_name",
    "swept_settings",
    "variant_columns",
]

EXPLORATORY = "Exploratory"


def swept_name(manifest: Manifest, results: Results) -> str:
    """Return the name of the explainer that was swept, or of all if several classes were."""
    swept = {row.explainer for row in results.patch_sweep}
    return listed(list(dict.fromkeys(facts.name for facts in manifest.explainers if facts.text in swept)))


def swept_settings(results: Results) -> str:
    """Return what the sweep compared: ``patch size``, or e.g. ``patch size and fill``."""
    others = [key for key in variant_columns(results) if key != NAME]
    one_size = len({(row.patch_size, row.stride) for row in results.patch_sweep}) == 1
    return listed(others if others and one_size else ["patch size", *others])


def sweep_title(manifest: Manifest, results: Results) -> str:
    """Return the title of the patch-size table."""
    settings = swept_settings(results)
    return f"{settings[0].upper()}{settings[1:]} of {swept_name(manifest, results)}"


def variant_columns(results: Results) -> list[str]:
    """Return the settings beside patch size and stride in which the rows of the sweep differ."""
    return list(dict.fromkeys(key for row in results.patch_sweep for key in row.variant))


def listed(names: Sequence[str]) -> str:
    """Return names as a list in words.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), names[-1]])


def metric_columns(manifest: Manifest, count: int) -> list[Column]:
    """Return the first ``count`` metrics of a sweep: the criterion, then those meant for sweeps, then all others."""
    every = metric_facts_of(manifest)
    criterion = [facts for facts in every if facts.text == manifest.settings.criterion]
    columns = {facts.text: Column(facts) for facts in (*criterion, *sweep_columns(every), *every)}
    return list(columns.values())[:count]


@dataclass(frozen=True)
class SweepTable:
    """A sweep as texts.

    Attributes:
        header: names of the columns.
        rows: cells; the chosen row's first cell begins with ``>``, that of rows tied with it with ``=``.
        best: (row, column) of the best score of each metric.
        words: columns whose cells are words, which may be broken.
    """

    header: list[str]
    rows: list[list[str]]
    best: frozenset[tuple[int, int]]
    words: range


def sweep_table(
    manifest: Manifest, results: Results, count: int, *, brief: bool = False, short: bool = False
) -> SweepTable:
    """Return the patch-size table: the criterion first and with its interval, then other metrics.

    Args:
        manifest: the manifest of the run.
        results: the analysis of the run.
        count: largest number of metrics.
        brief: whether to leave out positions and seconds, which the table of costs implies or has.
        short: whether the metrics have their short titles.
    """
    columns = metric_columns(manifest, count)
    variant = variant_columns(results)
    cost = ["passes"] if brief else ["positions", "passes", "s/image"]
    before = ["patch_size", "stride", *map(_heading, variant), *cost]
    rows = [
        [
            chosen_mark(row.explainer, results.best_patch_size) + str(row.patch_size),
            str(row.stride),
            *_variant_cells(row, variant),
            *([] if brief else [str(row.positions)]),
            cost_text(row.forward_passes if row.passes is None else row.passes),
            *([] if brief else [number(row.seconds_per_image, 2)]),
            *score_cells(row.metrics, columns),
        ]
        for row in results.patch_sweep
    ]
    best = best_scores([row.metrics for row in results.patch_sweep], columns, len(before))
    header = [*before, *(column.short_title if short else column.title for column in columns)]
    return SweepTable(header, rows, best, range(2, 2 + len(variant)))


def score_cells(metrics: Mapping[str, SweepScore], columns: Sequence[Column]) -> list[str]:
    """Return the scores of one row of a sweep, the first with its interval."""
    return [_score(metrics.get(column.metric), with_interval=not index) for index, column in enumerate(columns)]


def best_scores(
    rows: Sequence[Mapping[str, SweepScore]], columns: Sequence[Column], first_column: int
) -> frozenset[tuple[int, int]]:
    """Return (row, column) of the best score of each metric, whose columns begin at ``first_column``."""
    best: set[tuple[int, int]] = set()
    for index, column in enumerate(columns):
        ranks = [score.rank if (score := metrics.get(column.metric)) else None for metrics in rows]
        first = min((rank for rank in ranks if rank is not None), default=0)
        best |= {(row, first_column + index) for row, rank in enumerate(ranks) if rank == first}
    return frozenset(best)


def _heading(setting: str) -> str:
    return "explainer" if setting == NAME else setting


def _variant_cells(row: SweepRow, columns: Sequence[str]) -> list[str]:
    return [value_text(row.variant[key]) if key in row.variant else number(None) for key in columns]


def _score(score: SweepScore | None, *, with_interval: bool) -> str:
    if score is None:
        return number(None)
    if not with_interval or score.ci_low is None or score.ci_high is None:
        return number(score.mean)
    return f"{number(score.mean)} [{number(score.ci_low)}, {number(score.ci_high)}]"


def chosen_mark(explainer: str, choice: PatchSizeChoice | ParameterChoice | None) -> str:
    """Return the mark before a row of a sweep: ``> `` if it is chosen, ``= `` if it is tied with that."""
    if choice is None:
        return ""
    if explainer == choice.explainer:
        return "> "
    return "= " if explainer in choice.tied_with else ""


def choice_lines(results: Results) -> list[str]:
    """Return the recommendation and its reason, one sentence a line."""
    choice = results.best_patch_size
    if choice is None:
        reason = results.best_patch_size_reason
        noun = "setting" if variant_columns(results) else "patch size"
        return [f"No {noun} is recommended: {reason}."] if reason else []
    return recommendation(choice)


def recommendation(choice: PatchSizeChoice | ParameterChoice) -> list[str]:
    """Return a choice and what its marks mean, one sentence a line."""
    lines = [f"> {choice.reason}"]
    if choice.tied_with:
        undecided = "= not significantly different from it, compared within this table only."
        lines.append("= also within the margin." if choice.decided else undecided)
    if choice.chosen_share is not None:
        lines.append(
            f"{100 * choice.chosen_share:.0f} % of the bootstrap resamples of the images give the same choice "
            f"(margin {choice.margin:g} of {choice.criterion})."
        )
    return lines


def equal_stride_lines(results: Results) -> list[str]:
    """Return the choice at each stride that several sizes have, and what is compared if not only these sizes."""
    others = [_heading(key) for key in variant_columns(results)]
    strides = [row.stride for row in results.patch_sweep]
    differ = f"settings that differ in {listed(['patch_size', *others])}" if others else ""
    return [
        f"At stride {choice.stride}{f', among {strides.count(choice.stride)} {differ}' if differ else ''}: "
        f"{choice.best_patch_size.reason}"
        for choice in results.at_equal_stride
        if choice.best_patch_size is not None
    ]


def object_size_rows(results: Results) -> tuple[list[str], list[list[str]], list[str]]:
    """Return header, rows and sentences of the sweep by object size; empty if no region is known."""
    bins = results.by_object_size
    if not bins:
        return [], [], []
    variant = variant_columns(results)
    sizes = [f"{of_size.object_size} ({of_size.n_images})" for of_size in bins]
    header = ["patch_size", "stride", *map(_heading, variant), *sizes]
    rows = [
        [
            str(row.patch_size),
            str(row.stride),
            *_variant_cells(row, variant),
            *(number(of_size.means.get(row.explainer)) for of_size in bins),
        ]
        for row in results.patch_sweep
    ]
    notes = [
        f"{of_size.object_size.capitalize()} objects: {choice.reason}"
        for of_size in bins
        if (choice := of_size.best_patch_size)
    ]
    without: dict[str, list[str]] = {}
    for of_size in bins:
        if of_size.reason and of_size.n_images:
            without.setdefault(of_size.reason, []).append(of_size.object_size)
    notes += [f"No recommendation for {', '.join(sizes)} objects: {reason}." for reason, sizes in without.items()]
    notes.append(f"{EXPLORATORY}: the largest box covers under 10 %, 10 to 30 %, or over 30 % of the image.")
    return header, rows, notes
