"""A run folder: ``manifest.json``, ``results.sqlite``, ``analysis.json``, ``maps/`` and ``report.html``."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from evalkit.core.errors import StoreError
from evalkit.store.database import Database, is_results_database
from evalkit.store.files import is_full, write_bytes
from evalkit.store.manifest import SCHEMA_VERSION, Manifest
from evalkit.store.maps import PARTIAL, remove_file

__all__ = ["MANIFEST", "REPORT", "RunFolder", "require_outside_runs", "writing"]

MANIFEST, REPORT = "manifest.json", "report.html"

_DATABASE, _ANALYSIS, _MAPS, _LOCK = "results.sqlite", "analysis.json", "maps", ".lock"
_JOURNALS = tuple(f"{_DATABASE}-{kind}" for kind in ("wal", "shm", "journal"))
_OWN = (MANIFEST, _DATABASE, *_JOURNALS, _ANALYSIS, REPORT, _LOCK)

# Errors of damaged JSON files; bytes that are not UTF-8 raise a plain ValueError.
_UNREADABLE = (OSError, ValueError, RecursionError, msgspec.MsgspecError)

R = TypeVar("R")


class RunFolder:
    """One run on disk, opened by ``read`` or ``write``; close it when done.

    Attributes:
        path: path of the folder.
        database: results of the run.
    """

    def __init__(self, path: Path, database: Database, lock: IO[str] | None) -> None:
        """Keep the path, database and lock that ``read`` or ``write`` opened."""
        self.path = path
        self.database = database
        self._lock = lock

    @classmethod
    def read(cls, path: Path) -> RunFolder:
        """Open an existing run to read.

        Raises:
            StoreError: the folder is not a run folder, or cannot be read.
        """
        if not (path / MANIFEST).is_file() or not (path / _DATABASE).is_file():
            raise StoreError(
                f"'{path}' is not a run folder: {MANIFEST} and {_DATABASE} are needed; "
                "create one with: python -m evalkit run --output DIR"
            )
        return cls(path, Database(path / _DATABASE), None)

    @classmethod
    def check_writable(cls, path: Path) -> None:
        """Raise StoreError if ``path`` contains other files than a run, or cannot be written; creates nothing."""
        if path.is_dir():
            own = (_LOCK, PARTIAL) if _only_partial_files(path / PARTIAL) else (_LOCK,)
            others = sorted(entry.name for entry in path.iterdir() if entry.name not in own)
            if others and not _is_run(path):
                raise StoreError(
                    f"--output '{path}' contains '{others[0]}' and is not a run folder; name a new or empty folder"
                )
        elif path.exists():
            raise StoreError(f"--output '{path}' is a file; name a folder")
        elif path.is_symlink():
            raise StoreError(f"--output '{path}' is a broken link; remove it, or name a folder")
        parent = path if path.exists() else next(up for up in path.absolute().parents if up.exists())
        if not parent.is_dir():
            raise StoreError(f"--output '{path}' cannot be created: '{parent}' is a file; name a folder")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise StoreError(f"--output '{path}' cannot be written: no permission in '{parent}'; name another folder")

    @classmethod
    def write(cls, path: Path, *, fresh: bool = False) -> RunFolder:
        """Open a run to write; create the folder if necessary.

        Args:
            path: path of the folder.
            fresh: whether to delete its earlier results; only files that evalkit wrote are removed.

        Raises:
            StoreError: as ``check_writable``; or another process is writing, or the database cannot be used.
        """
        cls.check_writable(path)
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            lock = _locked(path / _LOCK)
        try:
            if fresh:
                _clear(path)
            _clear_partial(path / PARTIAL)
            return cls(path, Database(path / _DATABASE, create=True), lock)
        except BaseException:
            lock.close()
            raise

    def close(self) -> None:
        """Close the database and release the lock."""
        self.database.close()
        with contextlib.suppress(OSError):  # it does not exist, or another process is writing
            (self.path / PARTIAL).rmdir()
        if self._lock is not None:
            self._lock.close()

    def move_to(self, path: Path) -> None:
        """Close the run and rename its folder, at once and as a whole.

        Args:
            path: the new path; nothing is there, or an empty folder.

        Raises:
            OSError: the folder cannot be renamed.
        """
        self.database.close()
        with contextlib.suppress(OSError):  # it does not exist
            (self.path / PARTIAL).rmdir()
        self.path.rename(path)
        self.path = path
        self.close()

    def read_manifest(self) -> Manifest:
        """Return the manifest.

        Raises:
            StoreError: the manifest is damaged or has another schema version.
        """
        return _decode(self.path / MANIFEST, Manifest)

    @staticmethod
    def manifest_at(path: Path) -> Manifest | None:
        """Return the manifest in a folder; None if it is missing or cannot be read."""
        try:
            return _decode(path / MANIFEST, Manifest)
        except StoreError:
            return None

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the manifest.

        Raises:
            StoreError: the file cannot be written.
        """
        with writing(self.path):
            write_bytes(self.path / MANIFEST, _pretty(manifest), by_way_of=self.path / PARTIAL)

    def read_analysis(self, kind: type[R], version: int) -> R | None:
        """Return the stored analysis if it belongs to the present scores and this version; else None."""
        try:
            raw = msgspec.json.decode((self.path / _ANALYSIS).read_bytes(), type=dict[str, msgspec.Raw])
            if msgspec.json.decode(raw["key"], type=str) != self.analysis_key(version):
                return None
            return msgspec.json.decode(raw["results"], type=kind)
        except (KeyError, *_UNREADABLE):
            return None

    def write_analysis(self, results: msgspec.Struct, key: str) -> None:
        """Store an analysis with the key of the scores that it was computed from."""
        data = msgspec.json.encode({"key": key, "results": results})
        write_bytes(self.path / _ANALYSIS, data, by_way_of=self.path / PARTIAL)

    def analysis_key(self, version: int) -> str:
        """Return the key of the present scores: everything that an analysis depends on."""
        manifest = self.read_manifest()
        return "|".join(
            [
                f"version {version}",
                self.database.revision(),
                manifest.signature.run,
                f"{manifest.settings.criterion} {manifest.settings.margin!r}",
                *manifest.metrics,
                *manifest.signature.explainers,
            ]
        )


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a system error while writing a run folder into a StoreError.

    Raises:
        StoreError: the disk is full, read-only or missing, or there is no permission.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            what_next = "free some space and repeat the command; the run continues where it stopped"
        else:
            what_next = "name another folder"
        raise StoreError(f"--output '{path}' cannot be written: {error.strerror or error}; {what_next}") from error


def _locked(path: Path) -> IO[str]:
    """Take the writer's lock; the system releases it when the process ends, for any reason."""
    # Never through a link, which may lead to a file of another program.
    lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        lock.close()
        raise StoreError(
            f"'{path.parent}' is being written by {holder}; wait for it, or name another --output"
        ) from error
    except OSError as error:
        lock.close()
        raise StoreError(
            f"--output '{path.parent}' cannot be locked: {error.strerror}; name a folder on a disk that has file locks"
        ) from error
    lock.seek(0)
    lock.truncate()
    lock.write(f"process {os.getpid()}, which began at {datetime.now(UTC).isoformat(sep=' ', timespec='seconds')}")
    lock.flush()
    return lock


def require_outside_runs(path: Path) -> None:
    """Raise StoreError if a file to be written would replace one of a run folder."""
    if path.name in _OWN and path.name != REPORT and _is_run(path.parent):
        raise StoreError(f"--output '{path}' is a file of the run folder '{path.parent}'; name another file")


def _is_run(path: Path) -> bool:
    """Return whether evalkit wrote this folder, by its database or, if that is missing, by its manifest."""
    if is_results_database(path / _DATABASE):
        return True
    try:
        fields = msgspec.json.decode((path / MANIFEST).read_bytes(), type=dict[str, msgspec.Raw])
    except _UNREADABLE:
        return False
    return {"schema_version", "signature", "explainers", "metrics"} <= set(fields)


def _clear(path: Path) -> None:
    """Remove the files that evalkit wrote, and no others."""
    for pattern in ("*.npz", "*/*.npy"):  # older runs have the second
        for file in (path / _MAPS).glob(pattern):
            remove_file(path, file.relative_to(path).as_posix())
    for folder in sorted((path / _MAPS).glob("**/"), reverse=True):
        with contextlib.suppress(OSError):  # it holds other files
            folder.rmdir()
    # Database or manifest exists at every moment, so a folder is still recognized as a run if the process is killed.
    for name in (_ANALYSIS, REPORT, *_JOURNALS):
        (path / name).unlink(missing_ok=True)
    database = path / _DATABASE
    if database.is_symlink():
        database.unlink()
    database.write_bytes(b"")
    (path / MANIFEST).unlink(missing_ok=True)


def _only_partial_files(folder: Path) -> bool:
    """Return whether a folder holds only files that were being written, whose names begin with a dot."""
    return not folder.is_dir() or all(file.name.startswith(".") and file.is_file() for file in folder.iterdir())


def _clear_partial(folder: Path) -> None:
    """Remove files that a killed process left behind."""
    if folder.is_dir() and not folder.is_symlink():
        for file in folder.glob(".*"):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds other files
            folder.rmdir()


def _decode(path: Path, kind: type[Manifest]) -> Manifest:
    try:
        data = path.read_bytes()
        version = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("schema_version")
        stored = None if version is None else msgspec.json.decode(version)
        if stored != SCHEMA_VERSION:
            raise StoreError(f"'{path}' has schema version {stored}, this evalkit reads {SCHEMA_VERSION}")
        return msgspec.json.decode(data, type=kind)
    except _UNREADABLE as error:
        raise StoreError(f"'{path}' is damaged: {error}; repeat the run into this folder to write it again") from error


def _pretty(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
