"""The table of docs/models.md: what works on every kind, and what is left out and why."""

from __future__ import annotations

import os
import re
from pathlib import Path

from evalkit.core.errors import EvalkitError
from evalkit.explainers.catalog import EXPLAINERS

__all__ = ["documented_section", "explainers_of", "section", "write_section"]

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "models.md"
HEADING = "## What works"
INTRODUCTION = """\
Small random models of every kind, as `tests/zoo` builds them. Class scores, Grad-CAM and occlusion are compared with
the same computed by hand on the model itself. *Left out* are explainers that do not start, with the reason; `run` says
it too. Metrics need only scores, so all of them work on every kind; so do the controls.
"""


def explainers_of(classifier, patch_size):
    """Return the explainers that start on a model, and the names of the others with the reason in words."""
    works, left_out = [], {}
    for name in EXPLAINERS.names():
        plain = EXPLAINERS.build(name)
        if plain.control:
            continue
        explainer = EXPLAINERS.build(f"{name}(patch_size={patch_size})") if hasattr(plain, "patch_size") else plain
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
        rows: for each kind its text, its head, the names of the explainers that work, and the others with the reason.
    """
    reasons = list(dict.fromkeys(reason for *_, left_out in rows for reason in left_out.values()))
    lines = ["| Kind | Head found | Explainers that work | Left out |", "|---|---|---|---|"]
    for text, head, works, left_out in rows:
        without = ", ".join(f"{name} ({reasons.index(reason) + 1})" for name, reason in left_out.items())
        lines.append(f"| {text} | {head} | {', '.join(works) if left_out else 'all'} | {without} |")
    why = [f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)]
    return "\n".join([HEADING, "", INTRODUCTION, *lines, "", "Why they are left out:", "", *why, ""])


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
