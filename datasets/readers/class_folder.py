"""Folders of photos: ``<class>/<image>``, or images directly in the folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from evalkit.core.errors import DataError
from evalkit.core.names import escaped
from evalkit.datasets.annotations import LeftOut
from evalkit.datasets.files import file_facts, read_from_file
from evalkit.datasets.image_set import Entry, ImageSet, Labels
from evalkit.datasets.readers.base import Reader, visible_files
from evalkit.datasets.readers.folder_names import part_kind
from evalkit.datasets.readers.labelme_files import labelme_files
from evalkit.datasets.readers.lookalikes import FORMATS, folder_looks
from evalkit.datasets.readers.photo_files import EXTENSIONS, children, count_unread, identity, is_photo, photos_below

__all__ = ["READER", "read_class_folder"]

_NAME = "folder"
_TABLES = (".csv", ".json", ".xml")
_LISTED = 6  # names in a message
_LABELS = Labels("folders", ordered=True)


def read_class_folder(path: Path) -> ImageSet:
    """Open a folder; the photos are not read.

    Every folder in it is a class, with its photos at any depth; ``class_names`` are the sorted names of these folders,
    including empty ones, but not folders without photos whose names are those of annotations (``masks``, ``xmls``). A
    folder with photos directly in it and none further down is flat: its photos have no label.
    Photos are files whose extension is one of ``EXTENSIONS``, in any case. Hidden files and folders are skipped, image
    files of other formats are counted. Links are followed, and each folder is visited once.

    Args:
        path: path of the folder.

    Returns:
        The set, sorted by folder and name; ids are posix paths relative to the folder, control characters escaped.

    Raises:
        DataError: the folder has no photos, has photos both in itself and in class folders, cannot be listed, or holds
            a name that is not valid text.
    """
    root = path.absolute()
    left_out = LeftOut()
    inside = children(root)
    classes = [child for child in inside if child.is_dir()]
    loose = [child for child in inside if not child.is_dir() and is_photo(child)]
    above = {identity(folder) for folder in (root, *root.parents)}
    photos = {folder.name: list(photos_below(folder, left_out, set(above))) for folder in classes}
    labelled = any(photos.values())
    if not labelled and not loose:
        look = folder_looks(root)
        known = f"; this looks like {look}. {FORMATS}" if look else "; expected <class>/<image>, or images in it"
        raise DataError(f"{path} has no photos ({', '.join(EXTENSIONS)}){known}")
    if labelled and loose:
        holding = [folder for folder, in_class in photos.items() if in_class]
        if all(part_kind(folder) == "annotations" for folder in holding):
            raise DataError(
                f"{path} has photos in itself ('{loose[0].name}') and annotations in {_listed(holding)}; masks are "
                "read from masks/ if their photos are in images/: move them there"
            )
        raise DataError(
            f"{path} has photos both in itself ('{loose[0].name}') and in class folders "
            f"('{next(name for name in photos if photos[name])}'); move the {len(loose)} loose ones into a class folder"
        )
    name = root.resolve().name or str(root)
    count_unread(inside, left_out)
    notes = left_out.notes(name)
    if not labelled:
        notes += _beside(root, inside, name)
        entries = [_entry(photo, root, "") for photo in loose]
        return ImageSet(name, _NAME, entries, read_from_file, notes=notes, labels=_LABELS)
    without = [folder for folder, in_class in photos.items() if not in_class and part_kind(folder) == "annotations"]
    for folder in without:
        del photos[folder]
        notes.append(f"{name}: '{escaped(folder)}' has no photos and the name of annotations; it is not a class")
    notes += _doubtful_classes(root, photos, name)
    notes += _labelme_beside(
        next(filter(None, (labelme_files(root / folder) for folder in list(photos)[:_LISTED])), []), name
    )
    entries = [_entry(photo, root, label) for label, in_class in photos.items() for photo in in_class]
    return ImageSet(name, _NAME, entries, read_from_file, list(map(escaped, photos)), notes, _LABELS)


def _beside(root: Path, inside: Iterable[Path], name: str) -> list[str]:
    """Return notes about tables beside the photos of a flat folder, which may hold their classes."""
    labelme = labelme_files(root)
    notes = _labelme_beside(labelme, name)
    notes += [f"{name}: '{child.name}' is beside the photos and not read; name it as the data to use it"
              for child in inside if child.suffix.lower() in _TABLES and not child.is_dir()
              and child not in labelme]  # fmt: skip
    notes += [f"{name}: the folder '{escaped(child.name)}' is beside the photos and not read"
              for child in inside if child.is_dir() and part_kind(child.name) == "annotations"]  # fmt: skip
    look = folder_looks(root)
    return [f"{name}: this looks like {look}; the photos are read without labels. {FORMATS}"] if look else notes


def _labelme_beside(files: Sequence[Path], name: str) -> list[str]:
    if not files:
        return []
    first = escaped(files[0].name)
    return [f"{name}: LabelMe files are beside the photos ('{first}') and not read; --data-format labelme reads them"]


def _doubtful_classes(root: Path, photos: Mapping[str, list[Path]], name: str) -> list[str]:
    """Return notes about class folders that may be none."""
    notes = [
        f"{name}: the folder '{escaped(folder)}' is taken as a class, although it has the name of a part of a set"
        for folder in photos
        if part_kind(folder)
    ]
    if len(photos) == 1:
        ((folder, inside),) = photos.items()
        below = sorted({photo.relative_to(root).parts[1] for photo in inside if len(photo.relative_to(root).parts) > 2})
        if len(below) > 1:
            notes.append(
                f"{name}: '{escaped(folder)}' is the only class; if its folders ({_listed(below)}) are the classes, "
                f"name {root / folder}"
            )
    return notes


def _is_class_folder(path: Path) -> bool:
    """Return whether a path is a folder; refuse one whose folders are, by their names, parts of a set."""
    if not path.is_dir():
        return False
    try:
        files = children(path)
        inside = sorted(child.name for child in files if child.is_dir())
    except DataError:
        return True  # opening it reports the reason
    parts = [name for name in inside if part_kind(name)]
    way_out = f"--data-format {_NAME} takes them as classes"
    if all(part_kind(name) == "annotations" for name in inside) and any(map(is_photo, files)):
        return True  # flat photos, with annotations beside them
    if inside and len(parts) == len(inside):
        look = folder_looks(path)
        if look:
            raise DataError(f"--data '{path}' has no class folders; this looks like {look}. {FORMATS}; {way_out}")
        lists = [file.name for ending in (".csv", ".json") for file in visible_files(path, ending)]
        likely = [name for name in parts if part_kind(name) != "annotations"]
        ways = [f"one of them, for example {path / likely[-1]}"] if likely else []
        ways += [f"its list, {path / lists[0]}"] if lists else []
        tables = next(filter(_holds_tables, _annotation_folders(path, parts)), None)
        ways += [f"its annotations, {tables}" if tables else "its annotations"]
        raise DataError(
            f"--data '{path}': its folders {_listed(parts)} have names of parts of a set, not of classes; "
            f"name {', or '.join(ways)}; {way_out}"
        )
    doubtful = [name for name in parts if _is_no_class(path / name)]
    if doubtful:
        classes = [name for name in inside if name not in parts]
        raise DataError(
            f"--data '{path}': its folders {_listed(doubtful)} have names of parts of a set, not of classes, beside "
            f"{_listed(classes)}; move them elsewhere, or name the folder that holds only classes; {way_out}"
        )
    root = path.resolve().name
    if len(inside) == 1 and inside[0].casefold() == root.casefold():
        raise DataError(
            f"--data '{path}': its only folder '{inside[0]}' has its own name, as archives leave it; name "
            f"{path / inside[0]}; {way_out}"
        )
    return True


def _annotation_folders(path: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Yield the folders of annotations among the parts of a set, and those directly in one."""
    for name in parts:
        if part_kind(name) == "annotations":
            yield path / name
            yield from (child for child in children(path / name) if part_kind(child.name) and child.is_dir())


def _holds_tables(folder: Path) -> bool:
    """Return whether a folder has XML files, or a single JSON file, in it."""
    return bool(visible_files(folder, ".xml")) or len(visible_files(folder, ".json")) == 1


def _is_no_class(folder: Path) -> bool:
    """Return whether a folder with the name of a part holds masks or other annotations, or class folders."""
    if not any(photos_below(folder, LeftOut())):
        return False
    kind = part_kind(folder.name)
    below = [child for child in children(folder) if child.is_dir()]
    return kind == "annotations" or (kind == "split" and any(any(photos_below(one, LeftOut())) for one in below))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(escaped, names[:_LISTED]))
    return f"{shown} and {len(names) - _LISTED} more" if len(names) > _LISTED else shown


READER = Reader(
    name=_NAME,
    data="FOLDER",
    summary="class folders: FOLDER/<class>/<image>; or a flat folder of unlabelled images, with --target predicted",
    example="photos/cat/1.jpg\nphotos/dog/2.png",
    needs="folder",
    open=read_class_folder,
    recognize=_is_class_folder,
    general=True,
)


def _entry(photo: Path, root: Path, label: str) -> Entry:
    name = photo.relative_to(root).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{name!a} in {root.name}: the name is not valid UTF-8; rename the file or folder") from error
    size_bytes, mtime_ns, problem = file_facts(photo)
    return Entry(escaped(name), photo, None, escaped(label), size_bytes=size_bytes, mtime_ns=mtime_ns, problem=problem)
