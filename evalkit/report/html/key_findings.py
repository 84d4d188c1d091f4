"""The key findings of a run: best explainer, recommended parameters, comparison with the controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evalkit.analysis.choice.candidates import NAME, variant_text
from evalkit.analysis.results import Results
from evalkit.report.tables.leaderboard import Leaderboard, is_best, number
from evalkit.report.tables.parameter_sweep import shown_sweeps
from evalkit.report.tables.patch_size import swept_name, swept_settings
from evalkit.store.manifest import Manifest

__all__ = ["Answer", "answers"]


class Answer(NamedTuple):
    """A question and its answer by the run."""

    question: str
    main: str
    detail: str


def answers(manifest: Manifest, results: Results, boards: Sequence[Leaderboard]) -> list[Answer]:
    """Return the questions that a run answers, with their answers.

    Args:
        manifest: the manifest of the run.
        results: the analysis of the run.
        boards: the leaderboards of the run.
    """
    findings = []
    metric = _answering(manifest, results, boards)
    cells = [cell for cell in results.leaderboard if cell.metric == metric]
    best = [cell for cell in cells if is_best(cell)]
    if best:
        losers = {text for cell in best for text in cell.better_than}
        leaders = {cell.explainer for cell in best}
        others = [cell for cell in cells if cell.mean is not None and cell.explainer not in leaders]
        unbeaten = [cell for cell in others if cell.explainer not in losers]
        rest = [cell.explainer for cell in unbeaten if cell.rank is not None]
        n_ranked = best[0].rank_images
        by = "" if n_ranked in (None, best[0].n_scored) else f" over the {n_ranked} images that all ranked share"
        score = f"Best mean {metric}{by}, {number(best[0].mean)}{f' over its {best[0].n_scored}' if by else ''}."
        tied_with = f" Not significantly different on {best[0].n_scored} images: {', '.join(rest)}." if rest else ""
        beats = " Significantly better than every other." if others and not unbeaten else ""
        names = " and ".join(cell.explainer for cell in best)
        explainers, _ = _by_kind(manifest)
        if not set(explainers) & {cell.explainer for cell in best}:
            names = f"None: no mean is better than that of {names} (control)"
        findings.append(Answer("Which explainer?", names, score + tied_with + beats))
    choice = results.best_patch_size
    if choice is not None:
        stride = "" if choice.stride == choice.patch_size else f", stride {choice.stride}"
        variant = "".join(f", {part}" for part in (choice.variant.get(NAME), variant_text(choice.variant)) if part)
        decided = "" if choice.decided else " (undecided)"
        question = f"Which {swept_settings(results)} for {swept_name(manifest, results)}?"
        findings.append(Answer(question, f"{choice.patch_size} pixels{stride}{variant}{decided}", choice.reason))
    for shown in shown_sweeps(results):
        if shown.choice is not None:
            decided = "" if shown.choice.decided else " (undecided)"
            question = f"Which {shown.settings} for {shown.sweep.explainer}?"
            findings.append(Answer(question, f"{shown.recommended}{decided}", shown.choice.reason))
    controls = _compared_with_controls(manifest, results, metric) if best else None
    return [*findings, controls] if controls else findings


def _by_kind(manifest: Manifest) -> tuple[list[str], list[str]]:
    """Return the texts of the explainers without controls, and of the controls."""
    explainers = [explainer.text for explainer in manifest.explainers if not explainer.control]
    return explainers, [explainer.text for explainer in manifest.explainers if explainer.control]


def _answering(manifest: Manifest, results: Results, boards: Sequence[Leaderboard]) -> str:
    """Return the metric of the answers: the criterion, or else the first metric that scored anything."""
    scored = {cell.metric for cell in results.leaderboard if cell.mean is not None}
    columns = [column.metric for board in boards for column in board.columns if column.metric in scored]
    return next((text for text in columns if text == manifest.settings.criterion), next(iter(columns), ""))


def _compared_with_controls(manifest: Manifest, results: Results, metric: str) -> Answer | None:
    explainers, controls = _by_kind(manifest)
    if not explainers or not controls:
        return None
    cells = {cell.explainer: cell for cell in results.leaderboard if cell.metric == metric}
    beating = [text for text in explainers if set(controls) <= set(cells[text].better_than)]
    others = [text for text in explainers if text not in beating]
    which = "Significantly better" if beating else "None is significantly better"
    detail = f"{which} than all of {', '.join(sorted(controls))}, by {metric}."
    detail += f" Not significantly better: {', '.join(others)}." if others and beating else ""
    weak = {text: len(losers) for text, losers in results.not_beating_controls.items() if losers and text != metric}
    if weak:
        counts = ", ".join(f"{text} ({count})" for text, count in weak.items())
        detail += f" Number of explainers whose mean is not better than every control's: {counts}."
    return Answer("Do they beat the controls?", f"{len(beating)} of {len(explainers)} do", detail)
