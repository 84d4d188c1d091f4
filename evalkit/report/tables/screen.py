"""What ``run`` shows first: what was run, the answers, one leaderboard. The terminal and the HTML report draw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.analysis.results import LeaderboardCell, Results
from evalkit.analysis.shards import shard_lines
from evalkit.report.tables.answers import Answer, answering, answers, tied_with_best
from evalkit.report.tables.leaderboard import NOT_RANKED, Column, columns_of, is_best, too_few, unscored_lines
from evalkit.store.manifest import Manifest

__all__ = ["BEST", "NOT_BEATING_ALL", "TIED", "Screen", "ScreenRow", "screen_of"]

BEST, TIED, NOT_BEATING_ALL = ">", "=", "†"
_MORE_COLUMNS = 4  # behind the criterion
_SHOWN_REASONS = 2


@dataclass(frozen=True)
class ScreenRow:
    """One explainer.

    Attributes:
        explainer: its text.
        control: whether it is a control.
        mark: ``BEST``, ``TIED`` with the best, by the criterion, or empty.
        cells: one for each column.
        cell_marks: ``NOT_BEATING_ALL``, ``?`` for no rank, or empty, one for each column.
        seconds_per_image: measured time of a map; None if none was computed.
    """

    explainer: str
    control: bool
    mark: str
    cells: tuple[LeaderboardCell, ...]
    cell_marks: tuple[str, ...]
    seconds_per_image: float | None

    @property
    def name(self) -> str:
        """The explainer's name in tables."""
        return self.explainer + (" (control)" if self.control else "")


@dataclass(frozen=True)
class Screen:
    """The content of the first screen.

    Attributes:
        about: what was run, in one sentence.
        answers: the answers of the run; empty if nothing was scored.
        columns: the criterion, and a few other metrics.
        rows: the explainers, best first by the first column.
        legend: sentences on the marks and the columns.
        notes: sentences on what was not scored.
    """

    about: str
    answers: tuple[Answer, ...]
    columns: tuple[Column, ...]
    rows: tuple[ScreenRow, ...]
    legend: tuple[str, ...]
    notes: tuple[str, ...]


def screen_of(manifest: Manifest, results: Results) -> Screen:
    """Return the first screen of a run."""
    columns = _columns(manifest, results)
    rows = _rows(manifest, results, columns)
    return Screen(
        about=_about(manifest, results),
        answers=tuple(answers(manifest, results)),
        columns=columns,
        rows=rows,
        legend=tuple(_legend(results, columns, rows)),
        notes=(*shard_lines(manifest), *_notes(manifest, results, columns)),
    )


def _about(manifest: Manifest, results: Results) -> str:
    model, data = manifest.model, manifest.data
    counted = _counted(data.n_images, "image")
    if results.n_images != data.n_images:
        counted = f"{_counted(data.n_images, 'entry')} of {_counted(results.n_images, 'photo')}"
    lost = f" ({data.n_unreadable} not usable)" if data.n_unreadable else ""
    right = "" if model.accuracy is None else f", right on {model.n_right} ({100 * model.accuracy:.1f} %)"
    shard = f"{manifest.shard_in_words}: " if manifest.shard_in_words else ""
    seconds = f"; {manifest.seconds:.0f} s" if manifest.seconds else ""
    return f"{shard}{counted} of {data.name}{lost}; {model.name}, {model.precision}{right}{seconds}"


def _counted(count: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def _columns(manifest: Manifest, results: Results) -> tuple[Column, ...]:
    """Return the criterion, and of other names those metrics that scored anything, the declared ones first."""
    scored = {cell.metric for cell in results.leaderboard if cell.mean is not None}
    columns = [column for column in columns_of(manifest, results) if column.metric in scored]
    first = answering(manifest, results) or next(iter(columns), None)
    if first is None:
        return ()
    others: dict[str, Column] = {}
    for column in columns:
        if column.facts.name != first.facts.name and column.facts.descriptive == first.facts.descriptive:
            others.setdefault(column.facts.name, column)
    behind = len(others) + 1
    ordered = sorted(others.values(), key=lambda column: column.facts.screen_column or behind)
    return (first, *ordered[:_MORE_COLUMNS])


def _rows(manifest: Manifest, results: Results, columns: Sequence[Column]) -> tuple[ScreenRow, ...]:
    if not columns:
        return ()
    cells = {(cell.explainer, cell.metric): cell for cell in results.leaderboard}
    first = [cells[explainer.text, columns[0].metric] for explainer in manifest.explainers]
    ranked = not columns[0].facts.descriptive
    tied = set() if too_few(results, columns[0].metric) else set(tied_with_best(first))
    controls = {explainer.text for explainer in manifest.explainers if explainer.control}
    to_beat = [_to_beat(results, column.metric, controls) for column in columns]
    seconds = {cost.explainer: cost.seconds_per_image for cost in results.cost}
    rows = []
    for cell in sorted(first, key=lambda cell: float("inf") if cell.rank is None else cell.rank):
        shown = tuple(cells[cell.explainer, column.metric] for column in columns)
        mark = BEST if is_best(cell) else TIED if cell.explainer in tied else ""
        is_control = cell.explainer in controls
        marks = tuple(_mark(one, set() if is_control else wanted) for one, wanted in zip(shown, to_beat, strict=True))
        if not ranked:  # a descriptive metric has no better end
            mark, marks = "", ("",) * len(shown)
        rows.append(ScreenRow(cell.explainer, is_control, mark, shown, marks, seconds.get(cell.explainer)))
    return tuple(rows)


def _to_beat(results: Results, metric: str, controls: set[str]) -> set[str]:
    """Return the controls that an explainer can beat by a metric: those it scored, if anything was tested."""
    if too_few(results, metric):
        return set()
    return {
        cell.explainer for cell in results.leaderboard if cell.metric == metric and cell.mean is not None
    } & controls


def _mark(cell: LeaderboardCell, to_beat: set[str]) -> str:
    if cell.rank_reason is not None:
        return NOT_RANKED
    return "" if cell.mean is None or to_beat <= set(cell.better_than) else NOT_BEATING_ALL


def _legend(results: Results, columns: Sequence[Column], rows: Sequence[ScreenRow]) -> list[str]:
    if not columns:
        return []
    first = [row.cells[0] for row in rows]
    shared = {cell.rank_images for cell in first if cell.rank_images is not None and cell.rank_images < cell.n_scored}
    marks = {row.mark for row in rows}
    cell_marks = {mark for row in rows for mark in row.cell_marks}
    parts = [f"{BEST} best {columns[0].short}"] if BEST in marks else []
    parts += [f"{TIED} not significantly different"] if TIED in marks else []
    parts += [f"{NOT_BEATING_ALL} does not beat every control"] if NOT_BEATING_ALL in cell_marks else []
    parts += [f"{NOT_RANKED} no rank, too few images"] if NOT_RANKED in cell_marks else []
    if not columns[0].facts.descriptive:
        untested = [column.short for column in columns if too_few(results, column.metric)]
        needed = max(too_few(results, column.metric) for column in columns)
        parts += [f"not tested, fewer than {needed} images: {', '.join(untested)}"] if untested else []
        parts += [f"ranked by the {_counted(count, 'image')} that all ranked explainers share" for count in shared]
    named = [f"{column.short}: {column.metric}" for column in columns if column.metric != column.short]
    return [line for line in ("; ".join(parts), "; ".join([*named, "[95 % interval]"])) if line]


def _notes(manifest: Manifest, results: Results, columns: Sequence[Column]) -> list[str]:
    """Return why images were not scored by the metrics of the screen, also by those that scored none."""
    declared = [column for column in columns_of(manifest, results) if column.facts.screen_column]
    criterion = manifest.settings.criterion
    instead = ""
    if criterion in manifest.metrics and columns and columns[0].metric != criterion:
        instead = f"The criterion, {criterion}, scored no image: the first column is {columns[0].metric}."
    lines = unscored_lines(results, {column.metric: column.short for column in (*columns, *declared)})
    more = len(lines) - _SHOWN_REASONS
    lines = [*([instead] if instead else []), *(f"Not scored: {line}" for line in lines[:_SHOWN_REASONS])]
    return [*lines, f"Not scored for {_counted(more, 'other reason')}."] if more > 0 else lines
