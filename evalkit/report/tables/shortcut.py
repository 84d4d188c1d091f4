"""Sentences on known cues: what the model uses, and what each explainer shows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evalkit.analysis.facts import metric_facts_of
from evalkit.analysis.results import LeaderboardCell, Results
from evalkit.report.tables.leaderboard import interval
from evalkit.store.manifest import Manifest, MetricFacts

__all__ = ["SHORTCUTS", "shortcut_document", "shortcut_lines"]

SHORTCUTS = "Shortcuts"
"""The title of the sentences."""

_FAMILY = "shortcut"


def shortcut_lines(manifest: Manifest, results: Results) -> list[str]:
    """Return one sentence on the model, one for each explainer, and how to read them; empty without known cues."""
    model, explainers = _sentences(manifest, results)
    lines = [model] if model else []
    lines += [f"{name}: {sentence}" for name, sentence in explainers.items()]
    if lines:
        lines += [facts.note for facts in _members(manifest) if facts.note]
    return lines


def shortcut_document(manifest: Manifest, results: Results) -> dict[str, object] | None:
    """Return the sentences for the JSON document; their numbers are in its ``shortcuts``; None without cues."""
    model, explainers = _sentences(manifest, results)
    if not (model or explainers):
        return None
    return {"model": model, "explainers": explainers, "notes": [one.note for one in _members(manifest) if one.note]}


def _sentences(manifest: Manifest, results: Results) -> tuple[str, dict[str, str]]:
    """Return the sentence on the model, empty if nothing was measured, and those on explainers by their text."""
    members = _members(manifest)
    cells = {(cell.explainer, cell.metric): cell for cell in results.shortcuts}
    if not cells:
        return "", {}
    of_model = [
        (facts, max((cells[one.text, facts.text] for one in manifest.explainers), key=lambda cell: cell.n_scored))
        for facts in members
        if facts.of_model
    ]
    said = _joined(of_model)
    explainers: dict[str, str] = {}
    for explainer in manifest.explainers:
        own = [(facts, cells[explainer.text, facts.text]) for facts in members if not facts.of_model]
        if sentence := _joined(own):
            explainers[explainer.text + (" (control)" if explainer.control else "")] = sentence
    return (f"{manifest.model.name}: {said}" if said else ""), explainers


def _members(manifest: Manifest) -> list[MetricFacts]:
    return [facts for facts in metric_facts_of(manifest) if facts.family == _FAMILY and facts.sentence]


def _joined(parts: Sequence[tuple[MetricFacts, LeaderboardCell]]) -> str:
    """Return the parts of a sentence of which there is a number; empty if there is none."""
    sentences = [facts.sentence.format_map(_numbers(facts, cell)) for facts, cell in parts if cell.mean is not None]
    return f"{'; '.join(sentences)}." if sentences else ""


def _numbers(facts: MetricFacts, cell: LeaderboardCell) -> Mapping[str, str]:
    return {"mean": _share(cell) if facts.binary else interval(cell), "n": f"{cell.n_scored}"}


def _share(cell: LeaderboardCell) -> str:
    """Return a share in percent with its interval, if it has one."""
    mean, low, high = (None if one is None else f"{100 * one:.0f}" for one in (cell.mean, cell.ci_low, cell.ci_high))
    return f"{mean} %" if low is None or high is None else f"{mean} % [{low}, {high}]"
