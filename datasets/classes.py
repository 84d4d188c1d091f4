"""Which output of the model a label stands for."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from evalkit.datasets.image import UNLABELLED
from evalkit.datasets.image_set import Entry, ImageSet
from evalkit.errors import DataError

__all__ = ["match_classes"]

_NAMED = 5
_SORTED = {
    "folder": "folders",
    "masks": "folders",
    "scenes": "classes",
}  # kinds of sets whose classes have a sorted order, and its parts


def match_classes(
    images: ImageSet, class_names: Sequence[str] | None, n_classes: int, *, require_labels: bool
) -> tuple[ImageSet, list[str]]:
    """Give every entry the index of its class.

    An entry's own class index comes first. Else its label is looked up in ``class_names``: exactly, then regardless of
    case and with ``_``, ``-`` and space as equals. Class folders, or the classes of scenes, none of which is one of the
    model's, or for a model whose names are unknown, are taken in sorted order if there are as many as the model has
    outputs.

    Args:
        images: the set.
        class_names: the model's, in the order of its outputs; None if unknown.
        n_classes: number of outputs.
        require_labels: refuse unlabelled entries; otherwise they get -1.

    Returns:
        The set with all class indices, and notes for the user.

    Raises:
        DataError: an index out of range, a label that is no class or several, or an unlabelled entry.
    """
    unlabelled = [entry for entry in images.entries if entry.class_index is None and not entry.label]
    if unlabelled and require_labels:
        raise DataError(
            f"{images.name}: {len(unlabelled)} of {len(images)} images have no label (the first: "
            f"{_where(unlabelled[0])}); sort them into class folders, or use --target predicted"
        )
    labels = list(dict.fromkeys(entry.label for entry in images.entries if entry.class_index is None and entry.label))
    indices, notes = _indices(images, labels, class_names, n_classes)
    indices[""] = UNLABELLED
    entries = []
    for entry in images.entries:
        class_index = indices[entry.label] if entry.class_index is None else entry.class_index
        if entry.class_index is not None or entry.label:
            _require_in_range(entry, class_index, n_classes)
        entries.append(replace(entry, class_index=class_index))
    return images.with_entries(entries), notes + _contradictions(images, class_names)


def _indices(
    images: ImageSet, labels: list[str], class_names: Sequence[str] | None, n_classes: int
) -> tuple[dict[str, int], list[str]]:
    """Return each label's class index and what to tell the user."""
    names = _Names(class_names)
    found = {label: names.find(label) for label in labels}
    for label, candidates in found.items():
        if len(candidates) > 1:
            raise DataError(
                f"{images.name}: the label '{label}' is the name of classes {', '.join(map(str, candidates))}; "
                "use a CSV manifest with class_index"
            )
    unmatched = [label for label in labels if not found[label]]
    if not unmatched:
        return {label: candidates[0] for label, candidates in found.items()}, []
    folders = images.class_names or ()
    # All folders are asked, not only those with images: a limited set must not be matched another way than the whole.
    if images.kind in _SORTED and len(folders) == n_classes and not any(map(names.find, folders)):
        return {folder: index for index, folder in enumerate(folders)}, [_sorted_order_note(images, class_names)]
    raise DataError(_unmatched_message(images, unmatched, class_names, n_classes))


class _Names:
    """The model's class names, to be searched by label."""

    def __init__(self, class_names: Sequence[str] | None) -> None:
        self.exact: dict[str, list[int]] = {}
        self.plain: dict[str, list[int]] = {}
        for index, name in enumerate(class_names or ()):
            self.exact.setdefault(name, []).append(index)
            self.plain.setdefault(_plain(name), []).append(index)

    def find(self, label: str) -> list[int]:
        """Return the classes of that name: none, one, or several where the model has namesakes."""
        return self.exact.get(label) or self.plain.get(_plain(label), [])


def _plain(name: str) -> str:
    """Return the form in which names are compared: case, ``_``, ``-`` and the way accents are encoded do not count."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()


def _sorted_order_note(images: ImageSet, class_names: Sequence[str] | None) -> str:
    folders = images.class_names or ()
    why = "the model's class names are unknown" if class_names is None else "none of its classes is one of the model's"
    listed = ", ".join(f"{folder} = {index}" for index, folder in enumerate(folders[:_NAMED]))
    more = ", ..." if len(folders) > _NAMED else ""
    what = f"its {len(folders)} {_SORTED[images.kind]} are the classes in sorted order"
    return f"{images.name}: {why}, so {what}: {listed}{more}"


def _unmatched_message(
    images: ImageSet, unmatched: list[str], class_names: Sequence[str] | None, n_classes: int
) -> str:
    what = "folders" if images.kind in ("folder", "masks") else "labels"
    listed = ", ".join(_with_nearest(label, class_names or ()) for label in unmatched[:_NAMED])
    more = f" and {len(unmatched) - _NAMED} more" if len(unmatched) > _NAMED else ""
    if class_names is None:
        counted = f", and {len(images.class_names or ())} folders are not {n_classes}" if what == "folders" else ""
        return (
            f"{images.name}: the model's class names are unknown, so {what} cannot be matched{counted}: {listed}{more}"
            "; name its outputs with --class-names FILE, or use a CSV manifest with class_index"
        )
    first = next(entry for entry in images.entries if entry.label == unmatched[0])
    count = len({entry.label for entry in images.entries if entry.class_index is None and entry.label})
    where = f" (the first: {first.where})" if first.where else ""
    return (
        f"{images.name}: {len(unmatched)} of {count} {what} are not among the model's {n_classes} classes{where}: "
        f"{listed}{more}; rename the {what}, name the outputs with --class-names FILE, "
        "or use a CSV manifest with class_index"
    )


def _with_nearest(label: str, class_names: Sequence[str]) -> str:
    plain = {_plain(name): name for name in class_names}
    close = difflib.get_close_matches(_plain(label), plain, n=1)
    return f"'{label}' (did you mean '{plain[close[0]]}'?)" if close else f"'{label}'"


def _require_in_range(entry: Entry, class_index: int, n_classes: int) -> None:
    if not 0 <= class_index < n_classes:
        raise DataError(
            f"{_where(entry)}: class_index {class_index} is out of range; the model has {n_classes} classes, "
            f"0..{n_classes - 1}"
        )


def _contradictions(images: ImageSet, class_names: Sequence[str] | None) -> list[str]:
    """Return a note if labels name other classes than the indices beside them: a sign of another class order."""
    names = _Names(class_names)
    wrong = [
        (entry, named)
        for entry in images.entries
        if entry.class_index is not None and (named := names.find(entry.label)) and entry.class_index not in named
    ]
    if not wrong:
        return []
    entry, named = wrong[0]
    first = f"{_where(entry)}: '{entry.label}' is class {named[0]} of the model, class_index says {entry.class_index}"
    counted = f"{len(wrong)} of {len(images)} labels"
    return [f"{images.name}: {counted} name another class than their class_index, which is used ({first})"]


def _where(entry: Entry) -> str:
    return entry.where or f"image '{entry.id}'"
