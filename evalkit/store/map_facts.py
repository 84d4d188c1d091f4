"""The table ``map_facts`` of ``results.sqlite``: what is known of each map besides its values and its file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from evalkit.core.errors import StoreError
from evalkit.store.connection import Connection

__all__ = ["REPEATABILITY", "MapFactsRow", "MapFactsTable"]

REPEATABILITY = "repeatability"
"""The name of the rank correlation with a map of another seed, -1..1; NaN if it is not defined."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS map_facts (
    image_id TEXT NOT NULL, explainer TEXT NOT NULL,
    forward_passes REAL, backward_passes REAL,   -- NULL = the explainer's own number, which is the same for every map
    facts TEXT NOT NULL,                         -- other numbers by name, as JSON
    PRIMARY KEY (image_id, explainer)
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class MapFactsRow:
    """The facts of one map.

    Attributes:
        image_id: the id of the image.
        explainer: the explainer's text.
        forward_passes: the number of forward passes; None = the explainer's own, the same for every map.
        backward_passes: the number of backward passes; None likewise.
        values: other numbers by name; None = not defined.
    """

    image_id: str
    explainer: str
    forward_passes: float | None
    backward_passes: float | None
    values: Mapping[str, float | None]


class MapFactsTable:
    """The facts of the maps of a run folder. The databases of older runs have no such table, and so no facts.

    Args:
        connection: the connection to the file.
    """

    def __init__(self, connection: Connection) -> None:
        """See the class."""
        self._connection = connection

    def create(self) -> None:
        """Create the table if there is none."""
        self._connection.do(_SCHEMA)

    def put(self, rows: Iterable[MapFactsRow]) -> None:
        """Insert or replace facts."""
        self._connection.do_many(
            "INSERT OR REPLACE INTO map_facts VALUES (?, ?, ?, ?, ?)",
            [
                (
                    row.image_id,
                    row.explainer,
                    row.forward_passes,
                    row.backward_passes,
                    msgspec.json.encode(dict(row.values)).decode(),  # NaN becomes null
                )
                for row in rows
            ],
        )

    def of_image(self, image_id: str) -> dict[str, MapFactsRow]:
        """Return the facts of one image's maps, by explainer."""
        return {row.explainer: row for row in self._rows("WHERE image_id = ?", (image_id,))}

    def of_run(self) -> dict[str, list[MapFactsRow]]:
        """Return the facts of the maps of the current run, by explainer, in the order of its images."""
        facts: dict[str, list[MapFactsRow]] = {}
        for row in self._rows("JOIN images USING (image_id) WHERE position IS NOT NULL ORDER BY position", ()):
            facts.setdefault(row.explainer, []).append(row)
        return facts

    def delete(self, image_id: str, explainer: str | None = None) -> None:
        """Delete the facts of one map, or of all maps of an image."""
        self._connection.do(
            "DELETE FROM map_facts WHERE image_id = ? AND explainer = coalesce(?, explainer)", (image_id, explainer)
        )

    def _rows(self, condition: str, values: tuple[str, ...]) -> list[MapFactsRow]:
        if self._connection.row("SELECT 1 FROM sqlite_master WHERE name = 'map_facts'") is None:
            return []
        rows = self._connection.rows(
            f"SELECT image_id, explainer, forward_passes, backward_passes, facts FROM map_facts {condition}",  # noqa: S608
            values,
        )
        return [
            MapFactsRow(image_id, explainer, forward, backward, _numbers(text))
            for image_id, explainer, forward, backward, text in rows
        ]


def _numbers(text: str) -> dict[str, float | None]:
    try:
        return msgspec.json.decode(text, type=dict[str, float | None])
    except msgspec.DecodeError as error:
        raise StoreError("the facts of a map in results.sqlite are damaged; repeat the run with --fresh") from error
