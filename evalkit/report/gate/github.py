"""The gate inside a GitHub workflow: annotations beside the change, and a summary of the step."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from evalkit.analysis.verdicts import Gate
from evalkit.report.gate.sentences import drifts, failing, losses, recommendation
from evalkit.report.gate.table import render_gate

__all__ = ["refused", "step_summary", "workflow_commands"]

_SHOWN = 10  # GitHub shows ten of a kind for a step


def workflow_commands(gate: Gate) -> str:
    """Return workflow commands, a line each: errors for what fails, warnings for what moved, a notice for the rest.

    Source: GitHub's documentation, "Workflow commands for GitHub Actions", setting an error message.
    """
    failed = failing(gate)
    moved = [one for one in (*losses(gate), *drifts(gate), *recommendation(gate)) if one not in failed]
    lines = [*_commands("error", failed), *_commands("warning", moved), *_commands("notice", [gate.summary])]
    return "\n".join(lines) + "\n"


def refused(sentence: str) -> str:
    """Return the workflow command for a run that cannot be held against the baseline at all."""
    return _commands("error", [sentence])[0] + "\n"


def step_summary(gate: Gate) -> str:
    """Return Markdown for the file that ``GITHUB_STEP_SUMMARY`` names."""
    return "# Explanations against the baseline\n\n" + render_gate(gate, "markdown", width=80, color=False)


def _commands(kind: str, sentences: Iterable[str]) -> list[str]:
    return [f"::{kind} title=evalkit::{_escaped(one)}" for one in islice(sentences, _SHOWN)]


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
