"""The check of a data set: tables, or one strict JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Literal

from evalkit.datasets.validation import BOX_OUTSIDE, EMPTY, UNREADABLE, DataReport, ModelReport, Spread, Validation
from evalkit.report.tables.rich_tables import listing_table, print_to_text

__all__ = ["render_validation"]

_SHOWN_CLASSES, _SHOWN_PROBLEMS, _SHOWN_GROUPS, _SHOWN_LABELS = 30, 20, 10, 200


def render_validation(check: Validation, form: Literal["table", "json"], *, width: int) -> str:
    """Return the check of a data set as text.

    Args:
        check: the results.
        form: table or json; the latter has every class, problem and duplicate.
        width: width of the terminal in columns; for the table only.
    """
    if form == "json":
        return json.dumps(_document(check), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    parts = [listing_table(check.data.name, ("property", "value"), list(_facts(check)))]
    parts.append(listing_table(*_classes(check.data)))
    if check.data.problems:
        parts.append(listing_table(*_problems(check.data)))
    if check.data.duplicates:
        parts.append(listing_table(*_duplicates(check.data)))
    tables = [print_to_text([part], width=width, color=False) for part in parts]
    return "\n".join([*tables, *(f"{note}\n" for note in _notes(check))])


def _document(check: Validation) -> dict[str, object]:
    document = asdict(check)
    document["schema_version"] = 1
    document["could_start"] = not check.blocking
    if check.model is not None:
        document["model"]["share_right"] = _share_right(check.model)
    return document


def _share_right(model: ModelReport) -> float | None:
    return model.n_right / model.n_asked if model.n_asked else None


def _facts(check: Validation) -> Iterator[tuple[str, str]]:
    data, model = check.data, check.model
    yield "format", data.kind
    yield "images", f"{data.n_images}" + (f" of {data.n_photos} photos" if data.n_photos != data.n_images else "")
    yield "classes", f"{sum(counted.label != '' for counted in data.classes)}"
    yield "unlabelled", f"{data.n_unlabelled}"
    yield "with a region", f"{data.n_regions} ({data.n_exact} exact, {data.n_ignoring} with ignored pixels)"
    yield "region's area", _percent(data.region_areas)
    yield "region is whole photo", f"{data.n_whole}"
    yield "width", _pixels(data.widths)
    yield "height", _pixels(data.heights)
    yield "images per class", _balance(data)
    yield "duplicates", f"{len(data.duplicates)} groups of files with the same content"
    for kind in (UNREADABLE, BOX_OUTSIDE, EMPTY):
        yield kind, f"{data.count(kind)}"
    if model is not None:
        yield "model", f"{model.name}, {model.n_classes} outputs"
        yield "classes not in the model", f"{len(model.unknown_labels)}"
        share = _share_right(model)
        yield "classified correctly", "-" if share is None else f"{model.n_right} of {model.n_asked} ({share:.1%})"
    yield "a run could start", "no" if check.blocking else "yes"


def _pixels(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{spread.smallest:g} to {spread.largest:g} pixels, median {spread.median:g}"


def _percent(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{spread.smallest:.1%} to {spread.largest:.1%} of the photo, median {spread.median:.1%}"


def _balance(data: DataReport) -> str:
    counts = [counted.n_images for counted in data.classes if counted.label]
    return f"{min(counts)} to {max(counts)}" if counts else "-"


def _classes(data: DataReport) -> tuple[str, Sequence[str], list[tuple[str, str, str]]]:
    shown = sorted(data.classes, key=lambda one: (-one.n_images, one.label))[:_SHOWN_CLASSES]
    left = len(data.classes) - len(shown)
    title = "Classes" if left <= 0 else f"Classes: the {len(shown)} largest of {len(data.classes)}"
    rows = [(one.label or "(unlabelled)", f"{one.n_images}", f"{one.n_regions}") for one in shown]
    return title, ("class", "images", "with a region"), rows


def _problems(data: DataReport) -> tuple[str, Sequence[str], list[tuple[str, str, str]]]:
    shown = data.problems[:_SHOWN_PROBLEMS]
    total = len(data.problems)
    title = "Not scored in a run" + (f": the first {len(shown)} of {total}" if total > len(shown) else "")
    return title, ("image", "problem", "reason"), [(one.image, one.kind, one.reason) for one in shown]


def _duplicates(data: DataReport) -> tuple[str, Sequence[str], list[tuple[str]]]:
    shown = data.duplicates[:_SHOWN_GROUPS]
    total = len(data.duplicates)
    title = "Same content" + (f": the first {len(shown)} of {total} groups" if total > len(shown) else "")
    return title, ("images",), [(", ".join(group),) for group in shown]


def _notes(check: Validation) -> Iterator[str]:
    yield from check.data.notes
    if check.data.n_whole:
        yield (
            f"In {check.data.n_whole} images the region is the whole photo, so every map points to it. A mask must be "
            "0 outside the object; label masks (1 object, 2 background) cannot be used."
        )
    if check.model is not None:
        yield from check.model.notes
        unknown = check.model.unknown_labels
        if unknown:
            more = f" and {len(unknown) - _SHOWN_LABELS} more" if len(unknown) > _SHOWN_LABELS else ""
            yield f"Classes not in the model: {', '.join(unknown[:_SHOWN_LABELS])}{more}"
    for reason in check.blocking:
        yield f"A run could not start: {reason}"
