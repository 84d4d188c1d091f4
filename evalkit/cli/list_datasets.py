"""The entries of ``list datasets``."""

from __future__ import annotations

from evalkit.core.errors import ConfigError, nearest
from evalkit.datasets.readers.base import Reader
from evalkit.datasets.readers.catalog import all_readers
from evalkit.report.tables.component_list import ListItem
from evalkit.report.tables.item_list import ItemEntry

__all__ = ["DATA_GROUPS", "data_entries", "data_entry"]

DATA_GROUPS = {"built-in": "named by --data", "files": "files and folders that --data names; the format is detected"}


def data_entries() -> list[ItemEntry]:
    """Return every format of labelled images."""
    return [_entry(reader) for reader in all_readers()]


def data_entry(given: str) -> ItemEntry:
    """Return the entry of one format.

    Raises:
        ConfigError: no such format, or parameters behind its name.
    """
    named = {entry.item.name: entry for entry in data_entries()}
    name = given.partition("(")[0].strip()
    if name not in named:
        raise ConfigError(f"list datasets: no format is called '{name}': {nearest(name.lower(), named)}")
    if name != given.strip():
        raise ConfigError(
            f"list datasets: '{given}' has parameters, which an entry does not show; write list datasets {name}"
        )
    return named[name]


def _entry(reader: Reader) -> ItemEntry:
    data = " ".join(reader.data.split())
    row = {"data": data, "format": reader.option or None, "what it is": reader.summary, "example": reader.example}
    facts = {"data": f"--data {data}"} | ({"format": f"--data-format {reader.option}"} if reader.option else {})
    item = ListItem(reader.name, (data,), reader.summary, reader.summary.partition(";")[0])
    return ItemEntry("files" if reader.option else "built-in", item, row, facts, reader.example)
