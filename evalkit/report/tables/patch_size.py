"""The content of the patch-size table in every format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.analysis.choice.candidates import NAME
from evalkit.analysis.facts import metric_facts_of, sweep_columns
from evalkit.analysis.results import Results, SweepRow, SweepScore
from evalkit.report.tables.leaderboard import Column, number
from evalkit.store.manifest import Manifest

__all__ = [
    "EXPLORATORY",
    "SweepTable",
    "choice_lines",
    "equal_stride_lines",
    "object_size_rows",
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
    return _listed(list(dict.fromkeys(facts.name for facts in manifest.explainers if facts.text in swept)))


def swept_settings(results: Results) -> str:
    """Return what the sweep compared: ``patch size``, or e.g. ``patch size and fill``."""
    others = [key for key in variant_columns(results) if key != NAME]
    one_size = len({(row.patch_size, row.stride) for row in results.patch_sweep}) == 1
    return _listed(others if others and one_size else ["patch size", *others])


def sweep_title(manifest: Manifest, results: Results) -> str:
    """Return the title of the patch-size table."""
    settings = swept_settings(results)
    return f"{settings[0].upper()}{settings[1:]} of {swept_name(manifest, results)}"


def variant_columns(results: Results) -> list[str]:
    """Return the settings beside patch size and stride in which the rows of the sweep differ."""
    return list(dict.fromkeys(key for row in results.patch_sweep for key in row.variant))


def _listed(names: Sequence[str]) -> str:
    """Return names as a list in words.

    >>> _listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), names[-1]])


def _sweep_metrics(manifest: Manifest, count: int) -> list[Column]:
    """Return the first ``count`` metrics of the table: the criterion, then those meant for it, then all others."""
    every = metric_facts_of(manifest)
    criterion = [facts for facts in every if facts.text == manifest.settings.criterion]
    columns = {facts.text: Column(facts) for facts in (*criterion, *sweep_columns(every), *every)}
    return list(columns.values())[:count]


@dataclass(frozen=True)
class SweepTable:
    """The patch-size sweep as texts.

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


def sweep_table(manifest: Manifest, results: Results, count: int, *, brief: bool = False) -> SweepTable:
    """Return the patch-size table: the criterion first and with its interval, then other metrics.

    Args:
        manifest: the manifest of the run.
        results: the analysis of the run.
        count: largest number of metrics.
        brief: whether to leave out positions and seconds, which the table of costs implies or has.
    """
    columns = _sweep_metrics(manifest, count)
    variant = variant_columns(results)
    cost = ["passes"] if brief else ["positions", "passes", "s/image"]
    before = ["patch_size", "stride", *map(_heading, variant), *cost]
    rows, best = [], set()
    for row in results.patch_sweep:
        scores = [
            _score(row.metrics.get(column.metric), with_interval=not index) for index, column in enumerate(columns)
        ]
        rows.append(
            [
                _chosen_mark(row, results) + str(row.patch_size),
                str(row.stride),
                *_variant_cells(row, variant),
                *([] if brief else [str(row.positions)]),
                str(row.forward_passes),
                *([] if brief else [number(row.seconds_per_image, 2)]),
                *scores,
            ]
        )
    for index, column in enumerate(columns):
        ranks = [score.rank if (score := row.metrics.get(column.metric)) else None for row in results.patch_sweep]
        first = min((rank for rank in ranks if rank is not None), default=0)
        best |= {(row_index, len(before) + index) for row_index, rank in enumerate(ranks) if rank == first}
    header = [*before, *(column.title for column in columns)]
    return SweepTable(header, rows, frozenset(best), range(2, 2 + len(variant)))


def _heading(setting: str) -> str:
    return "explainer" if setting == NAME else setting


def _variant_cells(row: SweepRow, columns: Sequence[str]) -> list[str]:
    return [str(row.variant[key]) if key in row.variant else number(None) for key in columns]


def _score(score: SweepScore | None, *, with_interval: bool) -> str:
    if score is None:
        return number(None)
    if not with_interval or score.ci_low is None or score.ci_high is None:
        return number(score.mean)
    return f"{number(score.mean)} [{number(score.ci_low)}, {number(score.ci_high)}]"


def _chosen_mark(row: SweepRow, results: Results) -> str:
    choice = results.best_patch_size
    if choice is None:
        return ""
    if row.explainer == choice.explainer:
        return "> "
    return "= " if row.explainer in choice.tied_with else ""


def choice_lines(results: Results) -> list[str]:
    """Return the recommendation and its reason, one sentence a line."""
    choice = results.best_patch_size
    if choice is None:
        reason = results.best_patch_size_reason
        noun = "setting" if variant_columns(results) else "patch size"
        return [f"No {noun} is recommended: {reason}."] if reason else []
    lines = [f"> {choice.reason}"]
    if choice.tied_with:
        lines.append("= also within the margin." if choice.decided else "= not significantly different from it.")
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
    differ = f"settings that differ in {_listed(['patch_size', *others])}" if others else ""
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
