"""ImageNet's ``LOC_val_solution.csv`` (and ``LOC_train_solution.csv``) with its folder of photos."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from evalkit.core.errors import DataError
from evalkit.core.names import shown
from evalkit.datasets.annotations import clipped_box, relative_name, require_unique, to_number
from evalkit.datasets.box_units import BoxUnits, fraction_box, units_of
from evalkit.datasets.entry import Box, Entry
from evalkit.datasets.files import read_annotated
from evalkit.datasets.image_set import ImageSet, Labels
from evalkit.datasets.readers.base import Reader
from evalkit.datasets.readers.csv_lines import Line, csv_lines, require_commas
from evalkit.datasets.readers.photo_finder import PHOTO_ENDINGS, PHOTO_FOLDERS, PhotoFinder
from evalkit.datasets.readers.voc import half_open

__all__ = ["READER", "read_imagenet_csv"]

_NAME = "imagenet"
_HEADER = ["imageid", "predictionstring"]
_WORDNET_ID = re.compile(r"n[0-9]{8}")
_EXPECTED = "expected: ImageId,PredictionString, the latter one or more of: WordNet id xmin ymin xmax ymax"


def read_imagenet_csv(path: Path) -> ImageSet:
    """Open ImageNet's own list of boxes; photos are not read.

    Boxes count pixels from 1 and include both ends, as in ImageNet's XML. Labels are WordNet ids. Photos are in
    ``ILSVRC/Data/CLS-LOC/val`` (or ``train``) beside the file, in ``val``, in ``images`` or ``image``, or beside the
    file itself; those of ``train`` in one folder per class.

    Args:
        path: path of a UTF-8 file, with or without byte order mark.

    Returns:
        The set, one entry for each photo and class; ids are ``<ImageId>#<WordNet id>``. An entry whose box cannot be
        used, or whose photo is missing, has ``problem`` set.

    Raises:
        DataError: the file or a row is wrong; the message names the file and the line.
    """
    lines = csv_lines(path)
    header = next(lines, None)
    if header is None:
        raise DataError(f"{path} is empty; {_EXPECTED}")
    require_commas(header, path)
    if [name.lower() for name in header.fields] != _HEADER:
        raise DataError(f"{header.where}: the columns are {header.shown}; {_EXPECTED}")
    rows = [_Row(line) for line in lines]
    if not rows:
        raise DataError(f"{path} has a header but no rows; {_EXPECTED}")
    _require_one_row_a_photo(rows)
    names = [name for row in rows for label in row.boxes for name in (row.image, f"{label}/{row.image}")]
    finder = PhotoFinder(_folders(path), names, PHOTO_ENDINGS)
    units = units_of(((row.where, edges) for row in rows for of_class in row.boxes.values() for edges in of_class),
                     path.name)  # fmt: skip
    entries = [entry for row in rows for entry in row.entries(finder, units)]
    require_unique(entries)
    notes = [*units.notes, *finder.missing(path.name, entries)]
    return ImageSet(path.name, _NAME, entries, read_annotated, notes=notes, labels=Labels(partial=True))


def _is_imagenet_csv(path: Path) -> bool:
    """Return whether a CSV file begins with ImageNet's two columns."""
    if path.is_dir() or path.suffix.lower() != ".csv":
        return False
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            line = file.readline(200)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    return line.replace(" ", "").replace('"', "").lower().startswith(",".join(_HEADER))


READER = Reader(
    name=_NAME,
    data="FILE.csv",
    summary="ImageNet's LOC_val_solution.csv, beside ILSVRC/; labels are WordNet ids",
    example="ImageId,PredictionString\nval_81,n03995372 85 1 499 272",
    needs="file",
    open=read_imagenet_csv,
    recognize=_is_imagenet_csv,
)


class _Row:
    """One photo, with the boxes of each class as written."""

    def __init__(self, line: Line) -> None:
        if len(line.fields) != len(_HEADER):
            raise DataError(f"{line.where}: expected 2 fields, found {len(line.fields)}; {_EXPECTED}")
        self.where = line.where
        self.image = relative_name(line.fields[0], line.where)
        self.boxes: dict[str, list[tuple[float, ...]]] = {}
        words = line.fields[1].split()
        if not words or len(words) % 5:
            raise DataError(f"{line.where}: PredictionString has {len(words)} words, not five per box; {_EXPECTED}")
        for start in range(0, len(words), 5):
            self._add(words[start], words[start + 1 : start + 5])

    def _add(self, label: str, texts: list[str]) -> None:
        if not _WORDNET_ID.fullmatch(label):
            raise DataError(f"{self.where}: '{shown(label)}' is not a WordNet id such as n01440764; {_EXPECTED}")
        try:
            edges = tuple(map(to_number, texts))
        except ValueError:
            raise DataError(f"{self.where}: box ({shown(', '.join(texts))}) is not four numbers; {_EXPECTED}") from None
        self.boxes.setdefault(label, []).append(edges)

    def entries(self, finder: PhotoFinder, units: BoxUnits) -> Iterator[Entry]:
        for label, of_class in self.boxes.items():
            path, size_bytes, mtime_ns, missing = finder.photo(self.image, f"{label}/{self.image}")
            boxes = [_box(edges, units) for edges in of_class]
            wrong = next((f"{self.where}: {box}" for box in boxes if isinstance(box, str)), "")
            yield Entry(
                id=f"{self.image}#{label}",
                path=path,
                class_index=None,
                label=label,
                boxes=tuple(box for box in boxes if not isinstance(box, str)),
                size_bytes=size_bytes,
                mtime_ns=mtime_ns,
                where=self.where,
                problem=missing or wrong,
                normalized=units.normalized,
            )


def _box(edges: tuple[float, ...], units: BoxUnits) -> Box | str:
    if units.normalized:
        return fraction_box(edges)
    return units.problem(edges) or clipped_box(half_open(*edges), None)


def _require_one_row_a_photo(rows: list[_Row]) -> None:
    first: dict[str, str] = {}
    for row in rows:
        if row.image in first:
            raise DataError(f"{row.where}: '{row.image}' is listed in {first[row.image]} too; keep one row per photo")
        first[row.image] = row.where


def _folders(path: Path) -> Iterator[Path]:
    """Yield the folders where the photos may be, the likeliest first."""
    own = path.absolute().parent
    split = "train" if "train" in path.stem.lower() else "val"
    for base in (own / "ILSVRC" / "Data" / "CLS-LOC", own / "Data" / "CLS-LOC", own, own.parent / "Data" / "CLS-LOC"):
        yield base / split
    for name in PHOTO_FOLDERS:
        yield own / name
    yield own
