"""The classes in the rows of a CSV manifest: one or several of a photo."""

from __future__ import annotations

import re
from typing import NamedTuple

from evalkit.core.errors import DataError

__all__ = ["SEPARATOR", "CsvClass", "PhotoClasses", "classes_in"]

SEPARATOR = "|"
_WHOLE_NUMBER = re.compile(r"(-?[0-9]{1,9})(?:\.0*)?")


class CsvClass(NamedTuple):
    """A class as a row gives it: by index, by label, or by both."""

    number: int | None
    label: str

    def __str__(self) -> str:
        """Return the class as text for a message."""
        index = [] if self.number is None else [str(self.number)]
        return " ".join([*index, *([f"'{self.label}'"] if self.label else [])])

    @property
    def suffix(self) -> str:
        """The end of the image's id, if its photo has several classes."""
        return f"#{self.label or self.number}"


def classes_in(index_cell: str, label_cell: str, where: str) -> tuple[CsvClass, ...]:
    """Return the classes of a row; several are separated by ``|``.

    Args:
        index_cell: the cell of ``class_index``; may be empty.
        label_cell: the cell of ``label``; may be empty.
        where: origin for messages, e.g. ``"labels.csv line 7"``.

    Returns:
        The classes; none if both cells are empty.

    Raises:
        DataError: an index is not a whole number from 0, a class is empty or listed twice, or the cells list different
            numbers of classes.
    """
    indices = [_class_index(part, where) for part in _parts(index_cell, "class_index", where)]
    labels = _parts(label_cell, "label", where)
    if indices and labels and len(indices) != len(labels):
        raise DataError(
            f"{where}: class_index '{index_cell}' and label '{label_cell}' list {len(indices)} and {len(labels)} "
            "classes; list the same classes in both"
        )
    if not indices:
        return tuple(CsvClass(None, label) for label in labels)
    return tuple(map(CsvClass, indices, labels or [""] * len(indices)))


class PhotoClasses:
    """The classes of each photo, checked row by row."""

    def __init__(self) -> None:
        """Create an empty record."""
        self._of: dict[str, dict[CsvClass, str]] = {}
        self._empty: dict[str, str] = {}  # the first row without a class, by photo

    def add(self, photo: str, classes: tuple[CsvClass, ...], where: str) -> None:
        """Add the classes of one row.

        Raises:
            DataError: a class contradicts another of the photo.
        """
        known = self._of.setdefault(photo, {})
        if not classes:
            self._empty.setdefault(photo, where)
        for new in classes:
            for other, origin in known.items():
                if new != other and not _differ(new, other):
                    raise DataError(
                        f"{where}: '{photo}' has class {new}, but {other} in {origin}; write a class of a photo in the "
                        "same way in all of its rows"
                    )
            known.setdefault(new, where)

    def several(self, photo: str) -> bool:
        """Return whether a photo has several classes."""
        return len(self._of[photo]) > 1

    def notes(self, name: str, columns: str) -> list[str]:
        """Return sentences on photos with several classes or none.

        Args:
            name: name of the manifest.
            columns: the columns that may give a class, for messages.

        Raises:
            DataError: a row has no class, though no photo has several or the photo has one in another row.
        """
        many = sum(len(classes) > 1 for classes in self._of.values())
        for photo, where in self._empty.items():
            if not many or self._of[photo]:
                raise DataError(f"{where}: no class ({columns} empty); write a class_index or a label")
        notes = []
        if many:
            notes.append(f"{name}: {many} photos have several classes; there is one image for each photo and class")
        if self._empty:
            first = next(iter(self._empty))
            notes.append(f"{name}: left out: {len(self._empty)} photos without a class (the first: {first})")
        return notes


def _parts(cell: str, column: str, where: str) -> list[str]:
    if not cell:
        return []
    parts = [part.strip() for part in cell.split(SEPARATOR)]
    if not all(parts):
        raise DataError(f"{where}: {column} '{cell}' has an empty class; write one class between '{SEPARATOR}' each")
    if len(set(parts)) < len(parts):
        raise DataError(f"{where}: {column} '{cell}' lists a class twice; keep one")
    return parts


def _class_index(text: str, where: str) -> int:
    number = _WHOLE_NUMBER.fullmatch(text)
    if not number:
        raise DataError(f"{where}: class_index '{text}' is not a whole number; allowed: 0, 1, 2, ...")
    if text.startswith("-"):
        raise DataError(f"{where}: class_index {text} is negative; allowed: 0, 1, 2, ...")
    return int(number[1])


def _differ(one: CsvClass, other: CsvClass) -> bool:
    """Return whether two classes are surely different: written in the same columns, with other values in each."""
    if (one.number is None) != (other.number is None) or bool(one.label) != bool(other.label):
        return False
    return (one.number is None or one.number != other.number) and (not one.label or one.label != other.label)
