"""The first screen of a run on the terminal: at most 40 lines of 80 columns for a run with the default options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from rich.cells import cell_len
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from evalkit.analysis.results import LeaderboardCell, Results
from evalkit.report.tables.leaderboard import is_best, number, sanity_lines
from evalkit.report.tables.parameter_sweep import shown_sweeps
from evalkit.report.tables.region_drops import region_warnings
from evalkit.report.tables.rich_tables import print_to_text
from evalkit.report.tables.screen import Screen, ScreenRow, screen_of
from evalkit.report.tables.shortcut import SHORTCUTS, shortcut_lines
from evalkit.report.tables.sweep_tables import parameter_parts, patch_size_parts
from evalkit.report.tables.text_lines import named, wrapped
from evalkit.store.manifest import Manifest

__all__ = ["render_screen"]

_NARROWEST = 40
_SHORTEST_NAMES = 16
_LONGEST_TITLE = 14
_GUTTER = 2  # the mark of a row, and a space
_SECONDS = "s/image"
_LETTERS = "ABCDEFGH"


def render_screen(manifest: Manifest, results: Results, *, more: Sequence[str], width: int, color: bool) -> str:
    """Return the first screen as text.

    Args:
        manifest: the manifest of the run.
        results: the analysis of the run.
        more: the commands that show more, one a line.
        width: width of the terminal in columns.
        color: whether to use bold and dim text.
    """
    width = max(width, _NARROWEST)
    screen = screen_of(manifest, results)
    answers = [(answer.topic, answer.brief) for answer in screen.answers]
    blocks: list[list[RenderableType]] = [
        [*map(Text, wrapped(screen.about, width))],
        [Text(line) for line in named(answers, width, indent="")],
        _leaderboard(screen, width),
        [*map(Text, _sentences("Do maps depend on the model's weights?", sanity_lines(results), width))],
        [*map(Text, _sentences(SHORTCUTS, shortcut_lines(manifest, results), width))],
        [Text(line, no_wrap=True, overflow="ignore") for line in more],
    ]
    notes = [*screen.notes, *manifest.data.notes, *region_warnings(results)]
    blocks[2] += [Text(line) for note in notes for line in wrapped(note, width, hanging="  ")]
    blocks[3:3] = [
        patch_size_parts(manifest, results, width=width, only_criterion=True),
        *(parameter_parts(manifest, shown, width=width, only_criterion=True) for shown in shown_sweeps(results)),
    ]
    parts: list[RenderableType] = []
    for block in filter(None, blocks):
        # A table of a sweep begins with an empty line.
        parts += [*([Text("")] if parts and not isinstance(block[0], Padding) else []), *block]
    # A name or a command that is wider than the terminal is not broken.
    longest = max(cell_len(part.plain) for part in parts if isinstance(part, Text))
    return print_to_text(parts, width=max(width, longest), color=color)


def _sentences(title: str, lines: Sequence[str], width: int) -> list[str]:
    return [title, *(part for line in lines for part in wrapped(line, width, hanging="  "))] if lines else []


@dataclass(frozen=True)
class _Layout:
    """The columns of numbers of the leaderboard.

    Attributes:
        cells: by row, the text of each column; one more than the metrics: the seconds.
        titles: the title of each column.
        staggered: whether titles alternate between two lines.
        widths: width of each column, without the mark behind a number.
    """

    cells: Sequence[Sequence[str]]
    titles: Sequence[str]
    staggered: bool
    widths: Sequence[int]

    @property
    def needed(self) -> int:
        """The width of all columns: a space before each, a mark behind all but the last."""
        return sum(self.widths) + 2 * len(self.widths) - 1


def _leaderboard(screen: Screen, width: int) -> list[RenderableType]:
    if not screen.rows:
        return [Text("No image was scored.")]
    layout, room = _fitting(screen, width)
    header = _header(layout, room)
    lines: list[RenderableType] = [Text(line) for line in header]
    lines.append(Text("─" * (_GUTTER + room + layout.needed)))
    for row, cells in zip(screen.rows, layout.cells, strict=True):
        lines += _row_lines(row, cells, layout, room)
    lines += [Text(line) for note in [*screen.legend, *_keys(screen)] for line in wrapped(note, width)]
    return lines


def _fitting(screen: Screen, width: int) -> tuple[_Layout, int]:
    """Return the layout in which most names have room beside their numbers, and that room; the first of equals."""
    longest = max(cell_len("explainer"), *(cell_len(row.name) for row in screen.rows))
    best: tuple[_Layout, int] | None = None
    fewest = len(screen.rows) + 1
    for n_columns in range(len(screen.columns), 0, -1):
        for digits, staggered in ((3, False), (3, True), (2, False), (2, True)):
            layout = _layout(screen, n_columns, digits, staggered=staggered)
            room = min(longest, width - _GUTTER - layout.needed)
            overflowing = sum(not _fits(*row, layout, room) for row in zip(screen.rows, layout.cells, strict=True))
            if room >= min(longest, _SHORTEST_NAMES) and overflowing < fewest:
                best, fewest = (layout, room), overflowing
        if best:
            return best
    return layout, max(room, len("explainer"))


def _fits(row: ScreenRow, cells: Sequence[str], layout: _Layout, room: int) -> bool:
    """Return whether a name has room beside its numbers; it may use what the first number leaves of its column."""
    return cell_len(row.name) <= room + layout.widths[0] - len(cells[0])


def _layout(screen: Screen, n_columns: int, digits: int, *, staggered: bool) -> _Layout:
    """Return a layout of the first columns; ``digits`` are those of the ends of intervals."""
    cells = [
        [
            *(_number(cell, digits if not index else None) for index, cell in enumerate(row.cells[:n_columns])),
            number(row.seconds_per_image, 2),
        ]
        for row in screen.rows
    ]
    titles = [*_titles(screen)[:n_columns], _SECONDS]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if staggered:
        for index in range(len(titles)):  # a title may reach over the column before, not over the title before that
            room = sum(widths[max(index - 1, 0) : index + 1]) + (2 if index else 0)
            widths[index] += max(len(titles[index]) - room, 0)
    else:
        widths = [max(width, len(title)) for width, title in zip(widths, titles, strict=True)]
    return _Layout(cells, titles, staggered, widths)


def _number(cell: LeaderboardCell, digits: int | None) -> str:
    if digits is None or cell.ci_low is None or cell.ci_high is None:
        return number(cell.mean)
    return f"{number(cell.mean)} [{number(cell.ci_low, digits)}, {number(cell.ci_high, digits)}]"


def _titles(screen: Screen) -> list[str]:
    """Return the titles of the metrics, a letter for each that is too long."""
    return [
        f"{column.short if len(column.short) <= _LONGEST_TITLE else letter} {column.arrow}"
        for column, letter in zip(screen.columns, _LETTERS, strict=False)
    ]


def _keys(screen: Screen) -> list[str]:
    """Return what the letters of ``_titles`` stand for."""
    return [
        f"{letter} = {column.short}"
        for column, letter in zip(screen.columns, _LETTERS, strict=False)
        if len(column.short) > _LONGEST_TITLE
    ]


def _header(layout: _Layout, room: int) -> list[str]:
    """Return the line of titles; two lines if they are staggered, the last title in the second."""
    ends = _ends(layout, room)
    count = 2 if layout.staggered else 1
    lines = []
    for position in range(count):
        line = " " * _GUTTER + "explainer" if position == count - 1 else ""
        for index, (title, end) in enumerate(zip(layout.titles, ends, strict=True)):
            if (len(layout.titles) - 1 - index) % count == count - 1 - position:
                line = f"{line:<{end - len(title)}}{title}"
        lines.append(line)
    return lines


def _ends(layout: _Layout, room: int) -> list[int]:
    """Return where the numbers of each column end."""
    return [_GUTTER + room - 1 + end for end in accumulate(width + 2 for width in layout.widths)]


def _row_lines(row: ScreenRow, cells: Sequence[str], layout: _Layout, room: int) -> list[Text]:
    """Return a row; a name that has no room beside the numbers is in a line of its own."""
    style = "dim" if row.control else ""
    line = Text(f"{row.mark:<{_GUTTER}}", style=style)
    line.append(row.name)
    lines = [line]
    if not _fits(row, cells, layout, room):
        line = Text(style=style)
        lines.append(line)
    for index, (text, end) in enumerate(zip(cells, _ends(layout, room), strict=True)):
        is_metric = index < len(layout.widths) - 1
        line.append(" " * (end - len(text) - cell_len(line.plain)))
        line.append(text, style="bold" if is_metric and is_best(row.cells[index]) else "")
        line.append((row.cell_marks[index] or " ") if is_metric else "")
    for shown in lines:
        shown.no_wrap, shown.overflow = True, "ignore"
    return lines
