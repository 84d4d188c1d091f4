"""Where the photos of a YOLO set are, and the text file of each: by ``data.yaml``, or by the names of folders."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from evalkit.core.errors import DataError
from evalkit.core.names import escaped, shown
from evalkit.datasets.annotations import LeftOut, read_text, relative_name
from evalkit.datasets.readers.base import visible_files
from evalkit.datasets.readers.folder_names import FOREIGN, part_kind
from evalkit.datasets.readers.photo_files import children, is_photo, photos_below
from evalkit.datasets.readers.yolo_names import SPLITS, YoloFile

__all__ = ["LabelFiles", "Split", "chosen", "split_rank", "splits_by_folders", "splits_by_yaml", "splits_text"]

_IMAGES, _LABELS, _TEXT = "images", "labels", ".txt"  # folders, and the ending of label files
_LARGEST_LIST = 64 * 1024**2  # bytes
_PROBED = 50  # lines of a list that decide where its paths begin
_WITHOUT_SPLIT = ("obj_train_data",)  # the photos' folder in exports of CVAT
_RANKS = {"val": 0, "valid": 0, "validation": 0, "test": 1, "testing": 1, "dev": 1, "train": 2, "training": 2}


@dataclass(frozen=True)
class Split:
    """The photos of one split.

    Attributes:
        name: name of the split; empty if the set has none.
        folders: folders with photos, at any depth.
        lists: text files with the path of a photo a line.
    """

    name: str
    folders: tuple[Path, ...] = ()
    lists: tuple[Path, ...] = ()

    @property
    def places(self) -> tuple[Path, ...]:
        """Its folders and lists."""
        return (*self.folders, *self.lists)

    def photos(self, root: Path, left_out: LeftOut) -> list[Path]:
        """Return the photos; those of lists need not exist.

        Args:
            root: folder of the set, in which the photos of lists are.
            left_out: counts image files of formats that are not read.

        Raises:
            DataError: a folder cannot be listed, or a list cannot be used.
        """
        below = (photo for folder in self.folders for photo in photos_below(folder, left_out))
        listed = (photo for file in self.lists for photo in _listed_photos(file, root))
        return list(dict.fromkeys([*below, *listed]))


def chosen(splits: Sequence[Split]) -> Split:
    """Return the split that is read if none is named: of validation, else of tests, else of training."""
    return min(splits, key=lambda split: split_rank(split.name))


def split_rank(name: str) -> int:
    """Return the place of a split in the order in which one is chosen."""
    words = re.findall(r"[^\W\d_]+", name.casefold())  # also of val2017 and valid_set
    return min((_RANKS[word] for word in words if word in _RANKS), default=len(_RANKS))


def splits_by_yaml(file: YoloFile) -> list[Split]:
    """Return the splits of ``data.yaml`` that are in its folder.

    Each path is the longest end of what is written that exists there: files elsewhere on this machine are never named,
    and paths of another machine are found.
    """
    folder = file.path.absolute().parent
    splits = []
    for name in SPLITS:
        paths = [path for text in file.splits.get(name, ()) if (path := _below(folder, text))]
        folders = tuple(path for path in paths if path.is_dir())
        lists = tuple(path for path in paths if path.is_file() and path.suffix.lower() == _TEXT)
        if folders or lists:
            splits.append(Split(name, folders, lists))
    return splits


def splits_by_folders(folder: Path) -> list[Split]:
    """Return the splits of a folder by the names of what is in it; none if it has no photos where they are expected.

    They are the folders of splits in ``images`` (``images/val``), or those with ``images`` or photos in them
    (``val/images``); else ``images``, or the folder itself, without a split.
    """
    images = [child for child in _folders(folder) if child.name.casefold() == _IMAGES]
    for around in (*images, folder):
        parts = [child for child in _folders(around) if part_kind(child.name) == "split"]
        found = [Split(part.name, (_images_in(part),)) for part in parts if _has_photos(_images_in(part))]
        if found and not LabelFiles(_loose(around)).folders:
            return found
    likely = (*images, folder, *(folder / name for name in _WITHOUT_SPLIT))
    return next(([Split("", (place,))] for place in likely if _photos_in(place) or _is_images(place)), [])


class LabelFiles:
    """The text files of photos.

    The file of ``images/val/1.jpg`` is ``labels/val/1.txt``; if there is no such folder with files of the photos, it is
    beside the photo, or in ``labels`` in or beside the photo's folder.
    """

    def __init__(self, photos: Iterable[Path]) -> None:
        """Choose the folder of text files for each folder of photos."""
        self._stems: dict[Path, set[str]] = {}
        for photo in photos:
            self._stems.setdefault(photo.parent, set()).add(photo.stem)
        self._listed: dict[Path, frozenset[str]] = {}
        self._folders = {parent: self._choose(parent, stems) for parent, stems in self._stems.items()}

    def of(self, photo: Path) -> Path | None:
        """Return the text file of a photo; None if it has none."""
        folder = self._folders[photo.parent]
        return folder / f"{photo.stem}{_TEXT}" if folder and photo.stem in self._names(folder) else None

    @property
    def folders(self) -> list[Path]:
        """The folders that are used."""
        return list(dict.fromkeys(folder for folder in self._folders.values() if folder))

    def without_photo(self) -> Iterator[Path]:
        """Yield the text files in folders of their own that belong to no photo."""
        used: dict[Path, set[str]] = {}
        for parent, folder in self._folders.items():
            if folder and folder not in self._stems:
                used.setdefault(folder, {"classes"}).update(self._stems[parent])
        for folder, stems in used.items():
            yield from (folder / f"{stem}{_TEXT}" for stem in sorted(self._names(folder) - stems))

    def _choose(self, parent: Path, stems: set[str]) -> Path | None:
        return next((folder for folder in _label_folders(parent) if stems & self._names(folder)), None)

    def _names(self, folder: Path) -> frozenset[str]:
        """Return the names of a folder's text files, without their ending."""
        if folder not in self._listed:
            files = visible_files(folder, _TEXT)
            self._listed[folder] = frozenset(file.stem for file in files if file.suffix == _TEXT)
        return self._listed[folder]


def _label_folders(parent: Path) -> Iterator[Path]:
    parts = parent.parts
    places = [place for place, part in enumerate(parts) if part.casefold() == _IMAGES]
    if places:
        yield Path(*parts[: places[-1]], _LABELS, *parts[places[-1] + 1 :])
    yield parent
    yield parent / _LABELS
    yield parent.parent / _LABELS / parent.name
    yield parent.parent / _LABELS


def _listed_photos(file: Path, root: Path) -> Iterator[Path]:
    """Yield the photos of a list; where their paths begin is decided by the first of them that exist."""
    lines = [line.strip() for line in read_text(file, _LARGEST_LIST, "a list of photos").splitlines() if line.strip()]
    ends = [_end(line) for line in lines]
    bases = [base for base in (file.parent, root) if any(map(_exists_below(base), ends[:_PROBED]))]
    base = bases[0] if bases else file.parent
    skipped = next((skip for parts in ends[:_PROBED] if (skip := _skipped(base, parts)) is not None), 0)
    seen: set[str] = set()
    for number, (line, parts) in enumerate(zip(lines, ends, strict=True), start=1):
        where = f"{file.name} photo {number}"
        if line in seen:
            raise DataError(f"{where}: '{shown(line, 80)}' is listed twice; keep one")
        seen.add(line)
        kept = parts[min(skipped, len(parts) - 1) :] if parts else []
        yield base / relative_name("/".join(kept), where)


def _end(text: str) -> list[str]:
    """Return the parts of a path behind its drive, its root and its last ``..``."""
    path = PureWindowsPath(text)
    parts = [part for part in path.parts if part != path.anchor and part not in (".", "")]
    last = max((place for place, part in enumerate(parts) if part == ".."), default=-1)
    return parts[last + 1 :]


def _below(folder: Path, text: str) -> Path | None:
    """Return the longest end of a path that exists below a folder; None if none does."""
    parts = _end(text)
    skipped = _skipped(folder, parts)
    return None if skipped is None else folder.joinpath(*parts[skipped:])


def _skipped(folder: Path, parts: Sequence[str]) -> int | None:
    """Return how many of the first parts must be left out for a path that exists below a folder."""
    ends = (skip for skip in range(len(parts)) if os.path.exists(folder.joinpath(*parts[skip:])))  # noqa: PTH110
    return next(ends, None)  # unlike pathlib's, os.path.exists raises nothing for names that are too long


def _exists_below(folder: Path) -> Callable[[Sequence[str]], bool]:
    return lambda parts: _skipped(folder, parts) is not None


def _folders(folder: Path) -> list[Path]:
    """Return the sorted folders in a folder; none if it cannot be listed."""
    try:
        with os.scandir(folder) as inside:  # unlike pathlib's, asks the system nothing more about each of many photos
            names = [child.name for child in inside if child.name[0] != "." and child.is_dir()]
    except OSError:
        return []
    return [folder / name for name in sorted(names) if name not in FOREIGN]


def _images_in(part: Path) -> Path:
    """Return the folder ``images`` in the folder of a split, or the folder itself."""
    return next((child for child in _folders(part) if child.name.casefold() == _IMAGES), part)


def _photos_in(folder: Path) -> bool:
    """Return whether photos are directly in a folder."""
    try:
        with os.scandir(folder) as inside:
            return any(child.name[0] != "." and is_photo(Path(child.name)) for child in inside)
    except OSError:
        return False


def _loose(folder: Path) -> list[Path]:
    """Return the photos directly in a folder."""
    return [child for child in children(folder) if is_photo(child)]


def _has_photos(folder: Path) -> bool:
    """Return whether photos are in a folder, at any depth."""
    try:
        return _photos_in(folder) or any(True for _ in photos_below(folder, LeftOut()))
    except DataError:
        return False


def _is_images(folder: Path) -> bool:
    """Return whether a folder is called ``images`` and has photos further down."""
    return folder.name.casefold() == _IMAGES and _has_photos(folder)


def splits_text(file: YoloFile) -> str:
    """Return what ``data.yaml`` says of splits, for messages."""
    return ", ".join(f"{name} '{escaped(shown(paths[0], 60))}'" for name, paths in file.splits.items())
