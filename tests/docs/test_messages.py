"""The messages that docs/troubleshooting.md quotes are those of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^> `+ ?evalkit: (.+?) ?`+$", PAGE, re.MULTILINE)
REASONS = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def texts():
    """Every text in the code as a pattern, with anything where a value goes."""
    folders = [ROOT / "evalkit", ROOT / "metrics", ROOT / "datasets"]
    found = set()
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            words = [part.value if isinstance(part, ast.Constant) else None for part in parts]
            if all(word is None or isinstance(word, str) for word in words) and literal(words) >= len("no region"):
                found.add(tuple(words))
    return {words: "".join(".*" if word is None else re.escape(word) for word in words) for words in found}


def literal(words):
    return sum(len(word) for word in words if word is not None)


@pytest.mark.parametrize("message", MESSAGES)
def test_quoted_message_is_one_of_the_code(texts, message):
    likely = [words for words in texts if all(word in message for word in words if word is not None)]
    fitting = [words for words in likely if re.fullmatch(texts[words], message, re.DOTALL)]
    assert max(map(literal, fitting), default=0) >= len(re.sub(r"\.\.\.|'[^']*'", "", message)) * 0.6, message


@pytest.mark.parametrize("reason", REASONS)
def test_quoted_reason_is_one_of_the_code(texts, reason):
    assert (reason,) in texts


def test_page_quotes_messages():
    assert len(MESSAGES) > 20
    assert len(REASONS) > 5
