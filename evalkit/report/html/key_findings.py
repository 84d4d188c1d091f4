"""What a run says to the questions that people bring: which explainer, which patch size, better than nothing?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evalkit.analysis.results import Results
from evalkit.report.tables.leaderboard import Leaderboard, is_best, number
from evalkit.store.manifest import Manifest

__all__ = ["Answer", "answers"]


class Answer(NamedTuple):
    """A question and what the run says to it."""

    question: str
    main: str
    detail: str


def answers(manifest: Manifest, results: Results, boards: Sequence[Leaderboard]) -> list[Answer]:
    """Return the questions that a run answers, each with its numbers.

    Args:
        manifest: of the run.
        results: its analysis.
        boards: of the run; the first metric of the first answers.
    """
    found = []
    metric = _answering(manifest, results, boards)
    cells = [cell for cell in results.leaderboard if cell.metric == metric]
    best = [cell for cell in cells if is_best(cell)]
    if best:
        losers = {text for cell in best for text in cell.better_than}
        tied = [cell.explainer for cell in cells if cell.mean is not None and cell.explainer not in losers]
        rest = [text for text in tied if text not in {cell.explainer for cell in best}]
        score = f"Best mean {metric}, {number(best[0].mean)}."
        not_told = f" Not told from it by {best[0].n_scored} images: {', '.join(rest)}." if rest else ""
        others = len(tied) - len(rest) < len([cell for cell in cells if cell.mean is not None])
        beats = " Significantly better than every other." if others and not rest else ""
        names = " and ".join(cell.explainer for cell in best)
        knowing = {one.text for one in manifest.explainers if not one.control}
        if knowing.isdisjoint(cell.explainer for cell in best):
            names = f"None: no mean is better than that of {names}, which knows nothing"
        found.append(Answer("Which explainer?", names, score + not_told + beats))
    choice = results.best_patch_size
    if choice is not None:
        stride = "" if choice.stride == choice.patch_size else f", stride {choice.stride}"
        decided = "" if choice.decided else " (undecided)"
        found.append(
            Answer("Which patch size for occlusion?", f"{choice.patch_size} pixels{stride}{decided}", choice.reason)
        )
    controls = _against_controls(manifest, results, metric) if best else None
    return [*found, controls] if controls else found


def _answering(manifest: Manifest, results: Results, boards: Sequence[Leaderboard]) -> str:
    """Return the metric that answers: the one that decides, or else the first that scored anything."""
    scored = {cell.metric for cell in results.leaderboard if cell.mean is not None}
    columns = [column.metric for board in boards for column in board.columns if column.metric in scored]
    return next((text for text in columns if text == manifest.settings.criterion), next(iter(columns), ""))


def _against_controls(manifest: Manifest, results: Results, metric: str) -> Answer | None:
    own = [one.text for one in manifest.explainers if not one.control]
    controls = {one.text for one in manifest.explainers if one.control}
    if not own or not controls:
        return None
    cells = {cell.explainer: cell for cell in results.leaderboard if cell.metric == metric}
    beating = [text for text in own if controls <= set(cells[text].better_than)]
    missing = [text for text in own if text not in beating]
    which = "Significantly better" if beating else "None is shown to be significantly better"
    said = f"{which} than all of {', '.join(sorted(controls))}, by {metric}."
    said += f" Not shown for {', '.join(missing)}." if missing and beating else ""
    weak = {text: len(losers) for text, losers in results.not_beating_controls.items() if losers and text != metric}
    if weak:
        counts = ", ".join(f"{text} ({count})" for text, count in weak.items())
        said += f" Means no better than a control's, by how many: {counts}."
    return Answer("Do they beat maps that know nothing?", f"{len(beating)} of {len(own)} do", said)
