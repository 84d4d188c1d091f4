"""CSV files of boxes by position and size, as of RSNA, NIH and VinDr: one row a box."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from evalkit.core.errors import DataError
from evalkit.core.names import escaped, is_text, shown
from evalkit.datasets.annotations import PhotoNames, clipped_box, require_unique, to_number
from evalkit.datasets.box_units import BoxUnits, fraction_box, units_of
from evalkit.datasets.entry import Box, Entry
from evalkit.datasets.files import MISSING, read_annotated
from evalkit.datasets.image_set import ImageSet, Labels
from evalkit.datasets.readers.base import Reader
from evalkit.datasets.readers.box_columns import BoxColumns, find_columns
from evalkit.datasets.readers.csv_lines import Line, csv_lines, require_commas
from evalkit.datasets.readers.photo_finder import PHOTO_ENDINGS, PHOTO_FOLDERS, PhotoFinder

__all__ = ["READER", "read_box_csv"]

_NAME = "boxes"
_HEAD = 4000  # characters of a header line
_DICOM = ".dcm"
_PHOTOS = (*PHOTO_FOLDERS, "png")  # folders
_SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
_PARTS = "images_*/images"  # NIH's archives, one folder each
_NEEDED = (
    "needed: a photo (image, Image Index, image_id or patientId), a class (label, Finding Label, class_name, class or "
    "Target), and a box: x, y, width, height (x, y is the upper left corner), cx, cy, width, height (its center), or "
    "x_min, y_min, x_max, y_max, in pixels; with _norm behind each name, in fractions of the photo"
)


def read_box_csv(path: Path) -> ImageSet:
    """Open a CSV file of boxes; the photos are not read.

    The names of the columns, in any order and case, say what a box is; ``find_columns`` has them. Several rows of a
    photo and class are several boxes. A row without a box gives an image without a region. RSNA's ``Target`` is 1 with
    a box and 0 without: the class index of a model with two outputs. Photos are beside the file or in ``images``, with
    or without extension, or in the folder of the split that the file's name has (``test.csv``); those of NIH also in
    ``images_001/images`` and so on. DICOM files are not read.

    Args:
        path: path of a UTF-8 file, with or without byte order mark.

    Returns:
        The set, in the order of first appearance; ids are ``<photo>#<class>``. An entry whose box cannot be used, or
        whose photo is missing, has ``problem`` set.

    Raises:
        DataError: the file or a row is not allowed, or the photos are DICOM files; the message names the file and the
            line.
    """
    lines = csv_lines(path)
    header = next(lines, None)
    if header is None:
        raise DataError(f"{path} is empty; write a header line; {_NEEDED}")
    require_commas(header, path)
    columns = find_columns(header.fields)
    if columns is None:
        raise DataError(f"{header.where}: the columns are {header.shown}; {_NEEDED}, each once")
    elsewhere, written = PhotoNames(), dict[str, tuple[str, str]]()
    images: dict[tuple[str, str], _Image] = {}
    for line in lines:
        row = _row(line, columns, elsewhere)
        _require_one_path(line, columns, row, written)
        images.setdefault((row.photo, row.label), _Image(row)).add(row)
    if not images:
        raise DataError(f"{path} has a header but no rows; write one row per box")
    units = _units(images.values(), columns, path)
    parts = _parts(path)
    names = [name for photo, _ in images for name in (photo, *(f"{part}/{photo}" for part in parts))]
    finder = PhotoFinder(_folders(path), names, PHOTO_ENDINGS)
    entries = [image.entry(finder, parts, units) for image in images.values()]
    require_unique(entries)
    notes = [*_form_notes(columns, path), *_folder_note(finder, path), *units.notes, *elsewhere.notes(path.name)]
    notes += [*finder.missing(path.name, entries), *_dicom_notes(finder, entries, path)]
    labels = sorted({entry.label for entry in entries})
    binary = columns.is_target
    return ImageSet(path.name, _NAME, entries, read_annotated, labels, notes, Labels(partial=True, binary=binary))


def _is_box_csv(path: Path) -> bool:
    """Return whether the columns of a CSV file are those of boxes."""
    if path.is_dir() or path.suffix.lower() != ".csv":
        return False
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            header = next(csv.reader([file.readline(_HEAD)], skipinitialspace=True), [])
    except (OSError, csv.Error):
        return False  # opening it reports the reason
    return find_columns(header) is not None


READER = Reader(
    name=_NAME,
    data="FILE.csv",
    summary="boxes by position and size (RSNA, NIH, VinDr); columns x, y, width, height, or Bbox [x,y,w,h], or x_min, "
    "y_min, x_max, y_max, in pixels, or with _norm behind each name in fractions; one image per photo and class",
    example="patientId,x,y,width,height,Target\n7a3c,264,152,213,379,1",
    needs="file",
    open=read_box_csv,
    recognize=_is_box_csv,
)


@dataclass(frozen=True)
class _Row:
    """One row: ``edges`` are x0, y0, x1, y1 in the unit of the columns, empty without a box."""

    where: str
    photo: str
    label: str
    edges: tuple[float, ...]


@dataclass
class _Image:
    """The rows of one photo and class."""

    first: _Row
    rows: dict[tuple[float, ...], _Row] = field(default_factory=dict)

    def add(self, row: _Row) -> None:
        """Add a row with a box that is not there yet."""
        if row.edges:
            self.rows.setdefault(row.edges, row)

    def entry(self, finder: PhotoFinder, parts: Sequence[str], units: BoxUnits) -> Entry:
        """Return the entry of the photo and class."""
        photo, label = self.first.photo, self.first.label
        path, size_bytes, mtime_ns, missing = finder.photo(photo, *(f"{part}/{photo}" for part in parts))
        checked = [(row.where, _box(row.edges, units)) for row in self.rows.values()]
        wrong = next((f"{where}: {box}" for where, box in checked if isinstance(box, str)), "")
        return Entry(
            id=f"{photo}#{label}",
            path=path,
            class_index=None,
            label=label,
            boxes=tuple(box for _, box in checked if not isinstance(box, str)),
            size_bytes=size_bytes,
            mtime_ns=mtime_ns,
            where=self.first.where,
            problem=missing or wrong,
            normalized=units.normalized,
        )


def _row(line: Line, columns: BoxColumns, elsewhere: PhotoNames) -> _Row:
    n_needed = max(columns.photo, columns.label, *columns.box) + 1
    if len(line.fields) < n_needed:
        raise DataError(f"{line.where}: expected {n_needed} fields or more, found {len(line.fields)}; {_NEEDED}")
    photo = elsewhere.below(line.fields[columns.photo], line.where)
    label = line.fields[columns.label]
    if columns.is_target:
        label = label.removesuffix(".0")
    if not label or not is_text(label):
        raise DataError(f"{line.where}: the class {shown(label)!r} is not allowed; write the name of the class")
    edges = _edges([line.fields[place] for place in columns.box], columns, line.where)
    if columns.is_target and label not in ("0", "1"):
        raise DataError(f"{line.where}: Target is '{shown(label)}'; allowed: 1 (with a box) and 0 (without)")
    if columns.is_target and label == "0" and edges:
        raise DataError(f"{line.where}: Target is 0, but there is a box; write Target 1, or leave the box empty")
    return _Row(line.where, photo, label, edges)


def _require_one_path(line: Line, columns: BoxColumns, row: _Row, written: dict[str, tuple[str, str]]) -> None:
    """Raise DataError if two paths end in the same photo name: their boxes would be taken for one photo's."""
    path = PurePosixPath(line.fields[columns.photo].replace("\\", "/")).as_posix()
    first, where = written.setdefault(row.photo, (path, row.where))
    if first != path:
        raise DataError(
            f"{row.where}: '{escaped(path)}' and '{escaped(first)}' of {where} have the same file name, and their "
            "folders are not below that of the photos; write paths below it"
        )


def _edges(texts: Sequence[str], columns: BoxColumns, where: str) -> tuple[float, ...]:
    """Return x0, y0, x1, y1 of a box as the columns give it; none if all are empty."""
    if not any(texts):
        return ()
    if not all(texts):
        raise DataError(f"{where}: a box needs all of {columns.names}, or none; found ({shown(', '.join(texts), 80)})")
    try:
        first, second, third, fourth = map(to_number, texts)
    except ValueError:
        raise DataError(f"{where}: box ({shown(', '.join(texts), 80)}) is not four numbers; {_NEEDED}") from None
    if columns.form == "corners":
        return first, second, third, fourth
    if columns.form == "center":
        return first - third / 2, second - fourth / 2, first + third / 2, second + fourth / 2
    return first, second, first + third, second + fourth


def _units(images: Iterable[_Image], columns: BoxColumns, path: Path) -> BoxUnits:
    """Return the unit that the columns' names say.

    Raises:
        DataError: the names say pixels, but all coordinates lie in 0..1, or half of the boxes do.
    """
    if columns.normalized:
        return BoxUnits(normalized=True)
    boxes = [(row.where, row.edges) for image in images for row in image.rows.values()]
    units = units_of(boxes, path.name)
    if units.normalized:
        renamed = ", ".join(f"{name}_norm" for name in columns.names.split(", "))
        raise DataError(
            f"{path}: the columns {columns.names} say pixels, but all coordinates lie in 0..1; if they are fractions "
            f"of the photo, rename them to {renamed}"
        )
    return units


def _box(edges: Sequence[float], units: BoxUnits) -> Box | str:
    if units.normalized:
        return fraction_box(edges)
    return units.problem(edges) or clipped_box(edges, None)


def _form_notes(columns: BoxColumns, path: Path) -> list[str]:
    """Return a note that says how the boxes are read."""
    forms = {
        "corner": "the upper left corner, width and height",
        "center": "the center, width and height",
        "corners": "left, top, right and bottom",
    }
    unit = "fractions of the photo's width and height" if columns.normalized else "pixels"
    return [f"{path.name}: boxes are read from {columns.names}: {forms[columns.form]}, in {unit}"]


def _folders(path: Path) -> Iterator[Path]:
    """Yield the folders where the photos may be, the likeliest first: of a split, if the file's name has one."""
    own = path.absolute().parent
    words = set(re.findall(r"[a-z]+", path.stem.lower()))
    splits = [split for split, names in _SPLITS.items() if words & set(names)]
    of_splits = [
        name
        for split in splits or ["train"]
        for part in _SPLITS[split]
        for name in (part, f"images/{part}", f"{part}/images", f"stage_2_{part}_images")
    ]
    names = [*of_splits, *_PHOTOS] if splits else [*_PHOTOS, *of_splits]
    yield own
    for folder in (own, own.parent):
        for name in names:
            yield folder / name


def _folder_note(finder: PhotoFinder, path: Path) -> list[str]:
    """Return a note that says where the photos are, if it is a folder of another name than those of all photos."""
    folder = finder.folder
    own = path.absolute().parent
    if folder == own or (folder.name in _PHOTOS and folder.parent in (own, own.parent)):
        return []
    return [f"{path.name}: the photos are those in '{escaped(str(folder))}'"]


def _parts(path: Path) -> list[str]:
    """Return the folders of NIH's archives beside the file, below its folder."""
    try:
        return [part.relative_to(path.parent).as_posix() for part in sorted(path.parent.glob(_PARTS))]
    except OSError:
        return []


def _dicom_notes(finder: PhotoFinder, entries: Sequence[Entry], path: Path) -> list[str]:
    """Return a note if photos are missing that exist as DICOM files.

    Raises:
        DataError: there is no other photo.
    """
    missing = [entry for entry in entries if entry.problem == MISSING and entry.path is not None]
    names = [Path(entry.path.name).stem for entry in missing if entry.path is not None]
    found = next(
        (file for name in names[:10] for folder in finder.folders if (file := folder / f"{name}{_DICOM}").is_file()),
        None,
    )
    if found is None:
        return []
    said = (
        f"photos are DICOM files ('{escaped(str(found))}'), which are not read; save them as PNG of the same name and "
        "size"
    )
    if len(missing) == len(entries):
        raise DataError(f"{path}: its {said}, beside it or in images/")
    return [f"{path.name}: {len(missing)} {said}"]
