"""What is shown where, whatever the format: which leaderboards, which columns, what a cell says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from evalkit.analysis.results import LeaderboardCell, Results
from evalkit.core.settings import DEFAULT_CRITERION
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.spec import MetricSpec
from evalkit.store.manifest import Manifest

__all__ = [
    "Column",
    "Leaderboard",
    "Row",
    "beaten",
    "compressed",
    "facts",
    "interval",
    "is_best",
    "leaderboards",
    "legend",
    "marks",
    "number",
    "row_letters",
    "tied_for_best",
    "unscored_lines",
]

WIDEST = 5
PRIMARY = DEFAULT_CRITERION
_NAMED = 3
_FAMILIES = ("faithfulness", "localization", "other")
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
        members.sort(key=lambda column: column.spec.name != PRIMARY)
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
    counted = f"{data.n_images} images"
    if results.n_images != data.n_images:
        counted = f"{data.n_images} entries of {results.n_images} photos (a photo counts once, by their mean)"
    about = (
        f"{counted} of {data.name} ({data.n_regions} with a region{lost}); "
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
