"""The gate in a GitHub workflow: annotations of the change, and the summary of the step."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from evalkit.analysis.gate.results import Gate
from evalkit.report.gate.sentences import drifts, failing, losses, recommendation
from evalkit.report.gate.table import render_gate

__all__ = ["refused", "step_summary", "workflow_commands"]

_SHOWN = 10  # GitHub shows ten annotations of each kind for a step


def workflow_commands(gate: Gate) -> str:
    """Return workflow commands, one a line: errors for failures, warnings for other changes, a notice of the summary.

    Source: GitHub's documentation, "Workflow commands for GitHub Actions", setting an error message.
    """
    failed = failing(gate)
    changes = [one for one in (*losses(gate), *drifts(gate), *recommendation(gate)) if one not in failed]
    lines = [*_commands("error", failed), *_commands("warning", changes), *_commands("notice", [gate.summary])]
    return "\n".join(lines) + "\n"


def refused(sentence: str) -> str:
    """Return the workflow command for a run that cannot be compared with the baseline."""
    return _commands("error", [sentence])[0] + "\n"


def step_summary(gate: Gate) -> str:
    """Return Markdown for the file that ``GITHUB_STEP_SUMMARY`` names."""
    return "# Explanations compared with the baseline\n\n" + render_gate(gate, "markdown", width=80, color=False)


def _commands(kind: str, sentences: Iterable[str]) -> list[str]:
    return [f"::{kind} title=evalkit::{_escaped(text)}" for text in islice(sentences, _SHOWN)]


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
