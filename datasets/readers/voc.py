"""Pascal VOC and ImageNet XML: one file per photo, one entry for each photo and class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from evalkit.core.errors import DataError
from evalkit.core.names import is_text, shown
from evalkit.datasets.annotations import (
    LeftOut,
    PhotoNames,
    clipped_box,
    read_bytes,
    require_unique,
    to_number,
)
from evalkit.datasets.box_units import BoxUnits, fraction_box, units_of
from evalkit.datasets.entry import Box, Entry, PixelSet
from evalkit.datasets.files import read_annotated
from evalkit.datasets.image_set import ImageSet, Labels
from evalkit.datasets.readers.base import Reader, visible_files
from evalkit.datasets.readers.folder_names import part_kind
from evalkit.datasets.readers.photo_finder import PHOTO_ENDINGS, PHOTO_FOLDERS, PhotoFinder

__all__ = ["READER", "half_open", "read_voc"]

_NAME = "voc"
_XML = ".xml"
_ANNOTATIONS = "Annotations"
_EDGES = ("xmin", "ymin", "xmax", "ymax")
_PHOTOS = ("JPEGImages", "Data", *PHOTO_FOLDERS)  # folders parallel to Annotations


def half_open(xmin: float, ymin: float, xmax: float, ymax: float) -> tuple[float, float, float, float]:
    """Return VOC's box, which counts pixels from 1 and includes both ends, as half-open x0, y0, x1, y1 from 0.

    >>> half_open(1, 1, 500, 375)
    (0, 0, 500, 375)
    """
    return xmin - 1, ymin - 1, xmax, ymax


def read_voc(path: Path) -> ImageSet:
    """Open the XML files of a folder, or one file; photos are not read.

    Objects marked ``difficult`` are not part of the region, as in the pointing game: beside other objects of their
    class they are ignored pixels, and a class with only such objects in a photo gives no entry. Photos are beside the
    XML files, or in ``JPEGImages``, ``Data`` or ``images`` instead of ``Annotations``; a photo is found by
    ``filename``, with or without its extension, or by the name of the XML file. Of a ``filename`` that is a path on
    another machine, the last part is used. If all coordinates of the set lie in 0..1, they are fractions of the photo's
    width and height.

    Args:
        path: path of a folder with ``Annotations`` (at any depth), of a folder of XML files, or of one file.

    Returns:
        The set, sorted by file; ids are ``<file name>#<class>``. An entry whose box cannot be used, or whose photo is
        missing, has ``problem`` set; ``notes`` say what has no entry.

    Raises:
        DataError: there is no XML file, or one is not well-formed, defines entities, or is no annotation; the message
            names the file.
    """
    base = path / _ANNOTATIONS if (path / _ANNOTATIONS).is_dir() else path
    files = [path] if path.is_file() else sorted(_below(base))
    if not files:
        raise DataError(f"{path} has no XML file; expected Annotations/<name>.xml and JPEGImages/<name>.jpg")
    base = path.parent if path.is_file() else base
    elsewhere = PhotoNames()
    photos = [_photo(file, file.relative_to(base).as_posix(), elsewhere) for file in files]
    name = path.resolve().name or str(path)
    units = units_of(((item.where, item.edges) for photo in photos for item in photo.objects), name)
    finder = PhotoFinder(_folders(base.absolute()), [name for photo in photos for name in photo.names], PHOTO_ENDINGS)
    left_out = LeftOut()
    shared = Counter(photo.names[0] for photo in photos)
    entries = [entry for photo in photos for entry in _entries(photo, units, shared, finder, left_out)]
    if not entries:
        raise DataError(f"{path}: none of its {len(files)} XML files names an object that can be used")
    require_unique(entries)
    return ImageSet(
        name,
        _NAME,
        entries,
        read_annotated,
        sorted({entry.label for entry in entries}),
        [*units.notes, *elsewhere.notes(name), *left_out.notes(name), *finder.missing(name, entries)],
        Labels(partial=True),
    )


def _is_voc(path: Path) -> bool:
    if path.is_dir():
        return (path / _ANNOTATIONS).is_dir() or bool(visible_files(path, _XML))
    return path.suffix.lower() == _XML


READER = Reader(
    name=_NAME,
    data="FOLDER or\nFILE.xml",
    summary="Pascal VOC or ImageNet XML; one image per photo and class; objects marked difficult are ignored",
    example="VOC/Annotations/27.xml\nVOC/JPEGImages/27.jpg",
    needs="file or folder",
    open=read_voc,
    recognize=_is_voc,
)


@dataclass
class _Class:
    """The objects of one class in one photo."""

    boxes: list[Box] = field(default_factory=list)
    difficult: list[Box] = field(default_factory=list)
    problem: str = ""


@dataclass(frozen=True)
class _Object:
    """One object as its file gives it; ``edges`` is empty if they are not four numbers, for the reason ``problem``."""

    where: str
    label: str
    edges: tuple[float, ...]
    problem: str
    difficult: bool


@dataclass(frozen=True)
class _Photo:
    """The contents of one XML file."""

    where: str
    names: tuple[str, ...]
    size: tuple[int, int] | None
    objects: tuple[_Object, ...]


def _below(folder: Path) -> Iterator[Path]:
    try:
        files = [file for file in folder.rglob("*") if file.suffix.lower() == _XML and not file.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror or error}") from error
    yield from files


def _photo(file: Path, where: str, elsewhere: PhotoNames) -> _Photo:
    root = _parsed(file, where)
    if root.tag != "annotation":
        look = "; this looks like CVAT: export it as Pascal VOC or COCO" if root.tag == "annotations" else ""
        raise DataError(
            f"{where}: the root element is <{root.tag[:40]}>; <annotation> of VOC or ImageNet is needed{look}"
        )
    beside = PurePosixPath(where).parent
    names = [str(beside / PurePosixPath(where).stem)]
    given = (root.findtext("filename") or "").strip()
    if given:
        names.insert(0, str(beside / elsewhere.below(given, where)))
    return _Photo(where, tuple(names), _size(root), tuple(_objects(root, where)))


def _parsed(file: Path, where: str) -> Any:  # noqa: ANN401 - an element of a library without types
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        return fromstring(read_bytes(file), forbid_dtd=True)
    except DefusedXmlException as error:
        raise DataError(
            f"{where}: a document type, entities or external references are not allowed in annotations; remove them"
        ) from error
    except (ParseError, LookupError, ValueError) as error:
        raise DataError(f"{where} is not well-formed XML: {error}; repair or remove the file") from error


def _size(root: Any) -> tuple[int, int] | None:  # noqa: ANN401
    """Return height and width if the file gives them; many files hold zeros."""
    texts = [(root.findtext(f"size/{side}") or "").strip() for side in ("height", "width")]
    if not all(text.isascii() and text.isdigit() and 0 < len(text) < 8 and int(text) for text in texts):
        return None
    return int(texts[0]), int(texts[1])


def _objects(root: Any, where: str) -> Iterator[_Object]:  # noqa: ANN401
    for number, item in enumerate(root.findall("object"), start=1):
        label = (item.findtext("name") or "").strip()
        if not label or not is_text(label):
            raise DataError(f"{where} object {number}: name {label!r} is not allowed; write the name of the class")
        texts = [item.findtext(f"bndbox/{edge}") for edge in _EDGES]
        edges: tuple[float, ...] = ()
        problem = ""
        try:
            edges = tuple(to_number(text or "") for text in texts)
        except ValueError:
            values = ", ".join(shown(text, 20) for text in texts)
            problem = f"bndbox ({values}) is not xmin, ymin, xmax, ymax in pixels"
        difficult = (item.findtext("difficult") or "").strip().lower() in ("1", "1.0", "true", "yes")
        yield _Object(f"{where} object {number}", label, edges, problem, difficult)


def _classes(photo: _Photo, units: BoxUnits) -> dict[str, _Class]:
    classes: dict[str, _Class] = {}
    for item in photo.objects:
        of_class = classes.setdefault(item.label, _Class())
        box = item.problem or _box(item.edges, units, photo.size)
        if isinstance(box, str):
            of_class.problem = of_class.problem or f"{item.where}: {box}"
        else:
            (of_class.difficult if item.difficult else of_class.boxes).append(box)
    return classes


def _box(edges: Sequence[float], units: BoxUnits, size: tuple[int, int] | None) -> Box | str:
    if units.normalized:
        return fraction_box(edges)
    return units.problem(edges) or clipped_box(half_open(*edges), size)


def _entries(
    photo: _Photo, units: BoxUnits, shared: Counter[str], finder: PhotoFinder, left_out: LeftOut
) -> Iterator[Entry]:
    if not photo.objects:
        left_out.add("files without an object", photo.where)
        return
    path, size_bytes, mtime_ns, missing = finder.photo(*photo.names)
    own = finder.photo(photo.names[-1])
    if own.path != path and not own.problem:
        missing = missing or f"its filename is '{path.name}', but '{own.path.name}' has its name; both exist, keep one"
    name = (
        photo.names[0] if shared[photo.names[0]] == 1 else photo.names[-1]
    )  # some programs write one filename into every file
    for label, objects in _classes(photo, units).items():
        if not objects.boxes and not objects.problem:
            left_out.add("classes that have only difficult objects in a photo", f"{photo.where}, {label}")
            continue
        yield Entry(
            id=f"{name}#{label}",
            path=path,
            class_index=None,
            label=label,
            boxes=tuple(objects.boxes),
            size_bytes=size_bytes,
            mtime_ns=mtime_ns,
            where=photo.where,
            problem=missing or objects.problem,
            ignore=PixelSet(boxes=tuple(objects.difficult)),
            size=photo.size,
            normalized=units.normalized,
        )


def _folders(base: Path) -> Iterator[Path]:
    """Yield where the photos of a folder of XML files may be, the likeliest first."""
    parts = list(base.parts)
    if _ANNOTATIONS in parts:
        last = len(parts) - 1 - parts[::-1].index(_ANNOTATIONS)
        for name in _PHOTOS:
            yield Path(*parts[:last], name, *parts[last + 1 :])
    yield base
    # Oxford-IIIT Pet has annotations/xmls beside images.
    above = base.parent.parent if part_kind(base.parent.name) == "annotations" else base.parent
    for folder in dict.fromkeys((base, base.parent, above)):
        for name in _PHOTOS:
            yield folder / name
