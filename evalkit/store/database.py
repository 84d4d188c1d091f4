"""``results.sqlite``: every cell (image, explainer, metric), committed image by image.

``scores`` is for everyone to read: ``image_id, explainer, metric, value, reason``. ``value`` NULL with a reason means
not scored; dataset-level metrics have neither, but ``statistics``, the float64 numbers that the image adds to the set.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import StoreError
from evalkit.store.scores import ScoreTable

__all__ = ["SCHEMA_VERSION", "Database", "ImageRow", "MapRow", "ScoreRow"]

SCHEMA_VERSION = 2

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE images (
    image_id TEXT PRIMARY KEY,
    position INTEGER,            -- place in the current run; NULL = not part of it
    class_index INTEGER, label TEXT,
    size_bytes INTEGER, mtime_ns INTEGER, truth TEXT, sha256 TEXT,
    problem TEXT,                -- why the photo cannot be used; NULL = it can
    target INTEGER, predicted INTEGER, clean_score REAL,
    place TEXT,                  -- digest of where the object is in the photo; empty = not known
    object_share REAL            -- of the image, taken by its largest box; NULL = no region
) WITHOUT ROWID;
CREATE TABLE maps (
    image_id TEXT NOT NULL, explainer TEXT NOT NULL, key TEXT NOT NULL,
    file TEXT NOT NULL, sha256 TEXT NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (image_id, explainer)
) WITHOUT ROWID;
CREATE TABLE scores (
    image_id TEXT NOT NULL, explainer TEXT NOT NULL, metric TEXT NOT NULL,
    value REAL, reason TEXT, statistics BLOB, key TEXT NOT NULL,
    PRIMARY KEY (image_id, explainer, metric)
) WITHOUT ROWID;
"""


# Beside the schema, whose version it leaves alone: a run without the table, or with it, is read all the same.
_CURVES = """
CREATE TABLE IF NOT EXISTS curves (
    image_id TEXT NOT NULL, explainer TEXT NOT NULL, metric TEXT NOT NULL,
    points BLOB NOT NULL,        -- float64, little-endian: the shares of the pixels turned, then the scores there
    PRIMARY KEY (image_id, explainer, metric)
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class ImageRow:
    """What is known of one image."""

    image_id: str
    position: int | None
    class_index: int
    label: str
    size_bytes: int
    mtime_ns: int
    truth: str
    sha256: str
    problem: str | None
    target: int | None = None
    predicted: int | None = None
    clean_score: float | None = None
    place: str | None = None
    object_share: float | None = None


@dataclass(frozen=True)
class MapRow:
    """One stored map."""

    image_id: str
    explainer: str
    key: str
    file: str
    sha256: str
    seconds: float


@dataclass(frozen=True, eq=False)
class ScoreRow:
    """One cell."""

    image_id: str
    explainer: str
    metric: str
    value: float | None
    reason: str | None
    statistics: NDArray[np.float64] | None
    key: str
    curve: NDArray[np.float64] | None = None  # (2, S)


def _to_read(path: Path) -> sqlite3.Connection:
    """Open to look only; a finished database in a folder that cannot be written needs no journal beside it."""
    alone = not path.with_name(f"{path.name}-wal").exists() and not os.access(path.parent, os.W_OK)
    address = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
    return sqlite3.connect(address, uri=True, isolation_level=None)


def is_results_database(path: Path) -> bool:
    """Tell whether evalkit made this database, of whatever schema version; changes nothing."""
    if not path.is_file():
        return False
    try:
        connection = _to_read(path)
        try:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            found = (
                "meta" in tables and connection.execute("SELECT 1 FROM meta WHERE key = 'schema_version'").fetchone()
            )
        finally:
            connection.close()
    except sqlite3.Error:
        return False
    return bool(found) or not tables


class Database:
    """The results of one run folder.

    Args:
        path: the file; made with its tables if it is not there and ``create`` is set.
        create: open for writing.

    Raises:
        StoreError: not an evalkit database, one of another schema version, or one that cannot be opened.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """See the class."""
        self.path = path
        self._writing = create
        try:
            if create:
                self._connection = sqlite3.connect(path, isolation_level=None)
                self._connection.execute("PRAGMA synchronous=FULL")
            else:
                self._connection = _to_read(path)
            self._prepare(create)
            if create:
                self._connection.execute(_CURVES)
                # Others may look on while a run is written.
                self._connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.Error as error:
            what_next = "start over with --fresh" if create else "repeat the command that made the run"
            raise StoreError(f"'{path}' cannot be used as a results database: {error}; {what_next}") from error

    def _prepare(self, create: bool) -> None:
        tables = {row[0] for row in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables and create:
            # One statement after another: executescript would commit between them.
            with self:
                for statement in _SCHEMA.split(";\n"):
                    self._connection.execute(statement)
                self._connection.execute("INSERT INTO meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),))
            return
        if "meta" not in tables:
            raise StoreError(f"'{self.path}' is not an evalkit results database; start over with --fresh")
        found = self._connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
        if found is None or found[0] != str(SCHEMA_VERSION):
            version = None if found is None else found[0]
            raise StoreError(
                f"'{self.path}' has schema version {version}, this evalkit reads {SCHEMA_VERSION}; "
                "use the evalkit that wrote it, or start over with --fresh"
            )

    def __enter__(self) -> Self:
        """Begin one transaction."""
        self._connection.execute("BEGIN IMMEDIATE")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, or take everything back if an exception passes."""
        if kind is None:
            self._connection.execute("COMMIT")
        else:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file; what was written stands in it alone, so that it can be read where nothing can be written."""
        if self._writing:
            with contextlib.suppress(sqlite3.Error):  # somebody is looking on: the journal stays
                self._connection.execute("PRAGMA journal_mode=DELETE")
        self._connection.close()

    def revision(self) -> str:
        """Return a token that changes with every change of the scores."""
        found = self._connection.execute("SELECT value FROM meta WHERE key = 'revision'").fetchone()
        return "" if found is None else str(found[0])

    def touch(self) -> None:
        """Take a new revision; call inside every transaction that changes what analysis reads."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('revision', ?)", (secrets.token_hex(16),))

    def images(self) -> dict[str, ImageRow]:
        """Return every image ever seen, by id."""
        columns = ", ".join(ImageRow.__dataclass_fields__)
        rows = self._connection.execute(f"SELECT {columns} FROM images")  # noqa: S608 - our own column names
        return {row[0]: ImageRow(*row) for row in rows}

    def plan_images(self, rows: Sequence[ImageRow]) -> None:
        """Make exactly these images the current run, in this order; what is known of others stays."""
        self._connection.execute("UPDATE images SET position = NULL")
        self.put_images(rows)

    def put_images(self, rows: Iterable[ImageRow]) -> None:
        """Insert or replace images."""
        columns = list(ImageRow.__dataclass_fields__)
        self._connection.executemany(
            f"INSERT OR REPLACE INTO images ({', '.join(columns)}) "  # noqa: S608 - our own column names
            f"VALUES ({', '.join('?' * len(columns))})",
            [tuple(getattr(row, column) for column in columns) for row in rows],
        )

    def drop_cells(self, image_id: str) -> None:
        """Forget every map and score of one image: it is not the image it was."""
        self._connection.execute("DELETE FROM scores WHERE image_id = ?", (image_id,))
        self._connection.execute("DELETE FROM maps WHERE image_id = ?", (image_id,))
        self._connection.execute("DELETE FROM curves WHERE image_id = ?", (image_id,))

    def maps_of(self, image_id: str) -> dict[str, MapRow]:
        """Return the maps of one image, by explainer."""
        rows = self._connection.execute(
            "SELECT image_id, explainer, key, file, sha256, seconds FROM maps WHERE image_id = ?", (image_id,)
        )
        return {row[1]: MapRow(*row) for row in rows}

    def score_keys_of(self, image_id: str) -> dict[tuple[str, str], str]:
        """Return the keys of one image's cells, by (explainer, metric)."""
        rows = self._connection.execute("SELECT explainer, metric, key FROM scores WHERE image_id = ?", (image_id,))
        return {(explainer, metric): key for explainer, metric, key in rows}

    def put_maps(self, rows: Iterable[MapRow]) -> None:
        """Insert or replace maps."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO maps VALUES (?, ?, ?, ?, ?, ?)",
            [(row.image_id, row.explainer, row.key, row.file, row.sha256, row.seconds) for row in rows],
        )

    def put_scores(self, rows: Sequence[ScoreRow]) -> None:
        """Insert or replace cells, and their curves."""
        self._connection.executemany(
            "DELETE FROM curves WHERE image_id = ? AND explainer = ? AND metric = ?",
            [(row.image_id, row.explainer, row.metric) for row in rows],
        )
        self._connection.executemany(
            "INSERT INTO curves VALUES (?, ?, ?, ?)",
            [
                (row.image_id, row.explainer, row.metric, row.curve.astype("<f8").tobytes())
                for row in rows
                if row.curve is not None
            ],
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    row.image_id,
                    row.explainer,
                    row.metric,
                    row.value,
                    row.reason,
                    None if row.statistics is None else row.statistics.astype("<f8").tobytes(),
                    row.key,
                )
                for row in rows
            ],
        )

    def curves(self, explainer: str, metric: str) -> dict[str, NDArray[np.float64]]:
        """Return the curves of an explainer under a metric, by image id: float64 (2, S), shares turned and scores.

        A run that was made before curves were kept has none.
        """
        known = self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'curves'").fetchone()
        if not known:
            return {}
        rows = self._connection.execute(
            "SELECT image_id, points FROM curves WHERE explainer = ? AND metric = ?", (explainer, metric)
        )
        return {image_id: np.frombuffer(points, dtype="<f8").reshape(2, -1) for image_id, points in rows}

    def planned_images(self) -> list[ImageRow]:
        """Return the images of the current run, in its order."""
        rows = [row for row in self.images().values() if row.position is not None]
        return sorted(rows, key=lambda row: row.position or 0)

    def map_costs(self) -> dict[str, tuple[int, float]]:
        """Return, by explainer, how many maps of the current run there are and the seconds they took."""
        rows = self._connection.execute(
            "SELECT explainer, count(*), sum(seconds) FROM maps JOIN images USING (image_id) "
            "WHERE position IS NOT NULL GROUP BY explainer"
        )
        return {explainer: (count, seconds) for explainer, count, seconds in rows}

    def table(self, explainers: Sequence[str], metrics: Sequence[str]) -> ScoreTable:
        """Return the scores of the current run.

        Args:
            explainers: texts wanted, in the order wanted.
            metrics: texts wanted, in the order wanted.
        """
        images = self.planned_images()
        ids = [row.image_id for row in images]
        image_at = {image_id: index for index, image_id in enumerate(ids)}
        explainer_at = {text: index for index, text in enumerate(explainers)}
        metric_at = {text: index for index, text in enumerate(metrics)}
        values = np.full((len(ids), len(explainers), len(metrics)), np.nan)
        statistics: dict[str, NDArray[np.float64]] = {}
        reasons: dict[tuple[str, str], dict[str, int]] = {}
        rows = self._connection.execute("SELECT image_id, explainer, metric, value, reason, statistics FROM scores")
        for image_id, explainer, metric, value, reason, blob in rows:
            if image_id not in image_at or explainer not in explainer_at or metric not in metric_at:
                continue
            at = image_at[image_id], explainer_at[explainer], metric_at[metric]
            if value is not None:
                values[at] = value
            if blob is not None:
                numbers = np.frombuffer(blob, dtype="<f8")
                if metric not in statistics:
                    statistics[metric] = np.full((len(ids), len(explainers), len(numbers)), np.nan)
                statistics[metric][at[:2]] = numbers
            if reason is not None:
                counts = reasons.setdefault((explainer, metric), {})
                counts[reason] = counts.get(reason, 0) + 1
        return ScoreTable(
            image_ids=tuple(ids),
            explainers=tuple(explainers),
            metrics=tuple(metrics),
            values=values,
            statistics=_frozen(statistics),
            reasons=reasons,
            object_shares=np.array([row.object_share for row in images], dtype=np.float64),
        )


def _frozen(statistics: Mapping[str, NDArray[np.float64]]) -> Mapping[str, NDArray[np.float64]]:
    for array in statistics.values():
        array.flags.writeable = False
    return statistics
