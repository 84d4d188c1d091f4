"""The content of leaderboards in every format: tables, columns, rows, marks, legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from evalkit.analysis.facts import metric_facts_of, same_substrate
from evalkit.analysis.results import LeaderboardCell, Results
from evalkit.analysis.sanity import CHANGED_BELOW, SAME_FROM
from evalkit.analysis.shards import shard_lines
from evalkit.core.names import model_facts
from evalkit.core.settings import DEFAULT_CRITERION
from evalkit.report.formats import ARROWS
from evalkit.report.tables.region_drops import region_lines
from evalkit.store.manifest import Manifest, MetricFacts

__all__ = [
    "ARROWS",
    "Column",
    "Leaderboard",
    "Row",
    "beaten",
    "columns_of",
    "compressed",
    "facts",
    "interval",
    "is_best",
    "leaderboards",
    "legend",
    "marks",
    "number",
    "ranking_lines",
    "row_letters",
    "sanity_lines",
    "substrate_lines",
    "tied_for_best",
    "too_few",
    "unscored_lines",
]

WIDEST = 5
_SHOWN_EXPLAINERS = 3
_SUBSTRATES = {"mean": "the mean color", "blur": "the blurred photo", "road": "imputed colors"}
_FAMILIES = ("faithfulness", "localization", "other")
BEATS_CONTROLS, NOT_BEATING, NOT_RANKED = "*", "!", "?"


@dataclass(frozen=True)
class Column:
    """One metric of a leaderboard."""

    facts: MetricFacts

    @property
    def metric(self) -> str:
        """The text of the metric."""
        return self.facts.text

    @property
    def title(self) -> str:
        """The metric with an arrow toward better scores."""
        return f"{self.metric} {self.arrow}".rstrip()

    @property
    def short(self) -> str:
        """The title where space is short, the same for all parameters."""
        return self.facts.column or self.facts.name

    @property
    def short_name(self) -> str:
        """The short title with the parameters in the metric's text."""
        return f"{self.short}{self.metric.removeprefix(self.facts.name)}"

    @property
    def short_title(self) -> str:
        """The short title with the parameters in the metric's text, and the arrow."""
        return f"{self.short_name} {self.arrow}".rstrip()

    @property
    def arrow(self) -> str:
        """An arrow toward better scores; empty of a descriptive metric."""
        return "" if self.facts.descriptive else ARROWS[self.facts.direction]


@dataclass(frozen=True)
class Row:
    """One explainer of a leaderboard: one cell for each column, and the letter that other cells use for it."""

    letter: str
    explainer: str
    control: bool
    cells: tuple[LeaderboardCell, ...]


@dataclass(frozen=True)
class Leaderboard:
    """One table.

    Attributes:
        title: the metrics' family, numbered if it has several tables.
        columns: the metrics, at most five.
        rows: the explainers, best first by the first column that has ranks.
        above: sentences that come before the table.
        untested: the metrics of which no pair of explainers was tested, for lack of images.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    above: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()


def columns_of(manifest: Manifest, results: Results | None = None) -> list[Column]:
    """Return the metrics of a run, in the order of the tables; with results, those that have a column."""
    shown = None if results is None else {cell.metric for cell in results.leaderboard}  # sanity checks have none
    columns = [Column(facts) for facts in metric_facts_of(manifest) if shown is None or facts.text in shown]
    order = {family: position for position, family in enumerate(_FAMILIES)}

    def position(column: Column) -> tuple[int, bool]:
        # The default criterion is the first of its family.
        return order.get(column.facts.family, len(order)), column.facts.name != DEFAULT_CRITERION

    return sorted(columns, key=position)


def leaderboards(manifest: Manifest, results: Results) -> list[Leaderboard]:
    """Return the leaderboards, family by family."""
    columns = columns_of(manifest, results)
    boards = []
    for family in _FAMILIES:
        members = [column for column in columns if column.facts.family == family]
        pieces = _pieces(members)
        for index, piece in enumerate(pieces):
            title = family.capitalize() + (f" ({index + 1} of {len(pieces)})" if len(pieces) > 1 else "")
            above = region_lines(results) if family == "localization" and index == 0 else ()
            untested = tuple(column.metric for column in piece if too_few(results, column.metric))
            boards.append(Leaderboard(title, tuple(piece), _rows(manifest, results, members, piece), above, untested))
    return boards


def _pieces(columns: Sequence[Column]) -> list[list[Column]]:
    """Split into tables of nearly equal width, none wider than five metrics."""
    count = -(-len(columns) // WIDEST)
    bounds = [round(index * len(columns) / count) for index in range(count + 1)] if count else [0]
    return [list(columns[start:end]) for start, end in pairwise(bounds)]


def _rows(manifest: Manifest, results: Results, family: Sequence[Column], columns: Sequence[Column]) -> tuple[Row, ...]:
    cells = {(cell.explainer, cell.metric): cell for cell in results.leaderboard}
    texts = [explainer.text for explainer in manifest.explainers]
    ranked = next(
        (column.metric for column in family if any(cells[text, column.metric].rank is not None for text in texts)),
        family[0].metric,
    )

    def rank_of(text: str) -> float:
        rank = cells[text, ranked].rank
        return float("inf") if rank is None else rank

    controls = _controls(manifest)
    ordered = sorted(texts, key=rank_of)
    return tuple(
        Row(letter, text, text in controls, tuple(_shown(cells[text, column.metric], column) for column in columns))
        for letter, text in zip(row_letters(len(ordered)), ordered, strict=True)
    )


def _shown(cell: LeaderboardCell, column: Column) -> LeaderboardCell:
    """Return a cell as it is shown: a descriptive metric sorts rows, and nothing is best or better by it."""
    return msgspec.structs.replace(cell, rank=None, better_than=()) if column.facts.descriptive else cell


def too_few(results: Results, metric: str) -> int:
    """Return how many images a test needs if no pair of explainers was tested by a metric for lack of them, else 0."""
    family = next((family for family in results.families if family.metric == metric), None)
    return family.fewest_images if family and family.n_untested and not family.n_images else 0


def _controls(manifest: Manifest) -> set[str]:
    return {explainer.text for explainer in manifest.explainers if explainer.control}


def row_letters(count: int) -> list[str]:
    """Return names of rows: a to z, then aa, ab, ...

    >>> row_letters(28)[-3:]
    ['z', 'aa', 'ab']
    """
    alphabet = [chr(ord("a") + index) for index in range(26)]
    names = [*alphabet, *(first + second for first in alphabet for second in alphabet)]
    return names[:count]


def compressed(rows: Sequence[int], names: Sequence[str]) -> str:
    """Return the names of rows, neighbors as a range.

    >>> compressed([1, 2, 3, 5, 7, 8], row_letters(9))
    'b-d,f,h,i'
    """
    runs: list[list[int]] = []
    for row in sorted(rows):
        if runs and row == runs[-1][-1] + 1:
            runs[-1].append(row)
        else:
            runs.append([row])
    return ",".join(
        f"{names[run[0]]}-{names[run[-1]]}" if len(run) > 2 else ",".join(names[row] for row in run) for run in runs
    )


def beaten(board: Leaderboard, cell: LeaderboardCell) -> str:
    """Return the letters of the rows that a cell significantly beats."""
    losers = set(cell.better_than)
    rows = [index for index, row in enumerate(board.rows) if row.explainer in losers]
    return compressed(rows, [row.letter for row in board.rows])


def tied_for_best(board: Leaderboard) -> str:
    """Return which rows do not differ significantly from the best, for each metric, as a sentence."""
    by_metric = []
    for index, column in enumerate(board.columns):
        cells = [row.cells[index] for row in board.rows]
        best = [cell for cell in cells if is_best(cell)]
        if not best or column.metric in board.untested:
            continue
        losers = {text for cell in best for text in cell.better_than}
        rows = [index for index, cell in enumerate(cells) if cell.rank is not None and cell.explainer not in losers]
        by_metric.append(f"{column.metric} {compressed(rows, [row.letter for row in board.rows])}")
    return f"Best, and not significantly different from it: {'; '.join(by_metric)}." if by_metric else ""


def number(value: float | None, digits: int = 3) -> str:
    """Return a number as shown in tables; a dash for None.

    >>> number(0.12345), number(None), number(-0.0001)
    ('0.123', '-', '0.000')
    """
    if value is None:
        return "-"
    shown = f"{value:.{digits}f}"
    return shown.removeprefix("-") if float(shown) == 0 else shown


def interval(cell: LeaderboardCell) -> str:
    """Return a cell's mean with its interval, if it has one."""
    if cell.ci_low is None or cell.ci_high is None:
        return number(cell.mean)
    return f"{number(cell.mean)} [{number(cell.ci_low)}, {number(cell.ci_high)}]"


def marks(manifest: Manifest, results: Results, cell: LeaderboardCell) -> str:
    """Return the mark of a cell; ``legend`` explains it."""
    controls = _controls(manifest)
    if cell.rank_reason is not None:
        return NOT_RANKED
    if cell.explainer in controls or not controls or cell.rank is None:
        return ""
    if controls <= set(cell.better_than):
        return BEATS_CONTROLS
    return NOT_BEATING if cell.explainer in results.not_beating_controls.get(cell.metric, ()) else ""


def is_best(cell: LeaderboardCell) -> bool:
    """Tell whether the cell is the best of its metric."""
    return cell.rank == 1


def legend(manifest: Manifest, results: Results) -> list[str]:
    """Return sentences on the meaning of letters and marks, and on the tests."""
    lines = ["Letters after a score: the rows that it beats significantly; rows that do not beat each other are tied."]
    if _controls(manifest):
        lines.append(
            f"{BEATS_CONTROLS} significantly better than every control; "
            f"{NOT_BEATING} mean not better than every control's."
        )
    lines += ranking_lines(results)
    lines += _test_lines(results)
    unreliable = {cell.ci_reason for cell in results.leaderboard if cell.ci_reason and cell.ci_low is not None}
    lines += [f"Intervals: {reason}." for reason in sorted(unreliable)]
    return [*lines, *_bias_lines(results)]


def _bias_lines(results: Results) -> list[str]:
    """Return one sentence on the bias of scores of the whole set, where it can be seen at two digits."""
    by_metric: dict[str, list[LeaderboardCell]] = {}
    for cell in results.leaderboard:
        if cell.bias is not None:
            by_metric.setdefault(cell.metric, []).append(cell)
    parts, counts = [], set()
    for metric, cells in by_metric.items():
        shown = sorted({round(cell.bias, 2) + 0.0 for cell in cells if cell.bias is not None})
        if any(shown):
            parts.append(f"{metric} {' to '.join(f'{value:+.2f}' for value in dict.fromkeys([shown[0], shown[-1]]))}")
            counts |= {cell.n_scored for cell in cells}
    if not parts:
        return []
    images = " to ".join(str(count) for count in dict.fromkeys([min(counts), max(counts)]))
    line = (
        f"Bias on these {images} images, estimated: {', '.join(parts)}. A score of the whole set is fitted to the "
        "images it scores, MaxBoxAcc by its best threshold; the intervals allow for that, the scores are not corrected."
    )
    return [line]


def ranking_lines(results: Results) -> list[str]:
    """Return sentences on ranks by fewer images than were scored, and on explainers without a rank."""
    shared: dict[int, list[str]] = {}
    for cell in results.leaderboard:
        if cell.rank_images is not None and cell.rank_images < cell.n_scored:
            metrics = shared.setdefault(cell.rank_images, [])
            metrics += [] if cell.metric in metrics else [cell.metric]
    lines = [
        f"Ranks, and what is best, are by the {count} images that all ranked explainers share: {', '.join(metrics)}; "
        "the means shown are over all scored images."
        for count, metrics in shared.items()
    ]
    metrics_of: dict[tuple[str, str], list[str]] = {}
    for cell in results.leaderboard:
        if cell.rank_reason is not None:
            metrics_of.setdefault((cell.explainer, cell.rank_reason), []).append(cell.metric)
    explainers_of: dict[tuple[str, str], list[str]] = {}
    for (explainer, reason), metrics in metrics_of.items():
        explainers_of.setdefault((reason, ", ".join(metrics)), []).append(explainer)
    return lines + [
        f"{NOT_RANKED} no rank: {', '.join(explainers)}: {reason} ({which})."
        for (reason, which), explainers in explainers_of.items()
    ]


def _test_lines(results: Results) -> list[str]:
    """Return sentences on the tests: their family, and what is too few images for them."""
    tested = [family for family in results.families if family.n_images]
    lines = []
    if tested:
        pairs, images = max(family.n_pairs for family in tested), min(family.n_images for family in tested)
        lines.append(
            f"Tests: within each metric all pairs of explainers (up to {pairs}), paired by image, studentized "
            f"bootstrap ({results.n_test_resamples:,} resamples; fewer for scores of the whole set), max-T, and one "
            f"unseen image of the opposite kind; family-wise 5 %; fewest shared images {images}, smallest possible p "
            f"{max(family.smallest_p for family in tested):.2g}."
        )
    untested = max((family.n_untested for family in results.families), default=0)
    if untested:
        fewest = max(family.fewest_images for family in results.families)
        lines.append(
            f"Not tested, because they share fewer than {fewest} images: up to {untested} of a metric's pairs."
        )
    return lines


def facts(manifest: Manifest, results: Results) -> list[str]:
    """Return sentences on the images, the model and the settings."""
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
        counted = f"{data.n_images} entries of {results.n_images} photos (each photo counts once, by their mean)"
    about = (
        f"{counted} of {data.name} ({data.n_regions} with a region{lost}); "
        f"{model.name}, {model.precision}, {model.n_classes} classes{right}{clean}."
    )
    return [
        *shard_lines(manifest),
        about,
        model_line(manifest),
        *(f"{note.rstrip('.')}." for note in data.notes),
        f"Target: {settings.target}; geometry: {settings.geometry}; steps: {settings.steps}; seed: {settings.seed}.",
    ]


def model_line(manifest: Manifest) -> str:
    """Return a sentence on what was chosen or found of the model: head, preprocessing, layer of CAM methods, input."""
    model = manifest.model
    order = f"; class order: {manifest.data.class_order}" if manifest.data.class_order else ""
    limit = ""
    if model.n_at_limit:
        images = "image" if model.n_at_limit == 1 else "images"
        limit = f"; the probability is 0 or 1 in float32 on {model.n_at_limit} {images}"
    head = f"{model.head}{limit}"
    facts = model_facts(head, model.preprocess, model.target_layer, model.input_size, model.channels)
    return f"{facts[0].upper()}{facts[1:]}{order}."


def substrate_lines(manifest: Manifest, board: Leaderboard) -> list[str]:
    """Return which explainers a metric may favor because they replace pixels as it does, a sentence for each metric."""
    alike = same_substrate(manifest)
    lines = []
    for column in board.columns:
        explainers = alike.get(column.metric, ())
        if not explainers:
            continue
        more = len(explainers) - _SHOWN_EXPLAINERS
        named = ", ".join(explainers[:_SHOWN_EXPLAINERS]) + (f" and {more} more" if more > 0 else "")
        they = "it replaces" if len(explainers) == 1 else "they replace"
        substrate = _SUBSTRATES.get(column.facts.substrate, column.facts.substrate)
        lines.append(f"{column.metric} may favor {named}: {they} pixels with the metric's own substrate, {substrate}.")
    return lines


def sanity_lines(results: Results) -> list[str]:
    """Return what the sanity checks by re-initialized weights say, one sentence for each explainer."""
    lines = [one.sentence for one in results.sanity]
    if any(one.layers for one in results.sanity):
        lines.append(
            f"In mprt, maps count as the same from a rank correlation of {SAME_FROM}, as others below {CHANGED_BELOW}."
        )
    if lines:
        lines.append("A method of fresh noise would pass these checks: they show a fault, not that a map is right.")
    return lines


def unscored_lines(results: Results, titles: Mapping[str, str] | None = None) -> list[str]:
    """Return why images were not scored, one sentence for all cells with the same reason and count.

    Args:
        results: the analysis of the run.
        titles: what to call each metric, and which to include; None = all, by their texts.
    """
    explainers_of: dict[tuple[str, str, int], list[str]] = {}
    for unscored in results.unscored:
        if titles is not None and unscored.metric not in titles:
            continue
        metric = unscored.metric if titles is None else titles[unscored.metric]
        cell = (metric, unscored.reason, unscored.n_images)
        explainers_of.setdefault(cell, []).append(unscored.explainer)
    every = {cell.explainer for cell in results.leaderboard}
    metrics_of: dict[tuple[str, int, str], list[str]] = {}
    for (metric, reason, count), explainers in explainers_of.items():
        few = len(explainers) <= _SHOWN_EXPLAINERS
        which = ", ".join(explainers) if few else f"{len(explainers)} of {len(every)} explainers"
        which = "every explainer" if set(explainers) == every else which
        metrics_of.setdefault((reason, count, which), []).append(metric)
    return [
        f"{count} {'image' if count == 1 else 'images'}: {reason} ({', '.join(metrics)}; {which})"
        for (reason, count, which), metrics in metrics_of.items()
    ]
