"""CSV manifests: one row per image, or one per box or mask of it."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from evalkit.core.errors import DataError
from evalkit.core.names import escaped, is_text, path_of
from evalkit.datasets.annotations import to_number
from evalkit.datasets.box_units import BoxUnits, fraction_box, units_of
from evalkit.datasets.entry import Box, Entry, PixelSet
from evalkit.datasets.files import MISSING, file_facts, read_from_file
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.readers.base import Reader
from evalkit.datasets.readers.csv_classes import CsvClass, PhotoClasses, classes_in
from evalkit.datasets.readers.csv_lines import Line, csv_lines, require_commas
from evalkit.datasets.readers.lookalikes import columns_look
from evalkit.datasets.readers.photo_finder import PHOTO_ENDINGS, PHOTO_FOLDERS, FoundPhoto, PhotoFinder, names_below

__all__ = ["READER", "read_csv_manifest"]

_NAME = "csv"
_EDGES = ("x0", "y0", "x1", "y1")
_KNOWN = ("image", "class_index", "label", *_EDGES, "mask", "ignore")
_OTHER_REGIONS = frozenset(
    (
        *("xmin", "ymin", "xmax", "ymax", "x_min", "y_min", "x_max", "y_max", "x1", "y1", "x2", "y2"),
        *("left", "top", "right", "bottom", "x", "y", "w", "h", "bbox", "box", "bounding_box"),
        *("mask_path", "mask_file", "segmentation", "polygon", "rle", "encodedpixels"),
    )
)
_CLOSE = 0.75  # share of letters in common: "ymax" is not "image"
_ALSO_CALLED = {
    "image": frozenset(
        (
            *("images", "img", "image_path", "image_name", "image_file", "image_id", "img_path", "imagepath"),
            *("file", "filename", "file_name", "filepath", "file_path", "photo", "picture", "id_image", "name"),
        )
    ),
    "class_index": frozenset(
        (
            *("class", "class_id", "classid", "class_idx", "class_name", "classname", "category", "category_id"),
            *("labels", "label_name", "label_id", "target", "species", "breed", "diagnosis", "y"),
        )
    ),
}
_NEEDED = "needed: image, and class_index or label"


def read_csv_manifest(path: Path) -> ImageSet:
    """Open a CSV manifest; the photos are not read.

    The columns have these names in the header line, in any order and case; others are ignored:

    * ``image``: path of the photo, absolute or relative to the manifest's folder; a photo that is not there is searched
      in ``images`` and ``image`` beside the manifest, and with the extension that its name may lack; if it is
      named by an absolute path, or with "..", it is searched by its file name;
    * ``class_index`` (whole number from 0), ``label`` (text) or both; several classes of a photo are separated by
      ``|``, or in several rows;
    * ``x0, y0, x1, y1``: a box in pixels of the upright photo, half-open; all four or none, in the header and in a row;
      if all coordinates of the file lie in 0..1, they are fractions of the photo's width and height;
    * ``mask``: path of an image of the photo's size whose non-zero pixels are the object;
    * ``ignore``: path of such an image whose non-zero pixels are neither object nor background.

    Several rows of one image and class are several boxes or several masks of it. Empty rows are skipped.

    Args:
        path: path of a UTF-8 file, with or without byte order mark.

    Returns:
        The set, one entry for each photo and class, in the order of first appearance; ids are the photo's path, with
        ``#`` and the class if it has several. A photo that does not exist is an entry with ``problem`` set.

    Raises:
        DataError: the file or a row is not allowed; the message names the file and the line.
    """
    images: dict[tuple[str, CsvClass], _Image] = {}
    photos = PhotoClasses()
    rows = csv_lines(path)
    header = next(rows, None)
    if header is None:
        raise DataError(f"{path} is empty; write a header line; {_NEEDED}")
    columns = _columns(header, path)
    for line in rows:
        row = _Row.parse(line, header, columns)
        photos.add(row.image, row.classes, row.where)
        for of_row in row.classes:
            images.setdefault((row.image, of_row), _Image(row, of_row)).add(row)
    class_columns = " and ".join(name for name in ("class_index", "label") if name in columns)
    notes = [*photos.notes(path.name, class_columns), *_unread_columns(header, columns, path)]
    if not images:
        raise DataError(f"{path} has a header but no rows; write one row per image")
    folder = path.absolute().parent
    entries = [image.entry(folder, several=photos.several(photo)) for (photo, _), image in images.items()]
    photo_of = {entry.id: photo for entry, (photo, _) in zip(entries, images, strict=True)}
    missing = [photo_of[entry.id] for entry in entries if entry.problem == MISSING]
    names, elsewhere = names_below(missing)
    finder = PhotoFinder([folder, *(folder / name for name in PHOTO_FOLDERS)], [*names.values()], PHOTO_ENDINGS)
    entries = [_searched(entry, names.get(photo_of[entry.id], ""), finder) for entry in entries]
    found = [entry for entry in entries if photo_of[entry.id] in elsewhere and entry.problem != MISSING]
    if found:
        first = f"{found[0].where}, '{photo_of[found[0].id]}'"
        notes.append(
            f"{path.name}: {len(found)} photos are not where their paths say (the first: {first}); they were found by "
            "their file names"
        )
    units = units_of(((entry.where, box) for entry in entries for box in entry.boxes), path.name)
    entries = [_in_units(entry, units) for entry in entries]
    notes += [*units.notes, *finder.missing(path.name, entries)]
    return ImageSet(path.name, _NAME, entries, read_from_file, notes=notes)


def _is_csv(path: Path) -> bool:
    return not path.is_dir() and path.suffix.lower() == ".csv"


READER = Reader(
    name=_NAME,
    data="FILE.csv",
    summary="a manifest: image, class_index or label; optionally x0,y0,x1,y1 (half-open pixels) or mask, and ignore "
    "(masks of what is neither object nor background); one row per box",
    example="image,label,x0,y0,x1,y1\na.jpg,cat,12,30,180,200",
    needs="file",
    open=read_csv_manifest,
    recognize=_is_csv,
    general=True,
)


def _columns(header: Line, path: Path) -> dict[str, int]:
    """Return the position of each known column, or raise DataError."""
    names = [name.lower() for name in header.fields]
    require_commas(header, path)
    for name in _KNOWN:
        if names.count(name) > 1:
            raise DataError(f"{header.where}: the column '{name}' is there twice; keep one")
    if "image" not in names:
        raise DataError(_missing("the column 'image' is", "image", names, header))
    if "class_index" not in names and "label" not in names:
        raise DataError(_missing("the columns 'class_index' and 'label' are", "class_index", names, header))
    given = [name for name in _EDGES if name in names]
    if given and len(given) < len(_EDGES):
        absent = next(name for name in _EDGES if name not in names)
        raise DataError(
            f"{header.where}: the column '{absent}' is missing; a box needs x0, y0, x1 and y1, found {', '.join(given)}"
        )
    return {name: names.index(name) for name in _KNOWN if name in names}


def _unread_columns(header: Line, columns: dict[str, int], path: Path) -> list[str]:
    """Return a note if regions are in columns of other names only."""
    unread = [name for name in header.fields if name.lower() in _OTHER_REGIONS]
    if not unread or {"x0", "mask"} & set(columns):
        return []
    listed = ", ".join(map(escaped, unread))
    return [f"{path.name}: no region is read from {listed}; boxes are x0, y0, x1, y1, masks are mask"]


def _missing(what: str, name: str, names: list[str], header: Line) -> str:
    if look := columns_look(names):
        return f"{header.where}: {what} missing; this looks like {look}; found: {header.shown}"
    if any(field.lower().endswith(PHOTO_ENDINGS[1:]) for field in header.fields):
        return f"{header.where}: there is no header line; write one; {_NEEDED}; found: {header.shown}"
    free = [other for other in names if other and other not in _KNOWN]
    wanted = ("class_index", "label") if name == "class_index" else (name,)
    meant = [other for other in free if other in _ALSO_CALLED[name]]
    meant += [close for column in wanted for close in difflib.get_close_matches(column, free, n=1, cutoff=_CLOSE)]
    hint = f" (is it '{meant[0]}'? rename it)" if meant else ""
    others = [field for field in header.fields if field.lower() in free and field.lower() not in _OTHER_REGIONS]
    if name == "class_index" and not meant and len(others) > 1:
        hint = f" (if {', '.join(map(escaped, others[:3]))}, ... have a 1 where a class is present, name it in 'label')"
    return f"{header.where}: {what} missing{hint}; {_NEEDED}; found: {header.shown}"


@dataclass(frozen=True)
class _Row:
    """One row, checked by itself."""

    where: str
    image: str
    classes: tuple[CsvClass, ...]
    box: Box | None
    mask: str
    ignore: str

    @classmethod
    def parse(cls, line: Line, header: Line, columns: dict[str, int]) -> _Row:
        if len(line.fields) != len(header.fields):
            raise DataError(
                f"{line.where}: expected {len(header.fields)} fields, found {len(line.fields)}; "
                "a comma inside a path or label needs double quotes around it"
            )
        cells = {name: line.fields[position] for name, position in columns.items()}
        for name, cell in cells.items():
            if not is_text(cell):
                raise DataError(f"{line.where}: {name} {cell!a} has control characters or line breaks; remove them")
        if not cells["image"]:
            raise DataError(f"{line.where}: image is empty; write the path of a photo")
        classes = classes_in(cells.get("class_index", ""), cells.get("label", ""), line.where)
        box = _box([cells.get(edge, "") for edge in _EDGES], line.where)
        mask = cells.get("mask", "")
        if box and mask:
            raise DataError(f"{line.where}: both a box and a mask; keep one of them")
        return cls(line.where, PurePath(cells["image"]).as_posix(), classes, box, mask, cells.get("ignore", ""))


def _box(texts: list[str], where: str) -> Box | None:
    if not any(texts):
        return None
    x0, y0, x1, y1 = (_edge(name, text, where) for name, text in zip(_EDGES, texts, strict=True))
    box = f"{where}: box ({', '.join(texts)})"
    if x1 <= x0 or y1 <= y0:
        wrong = "x1 must be greater than x0" if x1 <= x0 else "y1 must be greater than y0"
        raise DataError(f"{box} is inverted or empty; {wrong} (corners, not width and height)")
    if x0 < 0 or y0 < 0:
        raise DataError(f"{box} has negative coordinates; allowed: 0 and more, in pixels of the upright photo")
    return x0, y0, x1, y1


def _edge(name: str, text: str, where: str) -> float:
    if not text:
        raise DataError(f"{where}: {name} is empty; a box needs all of x0, y0, x1, y1, or none")
    try:
        value = to_number(text)
    except ValueError:
        raise DataError(f"{where}: {name} '{text}' is not a number; allowed: pixels, e.g. 12 or 12.5") from None
    if not math.isfinite(value):
        raise DataError(f"{where}: {name} '{text}' is not finite; allowed: pixels, e.g. 12 or 12.5")
    return value


@dataclass
class _Image:
    """The rows of one photo and class."""

    first: _Row
    of_class: CsvClass
    boxes: list[Box] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    ignores: list[str] = field(default_factory=list)

    def add(self, row: _Row) -> None:
        """Add one row; raise DataError if it contradicts those before."""
        if row.box and row.box not in self.boxes:
            self.boxes.append(row.box)
        if row.mask and row.mask not in self.masks:
            self.masks.append(row.mask)
        if row.ignore and row.ignore not in self.ignores:
            self.ignores.append(row.ignore)
        if self.boxes and self.masks:
            raise DataError(f"{row.where}: '{row.image}' has both boxes and masks; keep one kind per image")

    def entry(self, folder: Path, *, several: bool) -> Entry:
        """Return the entry of the image, with its file's size and time of change.

        Args:
            folder: folder of the manifest.
            several: whether the photo has several classes.
        """
        row = self.first
        photo = _from_windows(folder / path_of(row.image))
        size_bytes, mtime_ns, problem = file_facts(photo)
        return Entry(
            id=row.image + (self.of_class.suffix if several else ""),
            path=photo,
            class_index=self.of_class.number,
            label=self.of_class.label,
            boxes=tuple(self.boxes),
            masks=tuple(_from_windows(folder / path_of(mask)) for mask in self.masks),
            size_bytes=size_bytes,
            mtime_ns=mtime_ns,
            where=row.where,
            problem=problem,
            ignore=PixelSet(masks=tuple(_from_windows(folder / path_of(mask)) for mask in self.ignores)),
        )


def _in_units(entry: Entry, units: BoxUnits) -> Entry:
    """Return an entry whose boxes have the set's unit; a box that does not is the entry's problem."""
    if not entry.boxes:
        return entry
    checked = [fraction_box(box) if units.normalized else units.problem(box) or box for box in entry.boxes]
    wrong = next((f"{entry.where}: {box}" for box in checked if isinstance(box, str)), "")
    boxes = tuple(box for box in checked if not isinstance(box, str))
    return replace(entry, boxes=boxes, normalized=units.normalized, problem=entry.problem or wrong)


def _searched(entry: Entry, name: str, finder: PhotoFinder) -> Entry:
    """Return an entry with the photo that the finder finds, if any."""
    path, size_bytes, mtime_ns, problem = finder.photo(name) if name else FoundPhoto(Path(), 0, 0, MISSING)
    if problem == MISSING:
        return entry
    return replace(entry, path=path, size_bytes=size_bytes, mtime_ns=mtime_ns, problem=problem)


def _from_windows(path: Path) -> Path:
    """Return the path with slashes for backslashes, if no file has the path as written."""
    if "\\" not in str(path) or path.exists():
        return path
    return Path(str(path).replace("\\", "/"))
