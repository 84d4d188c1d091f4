"""The table ``image_facts`` of ``results.sqlite``: numbers of each image that depend on no explainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from evalkit.core.errors import StoreError
from evalkit.store.connection import Connection

__all__ = ["DROP_INSIDE", "DROP_OUTSIDE", "ImageFactsRow", "ImageFactsTable"]

DROP_INSIDE, DROP_OUTSIDE = "drop_inside", "drop_outside"
"""Names of the drops of the target's score when the inside or the outside of the region shows the mean color, -1..1."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS image_facts (
    image_id TEXT PRIMARY KEY,
    key TEXT NOT NULL,                           -- what the numbers were found with
    facts TEXT NOT NULL                          -- numbers by name, as JSON; empty = none is defined for this image
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class ImageFactsRow:
    """The facts of one image.

    Attributes:
        image_id: the id of the image.
        key: the digest of what the numbers depend on.
        values: numbers by name; empty if none is defined for this image.
    """

    image_id: str
    key: str
    values: Mapping[str, float]


class ImageFactsTable:
    """The facts of the images of a run folder. The databases of older runs have no such table, and so no facts.

    Args:
        connection: the connection to the file.
    """

    def __init__(self, connection: Connection) -> None:
        """See the class."""
        self._connection = connection

    def create(self) -> None:
        """Create the table if there is none."""
        self._connection.do(_SCHEMA)

    def put(self, row: ImageFactsRow) -> None:
        """Insert or replace the facts of one image."""
        facts = msgspec.json.encode(dict(row.values)).decode()
        self._connection.do("INSERT OR REPLACE INTO image_facts VALUES (?, ?, ?)", (row.image_id, row.key, facts))

    def keys(self) -> dict[str, str]:
        """Return the key of every image's facts, by its id."""
        return {image_id: key for image_id, key, _ in self._rows("")}

    def of_run(self) -> dict[str, ImageFactsRow]:
        """Return the facts of the images of the current run, by id, in its order."""
        rows = self._rows("JOIN images USING (image_id) WHERE position IS NOT NULL ORDER BY position")
        return {image_id: ImageFactsRow(image_id, key, _numbers(facts)) for image_id, key, facts in rows}

    def delete(self, image_id: str) -> None:
        """Delete the facts of one image."""
        self._connection.do("DELETE FROM image_facts WHERE image_id = ?", (image_id,))

    def keep(self, key: str) -> None:
        """Delete all facts with another key."""
        self._connection.do("DELETE FROM image_facts WHERE key != ?", (key,))

    def _rows(self, condition: str) -> list[tuple[str, str, str]]:
        if self._connection.row("SELECT 1 FROM sqlite_master WHERE name = 'image_facts'") is None:
            return []
        return list(self._connection.rows(f"SELECT image_id, key, facts FROM image_facts {condition}"))  # noqa: S608


def _numbers(text: str) -> dict[str, float]:
    try:
        return msgspec.json.decode(text, type=dict[str, float])
    except msgspec.DecodeError as error:
        raise StoreError("the facts of an image in results.sqlite are damaged; repeat the run with --fresh") from error
