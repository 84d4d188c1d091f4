"""Copies the images of a run, with all that is stored of them, from one run folder into another."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from evalkit.core.errors import StoreError
from evalkit.store.connection import Connection
from evalkit.store.maps import PARTIAL

__all__ = ["copy_map_file", "copy_planned"]


def copy_planned(source: Connection, target: Connection) -> None:
    """Copy the rows of all images of the current run, in place of those that the target has of them.

    Every table with a column ``image_id`` is copied, value by value. Call it in a transaction of the target.

    Args:
        source: the database to read.
        target: the database to write, with the same schema version.

    Raises:
        StoreError: a database is damaged, or the target cannot be written.
    """
    planned = "SELECT image_id FROM images WHERE position IS NOT NULL"
    existing = {table for table, _ in _tables(target)}
    for table, columns in _tables(source):
        if table not in existing:
            continue
        names = ", ".join(columns)
        target.do_many(f"DELETE FROM {table} WHERE image_id = ?", source.rows(planned))  # noqa: S608 - our own names
        target.do_many(
            f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})",  # noqa: S608
            source.rows(f"SELECT {names} FROM {table} WHERE image_id IN ({planned})"),  # noqa: S608
        )


def _tables(connection: Connection) -> Iterator[tuple[str, list[str]]]:
    """Yield the tables with a column ``image_id``, and their columns."""
    for (table,) in list(connection.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")):
        columns = [name for (name,) in connection.rows("SELECT name FROM pragma_table_info(?)", (table,))]
        if "image_id" in columns:
            yield table, columns


def copy_map_file(source: Path, target: Path, relative: str) -> None:
    """Copy a file of maps into another run folder; on the same disk it is a second name of the file (a hard link).

    Run folders never change such a file, they replace it, so that a shared one stays as it is.

    Args:
        source: the run folder with the file.
        target: the run folder to write.
        relative: the path of the file inside a run folder, as its row has it.

    Raises:
        StoreError: the path leads out of the run folder.
        OSError: the file is missing, or the folder cannot be written.
    """
    parts = Path(relative).parts
    if parts[:1] != ("maps",) or ".." in parts:
        raise StoreError(f"'{source}' is damaged: a map's file is '{relative}', outside maps/; repeat its command")
    old, new = source / relative, target / relative
    new.parent.mkdir(parents=True, exist_ok=True)
    if new.exists() and new.samefile(old):
        return  # renaming one name of a file to another does nothing
    partial = target / PARTIAL
    partial.mkdir(exist_ok=True)
    copied = partial / f".{new.name[:40]}.{secrets.token_hex(8)}"
    try:
        try:
            os.link(old, copied)
        except OSError:  # another disk, or one without links
            _copy(old, copied)
        copied.replace(new)
    except BaseException:
        copied.unlink(missing_ok=True)
        raise


def _copy(old: Path, new: Path) -> None:
    shutil.copyfile(old, new)
    with new.open("rb+") as file:
        os.fsync(file.fileno())
