"""What is shown of the patch-size sweep, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.analysis.results import Results, SweepRow, SweepScore
from evalkit.metrics.catalog import METRICS
from evalkit.report.tables.leaderboard import PRIMARY, Column, number
from evalkit.store.manifest import Manifest

__all__ = ["SweepTable", "choice_lines", "equal_stride_lines", "object_size_rows", "sweep_table"]

_SWEEP = (PRIMARY, "deletion", "insertion", "energy_pointing_game", "relevance_rank_accuracy", "pointing_game")


def _sweep_metrics(manifest: Manifest, count: int) -> list[Column]:
    """Return the metrics of the patch-size sweep that fit, the most telling first."""
    by_name = {text.partition("(")[0]: text for text in reversed(manifest.metrics)}
    wanted = [text for text in manifest.metrics if text == manifest.settings.criterion]
    wanted += [by_name[name] for name in _SWEEP if name in by_name and by_name[name] not in wanted]
    wanted += [text for text in manifest.metrics if text not in wanted]
    return [Column(text, METRICS.get(text.partition("(")[0]).spec) for text in wanted[:count]]


@dataclass(frozen=True)
class SweepTable:
    """The patch-size sweep as texts.

    Attributes:
        header: a name a column.
        rows: the chosen row's first cell begins with ``>``, those tied with it with ``=``.
        best: (row, column) of the best of each metric.
    """

    header: list[str]
    rows: list[list[str]]
    best: frozenset[tuple[int, int]]


def sweep_table(manifest: Manifest, results: Results, count: int) -> SweepTable:
    """Return the sweep, the deciding metric first and with its interval, the others as far as they fit.

    Args:
        manifest: of the run.
        results: its analysis.
        count: the most metrics.
    """
    columns = _sweep_metrics(manifest, count)
    cost = ["patch_size", "stride", "positions", "passes", "s/image"]
    rows, best = [], set()
    for row in results.patch_sweep:
        shown = [_swept(row.metrics.get(column.metric), with_interval=not at) for at, column in enumerate(columns)]
        rows.append(
            [
                _chosen_mark(row, results) + str(row.patch_size),
                str(row.stride),
                str(row.positions),
                str(row.forward_passes),
                number(row.seconds_per_image, 2),
                *shown,
            ]
        )
    for at, column in enumerate(columns):
        sign = 1 if column.spec.direction == "higher" else -1
        means = [score.mean if (score := row.metrics.get(column.metric)) else None for row in results.patch_sweep]
        known = [sign * mean for mean in means if mean is not None]
        best |= {
            (place, len(cost) + at)
            for place, mean in enumerate(means)
            if mean is not None and sign * mean >= max(known) - 1e-12
        }
    return SweepTable([*cost, *(column.title for column in columns)], rows, frozenset(best))


def _swept(score: SweepScore | None, *, with_interval: bool) -> str:
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
    """Return what is recommended and why, one sentence a line."""
    choice = results.best_patch_size
    if choice is None:
        reason = results.best_patch_size_reason
        return [f"No patch size is recommended: {reason}."] if reason else []
    lines = [f"> {choice.reason}"]
    if choice.tied_with:
        also = "is also shown to come within the margin" if choice.decided else "cannot be told from it"
        lines.append(f"= {also}.")
    if choice.chosen_share is not None:
        lines.append(
            f"Of bootstrap resamples of the images, {100 * choice.chosen_share:.0f} % would choose the same "
            f"(margin {choice.margin:g} of {choice.criterion})."
        )
    return lines


def equal_stride_lines(results: Results) -> list[str]:
    """Return the choice among the sizes of each stride that several share."""
    return [
        f"At a stride of {one.stride}: {one.best_patch_size.reason}"
        for one in results.at_equal_stride
        if one.best_patch_size is not None
    ]


def object_size_rows(results: Results) -> tuple[list[str], list[list[str]], list[str]]:
    """Return header, rows and sentences of the sweep by object size; nothing where no object is known."""
    bins = results.by_object_size
    if not bins:
        return [], [], []
    header = ["patch_size", "stride", *(f"{one.object_size} ({one.n_images})" for one in bins)]
    rows = [
        [str(row.patch_size), str(row.stride), *(number(one.means.get(row.explainer)) for one in bins)]
        for row in results.patch_sweep
    ]
    notes = [
        f"{one.object_size.capitalize()} objects: {choice.reason}" for one in bins if (choice := one.best_patch_size)
    ]
    silent: dict[str, list[str]] = {}
    for one in bins:
        if one.reason and one.n_images:
            silent.setdefault(one.reason, []).append(one.object_size)
    notes += [f"No advice for {', '.join(sizes)} objects: {reason}." for reason, sizes in silent.items()]
    notes.append("An exploration: the largest box takes under 10 %, 10 to 30 %, or over 30 % of the image.")
    return header, rows, notes
