"""The tables of ``results.sqlite`` and their rows.

``scores`` is a public table: ``image_id, explainer, metric, value, reason``. ``value`` NULL with a reason means not
scored. Cells of dataset-level metrics have neither; ``statistics`` has what the image adds, see ``store/statistics``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["READ_VERSIONS", "SCHEMA", "SCHEMA_VERSION", "ImageRow", "MapRow", "ScoreRow"]

SCHEMA_VERSION = 6
READ_VERSIONS = (5, 6)
"""Version 5 has statistics as plain float64. It is read, and becomes version 6 when it is opened for writing."""

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE images (
    image_id TEXT PRIMARY KEY,
    position INTEGER,            -- place in the current run; NULL = not part of it
    class_index INTEGER, label TEXT,
    photo_file TEXT, size_bytes INTEGER, mtime_ns INTEGER, truth TEXT, sha256 TEXT,
    problem TEXT,                -- why the photo cannot be used; NULL = it can
    target INTEGER, predicted INTEGER, clean_score REAL,
    correct INTEGER,             -- whether the model's first choice is the label; NULL = not known
    place TEXT,                  -- digest of where the object is in the photo; empty = not known
    object_share REAL,           -- of the image, taken by its largest box; NULL = no region
    facts_key TEXT               -- what target, predicted, clean_score, correct and object_share were found with
) WITHOUT ROWID;
CREATE TABLE maps (
    image_id TEXT NOT NULL, explainer TEXT NOT NULL, key TEXT NOT NULL,
    file TEXT NOT NULL, sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL, seconds REAL NOT NULL,
    rank_hash TEXT,              -- see store/rank_hash.py; NULL = not finite
    PRIMARY KEY (image_id, explainer)
) WITHOUT ROWID;
CREATE TABLE scores (
    image_id TEXT NOT NULL, explainer TEXT NOT NULL, metric TEXT NOT NULL,
    value REAL, reason TEXT, statistics BLOB, key TEXT NOT NULL,
    PRIMARY KEY (image_id, explainer, metric)
) WITHOUT ROWID;
CREATE TABLE curves (
    image_id TEXT NOT NULL, explainer TEXT NOT NULL, metric TEXT NOT NULL,
    points BLOB NOT NULL,        -- float64, little-endian: the shares of the pixels turned, then the scores there
    PRIMARY KEY (image_id, explainer, metric)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class ImageRow:
    """One image; columns as in ``SCHEMA``."""

    image_id: str
    position: int | None
    class_index: int
    label: str
    photo_file: str  # absolute path; empty for images in memory
    size_bytes: int
    mtime_ns: int
    truth: str
    sha256: str
    problem: str | None
    target: int | None = None
    predicted: int | None = None
    clean_score: float | None = None
    correct: int | None = None
    place: str | None = None
    object_share: float | None = None
    facts_key: str | None = None


@dataclass(frozen=True)
class MapRow:
    """One stored map."""

    image_id: str
    explainer: str
    key: str
    file: str
    sha256: str
    size_bytes: int
    seconds: float
    rank_hash: str | None


@dataclass(frozen=True, eq=False)
class ScoreRow:
    """The score of one cell."""

    image_id: str
    explainer: str
    metric: str
    value: float | None
    reason: str | None
    statistics: NDArray[np.float64] | None
    key: str
    curve: NDArray[np.float64] | None = None  # (2, S)
