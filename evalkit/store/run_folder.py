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
from evalkit.store.maps import PARTIAL, is_map_name

__all__ = ["REPORT", "RunFolder", "require_outside_runs", "writing"]

REPORT = "report.html"

_MANIFEST, _DATABASE, _ANALYSIS, _MAPS, _LOCK = "manifest.json", "results.sqlite", "analysis.json", "maps", ".lock"
_JOURNALS = tuple(f"{_DATABASE}-{kind}" for kind in ("wal", "shm", "journal"))
_OWN = (_MANIFEST, _DATABASE, *_JOURNALS, _ANALYSIS, REPORT, _LOCK)

# What a damaged JSON file can raise: bytes that are no text are a plain ValueError.
_UNREADABLE = (OSError, ValueError, RecursionError, msgspec.MsgspecError)

R = TypeVar("R")


class RunFolder:
    """One run on disk. Open it with ``read`` to look, with ``write`` to compute; close it when done.

    Attributes:
        path: the folder.
        database: its results.
    """

    def __init__(self, path: Path, database: Database, lock: IO[str] | None) -> None:
        """Take what ``read`` and ``write`` have opened."""
        self.path = path
        self.database = database
        self._lock = lock

    @classmethod
    def read(cls, path: Path) -> RunFolder:
        """Open an existing run to look at.

        Raises:
            StoreError: there is no run, or it cannot be read.
        """
        if not (path / _MANIFEST).is_file() or not (path / _DATABASE).is_file():
            raise StoreError(
                f"'{path}' is not a run folder: {_MANIFEST} and {_DATABASE} are needed; "
                "make one with: python -m evalkit run --output DIR"
            )
        return cls(path, Database(path / _DATABASE), None)

    @classmethod
    def check_writable(cls, path: Path) -> None:
        """Raise StoreError if ``path`` is something else than a run folder, or cannot be made; makes nothing."""
        if path.is_dir():
            own = (_LOCK, PARTIAL) if _only_partial_files(path / PARTIAL) else (_LOCK,)
            found = sorted(entry.name for entry in path.iterdir() if entry.name not in own)
            if found and not _is_run(path):
                raise StoreError(
                    f"--output '{path}' holds '{found[0]}' and is no run folder; name a new or empty folder"
                )
        elif path.exists():
            raise StoreError(f"--output '{path}' is a file; name a folder")
        elif path.is_symlink():
            raise StoreError(f"--output '{path}' is a link that leads nowhere; remove it, or name a folder")
        parent = path if path.exists() else next(up for up in path.absolute().parents if up.exists())
        if not parent.is_dir():
            raise StoreError(f"--output '{path}' cannot be made: '{parent}' is a file; name a folder")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise StoreError(f"--output '{path}' cannot be written: no permission in '{parent}'; name another folder")

    @classmethod
    def write(cls, path: Path, *, fresh: bool = False) -> RunFolder:
        """Open a run to compute into, making the folder if need be.

        Args:
            path: the folder.
            fresh: forget what it holds; only files that evalkit wrote are removed.

        Raises:
            StoreError: see ``check_writable``; another process is writing; the database cannot be used.
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
        """Close the database and let others write."""
        self.database.close()
        with contextlib.suppress(OSError):  # not there, or somebody is writing
            (self.path / PARTIAL).rmdir()
        if self._lock is not None:
            self._lock.close()

    def read_manifest(self) -> Manifest:
        """Return the manifest.

        Raises:
            StoreError: it is damaged or of another schema version.
        """
        return _decode(self.path / _MANIFEST, Manifest)

    @staticmethod
    def manifest_at(path: Path) -> Manifest | None:
        """Return the manifest in a folder, whatever else it holds; None without one that can be read."""
        try:
            return _decode(path / _MANIFEST, Manifest)
        except StoreError:
            return None

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the manifest.

        Raises:
            StoreError: it cannot be written.
        """
        with writing(self.path):
            write_bytes(self.path / _MANIFEST, _pretty(manifest), by_way_of=self.path / PARTIAL)

    def read_analysis(self, kind: type[R], version: int) -> R | None:
        """Return the stored analysis if it was made of the scores as they are now, by this version; else None."""
        try:
            raw = msgspec.json.decode((self.path / _ANALYSIS).read_bytes(), type=dict[str, msgspec.Raw])
            if msgspec.json.decode(raw["key"], type=str) != self.analysis_key(version):
                return None
            return msgspec.json.decode(raw["results"], type=kind)
        except (KeyError, *_UNREADABLE):
            return None

    def write_analysis(self, results: msgspec.Struct, key: str) -> None:
        """Store an analysis of the scores that had this key when they were read."""
        data = msgspec.json.encode({"key": key, "results": results})
        write_bytes(self.path / _ANALYSIS, data, by_way_of=self.path / PARTIAL)

    def analysis_key(self, version: int) -> str:
        """Return what an analysis of the scores as they are now depends on."""
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
    """Turn what the system says of a run folder that cannot be written into a sentence.

    Raises:
        StoreError: the disk is full, read-only, gone, or there is no permission.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            what_next = "free some space and repeat the command, it goes on from here"
        else:
            what_next = "name another folder"
        raise StoreError(f"--output '{path}' cannot be written: {error.strerror or error}; {what_next}") from error


def _locked(path: Path) -> IO[str]:
    """Take the writer's lock; the system drops it when the process ends, however it ends."""
    # Never through a link: what it leads to is somebody else's.
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
    """Raise StoreError if a file to be written is one of a run folder's own."""
    if path.name in _OWN and path.name != REPORT and _is_run(path.parent):
        raise StoreError(f"--output '{path}' is a file of the run folder '{path.parent}'; name another file")


def _is_run(path: Path) -> bool:
    """Tell whether evalkit wrote this folder, by its database or, if that is lost, by its manifest."""
    if is_results_database(path / _DATABASE):
        return True
    try:
        known = msgspec.json.decode((path / _MANIFEST).read_bytes(), type=dict[str, msgspec.Raw])
    except _UNREADABLE:
        return False
    return {"schema_version", "signature", "explainers", "metrics"} <= set(known)


def _clear(path: Path) -> None:
    """Remove what evalkit wrote, and nothing else."""
    for saliency_map in (path / _MAPS).glob("*/*.npy"):
        within = saliency_map.resolve().parent.parent == (path / _MAPS).resolve()  # never through a link
        if within and is_map_name(saliency_map.name):
            saliency_map.unlink(missing_ok=True)
    for folder in sorted((path / _MAPS).glob("**/"), reverse=True):
        with contextlib.suppress(OSError):  # something else stands in it
            folder.rmdir()
    # At every moment something says that this is a run: one that is killed here can be cleared again.
    for name in (_ANALYSIS, REPORT, *_JOURNALS):
        (path / name).unlink(missing_ok=True)
    database = path / _DATABASE
    if database.is_symlink():
        database.unlink()
    database.write_bytes(b"")
    (path / _MANIFEST).unlink(missing_ok=True)


def _only_partial_files(folder: Path) -> bool:
    """Tell whether a folder holds nothing but files that were being written, which begin with a dot."""
    return not folder.is_dir() or all(one.name.startswith(".") and one.is_file() for one in folder.iterdir())


def _clear_partial(folder: Path) -> None:
    """Remove what a killed process left behind."""
    if folder.is_dir() and not folder.is_symlink():
        for file in folder.glob(".*"):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something else stands in it
            folder.rmdir()


def _decode(path: Path, kind: type[Manifest]) -> Manifest:
    try:
        data = path.read_bytes()
        version = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("schema_version")
        found = None if version is None else msgspec.json.decode(version)
        if found != SCHEMA_VERSION:
            raise StoreError(f"'{path}' has schema version {found}, this evalkit reads {SCHEMA_VERSION}")
        return msgspec.json.decode(data, type=kind)
    except _UNREADABLE as error:
        raise StoreError(f"'{path}' is damaged: {error}; repeat the run into it to write it anew") from error


def _pretty(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
