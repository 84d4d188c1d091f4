"""One SQLite file: opened, asked and written to, with every error a sentence."""

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
_ROWS_AT_ONCE = 1000


def _to_read(path: Path) -> sqlite3.Connection:
    """Open to look only; a finished database in a folder that cannot be written needs no journal beside it."""
    alone = not path.with_name(f"{path.name}-wal").exists() and not os.access(path.parent, os.W_OK)
    address = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
    return sqlite3.connect(address, uri=True, isolation_level=None)


def _require_whole(path: Path) -> None:
    """Raise DatabaseError if the file is shorter than its header says: SQLite reads a cut last page as zeros.

    Source: SQLite's documentation, "Database File Format", sections 1.3.2 (page size) and 1.3.8 (size in pages).
    """
    journal = path.with_name(f"{path.name}-wal")
    if not path.is_file() or (journal.is_file() and journal.stat().st_size):
        return  # none yet, or its newest pages stand in the journal
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(32)
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    if size and (len(header) < 32 or not page or size % page or size < page * int.from_bytes(header[28:32], "big")):
        raise sqlite3.DatabaseError("the file is cut short")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


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


class Connection:
    """A SQLite connection whose errors are StoreErrors.

    Args:
        path: the file.
        create: open for writing, and make it if it is not there.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        """See the class."""
        self.path = path
        self._writing = create
        with self._errors():
            _require_whole(path)
            self._connection = sqlite3.connect(path, isolation_level=None) if create else _to_read(path)
            if create:
                self._connection.execute("PRAGMA synchronous=FULL")
        self._file: tuple[int, int] | None = None  # not before something is written: SQLite makes it then

    def rows(self, question: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of an answer.

        Raises:
            StoreError: the file is damaged, or cannot be read.
        """
        with self._errors():
            cursor = self._connection.execute(question, values)
        while found := self._next_of(cursor):
            yield from found

    def _next_of(self, cursor: sqlite3.Cursor) -> list[tuple[Any, ...]]:
        with self._errors():
            return cursor.fetchmany(_ROWS_AT_ONCE)

    def row(self, question: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row of an answer, or None."""
        return next(self.rows(question, values), None)

    def do(self, statement: str, values: Sequence[Any] = ()) -> None:
        """Carry out one statement.

        Raises:
            StoreError: the file is damaged, or cannot be written.
        """
        with self._errors():
            self._connection.execute(statement, values)

    def do_many(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        """Carry out one statement many times."""
        with self._errors():
            self._connection.executemany(statement, values)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside, or take all of it back if an exception passes.

        Raises:
            StoreError: the file is no longer where it was, and what is written would be lost with it.
        """
        self.require_there()
        self.do("BEGIN IMMEDIATE")
        self._file = _identity(self.path)
        try:
            yield
            self.do("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # a full disk has rolled back by itself
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read the same state throughout."""
        self.do("BEGIN")
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")  # nothing was written

    def close(self) -> None:
        """Close the file; what was written stands in it alone, so that it can be read where nothing can be written."""
        if self._writing:
            with contextlib.suppress(sqlite3.Error):  # somebody is looking on: the journal stays
                self._connection.execute("PRAGMA journal_mode=DELETE")
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def require_there(self) -> None:
        """Raise StoreError if the file was removed, or another stands in its place."""
        if self._file is not None and _identity(self.path) != self._file:
            raise StoreError(f"'{self.path}' was removed or replaced by another process; repeat the command")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if self._writing and code in _CANNOT_WRITE:
                said = "cannot be written"
                what_next = "see to its disk and repeat the command, it goes on from here"
            elif code in _BUSY:
                said, what_next = "is in use", "try again"
            else:
                said = "cannot be used as a results database"
                what_next = "start over with --fresh" if self._writing else "repeat the command that made the run"
            raise StoreError(f"'{self.path}' {said}: {error}; {what_next}") from error
