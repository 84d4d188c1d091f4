"""The output of ``validate``: tables, or one strict JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Literal

from evalkit.datasets.validation import BOX_OUTSIDE, EMPTY, UNREADABLE, DataReport, ModelReport, Spread, Validation
from evalkit.report.tables.rich_tables import listing_table, print_to_text

__all__ = ["render_validation"]

_SHOWN_CLASSES, _SHOWN_PROBLEMS, _SHOWN_GROUPS, _SHOWN_LABELS = 30, 20, 10, 200


def render_validation(validation: Validation, form: Literal["table", "json"], *, width: int) -> str:
    """Return a validation as text.

    Args:
        validation: validation to print.
        form: ``table`` or ``json``; the latter has every class, problem and duplicate.
        width: width of the terminal in columns; for tables only.
    """
    if form == "json":
        return json.dumps(_document(validation), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    parts = [listing_table(validation.data.name, ("fact", "value"), list(_facts(validation)))]
    parts.append(listing_table(*_classes(validation.data)))
    if validation.data.problems:
        parts.append(listing_table(*_problems(validation.data)))
    if validation.data.duplicates:
        parts.append(listing_table(*_duplicates(validation.data)))
    tables = [print_to_text([part], width=width, color=False) for part in parts]
    return "\n".join([*tables, *(f"{note}\n" for note in _notes(validation))])


def _document(validation: Validation) -> dict[str, object]:
    document = asdict(validation)
    document["schema_version"] = 1
    document["could_start"] = not validation.blocking
    if validation.model is not None:
        document["model"]["share_right"] = _share_right(validation.model)
    return document


def _share_right(model: ModelReport) -> float | None:
    return model.n_right / model.n_asked if model.n_asked else None


def _facts(validation: Validation) -> Iterator[tuple[str, str]]:
    data, model = validation.data, validation.model
    yield "format", data.kind
    yield "images", f"{data.n_images}" + (f" of {data.n_photos} photos" if data.n_photos != data.n_images else "")
    yield "classes", f"{sum(facts.label != '' for facts in data.classes)}"
    yield "unlabelled", f"{data.n_unlabelled}"
    soft = f", {data.n_soft} thresholded at half" if data.n_soft else ""
    yield "with a region", f"{data.n_regions} ({data.n_exact} exact{soft}, {data.n_ignoring} with ignored pixels)"
    yield "region's area", _percent(data.region_areas)
    nearly = f", and {data.n_nearly_whole} nearly" if data.n_nearly_whole else ""
    yield "whole-photo regions", f"{data.n_whole}{nearly}"
    yield "width", _pixels(data.widths)
    yield "height", _pixels(data.heights)
    yield "images per class", _balance(data)
    yield "duplicates", f"{len(data.duplicates)} groups of files with the same content"
    for kind in (UNREADABLE, BOX_OUTSIDE, EMPTY):
        yield kind, f"{data.count(kind)}"
    if model is not None:
        yield "model", f"{model.name}, {model.n_classes} classes"
        for fact in model.facts.split("; ") if model.facts else ():
            name, _, value = fact.partition(": ")
            yield (name, value) if value else ("CAM methods", fact.removeprefix("CAM methods "))
        yield "class order", model.class_order or "-"
        yield "classes it lacks", f"{len(model.unknown_labels)}"
        share = _share_right(model)
        yield "model is right", "-" if share is None else f"{model.n_right} of {model.n_asked} ({share:.1%})"
    yield "a run could start", "no" if validation.blocking else "yes"


def _pixels(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{spread.smallest:g} to {spread.largest:g} pixels, median {spread.median:g}"


def _percent(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{spread.smallest:.1%} to {spread.largest:.1%} of the photo, median {spread.median:.1%}"


def _balance(data: DataReport) -> str:
    counts = [facts.n_images for facts in data.classes if facts.label]
    return f"{min(counts)} to {max(counts)}" if counts else "-"


def _classes(data: DataReport) -> tuple[str, Sequence[str], list[tuple[str, str, str]]]:
    shown = sorted(data.classes, key=lambda facts: (-facts.n_images, facts.label))[:_SHOWN_CLASSES]
    left = len(data.classes) - len(shown)
    title = "Classes" if left <= 0 else f"Classes: the {len(shown)} largest of {len(data.classes)}"
    rows = [(facts.label or "(unlabelled)", f"{facts.n_images}", f"{facts.n_regions}") for facts in shown]
    return title, ("class", "images", "with a region"), rows


def _problems(data: DataReport) -> tuple[str, Sequence[str], list[tuple[str, str, str]]]:
    shown = data.problems[:_SHOWN_PROBLEMS]
    total = len(data.problems)
    title = "Would not be scored" + (f": the first {len(shown)} of {total}" if total > len(shown) else "")
    return title, ("image", "problem", "reason"), [(problem.image, problem.kind, problem.reason) for problem in shown]


def _duplicates(data: DataReport) -> tuple[str, Sequence[str], list[tuple[str]]]:
    shown = data.duplicates[:_SHOWN_GROUPS]
    total = len(data.duplicates)
    title = "Files with the same content" + (
        f": the first {len(shown)} of {total} groups" if total > len(shown) else ""
    )
    return title, ("images",), [(", ".join(group),) for group in shown]


def _notes(validation: Validation) -> Iterator[str]:
    yield from validation.data.notes
    if validation.model is not None:
        yield from validation.model.notes
        unknown = validation.model.unknown_labels
        if unknown:
            more = f" and {len(unknown) - _SHOWN_LABELS} more" if len(unknown) > _SHOWN_LABELS else ""
            yield f"Classes that the model lacks: {', '.join(unknown[:_SHOWN_LABELS])}{more}"
    for reason in validation.blocking:
        yield f"A run could not start: {reason}"
