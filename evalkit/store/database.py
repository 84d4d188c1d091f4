"""``results.sqlite``: all cells (image, explainer, metric), committed image by image; ``rows`` defines the tables."""

from __future__ import annotations

import contextlib
import gc
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import StoreError
from evalkit.store.cells import Cells
from evalkit.store.connection import Connection, is_results_database
from evalkit.store.copying import copy_planned
from evalkit.store.image_facts import ImageFactsTable
from evalkit.store.map_facts import MapFactsTable
from evalkit.store.rows import READ_VERSIONS, SCHEMA, SCHEMA_VERSION, ImageRow, MapRow, ScoreRow
from evalkit.store.scores import ScoreTable, unscored_photos
from evalkit.store.statistics import pack

__all__ = ["SCHEMA_VERSION", "Database", "ImageRow", "MapRow", "ScoreRow", "is_results_database"]


class Database:
    """The results of one run folder.

    Attributes:
        map_facts: the facts of its maps.
        image_facts: the facts of its images that need more than one pass.

    Args:
        path: path of the file.
        create: whether to open it for writing, and to create it with its tables if it does not exist.

    Raises:
        StoreError: the file is damaged, has another schema version, or was not written by evalkit.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open the file."""
        self.path = path
        self._connection = Connection(path, create=create)
        self.map_facts = MapFactsTable(self._connection)
        self.image_facts = ImageFactsTable(self._connection)
        try:
            self._prepare(create)
            if create:
                # Other processes may read while a run is written.
                self._connection.do("PRAGMA journal_mode=WAL")
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, create: bool) -> None:
        tables = {row[0] for row in self._connection.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables and create:
            # One statement at a time: executescript would commit between them.
            with self:
                for statement in SCHEMA.split(";\n"):
                    self._connection.do(statement)
                self._connection.do("INSERT INTO meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),))
                self.map_facts.create()
                self.image_facts.create()
            return
        if "meta" not in tables:
            raise StoreError(f"'{self.path}' is not an evalkit results database; start over with --fresh")
        row = self._connection.row("SELECT value FROM meta WHERE key = 'schema_version'")
        version = None if row is None else row[0]
        readable = [str(number) for number in READ_VERSIONS]
        if version not in readable:
            raise StoreError(
                f"'{self.path}' has schema version {version}, this evalkit reads {' and '.join(readable)}; "
                "use the evalkit that wrote it, or start over with --fresh"
            )
        if create:
            self._require_undamaged()
            with self:
                self._connection.do("UPDATE meta SET value = ? WHERE key = 'schema_version'", (str(SCHEMA_VERSION),))
                self.map_facts.create()
                self.image_facts.create()

    def _require_undamaged(self) -> None:
        """Check every page before a write; takes about a second for 100,000 cells."""
        result = [row[0] for row in self._connection.rows("PRAGMA quick_check(1)")]
        if result != ["ok"]:
            raise StoreError(f"'{self.path}' is damaged: {' '.join(result[0].split())}; start over with --fresh")

    def __enter__(self) -> Self:
        """Begin a transaction."""
        self._transaction = self._connection.transaction()
        self._transaction.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit the transaction, or roll it back after an exception."""
        self._transaction.__exit__(kind, error, trace)

    def require_there(self) -> None:
        """Raise StoreError if the file was removed or replaced."""
        self._connection.require_there()

    def snapshot(self) -> AbstractContextManager[None]:
        """Read the present state in all queries inside, even if another process writes meanwhile."""
        return self._connection.snapshot()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def revision(self) -> str:
        """Return a token that changes with every change of the scores."""
        row = self._connection.row("SELECT value FROM meta WHERE key = 'revision'")
        return "" if row is None else str(row[0])

    def touch(self) -> None:
        """Set a new revision; call it in every transaction that changes data that the analysis reads."""
        self._connection.do("INSERT OR REPLACE INTO meta VALUES ('revision', ?)", (secrets.token_hex(16),))

    def images(self) -> dict[str, ImageRow]:
        """Return all images of this and earlier runs in the folder, by id."""
        columns = ", ".join(ImageRow.__dataclass_fields__)
        rows = self._connection.rows(f"SELECT {columns} FROM images")  # noqa: S608 - our own column names
        return {row[0]: ImageRow(*row) for row in rows}

    def plan_images(self, rows: Sequence[ImageRow]) -> None:
        """Set the images of the current run, in this order; rows of other images stay."""
        self.clear_plan()
        self.put_images(rows)

    def put_images(self, rows: Iterable[ImageRow]) -> None:
        """Insert or replace images."""
        columns = list(ImageRow.__dataclass_fields__)
        self._connection.do_many(
            f"INSERT OR REPLACE INTO images ({', '.join(columns)}) "  # noqa: S608 - our own column names
            f"VALUES ({', '.join('?' * len(columns))})",
            [tuple(getattr(row, column) for column in columns) for row in rows],
        )

    def clear_plan(self) -> None:
        """Make the current run empty; the rows of its images stay."""
        self._connection.do("UPDATE images SET position = NULL")

    def take_images(self, other: Database) -> None:
        """Copy the images of another database's current run, with all that is stored of them, into this one."""
        copy_planned(other._connection, self._connection)

    def drop_cells(self, image_id: str) -> None:
        """Delete all maps, scores and facts of one image, because its photo or region has changed."""
        for table in ("scores", "maps", "curves"):
            self._connection.do(f"DELETE FROM {table} WHERE image_id = ?", (image_id,))  # noqa: S608 - our own names
        self.map_facts.delete(image_id)
        self.image_facts.delete(image_id)

    def maps_of(self, image_id: str) -> dict[str, MapRow]:
        """Return the maps of one image, by explainer."""
        columns = ", ".join(MapRow.__dataclass_fields__)
        rows = self._connection.rows(f"SELECT {columns} FROM maps WHERE image_id = ?", (image_id,))  # noqa: S608
        return {row[1]: MapRow(*row) for row in rows}

    def map_files(self) -> Iterator[tuple[str, int]]:
        """Yield path and size in bytes of every file of maps of the current run."""
        yield from self._connection.rows(
            "SELECT DISTINCT file, maps.size_bytes FROM maps JOIN images USING (image_id) "
            "WHERE position IS NOT NULL AND file != ''"
        )

    def images_with_maps(self) -> set[str]:
        """Return the ids of images of which a map is kept."""
        return {row[0] for row in self._connection.rows("SELECT DISTINCT image_id FROM maps WHERE file != ''")}

    def maps_in(self, files: Iterable[str]) -> list[tuple[str, str]]:
        """Return image id and explainer of every map of the current run that is in one of these files."""
        wanted = frozenset(files)
        rows = self._connection.rows(
            "SELECT image_id, explainer, file FROM maps JOIN images USING (image_id) WHERE position IS NOT NULL "
            "ORDER BY position, explainer"
        )
        return [(image_id, explainer) for image_id, explainer, file in rows if file in wanted]

    def drop_map(self, image_id: str, explainer: str) -> None:
        """Delete one map and its scores."""
        self._connection.do("DELETE FROM scores WHERE image_id = ? AND explainer = ?", (image_id, explainer))
        self._connection.do("DELETE FROM maps WHERE image_id = ? AND explainer = ?", (image_id, explainer))
        self._connection.do("DELETE FROM curves WHERE image_id = ? AND explainer = ?", (image_id, explainer))
        self.map_facts.delete(image_id, explainer)

    def score_keys_of(self, image_id: str) -> dict[tuple[str, str], str]:
        """Return the keys of one image's cells, by (explainer, metric)."""
        rows = self._connection.rows("SELECT explainer, metric, key FROM scores WHERE image_id = ?", (image_id,))
        return {(explainer, metric): key for explainer, metric, key in rows}

    def put_maps(self, rows: Iterable[MapRow]) -> None:
        """Insert or replace maps."""
        self._connection.do_many(
            "INSERT OR REPLACE INTO maps VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [astuple(row) for row in rows],
        )

    def put_scores(self, rows: Sequence[ScoreRow]) -> None:
        """Insert or replace cells and their curves."""
        self._connection.do_many(
            "DELETE FROM curves WHERE image_id = ? AND explainer = ? AND metric = ?",
            [(row.image_id, row.explainer, row.metric) for row in rows],
        )
        self._connection.do_many(
            "INSERT INTO curves VALUES (?, ?, ?, ?)",
            [
                (row.image_id, row.explainer, row.metric, row.curve.astype("<f8").tobytes())
                for row in rows
                if row.curve is not None
            ],
        )
        self._connection.do_many(
            "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    row.image_id,
                    row.explainer,
                    row.metric,
                    row.value,
                    row.reason,
                    None if row.statistics is None else pack(row.statistics),
                    row.key,
                )
                for row in rows
            ],
        )

    def curves(self, explainer: str, metric: str) -> dict[str, NDArray[np.float64]]:
        """Return the curves of an explainer and a metric by image id: float64 (2, S), pixel fractions and scores."""
        rows = self._connection.rows(
            "SELECT image_id, points FROM curves WHERE explainer = ? AND metric = ?", (explainer, metric)
        )
        return {image_id: self._numbers(points, "a curve", 2).reshape(2, -1) for image_id, points in rows}

    def _numbers(self, blob: bytes, noun: str, multiple_of: int = 1) -> NDArray[np.float64]:
        if not isinstance(blob, bytes) or not blob or len(blob) % (8 * multiple_of):
            raise self._damaged(noun)
        return np.frombuffer(blob, dtype="<f8")

    def _damaged(self, noun: str) -> StoreError:
        return StoreError(f"'{self.path}' is damaged: {noun} has the wrong length; repeat the run with --fresh")

    def planned_images(self) -> list[ImageRow]:
        """Return the images of the current run, in its order."""
        rows = [row for row in self.images().values() if row.position is not None]
        return sorted(rows, key=lambda row: row.position or 0)

    def map_costs(self) -> dict[str, tuple[int, float]]:
        """Return, by explainer, the number of maps of the current run and the seconds that they took."""
        rows = self._connection.rows(
            "SELECT explainer, count(*), sum(seconds) FROM maps JOIN images USING (image_id) "
            "WHERE position IS NOT NULL GROUP BY explainer"
        )
        return {explainer: (count, seconds) for explainer, count, seconds in rows}

    def rank_hashes(self, explainers: Sequence[str]) -> dict[str, list[str | None]]:
        """Return, by explainer, one rank hash per image of the current run, in its order; None if there is none."""
        index_of = {row.image_id: index for index, row in enumerate(self.planned_images())}
        hashes: dict[str, list[str | None]] = {text: [None] * len(index_of) for text in explainers}
        for image_id, explainer, value in self._connection.rows("SELECT image_id, explainer, rank_hash FROM maps"):
            if explainer in hashes and image_id in index_of:
                hashes[explainer][index_of[image_id]] = value
        return hashes

    def unscored(self) -> dict[tuple[str, str], dict[str, str]]:
        """Return, by (explainer, metric) and image id, the reason why a cell is not scored."""
        reasons: dict[tuple[str, str], dict[str, str]] = {}
        rows = self._connection.rows("SELECT image_id, explainer, metric, reason FROM scores WHERE reason IS NOT NULL")
        for image_id, explainer, metric, reason in rows:
            reasons.setdefault((explainer, metric), {})[image_id] = reason
        return reasons

    def table(self, explainers: Sequence[str], metrics: Sequence[str]) -> ScoreTable:
        """Return the scores of the current run.

        Args:
            explainers: specs of the explainers, in the order of the table.
            metrics: specs of the metrics, in the order of the table.
        """
        images = self.planned_images()
        ids = [row.image_id for row in images]
        photos = tuple(row.sha256 or f"id:{row.image_id}" for row in images)
        cells = Cells(ids, explainers, metrics)
        rows = self._connection.blocks("SELECT image_id, explainer, metric, value, reason, statistics FROM scores")
        with _without_collection():
            for block in rows:
                try:
                    cells.read(block)
                except ValueError as error:
                    raise self._damaged(f"a statistic of {error}") from error
        values, codes, code_of, statistics = cells.values, cells.codes, cells.code_of, cells.statistics
        counts = unscored_photos(codes, photos, len(code_of) - 1)
        reasons = {
            (explainers[cell[0]], metrics[cell[1]]): {
                str(reason): int(counts[cell][code - 1])
                for reason, code in code_of.items()
                if code > 0 and counts[cell][code - 1]
            }
            for cell in np.ndindex(counts.shape[:2])
            if counts[cell].any()
        }
        return ScoreTable(
            image_ids=tuple(ids),
            explainers=tuple(explainers),
            metrics=tuple(metrics),
            values=values,
            statistics=statistics,
            reasons=reasons,
            object_shares=np.array([row.object_share for row in images], dtype=np.float64),
            photos=photos,
        )


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Pause the search for cycles, which millions of rows, none of them in a cycle, make a third slower."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
