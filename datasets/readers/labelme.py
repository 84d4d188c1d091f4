"""LabelMe: a JSON file of shapes for each photo, one entry for each photo and class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from evalkit.core.errors import DataError
from evalkit.core.names import escaped, is_text, shown
from evalkit.datasets.annotations import LeftOut, PhotoNames, require_unique
from evalkit.datasets.entry import Entry, PixelSet
from evalkit.datasets.files import MISSING, read_annotated
from evalkit.datasets.image_set import ImageSet, Labels
from evalkit.datasets.readers.base import Reader
from evalkit.datasets.readers.class_objects import ClassObjects
from evalkit.datasets.readers.folder_names import part_kind
from evalkit.datasets.readers.json_files import read_json
from evalkit.datasets.readers.labelme_files import is_labelme_file, labelme_files
from evalkit.datasets.readers.labelme_shapes import WITHOUT_REGION, shape_part
from evalkit.datasets.readers.photo_files import children
from evalkit.datasets.readers.photo_finder import PHOTO_ENDINGS, PHOTO_FOLDERS, PhotoFinder

__all__ = ["READER", "read_labelme"]

_NAME = "labelme"
_JSON = ".json"
_NEEDED = "needed: LabelMe's object with shapes and imagePath"
_IGNORED, _BACKGROUND = "__ignore__", "_background_"  # labels with a meaning in LabelMe itself
_LARGEST_SIDE = 2**20


def read_labelme(path: Path) -> ImageSet:
    """Open the JSON files of a folder and all below it, or one file; photos are not read.

    A photo with several labels has one entry per label. Polygons, circles and masks are exact; rectangles, in any
    order of their corners, are boxes; if a label of a photo has both kinds, its boxes are used. Points and lines
    enclose nothing: a label with only such has no region. Shapes labelled ``__ignore__`` are ignored pixels. If no file
    has a shape, the ``flags`` that are true are the classes.

    Photos are where ``imagePath`` says, or have the name of the JSON file; they are searched beside it, and in
    ``images`` beside it or its folder. Of an ``imagePath`` that leads elsewhere, the last part is used. Photos inside
    the JSON files (``imageData``) are not read.

    Args:
        path: path of a folder or of one file.

    Returns:
        The set, sorted by file; ids are ``<photo>#<label>``. An entry with a shape that cannot be used, or whose photo
        is missing, has ``problem`` set; ``notes`` say what has no entry.

    Raises:
        DataError: there is no such file, or one is no JSON or has shapes that are none; the message names the file.
    """
    base = _base(path)
    files = _below(base) if path.is_dir() else [path]
    name = path.resolve().name or str(path)
    left_out, elsewhere = LeftOut(), PhotoNames()
    photos = [photo for file in files if (photo := _photo(file, base, elsewhere, left_out, alone=path == file))]
    photos = _of_one_photo(photos)
    if not photos:
        raise DataError(f"{path} has no JSON file of LabelMe; {_NEEDED}, as 1.json beside 1.jpg")
    by_flags = not any(photo.shapes for photo in photos)
    finder = PhotoFinder(_folders(base.absolute()), [name for photo in photos for name in photo.names], PHOTO_ENDINGS)
    shared = Counter(photo.names[0] for photo in photos)
    entries = [entry for photo in photos for entry in photo.entries(finder, shared, left_out, by_flags=by_flags)]
    if not entries:
        reasons = " ".join(left_out.notes(name))
        raise DataError(
            f"{path} has no shape and no flag that can be used{': ' if reasons else ''}{reasons}; {_NEEDED}"
        )
    require_unique(entries)
    notes = [*_flag_notes(photos, name, by_flags=by_flags), *elsewhere.notes(name), *left_out.notes(name)]
    notes += [*finder.missing(name, entries), *_embedded(photos, entries, name)]
    labels = sorted({entry.label for entry in entries})
    return ImageSet(name, _NAME, entries, read_annotated, labels, notes, Labels(partial=True))


def _is_labelme(path: Path) -> bool:
    """Return whether a path is a LabelMe file, or a folder with such files in it or in its folder of annotations."""
    if not path.is_dir():
        return is_labelme_file(path)
    return bool(labelme_files(path) or _annotations(path))


READER = Reader(
    name=_NAME,
    data="FOLDER or\nFILE.json",
    summary="LabelMe: a JSON file of shapes a photo; polygons, circles and masks are exact, rectangles are boxes; one "
    "image per photo and label; without any shape, flags are the classes",
    example="photos/1.jpg\nphotos/1.json",
    needs="file or folder",
    open=read_labelme,
    recognize=_is_labelme,
)


@dataclass(frozen=True)
class _Photo:
    """The contents of one JSON file."""

    where: str
    names: tuple[str, ...]
    size: tuple[int, int] | None
    problem: str
    shapes: Sequence[tuple[str, Mapping[str, Any]]]
    flags: tuple[str, ...]
    embedded: bool
    written: str

    def entries(
        self, finder: PhotoFinder, shared: Counter[str], left_out: LeftOut, *, by_flags: bool
    ) -> Iterator[Entry]:
        """Yield an entry for each label, or for each flag."""
        classes: dict[str, ClassObjects] = {}
        ignored = ClassObjects()
        for number, (label, shape) in enumerate(self.shapes, start=1):
            where = f"{self.where} shape {number}"
            if label == _BACKGROUND:
                left_out.add(f"shapes labelled {_BACKGROUND}", where)
                continue
            of_label = ignored if label == _IGNORED else classes.setdefault(label, ClassObjects())
            if shape.get("shape_type") in WITHOUT_REGION:
                left_out.add(f"shapes that enclose nothing ({', '.join(WITHOUT_REGION)})", where)
            else:
                of_label.add(shape_part(shape, self.size), where)
        if by_flags:
            classes = {flag: ClassObjects() for flag in self.flags}
        if not classes:
            left_out.add("files without a flag that is true" if by_flags else "files without a shape", self.where)
        path, size_bytes, mtime_ns, missing = finder.photo(*self.names)
        own = finder.photo(self.names[-1])
        if own.path != path and not own.problem:
            missing = missing or f"imagePath is '{path.name}', but '{own.path.name}' has the file's name; keep one"
        name = self.names[0] if shared[self.names[0]] == 1 else self.names[-1]
        for label, of_label in classes.items():
            yield Entry(
                id=f"{escaped(name)}#{label}",
                path=path,
                class_index=None,
                label=label,
                boxes=of_label.boxes,
                size_bytes=size_bytes,
                mtime_ns=mtime_ns,
                where=self.where,
                problem=missing or self.problem or of_label.problem or ignored.problem,
                segments=of_label.segments,
                ignore=PixelSet(
                    boxes=tuple(part.box for part in ignored.parts if part.box and not part.segment),
                    segments=tuple(part.segment for part in ignored.parts if part.segment),
                ),
                size=self.size,
            )


def _annotations(folder: Path) -> list[Path]:
    """Return the folders in a folder that have the name of annotations and LabelMe files in them."""
    try:
        inside = [child for child in children(folder) if part_kind(child.name) == "annotations" and child.is_dir()]
    except DataError:
        return []
    return [child for child in inside if labelme_files(child)]


def _base(path: Path) -> Path:
    """Return the folder that the photos' names are relative to."""
    if not path.is_dir():
        return path.parent
    inside = [] if labelme_files(path) else _annotations(path)
    return inside[0] if len(inside) == 1 else path


def _below(folder: Path) -> list[Path]:
    """Return the JSON files of a folder and all below it, sorted, without hidden ones."""
    try:
        files = [
            file
            for file in folder.rglob("*")
            if file.suffix.lower() == _JSON and not _is_hidden(file.relative_to(folder))
        ]
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror or error}") from error
    return sorted(file for file in files if file.is_file())


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _photo(file: Path, base: Path, elsewhere: PhotoNames, left_out: LeftOut, *, alone: bool) -> _Photo | None:
    """Return the contents of one file; None, counted, if it is another JSON among several.

    Raises:
        DataError: the file is no JSON, its shapes are no list of labelled objects, or it is another JSON and alone.
    """
    own = file.relative_to(base).as_posix()
    where = escaped(own)
    document = read_json(file, _NEEDED)
    if not isinstance(document, dict) or "shapes" not in document:
        if alone:
            raise DataError(f"{file} has no shapes; {_NEEDED}")
        left_out.add("JSON files without shapes, which are not LabelMe's", where)
        return None
    size = _size(document.get("imageHeight"), document.get("imageWidth"))
    beside = PurePosixPath(own).parent
    names = [str(beside / PurePosixPath(own).stem)]
    if document.get("imagePath"):
        names.insert(0, str(beside / elsewhere.below(document["imagePath"], where)))
    return _Photo(
        where=where,
        names=tuple(names),
        size=None if isinstance(size, str) else size,
        problem=size if isinstance(size, str) else "",
        shapes=_shapes(document["shapes"], where),
        flags=_flags(document.get("flags"), where),
        embedded=bool(document.get("imageData")),
        written=PurePosixPath(str(document.get("imagePath") or "").replace("\\", "/")).as_posix(),
    )


def _of_one_photo(photos: Sequence[_Photo]) -> list[_Photo]:
    """Return the files; those that name one photo by several paths, not below the folder, cannot be used."""
    written: dict[str, list[str]] = {}
    for photo in photos:
        paths = written.setdefault(photo.names[0], [])
        if photo.written not in paths:
            paths.append(photo.written)

    def problem(photo: _Photo) -> str:
        first, *others = written[photo.names[0]]
        both = f"imagePath '{escaped(first)}' of one file and '{escaped(others[0])}' of another" if others else ""
        return photo.problem or (both and f"{both} have the same file name, and no folders below the photos'")

    return [replace(photo, problem=problem(photo)) for photo in photos]


def _size(height: object, width: object) -> tuple[int, int] | str | None:
    """Return the photo's height and width, None if they are not given, or why they are not allowed."""
    if height is None and width is None:
        return None
    if type(height) is int and type(width) is int and 0 < min(height, width) <= max(height, width) <= _LARGEST_SIDE:
        return height, width
    values = f"{shown(height, 20)} x {shown(width, 20)}"
    return f"imageHeight x imageWidth is {values}; whole numbers of pixels, 1..{_LARGEST_SIDE}, are needed"


def _shapes(given: object, where: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the shapes with their labels."""
    if not isinstance(given, list):
        raise DataError(f"{where}: shapes is a {type(given).__name__}; {_NEEDED}")
    shapes: list[tuple[str, Mapping[str, Any]]] = []
    for number, shape in enumerate(given, start=1):
        if not isinstance(shape, dict):
            raise DataError(f"{where} shape {number} is a {type(shape).__name__}; an object is needed")
        shapes.append((_label(shape.get("label"), f"{where} shape {number}"), shape))
    return shapes


def _flags(given: object, where: str) -> tuple[str, ...]:
    """Return the flags that are true."""
    if given is None:
        return ()
    if not isinstance(given, dict):
        raise DataError(f"{where}: flags is a {type(given).__name__}; an object of names with true or false is needed")
    return tuple(_label(name, f"{where} flags") for name, value in given.items() if value is True)


def _label(given: object, where: str) -> str:
    label = given.strip() if isinstance(given, str) else ""
    if not label or not is_text(label):
        raise DataError(f"{where}: label {shown(given)!r} is not allowed; write the name of the class")
    return label


def _flag_notes(photos: Sequence[_Photo], name: str, *, by_flags: bool) -> list[str]:
    flags = list(dict.fromkeys(flag for photo in photos for flag in photo.flags))
    if not flags:
        return []
    listed = ", ".join(f"'{flag}'" for flag in flags[:5]) + (", ..." if len(flags) > 5 else "")
    if by_flags:
        return [f"{name}: no file has a shape, so the flags that are true are the classes: {listed}"]
    return [f"{name}: the flags {listed} are not read, because files have shapes"]


def _embedded(photos: Sequence[_Photo], entries: Sequence[Entry], name: str) -> list[str]:
    """Return a note if photos are missing that are inside their JSON files."""
    missing = {entry.where for entry in entries if entry.problem == MISSING}
    n_inside = sum(photo.embedded and photo.where in missing for photo in photos)
    if not n_inside:
        return []
    inside = f"{n_inside} of the missing photos are inside their JSON files (imageData)"
    return [f"{name}: {inside}, where they are not read; save them as files beside these"]


def _folders(base: Path) -> Iterator[Path]:
    """Yield where the photos of a folder of JSON files may be, the likeliest first."""
    yield base
    for folder in (base, base.parent):
        for name in PHOTO_FOLDERS:
            yield folder / name
    yield base.parent
