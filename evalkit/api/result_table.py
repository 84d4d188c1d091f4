"""Results as small tables that print, show in notebooks and become data frames; each row keeps its type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar, overload

import msgspec

from evalkit.report.frames import record_frame, to_pandas
from evalkit.report.tables.run_tables import ShownTable

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

__all__ = ["ResultTable"]

R = TypeVar("R", bound=msgspec.Struct)
_WIDTH = 120


class ResultTable(Sequence[R], Generic[R]):
    """Rows of results, in order: a sequence of records with attributes, which prints as a table.

    Attributes:
        records: the rows, as plain values.
    """

    def __init__(self, records: Sequence[R], kind: type[R], shown: Callable[[], ShownTable]) -> None:
        """Keep the rows.

        Args:
            records: the rows.
            kind: the type of the rows, which names the columns of a table without rows.
            shown: returns the table as texts, when it is printed.
        """
        self.records = tuple(records)
        self._kind = kind
        self._shown = shown

    def to_pandas(self) -> pd.DataFrame:
        """Return a pandas data frame: a column for each attribute; NaN or NA where there is no value.

        The scores of a sweep have four columns for each metric: its text, and ``ci_low``, ``ci_high`` and ``n_scored``
        behind it.

        Raises:
            ConfigError: pandas is not installed.
        """
        return to_pandas(record_frame(self.records, self._kind))

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[R, ...]: ...
    def __getitem__(self, index: int | slice) -> R | tuple[R, ...]:
        """Return a row, or a tuple of rows."""
        return self.records[index]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.records)

    def __iter__(self) -> Iterator[R]:
        """Iterate over the rows."""
        return iter(self.records)

    def __eq__(self, other: object) -> bool:
        """Return whether the other is a table or tuple of equal rows."""
        return self.records == (other.records if isinstance(other, ResultTable) else other)

    def __hash__(self) -> int:
        """Return a hash of the rows' number; rows may hold dictionaries."""
        return hash((self._kind, len(self.records)))

    def __repr__(self) -> str:
        """Return the table as text of at most 120 columns."""
        from rich.text import Text

        from evalkit.report.tables.rich_tables import print_to_text, titled_table

        shown = self._shown()
        table = titled_table(shown.title)
        for place, name in enumerate(shown.header):
            words = place < shown.words
            table.add_column(Text(name), justify="left" if words else "right", no_wrap=not words, overflow="fold")
        for row in shown.rows:
            table.add_row(*map(Text, row))
        parts: list[RenderableType] = [table, *map(Text, shown.notes)]
        return print_to_text(parts, width=_WIDTH, color=False).rstrip("\n")

    def _repr_html_(self) -> str:
        """Show the table in a notebook."""
        from evalkit.report.html.notebook import table_html

        return table_html(self._shown())
