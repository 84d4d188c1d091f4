"""What is shown where, whatever the format: which leaderboards, which columns, what a cell says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from evalkit.analysis.results import LeaderboardCell, Results, SweepRow, SweepScore
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.spec import MetricSpec
from evalkit.store.manifest import Manifest

__all__ = [
    "Column",
    "Leaderboard",
    "Row",
    "SweepTable",
    "beaten",
    "choice_lines",
    "compressed",
    "equal_stride_lines",
    "facts",
    "interval",
    "is_best",
    "leaderboards",
    "legend",
    "marks",
    "number",
    "object_size_rows",
    "row_letters",
    "sweep_table",
    "tied_for_best",
    "unscored_lines",
]

WIDEST = 5
_NAMED = 3
_FAMILIES = ("faithfulness", "localization", "other")
_PRIMARY = "symmetric_relevance_gain"
_SWEEP = (_PRIMARY, "deletion", "insertion", "energy_pointing_game", "relevance_rank_accuracy", "pointing_game")
ARROWS = {"higher": "↑", "lower": "↓"}
BEATS_CONTROLS, NOT_BEATING = "*", "!"


@dataclass(frozen=True)
class Column:
    """One metric of a leaderboard."""

    metric: str
    spec: MetricSpec

    @property
    def title(self) -> str:
        """The metric with its arrow."""
        return f"{self.metric} {ARROWS[self.spec.direction]}"


@dataclass(frozen=True)
class Row:
    """One explainer of a leaderboard: a cell a column, and the letter by which other cells name it."""

    letter: str
    explainer: str
    control: bool
    cells: tuple[LeaderboardCell, ...]


@dataclass(frozen=True)
class Leaderboard:
    """One table.

    Attributes:
        title: the family, numbered if it has several tables.
        columns: at most five metrics.
        rows: the best first, by the first column that has ranks.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def leaderboards(manifest: Manifest, results: Results) -> list[Leaderboard]:
    """Return the leaderboards, family by family."""
    columns = [Column(text, METRICS.get(text.partition("(")[0]).spec) for text in manifest.metrics]
    found = []
    for family in _FAMILIES:
        members = [column for column in columns if column.spec.family == family]
        # The primary criterion leads its family.
        members.sort(key=lambda column: column.spec.name != _PRIMARY)
        pieces = _pieces(members)
        for index, piece in enumerate(pieces):
            title = family.capitalize() + (f" ({index + 1} of {len(pieces)})" if len(pieces) > 1 else "")
            found.append(Leaderboard(title, tuple(piece), _rows(manifest, results, members, piece)))
    return found


def _pieces(columns: Sequence[Column]) -> list[list[Column]]:
    """Split into tables of nearly equal width, none wider than five metrics."""
    count = -(-len(columns) // WIDEST)
    bounds = [round(index * len(columns) / count) for index in range(count + 1)] if count else [0]
    return [list(columns[start:end]) for start, end in pairwise(bounds)]


def _rows(manifest: Manifest, results: Results, family: Sequence[Column], columns: Sequence[Column]) -> tuple[Row, ...]:
    cells = {(cell.explainer, cell.metric): cell for cell in results.leaderboard}
    texts = [one.text for one in manifest.explainers]
    ranked = next(
        (column.metric for column in family if any(cells[text, column.metric].rank is not None for text in texts)),
        family[0].metric,
    )

    def place(text: str) -> float:
        rank = cells[text, ranked].rank
        return float("inf") if rank is None else rank

    controls = {one.text for one in manifest.explainers if one.control}
    ordered = sorted(texts, key=place)
    return tuple(
        Row(letter, text, text in controls, tuple(cells[text, column.metric] for column in columns))
        for letter, text in zip(row_letters(len(ordered)), ordered, strict=True)
    )


def row_letters(count: int) -> list[str]:
    """Return names for rows: a to z, then aa, ab, ...

    >>> row_letters(28)[-3:]
    ['z', 'aa', 'ab']
    """
    alphabet = [chr(ord("a") + index) for index in range(26)]
    names = [*alphabet, *(first + second for first in alphabet for second in alphabet)]
    return names[:count]


def compressed(places: Sequence[int], names: Sequence[str]) -> str:
    """Name rows by their letters, neighbors as a range.

    >>> compressed([1, 2, 3, 5, 7, 8], row_letters(9))
    'b-d,f,h,i'
    """
    runs: list[list[int]] = []
    for place in sorted(places):
        if runs and place == runs[-1][-1] + 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return ",".join(
        f"{names[run[0]]}-{names[run[-1]]}" if len(run) > 2 else ",".join(names[place] for place in run) for run in runs
    )


def beaten(board: Leaderboard, cell: LeaderboardCell) -> str:
    """Return the letters of the rows that a cell significantly beats."""
    losers = set(cell.better_than)
    places = [place for place, row in enumerate(board.rows) if row.explainer in losers]
    return compressed(places, [row.letter for row in board.rows])


def tied_for_best(board: Leaderboard) -> str:
    """Say, metric by metric, which rows cannot be told from the best."""
    found = []
    for index, column in enumerate(board.columns):
        cells = [row.cells[index] for row in board.rows]
        best = [cell for cell in cells if is_best(cell)]
        if not best:
            continue
        losers = {text for cell in best for text in cell.better_than}
        places = [place for place, cell in enumerate(cells) if cell.mean is not None and cell.explainer not in losers]
        found.append(f"{column.metric} {compressed(places, [row.letter for row in board.rows])}")
    return f"The best, and what is not told from it: {'; '.join(found)}." if found else ""


def number(value: float | None, digits: int = 3) -> str:
    """Return a number as shown; a dash where there is none.

    >>> number(0.12345), number(None), number(-0.0001)
    ('0.123', '-', '0.000')
    """
    if value is None:
        return "-"
    shown = f"{value:.{digits}f}"
    return shown.removeprefix("-") if float(shown) == 0 else shown


def interval(cell: LeaderboardCell) -> str:
    """Return a cell's mean with its interval, where it has one."""
    if cell.ci_low is None or cell.ci_high is None:
        return number(cell.mean)
    return f"{number(cell.mean)} [{number(cell.ci_low)}, {number(cell.ci_high)}]"


def marks(manifest: Manifest, results: Results, cell: LeaderboardCell) -> str:
    """Return what a cell is marked with; see ``legend``."""
    controls = {one.text for one in manifest.explainers if one.control}
    if cell.explainer in controls or not controls or cell.mean is None:
        return ""
    if controls <= set(cell.better_than):
        return BEATS_CONTROLS
    return NOT_BEATING if cell.explainer in results.not_beating_controls.get(cell.metric, ()) else ""


def is_best(cell: LeaderboardCell) -> bool:
    """Tell whether the cell is the best of its metric."""
    return cell.rank == 1


def legend(manifest: Manifest, results: Results) -> list[str]:
    """Return the sentences that say what the marks mean and what was tested."""
    lines = ["Letters after a score: the rows that it beats significantly; rows that do not beat each other are tied."]
    if any(one.control for one in manifest.explainers):
        lines.append(
            f"{BEATS_CONTROLS} significantly better than every control; "
            f"{NOT_BEATING} mean not better than every control's."
        )
    tested = [family for family in results.families if family.n_images]
    if tested:
        pairs, images = max(one.n_pairs for one in tested), min(one.n_images for one in tested)
        smallest = max(one.smallest_p for one in tested)
        lines.append(
            f"Tests: within each metric all pairs of explainers (up to {pairs}), paired by image, sign flips "
            f"({results.n_flips:,}; fewer for scores of the whole set), max-T, family-wise 5 %; fewest shared images "
            f"{images}, smallest reachable p {smallest:.2g}."
        )
        if smallest >= 0.05:
            lines.append("Some metrics have too few images for any mark: no difference could reach p < 0.05.")
    unreliable = {cell.ci_reason for cell in results.leaderboard if cell.ci_reason and cell.ci_low is not None}
    lines += [f"Intervals: {reason}." for reason in sorted(unreliable)]
    return lines


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


def facts(manifest: Manifest, results: Results) -> list[str]:
    """Return what a reader has to know of the images and the model, one sentence a line."""
    model, data, settings = manifest.model, manifest.data, manifest.settings
    right = "" if model.accuracy is None else f", right on {model.n_right} ({100 * model.accuracy:.1f} %)"
    clean = (
        ""
        if model.median_clean_score is None or model.saturated_share is None
        else f"; clean scores: median {model.median_clean_score:.3f}, {100 * model.saturated_share:.0f} % above 0.999"
    )
    lost = f", {data.n_unreadable} not usable" if data.n_unreadable else ""
    about = (
        f"{results.n_images} images of {data.name} ({data.n_regions} with a region{lost}); "
        f"{model.name}, {model.precision}, {model.n_classes} classes{right}{clean}."
    )
    return [
        about,
        f"Target: {settings.target}; geometry: {settings.geometry}; steps: {settings.steps}; seed: {settings.seed}.",
    ]


def unscored_lines(results: Results) -> list[str]:
    """Return why images were not scored, alike cells together."""
    together: dict[tuple[str, str, int], list[str]] = {}
    for one in results.unscored:
        together.setdefault((one.metric, one.reason, one.n_images), []).append(one.explainer)
    every = {cell.explainer for cell in results.leaderboard}
    by_what: dict[tuple[str, int, str], list[str]] = {}
    for (metric, reason, count), explainers in together.items():
        who = ", ".join(explainers) if len(explainers) <= _NAMED else f"{len(explainers)} of {len(every)} explainers"
        who = "every explainer" if set(explainers) == every else who
        by_what.setdefault((reason, count, who), []).append(metric)
    return [
        f"{count} {'image' if count == 1 else 'images'}: {reason} ({', '.join(metrics)}; {who})"
        for (reason, count, who), metrics in by_what.items()
    ]
