"""The gate's verdicts as JUnit XML for CI systems."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from evalkit.analysis.gate.results import Gate, GateCell
from evalkit.report.gate.sentences import all_drifts, change_of, drifts, inconclusive, losses, recommendation

__all__ = ["refused_junit", "render_junit"]

_FORBIDDEN = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


def render_junit(gate: Gate) -> str:
    """Return one test suite: a test case for every explainer and metric, and one for every explainer's maps.

    Regressed is a failure, not comparable an error, inconclusive is skipped; changed maps pass with a note, unless the
    gate fails on them; all other cases pass. Notes on the whole run are the suite's output.

    Args:
        gate: the results, from ``check_against``.
    """
    suite = ElementTree.Element("testsuite", name="evalkit")
    for cell in gate.cells:
        _case(suite, (cell.metric, cell.explainer), _outcome(cell, gate.fails_on), f"{cell.verdict}: {change_of(cell)}")
    for drift, sentence in zip(gate.drift, all_drifts(gate), strict=True):
        failed = ("failure", "maps changed") if drift.changed and "map drift" in gate.fails_on else None
        _case(suite, ("maps", drift.explainer), failed, sentence)
    lines = [
        gate.summary,
        *losses(gate),
        *drifts(gate),
        *recommendation(gate),
        *(f"Differs: {difference}." for difference in gate.differs),
    ]
    return _document(suite, "\n".join(lines))


def refused_junit(sentence: str) -> str:
    """Return one test suite with one error: the run cannot be compared with the baseline."""
    suite = ElementTree.Element("testsuite", name="evalkit")
    _case(suite, ("gate", "comparable"), ("error", sentence), sentence)
    return _document(suite, "")


def _document(suite: ElementTree.Element, output: str) -> str:
    for plural, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(plural, str(len(suite.findall(f"testcase/{kind}"))))
    suite.set("tests", str(len(suite)))
    ElementTree.SubElement(suite, "system-out").text = _legal(output)
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, names: tuple[str, str], outcome: tuple[str, str] | None, details: str) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=_legal(f"evalkit.{names[0]}"), name=_legal(names[1]))
    if outcome is None:
        ElementTree.SubElement(case, "system-out").text = _legal(details)
    else:
        ElementTree.SubElement(case, outcome[0], message=_legal(outcome[1])).text = _legal(details)


def _outcome(cell: GateCell, fails_on: Sequence[str]) -> tuple[str, str] | None:
    if cell.verdict == "regressed":
        return "failure", f"regressed: worse by {-(cell.change or 0):.3f}, accepted {cell.tolerance:.3g}"
    if cell.verdict == "not comparable":
        return "error", f"not comparable: {cell.reason}"
    if cell.verdict == "inconclusive":
        return "failure" if "inconclusive" in fails_on else "skipped", f"inconclusive: {inconclusive(cell)}"
    return None


def _legal(text: str) -> str:
    """Replace characters that XML forbids."""
    return _FORBIDDEN.sub("\ufffd", text)
