"""Computes what a plan lacks, photo by photo, and commits each photo whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from evalkit.datasets.geometry import fit
from evalkit.datasets.image_set import Entry
from evalkit.errors import DataError, ImageError
from evalkit.explainers.base import Explainer
from evalkit.harness.photo import PhotoResult, score_photo
from evalkit.harness.plan import Missing, Plan, accepted, forgotten, image_rows, missing_cells, versions
from evalkit.harness.progress import RunProgress
from evalkit.metrics.spec import Metric, PerturbationMetric
from evalkit.store.database import ImageRow, MapRow, ScoreRow
from evalkit.store.manifest import SCHEMA_VERSION, DataFacts, ExplainerFacts, Manifest, ModelFacts, Settings
from evalkit.store.maps import load_map, map_path, save_map
from evalkit.store.run_folder import RunFolder

__all__ = ["compute", "require_readable"]

_MAPS_WORK = 1.0  # of a control, in passes: scoring a map is never free
_NAMED = 100


def require_readable(plan: Plan) -> None:
    """Raise DataError if not one photo of the plan can be read."""
    reasons: dict[str, int] = {}
    first = ""
    for entry in plan.images.entries:
        try:
            plan.images.read(entry)
        except ImageError as error:
            first = first or f"{entry.id}: {error}"
            reasons[str(error)] = reasons.get(str(error), 0) + 1
        else:
            return
    raise DataError(
        f"--data '{plan.images.name}': none of its {len(plan.images)} photos can be read (the first: {first})"
    )


def compute(plan: Plan, folder: RunFolder, console: Console) -> Manifest:
    """Compute every missing cell of the plan and return the finished manifest.

    Args:
        plan: what is asked for.
        folder: open for writing; each photo's cells are committed in one transaction.
        console: on stderr, for progress and the names of photos that cannot be used.
    """
    database = folder.database
    rows, changed = image_rows(plan, database.images())
    with database:
        database.plan_images(rows)
        database.touch()
    for entry in changed:
        _look_again(plan, folder, entry)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    folder.write_manifest(_manifest(plan, folder, created, finished=None))
    missing = [one for entry in plan.images.entries if (one := missing_cells(plan, entry, database)).cells]
    work = sum(_work(plan, explainer, metrics) for one in missing for explainer, metrics in one.cells)
    known = database.images()
    with RunProgress(console, len(missing), work, lambda: plan.classifier.passes) as progress:
        for one in missing:
            progress.begin_photo(sum(_work(plan, explainer, metrics) for explainer, metrics in one.cells))
            _do_photo(plan, folder, one, known[one.entry.id], progress)
    manifest = _manifest(plan, folder, created, finished=datetime.now(UTC).isoformat(timespec="seconds"))
    for image_id, reason in manifest.data.unreadable:
        console.print(f"not scored: {image_id}: {reason}", markup=False, highlight=False, soft_wrap=True)
    folder.write_manifest(manifest)
    return manifest


def _look_again(plan: Plan, folder: RunFolder, entry: Entry) -> None:
    """Keep the cells of a photo whose file has another time if its content is the same; else forget them."""
    row = folder.database.images()[entry.id]
    try:
        kept = accepted(row, entry, plan.images.read(entry).sha256)
    except ImageError:
        kept = None
    with folder.database as database:
        if kept is None:
            database.drop_cells(entry.id)
        database.put_images([kept or forgotten(row, entry)])
        database.touch()


def _work(plan: Plan, explainer: Explainer, metrics: Sequence[Metric]) -> float:
    """Estimate the model passes of one explainer on one photo."""
    asking = [metric.parameters() for metric in metrics if isinstance(metric, PerturbationMetric)]
    curves = sum("steps" in parameters for parameters in asking)
    return _MAPS_WORK + explainer.forward_passes(plan.classifier.input_size) + curves * plan.steps


def _do_photo(plan: Plan, folder: RunFolder, missing: Missing, row: ImageRow, progress: RunProgress) -> None:
    entry = missing.entry

    try:
        image = plan.images.read(entry)
        fitted = fit(image, plan.classifier.input_size, plan.geometry)
    except ImageError as error:
        _commit_problem(folder, missing, replace(row, problem=str(error)))
        return
    if row.sha256 not in ("", image.sha256):
        with folder.database as database:
            database.drop_cells(entry.id)
        missing = missing_cells(plan, entry, folder.database)
    result = score_photo(plan, fitted, missing.cells, _stored_maps(plan, folder, missing), progress.advance)
    _commit(
        plan,
        folder,
        result,
        replace(
            row,
            sha256=image.sha256,
            problem=None,
            target=result.target,
            predicted=result.predicted,
            clean_score=result.clean_score,
            place=image.place,
            object_share=fitted.object_share,
        ),
    )


def _stored_maps(plan: Plan, folder: RunFolder, missing: Missing) -> dict[str, NDArray[np.float32]]:
    rows = folder.database.maps_of(missing.entry.id)
    found: dict[str, NDArray[np.float32]] = {}
    for explainer, _ in missing.cells:
        row = rows.get(explainer.text)
        if row is not None and row.key == plan.map_key(explainer):
            saliency_map = load_map(folder.path, row.file, row.sha256)
            if saliency_map is not None:
                found[explainer.text] = saliency_map
    return found


def _commit(plan: Plan, folder: RunFolder, result: PhotoResult, row: ImageRow) -> None:
    maps = []
    for made in result.maps:
        path = map_path(made.explainer.text, row.image_id)
        digest = save_map(folder.path, path, made.saliency_map)
        maps.append(MapRow(row.image_id, made.explainer.text, plan.map_key(made.explainer), path, digest, made.seconds))
    cells = [
        ScoreRow(
            row.image_id,
            cell.explainer.text,
            cell.metric.text,
            cell.value,
            cell.reason,
            cell.statistics,
            plan.score_key(cell.explainer, cell.metric),
            cell.curve,
        )
        for cell in result.cells
    ]
    with folder.database as database:
        database.put_maps(maps)
        database.put_scores(cells)
        database.put_images([row])
        database.touch()


def _commit_problem(folder: RunFolder, missing: Missing, row: ImageRow) -> None:
    # The key of no plan: a photo that could not be used is tried again by the next run.
    cells = [
        ScoreRow(row.image_id, explainer.text, metric.text, None, row.problem, None, "")
        for explainer, metrics in missing.cells
        for metric in metrics
    ]
    with folder.database as database:
        database.drop_cells(row.image_id)
        database.put_scores(cells)
        database.put_images([row])
        database.touch()


def _manifest(plan: Plan, folder: RunFolder, created: str, finished: str | None) -> Manifest:
    rows = folder.database.planned_images()
    return Manifest(
        schema_version=SCHEMA_VERSION,
        signature=plan.signatures(),
        model=_model_facts(plan, rows),
        data=_data_facts(plan, rows),
        settings=Settings(
            target=plan.target,
            geometry=plan.geometry,
            steps=plan.steps,
            seed=plan.seed,
            batch_size=plan.classifier.batch_size,
            limit=plan.limit,
            criterion=plan.criterion,
            margin=plan.margin,
        ),
        explainers=tuple(_explainer_facts(plan, explainer, folder) for explainer in plan.explainers),
        metrics=tuple(metric.text for metric in plan.metrics),
        versions=versions(),
        created=created,
        finished=finished,
    )


def _model_facts(plan: Plan, rows: Sequence[ImageRow]) -> ModelFacts:
    model = plan.classifier
    seen = [row for row in rows if row.predicted is not None]
    labelled = [row for row in seen if row.class_index >= 0]
    right = sum(row.predicted == row.class_index for row in labelled)
    clean = np.array([row.clean_score for row in seen if row.clean_score is not None])
    return ModelFacts(
        name=model.name,
        fingerprint=model.fingerprint,
        preprocess=model.preprocess,
        input_size=model.input_size,
        n_classes=model.n_classes,
        target_layer=model.target_layer,
        precision=model.precision,
        accuracy=right / len(labelled) if labelled else None,
        n_right=right if labelled else None,
        median_clean_score=float(np.median(clean)) if clean.size else None,
        saturated_share=float((clean > 0.999).mean()) if clean.size else None,
    )


def _data_facts(plan: Plan, rows: Sequence[ImageRow]) -> DataFacts:
    problems = [(row.image_id, row.problem) for row in rows if row.problem is not None]
    contents = [f"{row.image_id}:{row.sha256}:{row.truth}" for row in rows if row.sha256]
    complete = len(contents) + len(problems) == len(rows)
    return DataFacts(
        name=plan.images.name,
        kind=plan.images.kind,
        n_images=len(rows),
        n_unreadable=len(problems),
        n_regions=sum(row.object_share is not None for row in rows),
        fingerprint=sha256("\n".join(contents).encode()).hexdigest() if complete and contents else None,
        unreadable=tuple(problems[:_NAMED]),
        source=plan.source,
    )


def _explainer_facts(plan: Plan, explainer: Explainer, folder: RunFolder) -> ExplainerFacts:
    size = plan.classifier.input_size
    n_maps, seconds = folder.database.map_costs().get(explainer.text, (0, 0.0))
    parameters = explainer.parameters()
    if "stride" in parameters:
        parameters["stride"] = getattr(explainer, "stride_px", parameters["stride"])
    return ExplainerFacts(
        text=explainer.text,
        name=explainer.name,
        parameters=parameters,
        control=explainer.control,
        positions=explainer.positions(size),
        forward_passes=explainer.forward_passes(size),
        method=explainer.method_on(plan.classifier),
        seconds=seconds,
        n_maps=n_maps,
    )
