"""The table of docs/models.md: what works on every kind, and what is left out and why."""

from __future__ import annotations

import os
import re
from pathlib import Path

from evalkit.core.errors import EvalkitError
from evalkit.explainers.catalog import EXPLAINERS, FAMILIES
from tests.cheap_explainers import cheap_explainer

__all__ = ["documented_section", "explainers_of", "section", "write_section"]

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "models.md"
HEADING = "## What works"
INTRODUCTION = """\
Small random models of every kind, as `tests/zoo` builds them. Class scores, Grad-CAM and occlusion are compared with
the same computed by hand on the model itself. Of the explainers that are not left out, all are run on five kinds, and
on the others one of those that use the model alike. *Left out* are those that do not start, with the reason; `run` says
it too. Metrics need only scores, so all of them work on every kind; so do the controls.
"""


def explainers_of(classifier, patch_size):
    """Return the explainers that start on a model, and the names of the others with the reason in words."""
    works, left_out = [], {}
    for name in EXPLAINERS.names():
        explainer = cheap_explainer(name, patch_size)
        if explainer.control:
            continue
        try:
            explainer.check(classifier)
            works.append(explainer)
        except EvalkitError as error:
            left_out[name] = _reason(str(error))
    return works, left_out


def _reason(message):
    """Return why an explainer is left out, without names that Keras counts, and without the advice."""
    words = message.removeprefix(message.partition(" ")[0]).strip() if ":" in message.partition(" ")[0] else message
    words = words.partition(";")[0]
    words = re.sub(r"^(model '[^']*' )", "", words)
    words = re.sub(r"model '[^']*'", "the model", words)
    return re.sub(r"'([a-z0-9_]+?)(?:_[0-9]+)?'", r"`\1`", words)


def section(rows):
    """Return the section of the page.

    Args:
        rows: for each kind its text, its head, and the names of the explainers that are left out with the reason.
    """
    reasons = list(dict.fromkeys(reason for *_, left_out in rows for reason in left_out.values()))
    lines = ["| Kind | Head found | Left out |", "|---|---|---|"]
    for text, head, left_out in rows:
        without = ", ".join(f"{name} ({reasons.index(reason) + 1})" for name, reason in _by_family(left_out).items())
        lines.append(f"| {text} | {head} | {without or 'none'} |")
    why = [f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)]
    return "\n".join([HEADING, "", INTRODUCTION, *lines, "", "Why they are left out:", "", *why, ""])


def _by_family(left_out):
    """Return the reasons, under the word of a family where all its members have the same."""
    short = dict(left_out)
    for word, members in FAMILIES.items():
        if len({left_out.get(name) for name in members}) == 1 and members[0] in left_out:
            at = list(short).index(members[0])
            kept = [(name, reason) for name, reason in short.items() if name not in members]
            short = dict([*kept[:at], (f"all of {word}", left_out[members[0]]), *kept[at:]])
    return short


def _split(page):
    """Return the page before the section, the section, and the page after it."""
    before, found, rest = page.partition(HEADING)
    body, following, after = rest.partition("\n## ")
    return before, found + body, following.lstrip("\n") + after


def documented_section():
    """Return the section as documented."""
    return _split(PAGE.read_text(encoding="utf-8"))[1].rstrip("\n") + "\n"


def write_section(text):
    """Write the section into the page if ``EVALKIT_WRITE_TABLE`` is set."""
    if os.environ.get("EVALKIT_WRITE_TABLE"):
        before, _, after = _split(PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Models\n\n")
        PAGE.write_text(f"{before}{text}{chr(10) + after if after else ''}", encoding="utf-8")
