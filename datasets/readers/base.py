"""The record of one format of labelled images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from evalkit.datasets.image_set import ImageSet

__all__ = ["Needs", "Reader", "visible_files"]

Needs = Literal["file", "folder", "file or folder", "nothing"]


def _never(_path: Path) -> bool:
    return False


@dataclass(frozen=True)
class Reader:
    """One format of labelled images: how to recognize it, how to open it, and how ``list datasets`` describes it.

    Attributes:
        name: name of the format, as in ``--data-format`` and in a run's manifest.
        data: what ``--data`` names, e.g. ``FILE.csv``.
        summary: description in one line.
        example: two lines of paths, or of a file's text.
        needs: what kind of path the format is read from; ``nothing`` for a built-in set, opened by its name
            or spec, e.g. ``scenes(shortcut=mark)``, which is given to ``open`` in place of a path.
        open: opens the images at a path; reads no photo; raises DataError if they cannot be used.
        recognize: returns whether a path that exists has this format, by names and first bytes; may raise DataError.
        general: whether the reader is tried only after all others, because it takes nearly any folder or file.
    """

    name: str
    data: str
    summary: str
    example: str
    needs: Needs
    open: Callable[[Path], ImageSet]
    recognize: Callable[[Path], bool] = _never
    general: bool = False

    @property
    def option(self) -> str:
        """The value of ``--data-format``; empty for a built-in set, which ``--data`` names."""
        return "" if self.needs == "nothing" else self.name


def visible_files(folder: Path, ending: str) -> list[Path]:
    """Return the sorted files of a folder whose names have an ending, without hidden ones.

    Other systems leave hidden files behind. A folder that cannot be listed has none: its reader reports the reason.

    Args:
        folder: path of the folder; need not exist.
        ending: end of the name in lower case, e.g. ``.xml``.
    """
    try:
        files = [file for file in folder.glob("*") if file.name.lower().endswith(ending) and file.name[0] != "."]
    except OSError:
        return []
    return sorted(files, key=_name)  # paths themselves are slow to compare


def _name(path: Path) -> str:
    return path.name
