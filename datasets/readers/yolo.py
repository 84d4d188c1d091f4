"""YOLO: a text file of boxes or polygons for each photo, one entry for each photo and class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from evalkit.core.errors import DataError
from evalkit.core.names import escaped, shown
from evalkit.datasets.annotations import LeftOut
from evalkit.datasets.entry import Entry
from evalkit.datasets.files import MISSING, file_facts, read_annotated
from evalkit.datasets.image_set import ImageSet, Labels
from evalkit.datasets.readers.base import Reader
from evalkit.datasets.readers.class_objects import ClassObjects
from evalkit.datasets.readers.folder_names import part_kind
from evalkit.datasets.readers.photo_files import children, photos_below
from evalkit.datasets.readers.yolo_labels import YoloObject, holds_objects, read_objects
from evalkit.datasets.readers.yolo_layout import (
    LabelFiles,
    Split,
    chosen,
    split_rank,
    splits_by_folders,
    splits_by_yaml,
    splits_text,
)
from evalkit.datasets.readers.yolo_names import YAML, YoloFile, is_data_yaml, names_in, read_data_yaml, yaml_of

__all__ = ["READER", "read_yolo"]

_NAME = "yolo"
_EXPECTED = "expected images/<split>/<name>.jpg with labels/<split>/<name>.txt, or both in one folder"
_LOOKED_AT = 200  # photos, to recognize a set
_LEVELS = 2  # folders above the photos that may hold the names of the classes
_ORIENTED = 4  # corners
_SEVERAL = 3  # polygons that are hardly outlines if they have equally many corners
_LISTED = 3


def read_yolo(path: Path) -> ImageSet:
    """Open a YOLO set; photos are not read, polygons are drawn when an image is read.

    Each line of a photo's text file is ``class x-center y-center width height`` (a box) or ``class x y x y ...`` (a
    polygon, also an oriented box), in fractions of the upright photo. A photo with several classes has one entry per
    class. Polygons are exact masks; if a class of a photo has boxes too, boxes are used. Keypoints behind a box, as
    ``kpt_shape`` in ``data.yaml`` says, are not used.

    Of a set with several splits, that of validation is read, else that of tests, else that of training; a note says so.

    Args:
        path: path of ``data.yaml``, of the folder of a set, or of a folder with the photos of one split.

    Returns:
        The set, sorted by file; ids are ``<photo>#<class>``. An entry with an object that cannot be used, or whose
        photo is missing, has ``problem`` set; ``notes`` say what has no entry.

    Raises:
        DataError: there are no photos or no label files, or a file cannot be used; the message names it.
    """
    source, file, splits = _source(path)
    named = dict(file.splits) if file else {}
    split = chosen(splits)
    left_out = LeftOut()
    photos = split.photos(source, left_out)
    labels = LabelFiles(photos)
    if not labels.folders:
        count = f"{len(photos)} photos" if photos else "no photos"
        raise DataError(f"{path}: {count} in '{_shown(split, source)}', and no label file of any; {_EXPECTED}")
    file = file or names_in(_folders_of_names(split, labels))
    name = path.resolve().name or str(path)
    base = Path(os.path.commonpath([photo.parent for photo in photos]))
    corners: Counter[int] = Counter()
    entries = [
        entry
        for photo in _photos(photos, labels, base, source, file, left_out)
        for entry in photo.entries(file, corners, left_out)
    ]
    if not split.lists:
        for unused in labels.without_photo():
            left_out.add("label files without a photo", _Names(source).of(unused))
    if not entries:
        reasons = " ".join(left_out.notes(name))
        raise DataError(f"{path} has no object that can be used{': ' if reasons else ''}{reasons}; {_EXPECTED}")
    notes = [
        *_absent_notes(split, splits, named, source, name),
        *_split_notes(split, splits, source, name),
        *_names_notes(file, source, name),
        *_outline_notes(corners, name),
    ]
    notes += [*left_out.notes(name), *_missing(entries, base, name)]
    names = sorted({entry.label for entry in entries}) if file is None else list(file.names.values())
    return ImageSet(name, _NAME, entries, read_annotated, names, notes, Labels(partial=True))


def _is_yolo(path: Path) -> bool:
    """Return whether a path is ``data.yaml``, a folder with one, or photos with text files of objects."""
    if not path.is_dir():
        return path.suffix.lower() in YAML
    try:
        if any(map(_has_objects, splits_by_folders(path.absolute()))):
            return True
        inside = children(path)
        if not any(map(is_data_yaml, inside)):
            return False
    except DataError:
        return False
    # What data.yaml names is looked at when it is opened; class folders beside it are not YOLO's.
    return all(part_kind(child.name) for child in inside if child.is_dir()) or _names_objects(path)


def _names_objects(path: Path) -> bool:
    """Return whether the splits of a folder's ``data.yaml`` are lists, or have text files of objects."""
    try:
        file = yaml_of(path)
        splits = splits_by_yaml(read_data_yaml(file)) if file else []
    except DataError:
        return True  # opening it reports the reason
    return any(split.lists or _has_objects(split) for split in splits)


READER = Reader(
    name=_NAME,
    data="FOLDER or\ndata.yaml",
    summary="YOLO: boxes, polygons or oriented boxes; one text file a photo; one image per photo and class; of several "
    "splits val, else test, else train is read; name a split by the folder of its photos",
    example="photos/images/val/1.jpg\nphotos/labels/val/1.txt",
    needs="file or folder",
    open=read_yolo,
    recognize=_is_yolo,
)


class _Names:
    """Names of files below a folder, or below the folder above their own if they are elsewhere; fast for many files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._starts: dict[Path, str] = {}

    def of(self, file: Path) -> str:
        parent = file.parent
        if parent not in self._starts:
            base = self._folder if parent.is_relative_to(self._folder) else parent.parent
            start = parent.relative_to(base).as_posix()
            self._starts[parent] = "" if start == "." else f"{start}/"
        return escaped(f"{self._starts[parent]}{file.name}")


@dataclass(frozen=True)
class _Photo:
    """A photo: its path, its name in ids, its objects, its label file for messages, and why it cannot be used."""

    path: Path
    name: str
    objects: Sequence[YoloObject]
    where: str
    problem: str

    def entries(self, file: YoloFile | None, corners: Counter[int], left_out: LeftOut) -> Iterator[Entry]:
        """Yield an entry for each class of the photo, in the order of their numbers; count the corners of polygons."""
        classes: dict[int, ClassObjects] = {}
        for item in self.objects:
            if file is not None and item.number not in file.names:
                left_out.add("objects of classes that have no name", f"{item.where}, class {item.number}")
                continue
            classes.setdefault(item.number, ClassObjects()).add(item.part, item.where)
            corners[item.n_corners] += 1
        size_bytes, mtime_ns, missing = file_facts(self.path)
        for number, of_class in sorted(classes.items()):
            label = str(number) if file is None else file.names[number]
            yield Entry(
                id=f"{self.name}#{label}",
                path=self.path,
                class_index=None,
                label=label,
                boxes=of_class.boxes,
                size_bytes=size_bytes,
                mtime_ns=mtime_ns,
                where=self.where,
                problem=missing or self.problem or of_class.problem,
                segments=of_class.segments,
                normalized=True,
            )


def _photos(
    photos: Sequence[Path], labels: LabelFiles, base: Path, root: Path, file: YoloFile | None, left_out: LeftOut
) -> Iterator[_Photo]:
    """Yield the photos that have objects; count the others."""
    shared = Counter((photo.parent, photo.stem) for photo in photos)
    in_base, in_root = _Names(base), _Names(root)
    for photo in photos:
        name, text = in_base.of(photo), labels.of(photo)
        if text is None:
            left_out.add("photos without a label file", name)
        elif objects := read_objects(text, in_root.of(text), file.n_keypoint_numbers if file else 0):
            twice = shared[photo.parent, photo.stem] > 1
            problem = f"'{text.name}' is for several photos of this name; rename them" if twice else ""
            yield _Photo(photo, name, objects, in_root.of(text), problem)
        else:
            left_out.add("photos without an object (empty label files)", name)


def _source(path: Path) -> tuple[Path, YoloFile | None, list[Split]]:
    """Return the folder of a set, its ``data.yaml`` if it has one, and its splits, at least one."""
    folder = path.absolute() if path.is_dir() else path.absolute().parent
    file = path if path.is_file() else yaml_of(path)
    contents = read_data_yaml(file) if file else None
    splits = (splits_by_yaml(contents) if contents else []) or splits_by_folders(folder)
    if not splits and contents:
        raise DataError(
            f"{contents.path}: its photos are not in its folder ({splits_text(contents) or 'no split is named'}); "
            f"move it beside them, or name the folder of a split's photos as --data"
        )
    if not splits:
        raise DataError(f"{path} has no photos with label files; {_EXPECTED}")
    return folder, contents, splits


def _folders_of_names(split: Split, labels: LabelFiles) -> list[Path]:
    """Return where the names of the classes may be: with the photos, with the label files, and above both."""
    places = [*split.folders, *(file.parent for file in split.lists)]
    above = [folder for place in places for folder in list(place.parents)[:_LEVELS]]
    return [*places, *labels.folders, *(folder.parent for folder in labels.folders), *above]


def _has_objects(split: Split) -> bool:
    """Return whether the first photos of a split have text files of objects."""
    below = (photo for folder in split.folders for photo in photos_below(folder, LeftOut()))
    photos = list(islice(below, _LOOKED_AT))
    labels = LabelFiles(photos)
    texts = filter(None, map(labels.of, photos))
    return next((held for text in texts if (held := holds_objects(text)) is not None), False)


def _shown(split: Split, source: Path) -> str:
    """Return the first folders and lists of a split below the folder of the set."""
    below = [place.relative_to(source).as_posix() if place != source else place.name for place in split.places]
    return escaped(", ".join(below[:_LISTED]))


def _split_notes(split: Split, splits: Sequence[Split], source: Path, name: str) -> list[str]:
    """Return a note that says which of several splits is read."""
    others = [other for other in splits if other != split and other.places != split.places]
    if not others:
        return []
    listed = ", ".join(f"'{_shown(other, source)}'" for other in others)
    read = f"{name}: of its splits, '{_shown(split, source)}' is read"
    return [f"{read}; to read another ({listed}), name the folder of its photos as --data"]


def _absent_notes(
    split: Split, splits: Sequence[Split], named: Mapping[str, Sequence[str]], source: Path, name: str
) -> list[str]:
    """Return notes if a split of ``data.yaml`` that comes first is not there, or if two splits are one place here."""
    notes = []
    present = {other.name for other in splits}
    better = [other for other in named if other not in present and split_rank(other) < split_rank(split.name)]
    absent = [f"{other} '{escaped(shown(named[other][0], 60))}'" for other in better]
    if absent and split.name:
        said = f"{', '.join(absent)} of data.yaml {'is' if len(absent) == 1 else 'are'} not there"
        notes.append(f"{name}: {said}; {split.name} is read, in '{_shown(split, source)}'")
    same = [other.name for other in splits if other != split and other.places == split.places]
    if same:
        said = f"{' and '.join([split.name, *same])} of data.yaml are the same place here"
        notes.append(f"{name}: {said}, '{_shown(split, source)}'; if they were several, name one by its folder")
    return notes


def _names_notes(file: YoloFile | None, source: Path, name: str) -> list[str]:
    """Return a note if the names of the classes are missing, or come from above the folder of the set."""
    if file is not None:
        given = escaped(str(file.path.absolute()))
        above = not file.path.absolute().is_relative_to(source)
        return [f"{name}: the names of the classes are those of '{given}'"] if above else []
    return [f"{name}: there is no data.yaml, classes.txt or *.names, so the classes are called by their numbers"]


def _outline_notes(corners: Counter[int], name: str) -> list[str]:
    """Return a note if all polygons have equally many corners: oriented boxes and keypoints are no exact masks."""
    counts = [count for count in corners if count]
    if len(counts) != 1 or (counts[0] != _ORIENTED and corners[counts[0]] < _SEVERAL):
        return []
    (count,) = counts
    polygons = f"all of its {corners[count]} polygons have {'four' if count == _ORIENTED else count} corners"
    if count == _ORIENTED:
        return [f"{name}: {polygons}; they count as exact masks, which oriented boxes are not"]
    return [f"{name}: {polygons}; if the lines are boxes with keypoints, data.yaml must say kpt_shape"]


def _missing(entries: Sequence[Entry], base: Path, name: str) -> list[str]:
    n_missing = sum(entry.problem == MISSING for entry in entries)
    return (
        [f"{name}: {n_missing} of {len(entries)} photos are missing; searched '{escaped(str(base))}'"]
        if n_missing
        else []
    )
