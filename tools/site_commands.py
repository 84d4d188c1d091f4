"""Hook of mkdocs: writes the help of every command into docs/command-line.md, from the command line itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from evalkit.cli.app import build_app

if TYPE_CHECKING:
    from mkdocs.structure.pages import Page

__all__ = ["command_reference", "on_page_markdown"]

_PAGE = "command-line.md"
_MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Return the page's text, with the help of all commands where the mark is."""
    if page.file.src_uri != _PAGE:
        return markdown
    if _MARK not in markdown:
        raise ValueError(f"docs/{_PAGE} lacks the line {_MARK}, where the help of the commands goes")
    return markdown.replace(_MARK, command_reference())


def command_reference() -> str:
    """Return the help of every command as Markdown, one heading a command."""
    text = build_app().generate_docs(output_format="markdown")
    commands = text[text.index("**Commands**") :]  # before it: the title, which the page has itself
    commands = re.sub(r"^(python -m evalkit \w+) -m \S+", r"\1", commands, flags=re.MULTILINE)  # of mkdocs, not evalkit
    return re.sub(r"^\* .*", lambda line: _escaped(line[0]), commands, flags=re.MULTILINE)


def _escaped(line: str) -> str:
    """Return a line whose help text is read as text, but for code and the emphasized facts at its end."""
    name, colon, text = line.partition("`: ")
    parts = re.split(r"(`[^`]*`|\*+\[[^\]]*\]\*+)", text)
    escaped = [part if number % 2 else re.sub(r"([*_<>\[\]\\])", r"\\\1", part) for number, part in enumerate(parts)]
    return name + colon + "".join(escaped)
