"""``list models`` and ``list datasets``: a line an item, and the whole entry of one item."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.report.formats import OutputFormat
from evalkit.report.tables.component_list import ListItem, entry_lines, fact_lines, family_lines
from evalkit.report.tables.text_lines import wrapped

__all__ = ["ItemEntry", "render_item", "render_items"]

_GAP = "  "
_GOES_ON = " \\"


@dataclass(frozen=True)
class ItemEntry:
    """A model or a data format.

    Attributes:
        group: the group that it is listed in.
        item: its line.
        row: what csv, markdown and latex show, by column; the same for all items.
        facts: what only its entry shows, by name; empty if there is nothing more to say than the line.
        example: lines that show how it is used.
    """

    group: str
    item: ListItem
    row: Mapping[str, str | float | None]
    facts: Mapping[str, str] = field(default_factory=dict)
    example: str = ""


def render_items(
    title: str,
    groups: Mapping[str, str],
    entries: Sequence[ItemEntry],
    notes: Sequence[str],
    form: OutputFormat,
    *,
    width: int,
) -> str:
    """Return the items, by group.

    Args:
        title: the first line.
        groups: the title of each group, in order.
        entries: the items.
        notes: sentences behind the items.
        form: table, json (a list of objects), csv, markdown or latex.
        width: width of the terminal in columns; for the table only.
    """
    if form != "table":
        return _document(entries, form)
    lines = wrapped(title, width)
    lines += family_lines([(entry.group, entry.item) for entry in entries], groups, width)
    lines += [line for note in notes for line in wrapped(note, width)]
    return "\n".join(lines) + "\n"


def render_item(entry: ItemEntry, form: OutputFormat, *, width: int) -> str:
    """Return the whole entry of one item.

    Args:
        entry: the item.
        form: table, json (a list of objects), csv, markdown or latex.
        width: width of the terminal in columns; for the table only.
    """
    if form != "table":
        return _document([entry], form)
    lines = entry_lines(entry.item.name, entry.item.sentence, (), width)
    lines += fact_lines(entry.facts.items(), width)
    if entry.example:
        lines += ["", "example", *(part for line in entry.example.splitlines() for part in _example_lines(line, width))]
    return "\n".join(lines) + "\n"


def _example_lines(line: str, width: int) -> list[str]:
    """Return a line of an example; a command that is too long goes on behind backslashes, which a shell reads."""
    if not line.startswith("python "):
        return [f"{_GAP}{line}"]
    *parts, last = wrapped(line, width if len(_GAP) + len(line) <= width else width - len(_GOES_ON), _GAP, 2 * _GAP)
    return [*(part + _GOES_ON for part in parts), last]


def _document(entries: Sequence[ItemEntry], form: OutputFormat) -> str:
    if form == "json":
        rows = [
            {
                "name": entry.item.name,
                "group": entry.group,
                **entry.row,
                **entry.facts,
                "example": entry.example or None,
            }
            for entry in entries
        ]
        return json.dumps(rows, indent=2, allow_nan=False) + "\n"
    from evalkit.report.tables.listing import render_listing  # imports what the table does not need

    return render_listing(list(entries[0].row), [entry.row for entry in entries], form)
