"""From the labels of a set to the outputs of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evalkit.core.errors import DataError
from evalkit.datasets.class_map import ClassMap
from evalkit.datasets.entry import Entry
from evalkit.datasets.image import UNLABELLED
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.output_names import OutputNames, unused_classes

__all__ = ["match_classes", "require_labelled"]

_NAMED = 5
_LISTED = 200

Outputs = tuple[int, ...]


def match_classes(
    images: ImageSet,
    class_names: Sequence[str] | None,
    n_classes: int,
    *,
    require_labels: bool,
    class_ids: Sequence[str] | None = None,
    class_map: ClassMap | None = None,
) -> tuple[ImageSet, list[str]]:
    """Give every entry the index, or indices, of the model's outputs for its class.

    An entry's own class index is used first. Otherwise its label is searched in the class map, then among the model's
    names and WordNet ids: exactly, then regardless of case and with ``_``, ``-`` and space as equal. If none is found
    and all labels are whole numbers below ``n_classes``, they are indices. If none is found and the set's classes have
    an order (folders, scenes), they are the outputs in sorted order, provided that there are as many as outputs.
    Labels that are not found are refused; with a class map, or in annotations with classes of their own
    (``Labels.partial``) of which others are found, they are left out and listed.

    Args:
        images: the set.
        class_names: names of the model's outputs, in their order; None if unknown.
        n_classes: number of outputs.
        require_labels: whether unlabelled entries are refused; otherwise they get -1.
        class_ids: WordNet ids in the order of the outputs; None if unknown.
        class_map: outputs of the set's classes, from ``--class-map``.

    Returns:
        The set with all class indices, and notes for the user.

    Raises:
        DataError: an index is out of range, a label names no class or several, or an entry has no label.
        ConfigError: the class map names an output that the model lacks.
    """
    if require_labels:
        require_labelled(images)
    names = OutputNames(class_names, class_ids, n_classes)
    labels = list(dict.fromkeys(entry.label for entry in images.entries if entry.class_index is None and entry.label))
    matched, notes = _matched(images, labels, names, class_map)
    entries = []
    for entry in images.entries:
        if entry.class_index is not None:
            _require_in_range(entry, entry.class_index, n_classes)
            entries.append(entry)
        elif not entry.label:
            entries.append(replace(entry, class_index=UNLABELLED))
        elif outputs := matched.get(entry.label):
            entries.append(replace(entry, class_index=outputs[0], outputs=outputs if len(outputs) > 1 else ()))
    notes += _left_out(images, [label for label in labels if not matched.get(label)], len(labels), len(entries))
    if class_map is not None:
        notes += _unused(images, class_map, labels)
    return images.with_entries(entries), notes + _contradictions(images, names)


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


def _matched(
    images: ImageSet, labels: list[str], names: OutputNames, class_map: ClassMap | None
) -> tuple[dict[str, Outputs], list[str]]:
    """Return the outputs of each label that has any, and notes for the user."""
    mapped = {} if class_map is None else names.mapped(class_map, labels)
    matched = dict(mapped)
    for label in labels:
        if label not in mapped and (candidates := names.find(label)):
            if len(candidates) > 1:
                raise DataError(
                    f"{images.name}: the label '{label}' is the name of classes {', '.join(map(str, candidates))}; "
                    "use a CSV manifest with class_index, or --class-map FILE"
                )
            matched[label] = (candidates[0],)
    unmatched = [label for label in labels if label not in matched]
    if not unmatched:
        return matched, []
    if class_map is None and not matched:
        # All classes count, not only those with images: a limited set must not be matched in another way.
        classes = list(images.class_names or ()) if images.labels.ordered else labels
        if names.all_indices(classes):
            return {label: (int(label),) for label in labels}, [f"{images.name}: its labels are taken as class indices"]
        if images.labels.ordered and len(classes) == names.count and not any(map(names.find, classes)):
            return {name: (index,) for index, name in enumerate(classes)}, [_sorted_order_note(images, names)]
    if class_map is None and not (images.labels.partial and any(matched.values())):
        raise DataError(_unmatched_message(images, unmatched, names))
    return matched, []


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


def _sorted_order_note(images: ImageSet, names: OutputNames) -> str:
    classes = images.class_names or ()
    why = "the model's class names are unknown" if names.names is None else "none of its classes is one of the model's"
    listed = ", ".join(f"{name} = {index}" for index, name in enumerate(classes[:_NAMED]))
    more = ", ..." if len(classes) > _NAMED else ""
    order = f"its {len(classes)} {images.labels.noun} in sorted order are the model's outputs"
    return f"{images.name}: {why}, so {order}: {listed}{more}"


def _unmatched_message(images: ImageSet, unmatched: list[str], names: OutputNames) -> str:
    noun = images.labels.noun
    listed = ", ".join(f"'{label}'{names.nearest(label)}" for label in unmatched[:_NAMED])
    more = f" and {len(unmatched) - _NAMED} more" if len(unmatched) > _NAMED else ""
    ways = "use a CSV manifest with class_index, or give them outputs with --class-map FILE"
    if names.names is None:
        n_classes = len(images.class_names or ())
        counted = f", and {n_classes} {noun} are not {names.count}" if images.labels.ordered else ""
        return (
            f"{images.name}: the model's class names are unknown, so {noun} cannot be matched{counted}: {listed}{more}"
            f"; name its outputs with --class-names FILE{names.ids_hint(unmatched)}, {ways}"
        )
    first = next(entry for entry in images.entries if entry.label == unmatched[0])
    count = len({entry.label for entry in images.entries if entry.class_index is None and entry.label})
    where = f" (the first: {first.where})" if first.where else ""
    return (
        f"{images.name}: {len(unmatched)} of {count} {noun} are not among the model's {names.count} classes{where}: "
        f"{listed}{more}; rename the {noun}, name the outputs with --class-names FILE{names.ids_hint(unmatched)}, "
        f"{ways}"
    )


def _require_in_range(entry: Entry, class_index: int, n_classes: int) -> None:
    if not 0 <= class_index < n_classes:
        raise DataError(
            f"{_where(entry)}: class_index {class_index} is out of range; the model has {n_classes} classes, "
            f"0..{n_classes - 1}"
        )


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


def _where(entry: Entry) -> str:
    return entry.where or f"image '{entry.id}'"
