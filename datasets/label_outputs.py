"""From labels to the outputs of a model: by class map, by name, or by an order of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.core.errors import DataError
from evalkit.datasets.class_map import ClassMap
from evalkit.datasets.class_order import ORDERS, ClassOrder, described, orders_of, why_not
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.output_names import OutputNames

__all__ = ["MatchedLabels", "Outputs", "match_labels"]

_NAMED = 5

Outputs = tuple[int, ...]


@dataclass(frozen=True)
class MatchedLabels:
    """The outputs of the labels.

    Attributes:
        outputs: outputs by label, of those that have any.
        order: how they were found, in words.
        notes: sentences for the user.
        taken: the order, if no name said it.
        others: outputs by label in other possible orders, also if names said the one taken.
        complete: whether there are as many classes as outputs.
        kept: whether images whose label has no output stay, without a class; otherwise they are left out.
    """

    outputs: Mapping[str, Outputs]
    order: str
    notes: list[str] = field(default_factory=list)
    taken: ClassOrder | None = None
    others: Mapping[ClassOrder, Mapping[str, int]] = field(default_factory=dict)
    complete: bool = False
    kept: bool = False


def match_labels(
    images: ImageSet,
    labels: list[str],
    names: OutputNames,
    class_map: ClassMap | None,
    class_order: ClassOrder | None,
    *,
    refuse: bool,
) -> MatchedLabels:
    """Return the outputs of the labels.

    Args:
        images: the set.
        labels: labels of its entries that have no class index.
        names: names of the model's outputs.
        class_map: outputs of the set's classes.
        class_order: order of the classes.
        refuse: whether labels that are not found are refused.
    """
    # All classes count, not only those with images: a limited set must not be matched in another way.
    classes = list(images.class_names or ()) if images.labels.ordered else sorted(labels)
    mapped = {} if class_map is None else names.mapped(class_map, labels)
    if class_order is not None and (others := [label for label in labels if label not in mapped]):
        if problem := why_not(class_order, classes, names.count):
            raise DataError(f"{images.name}: --class-order {class_order}: {problem}")
        found = _in_order(images, others, classes, names, class_order, f"--class-order {class_order}")
        return found if not mapped else MatchedLabels({**found.outputs, **mapped}, found.order, found.notes)
    matched = dict(mapped)
    for label in labels:
        if label not in mapped and (outputs := _named(images, label, names, refuse=refuse)):
            matched[label] = outputs
    by = "by name" if class_map is None else "by --class-map"
    unmatched = [label for label in labels if label not in matched]
    if not unmatched:
        as_text = {} if class_map is not None else _sorted_otherwise(images, classes, names)
        return MatchedLabels(matched, by, others=as_text)
    if class_map is None and not matched and (order := _inferred(images, classes, names)):
        return _in_order(images, labels, classes, names, order, "")
    if class_map is not None or (images.labels.partial and any(matched.values())):
        return MatchedLabels(matched, by)
    if refuse:
        raise DataError(_unmatched_message(images, unmatched, names))
    note = _unknown_note(images, unmatched, len(labels))
    return MatchedLabels(matched, by if matched else "no class is matched", [note], kept=True)


def _sorted_otherwise(images: ImageSet, classes: list[str], names: OutputNames) -> dict[ClassOrder, dict[str, int]]:
    """Return the outputs of classes sorted as text, if all are named: names given to the model may be in disorder."""
    possible = orders_of(classes, names.count) if images.labels.ordered else {}
    return {"sorted": possible["sorted"]} if "sorted" in possible and len(classes) == names.count else {}


def _named(images: ImageSet, label: str, names: OutputNames, *, refuse: bool) -> Outputs:
    """Return the output with the name of a label; none if there is none, or if several are not to be refused."""
    candidates = names.find(label)
    if len(candidates) > 1 and refuse:
        raise DataError(
            f"{images.name}: the label '{label}' is the name of classes {', '.join(map(str, candidates))}; "
            "use a CSV manifest with class_index, or --class-map FILE"
        )
    return (candidates[0],) if len(candidates) == 1 else ()


def _unknown_note(images: ImageSet, unmatched: Sequence[str], n_labels: int) -> str:
    listed = ", ".join(f"'{label}'" for label in unmatched[:_NAMED])
    more = f" and {len(unmatched) - _NAMED} more" if len(unmatched) > _NAMED else ""
    return (
        f"{images.name}: {len(unmatched)} of {n_labels} {images.labels.noun} are not matched with outputs of the "
        f"model, so whether it is right on their images is not known: {listed}{more}"
    )


def _inferred(images: ImageSet, classes: list[str], names: OutputNames) -> ClassOrder | None:
    """Return the order of classes none of which is found by name; None if no order is possible."""
    if images.labels.binary and names.count != 2:
        return None
    possible = orders_of(classes, names.count)
    whole = len(classes) == names.count and not any(map(names.find, classes))
    in_sorted_order = images.labels.ordered and "sorted" in possible and whole
    if in_sorted_order and names.names is None:
        return "sorted"
    if "index" in possible:
        return "index"
    return "sorted" if in_sorted_order else None


def _in_order(
    images: ImageSet, labels: list[str], classes: list[str], names: OutputNames, order: ClassOrder, option: str
) -> MatchedLabels:
    """Return the outputs of the labels in an order of the classes.

    Args:
        images: the set.
        labels: labels of its entries.
        classes: names of all classes, sorted as text.
        names: names of the model's outputs.
        order: the order, which must be possible.
        option: the option that says so; empty if it was inferred.
    """
    possible = orders_of(classes, names.count)
    outputs = {label: (possible[order][label],) for label in labels}
    first = sorted(possible[order].items(), key=lambda item: item[1])
    listed = ", ".join(f"{label} = {output}" for label, output in first[:_NAMED])
    more = ", ..." if len(classes) > _NAMED else ""
    others = {other: possible[other] for other in ORDERS if other in possible and other != order}
    if not option and order == "index":
        note = f"{images.name}: its labels are taken as class indices"
    elif not option:
        why = (
            "the model's class names are unknown"
            if names.names is None
            else "none of its classes is one of the model's"
        )
        counted = f"its {len(classes)} {images.labels.noun} in sorted order are the model's outputs"
        note = f"{images.name}: {why}, so {counted}: {listed}{more}"
    else:
        note = f"{images.name}: {option}: {described(order)}: {listed}{more}"
    complete = len(classes) == names.count
    contradicted = [label for label in labels if (named := names.find(label)) and outputs[label][0] not in named]
    if contradicted:
        label = contradicted[0]
        note += (
            f"; {len(contradicted)} of them have the names of other outputs, for example '{label}' is the name of "
            f"output {names.find(label)[0]}"
        )
    return MatchedLabels(outputs, f"{described(order)}: {listed}{more}", [note], order, others, complete)


def _unmatched_message(images: ImageSet, unmatched: list[str], names: OutputNames) -> str:
    noun = images.labels.noun
    listed = ", ".join(f"'{label}'{names.nearest(label)}" for label in unmatched[:_NAMED])
    more = f" and {len(unmatched) - _NAMED} more" if len(unmatched) > _NAMED else ""
    ways = "use a CSV manifest with class_index, or give them outputs with --class-map FILE"
    if "index-from-1" in orders_of(list(images.class_names or ()) if images.labels.ordered else unmatched, names.count):
        ways = f"if they are indices counted from 1, give --class-order index-from-1; or {ways}"
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
