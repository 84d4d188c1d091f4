"""The command line of the comparisons with other libraries: write our side, or print the table."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

__all__ = ["run"]


def run(
    description: str | None,
    job: str,
    write: Callable[[Path, int], None],
    print_table: Callable[[Path], None],
    photos: int,
) -> None:
    """Read the command line and do its job.

    Args:
        description: the help text.
        job: name of the job that writes our side, ``maps`` or ``scores``; the other one is ``table``.
        write: writes our side into a folder, for a number of scenes.
        print_table: prints the table of a folder.
        photos: default number of scenes.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=(job, "table"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=photos, help=f"number of scenes (default: {photos})")
    given = parser.parse_args()
    if given.job == job:
        write(given.folder, given.photos)
    else:
        print_table(given.folder)
