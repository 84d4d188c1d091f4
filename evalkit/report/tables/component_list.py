"""What the screens of ``list`` share: a line an item, and the whole entry of one item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evalkit.report.tables.text_lines import wrapped

__all__ = [
    "ListItem",
    "ParameterEntry",
    "cut",
    "entry_lines",
    "fact_lines",
    "family_lines",
    "item_lines",
    "parameter_details",
    "parameter_facts",
    "parameters_text",
]

_GAP = "  "
_DEEPER = "    "
_MORE = " ..."
_NARROWEST = 12  # columns for a sentence; with fewer it says nothing


@dataclass(frozen=True)
class ListItem:
    """One line of a list.

    Attributes:
        name: what users write; never broken.
        cells: short texts behind the name, as many for every item of a group.
        sentence: what it is.
        brief: the same in fewer words, where the sentence has no room; empty = the sentence is cut.
    """

    name: str
    cells: tuple[str, ...]
    sentence: str
    brief: str = ""


@dataclass(frozen=True)
class ParameterEntry:
    """One parameter of an explainer or a metric.

    Attributes:
        name: its name in specs.
        type: the values allowed, in words.
        default: the default value; None if ``is_required``, or if the default is no value.
        is_required: True if it has no default.
        meaning: what it is; empty if its class does not say.
        value: the value in the spec that is shown; None if there is none, or if it is no value.
        is_set: True if the spec sets it.
    """

    name: str
    type: str
    default: str | float | bool | None
    is_required: bool
    meaning: str
    value: str | float | bool | None = None
    is_set: bool = False

    @property
    def default_text(self) -> str:
        """The default in words."""
        return "required" if self.is_required else f"default {_literal(self.default)}"

    @property
    def text(self) -> str:
        """Type, value, default and meaning."""
        value = f"{_literal(self.value)} here, {self.default_text}" if self.is_set else self.default_text
        return f"{self.type}; {value}" + (f": {self.meaning}" if self.meaning else "")


def _literal(value: str | float | bool | None) -> str:
    """Return a value as specs write it."""
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def parameters_text(parameters: Iterable[ParameterEntry]) -> str:
    """Return the parameters with their values as a spec writes them; names alone where there is no value."""
    return ", ".join(
        one.name if one.is_required and not one.is_set else f"{one.name}={_literal(one.value)}" for one in parameters
    )


def parameter_details(parameters: Iterable[ParameterEntry]) -> list[dict[str, Any]]:
    """Return the parameters for JSON."""
    return [asdict(parameter) for parameter in parameters]


def parameter_facts(parameters: Sequence[ParameterEntry], width: int) -> list[str]:
    """Return the lines of the parameters behind the facts of an entry."""
    if not parameters:
        return ["", "It has no parameters."]
    return ["", "parameters", *fact_lines([(parameter.name, parameter.text) for parameter in parameters], width)]


def cut(sentence: str, room: int) -> str:
    """Return a sentence cut after a word, with three points where words are missing."""
    if len(sentence) <= room:
        return sentence
    words = sentence[: room - len(_MORE) + 1].rpartition(" ")[0].rstrip(" ,;:(-")
    return words + _MORE if words else ""


def item_lines(items: Sequence[ListItem], width: int) -> list[str]:
    """Return one line for each item: its name whole, its cells, and as much of its sentence as fits in words.

    Where the terminal has no room for the cells beside the names, they are in a second line.

    Args:
        items: the items of one group.
        width: width of the terminal in columns.
    """
    names = max(len(item.name) for item in items)
    widths = [max(map(len, column)) for column in zip(*(item.cells for item in items), strict=True)]
    cells = [_GAP.join(f"{cell:<{size}}" for cell, size in zip(item.cells, widths, strict=True)) for item in items]
    beside = len(_GAP) + names + len(_GAP) + max(len(text.rstrip()) for text in cells) <= width
    lines = []
    for item, text in zip(items, cells, strict=True):
        if not beside:
            lines += [f"{_GAP}{item.name}", *([f"{_DEEPER}{text.rstrip()}"] if text.strip() else [])]
            continue
        start = f"{_GAP}{item.name:<{names}}{_GAP}" + (f"{text}{_GAP}" if widths else "")
        lines.append((start + _fitting(item, width - len(start))).rstrip())
    return lines


def _fitting(item: ListItem, room: int) -> str:
    """Return the sentence, the brief one, or what fits of it."""
    if room < _NARROWEST:
        return ""
    return item.sentence if len(item.sentence) <= room else cut(item.brief or item.sentence, room)


def family_lines(items: Sequence[tuple[str, ListItem]], titles: Mapping[str, str], width: int) -> list[str]:
    """Return the lines of every family that has items, below its title.

    Args:
        items: the items, in order, each behind the word of its family.
        titles: the title of each family, in order; other families follow, named by their word alone.
        width: width of the terminal in columns.
    """
    lines: list[str] = []
    for family in dict.fromkeys([*titles, *(family for family, _ in items)]):
        members = [item for of, item in items if of == family]
        if members:
            title = f"{family}: {titles[family]}" if family in titles else family
            lines += [*wrapped(title, width, hanging=_GAP), *item_lines(members, width)]
    return lines


def entry_lines(name: str, summary: str, description: Iterable[str], width: int) -> list[str]:
    """Return the head of an entry: its name, its sentence, and the paragraphs of its documentation."""
    lines = [name, *wrapped(summary, width, _GAP)]
    for paragraph in description:
        lines += ["", *wrapped(paragraph, width, _GAP)]
    return [*lines, ""]


def fact_lines(rows: Iterable[tuple[str, str]], width: int) -> list[str]:
    """Return lines of names and of the texts beside them; below their name where a word has no room beside it."""
    rows = list(rows)
    longest = max((len(name) for name, _ in rows), default=0)
    lines: list[str] = []
    for name, text in rows:
        start = f"{_GAP}{name:<{longest}}{_GAP}"
        if any(len(start) + len(word) > width for word in text.split()):
            lines += [f"{_GAP}{name}", *wrapped(text, width, _DEEPER)]
        else:
            lines += wrapped(text, width, start, " " * len(start)) or [start.rstrip()]
    return lines
