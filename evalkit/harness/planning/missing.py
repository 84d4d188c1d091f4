"""Which cells (image, explainer, metric) of a plan are missing, and which images changed since they were scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from evalkit.datasets.entry import Entry
from evalkit.explainers.base import Explainer
from evalkit.harness.planning.plan import Plan
from evalkit.metrics.spec import Metric
from evalkit.store.database import Database, ImageRow
from evalkit.store.map_facts import REPEATABILITY

__all__ = ["Missing", "accepted", "forgotten", "image_rows", "missing_cells", "new_row"]


def image_rows(plan: Plan, known: dict[str, ImageRow]) -> tuple[list[ImageRow], list[Entry]]:
    """Return a row for each planned image, with what is already known of it.

    Returns:
        The rows in the set's order, and the images whose file or label changed since their cells were computed.
    """
    rows, changed = [], []
    for position, entry in zip(plan.positions, plan.images.entries, strict=True):
        fresh, row = new_row(entry, position), known.get(entry.id)
        if row is None:
            rows.append(fresh)
            continue
        if _looks(row) != _looks(fresh):
            changed.append(entry)
        rows.append(replace(row, position=position, label=fresh.label))
    return rows, changed


def new_row(entry: Entry, position: int) -> ImageRow:
    """Return the row of an image that has not been read."""
    class_index = -1 if entry.class_index is None else entry.class_index
    return ImageRow(
        image_id=entry.id,
        position=position,
        class_index=class_index,
        label=entry.label,
        photo_file=entry.file,
        size_bytes=entry.size_bytes,
        mtime_ns=entry.mtime_ns,
        truth=entry.truth_digest,
        sha256="",
        problem=None,
    )


def _looks(row: ImageRow) -> tuple[str, int, int, str]:
    """Return the properties of a photo and its region that are known without reading them."""
    return row.photo_file, row.size_bytes, row.mtime_ns, row.truth


def accepted(row: ImageRow, entry: Entry, sha256: str) -> ImageRow | None:
    """Return the row with the file's new path and time if photo and region are unchanged; else None."""
    if row.truth != entry.truth_digest or row.sha256 != sha256:
        return None
    return replace(row, photo_file=entry.file, size_bytes=entry.size_bytes, mtime_ns=entry.mtime_ns)


def forgotten(row: ImageRow) -> ImageRow:
    """Return the row of an image as if it had not been read."""
    return ImageRow(
        image_id=row.image_id,
        position=row.position or 0,
        class_index=row.class_index,
        label=row.label,
        photo_file=row.photo_file,
        size_bytes=row.size_bytes,
        mtime_ns=row.mtime_ns,
        truth=row.truth,
        sha256="",
        problem=None,
    )


@dataclass(frozen=True)
class Missing:
    """The missing cells of one image.

    Attributes:
        entry: the image.
        cells: the explainers, each with its metrics that have no valid cell.
        repeats: the texts of explainers whose repeatability on this image is not known.
        repeated: True if it is one of the images on which repeatability is measured.
        region: True if it is not known how far the model looks at the image's region.
    """

    entry: Entry
    cells: Sequence[tuple[Explainer, Sequence[Metric]]]
    repeats: frozenset[str] = frozenset()
    repeated: bool = False
    region: bool = False

    def __bool__(self) -> bool:
        """Return whether anything is missing."""
        return bool(self.cells or self.repeats or self.region)


def missing_cells(plan: Plan, entry: Entry, database: Database, *, repeated: bool, region: bool) -> Missing:
    """Return the cells of the plan that the store lacks for one image.

    Args:
        plan: the run.
        entry: the image.
        database: the store.
        repeated: True if it is one of the images on which repeatability is measured.
        region: True if it is not known how far the model looks at the image's region.
    """
    keys, wanted = database.score_keys_of(entry.id), plan.score_keys_of(entry.id)
    repeats = _missing_repeats(plan, entry, database) if repeated else frozenset()
    if keys == wanted:  # the usual case; the loop below is slow for many photos
        return Missing(entry, (), repeats, repeated, region)
    cells: list[tuple[Explainer, Sequence[Metric]]] = []
    for explainer in plan.explainers:
        metrics = [
            metric
            for metric in plan.metrics
            if keys.get((explainer.text, metric.text)) != wanted[explainer.text, metric.text]
        ]
        if metrics:
            cells.append((explainer, metrics))
    return Missing(entry, cells, repeats, repeated, region)


def _missing_repeats(plan: Plan, entry: Entry, database: Database) -> frozenset[str]:
    repeatable = [explainer.text for explainer in plan.explainers if explainer.is_repeatable]
    if not repeatable:
        return frozenset()
    facts, maps = database.map_facts.of_image(entry.id), database.maps_of(entry.id)
    known = {text for text in facts if REPEATABILITY in facts[text].values}
    tried = {explainer for explainer, _ in database.score_keys_of(entry.id)}
    return frozenset(
        text
        for text in repeatable
        # No map although it was tried: there is nothing to repeat.
        if not (text in known and text in maps and maps[text].key == plan.map_keys[text])
        and not (text in tried and text not in maps)
    )
