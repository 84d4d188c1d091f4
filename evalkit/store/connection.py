"""One SQLite file, opened to read or to write; every error is a StoreError with a message for the user."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from evalkit.core.errors import StoreError

__all__ = ["Connection", "is_results_database"]

_CANNOT_WRITE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_ROWS_AT_ONCE, _BLOCK_ROWS = 1000, 10_000


def _to_read(path: Path) -> sqlite3.Connection:
    """Open a file to read. In a read-only folder a finished database is opened without a journal."""
    alone = not path.with_name(f"{path.name}-wal").exists() and not os.access(path.parent, os.W_OK)
    address = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
    return sqlite3.connect(address, uri=True, isolation_level=None)


def _require_whole(path: Path) -> None:
    """Raise DatabaseError if the file is shorter than its header says: SQLite reads a cut last page as zeros.

    Source: SQLite's documentation, "Database File Format", sections 1.3.2 (page size) and 1.3.8 (size in pages).
    """
    journal = path.with_name(f"{path.name}-wal")
    if not path.is_file() or (journal.is_file() and journal.stat().st_size):
        return  # not created yet, or its newest pages are in the journal
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(32)
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    if size and (len(header) < 32 or not page or size % page or size < page * int.from_bytes(header[28:32], "big")):
        raise sqlite3.DatabaseError("the file is truncated")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_results_database(path: Path) -> bool:
    """Return whether evalkit created this database, with any schema version; changes nothing."""
    if not path.is_file():
        return False
    try:
        connection = _to_read(path)
        try:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            version = (
                "meta" in tables and connection.execute("SELECT 1 FROM meta WHERE key = 'schema_version'").fetchone()
            )
        finally:
            connection.close()
    except sqlite3.Error:
        return False
    return bool(version) or not tables


class Connection:
    """A SQLite connection whose errors are StoreErrors.

    Args:
        path: path of the file.
        create: whether to open it for writing, and to create it if it does not exist.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open the file."""
        self.path = path
        self._writing = create
        with self._errors():
            _require_whole(path)
            self._connection = sqlite3.connect(path, isolation_level=None) if create else _to_read(path)
            if create:
                self._connection.execute("PRAGMA synchronous=FULL")
        self._file: tuple[int, int] | None = None  # set at the first write, when SQLite creates the file

    def rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query's result.

        Raises:
            StoreError: the file is damaged, or cannot be read.
        """
        for block in self.blocks(query, values, _ROWS_AT_ONCE):
            yield from block

    def blocks(
        self, query: str, values: Sequence[Any] = (), size: int = _BLOCK_ROWS
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a query's result in blocks.

        Raises:
            StoreError: the file is damaged, or cannot be read.
        """
        with self._errors():
            cursor = self._connection.execute(query, values)
        while block := self._next_of(cursor, size):
            yield block

    def _next_of(self, cursor: sqlite3.Cursor, size: int) -> list[tuple[Any, ...]]:
        with self._errors():
            return cursor.fetchmany(size)

    def row(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query's result, or None."""
        return next(self.rows(query, values), None)

    def do(self, statement: str, values: Sequence[Any] = ()) -> None:
        """Execute one statement.

        Raises:
            StoreError: the file is damaged, or cannot be written.
        """
        with self._errors():
            self._connection.execute(statement, values)

    def do_many(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        """Execute one statement with each of many rows of values."""
        with self._errors():
            self._connection.executemany(statement, values)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all statements inside, or roll them back if an exception is raised.

        Raises:
            StoreError: the file was removed or replaced, so writes would be lost.
        """
        self.require_there()
        self.do("BEGIN IMMEDIATE")
        self._file = _identity(self.path)
        try:
            yield
            self.do("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # on a full disk SQLite has rolled back already
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read the same state of the file in all queries inside."""
        self.do("BEGIN")
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")  # nothing was written

    def close(self) -> None:
        """Close the file and remove the journal, so the file can be read on read-only media."""
        if self._writing:
            with contextlib.suppress(sqlite3.Error):  # another process reads the file: the journal stays
                self._connection.execute("PRAGMA journal_mode=DELETE")
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def require_there(self) -> None:
        """Raise StoreError if the file was removed or replaced."""
        if self._file is not None and _identity(self.path) != self._file:
            raise StoreError(f"'{self.path}' was removed or replaced by another process; repeat the command")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if self._writing and code in _CANNOT_WRITE:
                problem = "cannot be written"
                what_next = "check its disk and repeat the command; the run continues where it stopped"
            elif code in _BUSY:
                problem, what_next = "is in use", "try again"
            else:
                problem = "cannot be used as a results database"
                what_next = "start over with --fresh" if self._writing else "repeat the command that created the run"
            raise StoreError(f"'{self.path}' {problem}: {error}; {what_next}") from error
