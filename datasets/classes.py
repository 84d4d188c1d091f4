"""From the labels of a set to the outputs of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from evalkit.core.errors import DataError
from evalkit.datasets.class_map import ClassMap
from evalkit.datasets.class_order import ClassOrder, index_orders, seem_to_start_at_1
from evalkit.datasets.entry import Entry
from evalkit.datasets.image import UNLABELLED
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.label_outputs import MatchedLabels, Outputs, match_labels
from evalkit.datasets.output_names import OutputNames, unused_classes

__all__ = ["Match", "match_classes", "require_labelled"]

_LISTED = 200


@dataclass(frozen=True)
class Match:
    """A set whose images have the outputs of their classes.

    Attributes:
        images: the set with all class indices.
        notes: sentences for the user.
        order: how the classes were matched with the outputs, in words, for tables; empty without classes.
        taken: the order of the classes if no name said which output is which; else None.
        others: other possible orders; for each, its output by the output of the order taken.
        complete: whether the classes are all outputs of the model, so that any other order of them is possible too.
    """

    images: ImageSet
    notes: list[str]
    order: str = "class_index"
    taken: ClassOrder | None = None
    others: Mapping[ClassOrder, Mapping[int, int]] = field(default_factory=dict)
    complete: bool = False


def match_classes(
    images: ImageSet,
    class_names: Sequence[str] | None,
    n_classes: int,
    *,
    require_labels: bool,
    class_ids: Sequence[str] | None = None,
    class_map: ClassMap | None = None,
    class_order: ClassOrder | None = None,
) -> Match:
    """Give every entry the index, or indices, of the model's outputs for its class.

    An entry's own class index is used first. Otherwise its label is searched in the class map, then among the model's
    names and WordNet ids: exactly, then regardless of case and with ``_``, ``-`` and space as equal. If none is found,
    the order of the classes decides: of sets whose classes have an order (folders, scenes) and are as many as the
    outputs, whose names are unknown, sorted as text; else, if all labels are whole numbers below ``n_classes``, they
    are indices; else, of such sets, sorted as text if no class has a name of the model's. ``class_order`` is used
    instead of names.

    Labels that are not found are refused; with a class map, or in annotations with classes of their own
    (``Labels.partial``) of which others are found, they are left out and listed. If labels are not required, images
    whose label would be refused are unlabelled.

    Args:
        images: the set.
        class_names: names of the model's outputs, in their order; None if unknown.
        n_classes: number of outputs.
        require_labels: whether unlabelled entries are refused; otherwise they get -1.
        class_ids: WordNet ids in the order of the outputs; None if unknown.
        class_map: outputs of the set's classes, from ``--class-map``.
        class_order: order of the classes, from ``--class-order``; None chooses it as above.

    Raises:
        DataError: an index is out of range, a label names no class or several, an entry has no label, or the set's
            classes cannot have the order.
        ConfigError: the class map names an output that the model lacks.
    """
    if require_labels:
        require_labelled(images)
    _require_columns(images, n_classes)
    names = OutputNames(class_names, class_ids, n_classes)
    given = {entry.class_index for entry in images.entries if entry.class_index is not None}
    images = _counted_from(images, given, class_order, n_classes)
    labels = list(dict.fromkeys(entry.label for entry in images.entries if entry.class_index is None and entry.label))
    found = match_labels(images, labels, names, class_map, class_order, refuse=require_labels)
    entries = [entry for entry in (_with_outputs(entry, found) for entry in images.entries) if entry is not None]
    notes = list(found.notes)
    if not found.kept:
        unmatched = [label for label in labels if not found.outputs.get(label)]
        notes += _left_out(images, unmatched, len(labels), len(entries))
    if class_map is not None:
        notes += _unused(images, class_map, labels)
    notes += _contradictions(images, names)
    notes += _divided(images, entries)
    matched = images.with_entries(entries)
    if labels:
        others = {order: _by_output(found.outputs, outputs) for order, outputs in found.others.items()}
        return Match(matched, notes, found.order, found.taken, _distinct(others), found.complete)
    if not given:
        unused = (
            [f"{images.name}: --class-order {class_order} has no effect: no image has a class"] if class_order else []
        )
        return Match(matched, notes + unused, "")
    if any(map(names.find, {entry.label for entry in entries})):
        return Match(matched, notes)  # the labels beside the indices say what these mean
    taken: ClassOrder = "index-from-1" if class_order == "index-from-1" else "index"
    words = "class_index, counted from 1" if taken == "index-from-1" else "class_index"
    return Match(matched, notes, words, taken, index_orders(given, taken, n_classes))


def _with_outputs(entry: Entry, found: MatchedLabels) -> Entry | None:
    """Return an entry with its class; None if it is left out."""
    if entry.class_index is not None:
        return entry
    if outputs := found.outputs.get(entry.label):
        return replace(entry, class_index=outputs[0], outputs=outputs if len(outputs) > 1 else ())
    return replace(entry, class_index=UNLABELLED) if not entry.label or found.kept else None


def _by_output(taken: Mapping[str, Outputs], other: Mapping[str, int]) -> dict[int, int]:
    return {outputs[0]: other[label] for label, outputs in taken.items()}


def _distinct(others: Mapping[ClassOrder, dict[int, int]]) -> dict[ClassOrder, dict[int, int]]:
    """Return the orders that differ from the one taken and from each other."""
    distinct: dict[ClassOrder, dict[int, int]] = {}
    for order, outputs in others.items():
        if any(here != there for here, there in outputs.items()) and outputs not in distinct.values():
            distinct[order] = outputs
    return distinct


def _require_columns(images: ImageSet, n_classes: int) -> None:
    columns = images.labels.columns
    if columns not in (None, n_classes):
        raise DataError(
            f"{images.name}: class_indices has {columns} columns, one for each class, but the model has {n_classes} "
            "outputs; give one column for each output, or class indices"
        )


def _counted_from(images: ImageSet, given: set[int], order: ClassOrder | None, n_classes: int) -> ImageSet:
    """Return the set with class indices from 0 that are in range; ``given`` are those of the set."""
    if not given:
        return images
    if order in ("sorted", "numeric") and all(entry.class_index is not None for entry in images.entries):
        raise DataError(
            f"{images.name}: --class-order {order} orders labels, but every image has a class index; allowed: index, "
            "or index-from-1 if they are counted from 1"
        )
    first = 1 if order == "index-from-1" else 0
    for entry in images.entries:
        if entry.class_index is not None and not first <= entry.class_index < n_classes + first:
            raise DataError(_out_of_range(entry, given, first, n_classes))
    if not first:
        return images
    return images.with_entries(
        entry if entry.class_index is None else replace(entry, class_index=entry.class_index - 1)
        for entry in images.entries
    )


def _out_of_range(entry: Entry, given: set[int], first: int, n_classes: int) -> str:
    hint = ""
    if not first and seem_to_start_at_1(given, n_classes):
        hint = (
            f"; none is 0 and the highest is {n_classes}, so they seem to be counted from 1: subtract 1 from each, or "
            "give --class-order index-from-1"
        )
    elif first and entry.class_index == 0:
        hint = "; leave --class-order out if they are counted from 0"
    return (
        f"{_where(entry)}: class_index {entry.class_index} is out of range; the model has {n_classes} classes, "
        f"{first}..{n_classes - 1 + first}{hint}"
    )


def _unused(images: ImageSet, class_map: ClassMap, labels: list[str]) -> list[str]:
    """Return a note that lists the map's classes that no image has: they may be misspelt."""
    unused = unused_classes(class_map, [*labels, *(images.class_names or ())])
    if not unused:
        return []
    listed = ", ".join(f"'{name}'" for name in unused[:_LISTED])
    more = f" and {len(unused) - _LISTED} more" if len(unused) > _LISTED else ""
    return [f"--class-map '{class_map.name}': {len(unused)} classes have no image in {images.name}: {listed}{more}"]


def require_labelled(images: ImageSet) -> None:
    """Raise DataError if an entry has neither a class index nor a label."""
    unlabelled = [entry for entry in images.entries if entry.class_index is None and not entry.label]
    if unlabelled:
        raise DataError(
            f"{images.name}: {len(unlabelled)} of {len(images)} images have no label (the first: "
            f"{_where(unlabelled[0])}); sort them into class folders, or use --target predicted"
        )


def _left_out(images: ImageSet, labels: list[str], n_labels: int, n_left: int) -> list[str]:
    """Return a note that lists the classes without an output."""
    if not labels:
        return []
    listed = ", ".join(f"'{label}'" for label in labels[:_LISTED])
    more = f" and {len(labels) - _LISTED} more" if len(labels) > _LISTED else ""
    note = (
        f"{images.name}: {len(labels)} of {n_labels} classes have no output of the model; left out, with "
        f"{len(images) - n_left} of {len(images)} images: {listed}{more}; --class-map FILE can give them outputs"
    )
    if not n_left:
        raise DataError(note)
    return [note]


def _contradictions(images: ImageSet, names: OutputNames) -> list[str]:
    """Return a note if labels contradict their class indices, as they do if the classes have another order."""
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


def _divided(images: ImageSet, entries: Sequence[Entry]) -> list[str]:
    """Return a note if two images are one photo with one output: each has its own part of the region only."""
    of_photo: dict[tuple[object, object], list[Entry]] = {}
    for entry in entries:
        if entry.path is not None and entry.class_index != UNLABELLED and entry.has_region:
            of_photo.setdefault((entry.path, entry.outputs or entry.class_index), []).append(entry)
    divided = [group for group in of_photo.values() if len(group) > 1]
    if not divided:
        return []
    first = " and ".join(f"'{entry.id}'" for entry in divided[0][:2])
    note = (
        f"{images.name}: {len(divided)} photos are several images of one output (the first: {first}); each has the "
        "region of its own label only, so a map of the other's object counts as wrong: give them one label"
    )
    return [note]


def _where(entry: Entry) -> str:
    return entry.where or f"image '{entry.id}'"
