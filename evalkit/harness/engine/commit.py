"""Commits an outcome to the run folder: maps first, then everything else in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from evalkit.explainers.base import MapFacts
from evalkit.harness.engine.jobs import MadeMap, Outcome
from evalkit.harness.engine.signals import uninterrupted
from evalkit.harness.planning.missing import forgotten
from evalkit.harness.planning.plan import Plan
from evalkit.store.database import ImageRow, MapRow, ScoreRow
from evalkit.store.image_facts import ImageFactsRow
from evalkit.store.map_facts import REPEATABILITY, MapFactsRow
from evalkit.store.maps import as_float16, image_file, npy_bytes, remove_file, save_maps
from evalkit.store.run_folder import RunFolder, writing

__all__ = ["commit"]


def commit(plan: Plan, folder: RunFolder, outcome: Outcome, row: ImageRow) -> None:
    """Write the outcome of one image.

    Args:
        plan: the run.
        folder: the run folder, open for writing.
        outcome: the outcome of one image.
        row: the image's row before this outcome.

    Raises:
        StoreError: the folder or its database cannot be written, or no longer exists.
    """
    with uninterrupted(), writing(folder.path):
        if outcome.problem:
            _commit_problem(plan, folder, outcome, row)
        else:
            _commit_scores(plan, folder, outcome, row)


def _commit_problem(plan: Plan, folder: RunFolder, outcome: Outcome, row: ImageRow) -> None:
    """Write why a photo cannot be used, and delete all its earlier results."""
    # An empty key matches no plan, so the next run tries the cells again.
    cells = [
        ScoreRow(row.image_id, explainer.text, metric.text, None, outcome.problem, None, "")
        for explainer in plan.explainers
        for metric in plan.metrics
    ]
    with folder.database as database:
        database.drop_cells(row.image_id)
        database.put_scores(cells)
        database.put_images([replace(forgotten(row), problem=outcome.problem)])
        database.touch()


def _commit_scores(plan: Plan, folder: RunFolder, outcome: Outcome, row: ImageRow) -> None:
    before = folder.database.maps_of(row.image_id)
    with ThreadPoolExecutor(1) as thread:
        # Compressing and the disk take as long as everything else that precedes the transaction.
        file = ""
        if outcome.maps and plan.kept_maps.keeps(row.position or 0):
            file = image_file(row.image_id, {map_row.file for map_row in before.values()})
        size = thread.submit(save_maps, folder.path, file, _contents(plan, outcome)) if file else None
        maps = [_map_row(plan, row.image_id, made, before.get(made.explainer)) for made in outcome.maps]
        cells = _score_rows(plan, outcome, row.image_id)
        if size is not None:
            maps = [replace(map_row, file=file, size_bytes=size.result()) for map_row in maps]
    with folder.database as database:
        if outcome.changed:
            database.drop_cells(row.image_id)
        for explainer in outcome.lost:
            database.drop_map(row.image_id, explainer)
        for map_row in maps:
            if map_row.explainer in before and before[map_row.explainer].key != map_row.key:
                database.drop_map(row.image_id, map_row.explainer)  # together with the scores of the old map
        database.put_maps(maps)
        database.map_facts.put(_facts_of(outcome, row.image_id, database.map_facts.of_image(row.image_id)))
        if outcome.region_drops is not None:
            database.image_facts.put(ImageFactsRow(row.image_id, plan.region_key, outcome.region_drops))
        database.put_scores(cells)
        database.put_images([_row_of(plan, outcome, row)])
        database.touch()
    _remove_replaced(folder, row.image_id, before.values())


def _contents(plan: Plan, outcome: Outcome) -> dict[str, bytes]:
    """Return the maps as they are kept, by explainer."""
    half = plan.kept_maps.half
    return {
        made.explainer: npy_bytes(as_float16(made.saliency_map) if half else made.saliency_map.astype(np.float32))
        for made in outcome.maps
    }


def _map_row(plan: Plan, image_id: str, made: MadeMap, before: MapRow | None) -> MapRow:
    """Return the row of a map that is not kept, or is kept already."""
    key = plan.map_keys[made.explainer]
    file, size_bytes = (before.file, before.size_bytes) if before and before.key == key else ("", 0)
    return MapRow(image_id, made.explainer, key, file, made.sha256, size_bytes, made.seconds, made.rank_hash)


def _remove_replaced(folder: RunFolder, image_id: str, before: Iterable[MapRow]) -> None:
    """Remove the files that only held maps which this commit replaced."""
    unused = {row.file for row in before} - {row.file for row in folder.database.maps_of(image_id).values()} - {""}
    for file in unused:
        remove_file(folder.path, file)


def _score_rows(plan: Plan, outcome: Outcome, image_id: str) -> list[ScoreRow]:
    keys = plan.score_keys_of(image_id)
    cells = [
        ScoreRow(
            image_id,
            cell.explainer,
            cell.metric,
            cell.value,
            cell.reason,
            cell.statistics,
            # An empty key matches no plan, so the next run tries a failed cell again.
            "" if cell.failed else keys[cell.explainer, cell.metric],
            cell.curve,
        )
        for cell in outcome.cells
    ]
    return cells + _of_lost_maps(plan, outcome, image_id)


def _facts_of(outcome: Outcome, image_id: str, known: Mapping[str, MapFactsRow]) -> list[MapFactsRow]:
    """Return the rows of maps with facts, of this job or known before and extended by it."""
    new = {made.explainer: _row_of_map(image_id, made) for made in outcome.maps if made.facts != MapFacts()}
    rows = []
    for explainer in {**new, **outcome.repeatability}:
        nothing = MapFactsRow(image_id, explainer, None, None, {})
        before = known.get(explainer, nothing)
        row = new.get(explainer, before)
        repeated = {REPEATABILITY: before.values[REPEATABILITY]} if REPEATABILITY in before.values else {}
        if explainer in outcome.repeatability:
            repeated = {REPEATABILITY: outcome.repeatability[explainer]}
        rows.append(replace(row, values={**row.values, **repeated}))
    return rows


def _row_of_map(image_id: str, made: MadeMap) -> MapFactsRow:
    forward, backward = made.facts.passes or (None, None)
    return MapFactsRow(image_id, made.explainer, forward, backward, made.facts.values)


def _row_of(plan: Plan, outcome: Outcome, row: ImageRow) -> ImageRow:
    read = replace(row, sha256=outcome.sha256, problem=None, place=outcome.region_digest)
    if not outcome.is_scored:  # the stored prediction is still valid
        return read
    return replace(
        read,
        target=outcome.targets[0],
        predicted=outcome.predicted,
        clean_score=outcome.clean_score,
        correct=None if outcome.is_correct is None else int(outcome.is_correct),
        object_share=outcome.object_share,
        facts_key=plan.facts_key,
    )


def _of_lost_maps(plan: Plan, outcome: Outcome, image_id: str) -> list[ScoreRow]:
    """Return unscored cells for the lost maps, for the metrics that are not part of the job."""
    included = {(cell.explainer, cell.metric) for cell in outcome.cells}
    reasons = {cell.explainer: cell.reason for cell in outcome.cells}
    return [
        ScoreRow(image_id, explainer, metric.text, None, reasons.get(explainer), None, "")
        for explainer in outcome.lost
        for metric in plan.metrics
        if (explainer, metric.text) not in included
    ]
