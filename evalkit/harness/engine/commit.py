"""What is found out about a photo, into the run folder: maps first, then one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evalkit.harness.engine.signals import uninterrupted
from evalkit.harness.engine.worker import PhotoResult
from evalkit.harness.planning.plan import Missing, Plan
from evalkit.store.database import ImageRow, MapRow, ScoreRow
from evalkit.store.maps import map_path, save_map
from evalkit.store.rank_hash import rank_hash
from evalkit.store.run_folder import RunFolder

__all__ = ["commit", "commit_problem", "without_map"]


def without_map(missing: Missing, stored: Mapping[str, object], result: PhotoResult) -> list[str]:
    """Return the explainers that were asked for a map and have none: what they had before is of something else."""
    there = {*stored, *(made.explainer.text for made in result.maps)}
    return [explainer.text for explainer, _ in missing.cells if explainer.text not in there]


def commit(plan: Plan, folder: RunFolder, result: PhotoResult, row: ImageRow, lost: Sequence[str]) -> None:
    """Write a photo's new maps, and then, in one transaction, what they were scored.

    Args:
        plan: the run.
        folder: open for writing.
        result: what was found out now.
        row: what is known of the photo now.
        lost: explainers whose earlier map is dropped, see ``without_map``.

    Raises:
        StoreError: the database cannot be written, or is no longer there.
        OSError: a map cannot be written.
    """
    maps = []
    for made in result.maps:
        name = made.explainer.text
        saved = save_map(folder.path, map_path(name, row.image_id), made.saliency_map)
        hashed = rank_hash(made.saliency_map)
        maps.append(MapRow(row.image_id, name, plan.map_key(made.explainer), *saved, made.seconds, hashed))
    cells = [
        ScoreRow(
            row.image_id,
            cell.explainer.text,
            cell.metric.text,
            cell.value,
            cell.reason,
            cell.statistics,
            # What failed is tried again by the next run: its key is that of no plan.
            "" if cell.failed else plan.score_key(cell.explainer, cell.metric),
            cell.curve,
        )
        for cell in result.cells
    ]
    cells += _of_lost_maps(plan, result, row.image_id, lost)
    before = folder.database.maps_of(row.image_id)
    with folder.database as database:
        for explainer in lost:
            database.drop_map(row.image_id, explainer)
        for one in maps:
            if one.explainer in before and before[one.explainer].key != one.key:
                database.drop_map(row.image_id, one.explainer)  # what was scored of another map goes with it
        database.put_maps(maps)
        database.put_scores(cells)
        database.put_images([row])
        database.touch()


def _of_lost_maps(plan: Plan, result: PhotoResult, image_id: str, lost: Sequence[str]) -> list[ScoreRow]:
    """Return the reasons of cells that were scored of a map that is there no more, and were not asked for now."""
    asked = {(cell.explainer.text, cell.metric.text) for cell in result.cells}
    reasons = {cell.explainer.text: cell.reason for cell in result.cells}
    return [
        ScoreRow(image_id, explainer, metric.text, None, reasons.get(explainer), None, "")
        for explainer in lost
        for metric in plan.metrics
        if (explainer, metric.text) not in asked
    ]


def commit_problem(plan: Plan, folder: RunFolder, row: ImageRow) -> None:
    """Write that a photo cannot be used, and why: nothing that was known of it holds any more.

    Raises:
        StoreError: the database cannot be written, or is no longer there.
    """
    # The key of no plan: the next run tries it again.
    cells = [
        ScoreRow(row.image_id, explainer.text, metric.text, None, row.problem, None, "")
        for explainer in plan.explainers
        for metric in plan.metrics
    ]
    with uninterrupted(), folder.database as database:
        database.drop_cells(row.image_id)
        database.put_scores(cells)
        database.put_images([row])
        database.touch()
