"""The driver: makes jobs for images with missing cells, and commits the outcomes. Only it writes the run folder."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from evalkit.core.errors import DataError, ImageError
from evalkit.core.kept_maps import read_kept_maps
from evalkit.datasets.image_set import Entry
from evalkit.explainers.base import Explainer
from evalkit.harness.engine.commit import commit
from evalkit.harness.engine.executor import Executor
from evalkit.harness.engine.failures import Failures
from evalkit.harness.engine.jobs import Job, Spent
from evalkit.harness.engine.local import LocalExecutor
from evalkit.harness.engine.progress import RunProgress
from evalkit.harness.engine.signals import uninterrupted
from evalkit.harness.planning.data_notes import notes_after
from evalkit.harness.planning.manifest import manifest_of
from evalkit.harness.planning.missing import Missing, accepted, image_rows, missing_cells, new_row
from evalkit.harness.planning.plan import Plan
from evalkit.harness.planning.stored_facts import REPEATED_IMAGES
from evalkit.harness.planning.threads import other_threads
from evalkit.metrics.spec import Metric
from evalkit.store.database import Database, ImageRow
from evalkit.store.manifest import Manifest
from evalkit.store.maps import load_map, map_is_there
from evalkit.store.run_folder import REPORT, RunFolder

__all__ = ["compute", "require_readable"]

_MAPS_WORK = 1.0  # the work of scoring a map without the model, in passes
_REGION_WORK = 2.0  # the region hidden, and everything else

Say = Callable[[str], None]


def require_readable(plan: Plan) -> None:
    """Raise DataError if not one photo of the plan can be read; a shard may have none if another shard has one."""
    reasons: dict[str, int] = {}
    first = ""
    images = plan.all_images
    for entry in chain(plan.images.entries, () if plan.shard is None else images.entries):
        try:
            images.read(entry)
        except ImageError as error:
            first = first or f"{entry.id}: {error}"
            reasons[str(error)] = reasons.get(str(error), 0) + 1
        else:
            return
    raise DataError(f"--data '{images.name}': none of its {len(images)} photos can be read (the first: {first})")


MakeExecutor = Callable[[Plan, Say], Executor]


def _in_this_process(plan: Plan, _say: Say) -> Executor:
    return LocalExecutor(plan.work)


def compute(plan: Plan, folder: RunFolder, console: Console, executor_of: MakeExecutor = _in_this_process) -> Manifest:
    """Compute every missing cell of the plan and return the finished manifest.

    Args:
        plan: the run; a run that the folder holds sets its batch size.
        folder: the run folder, open for writing; each image's cells are committed in one transaction.
        console: the console on stderr, for progress and the names of photos that cannot be used.
        executor_of: the function that makes the executor of the jobs, called if there are any.

    Raises:
        StoreError: the folder can no longer be written; committed results are kept.
        RunError: something failed, and the plan makes failures fatal.
    """

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    started = time.monotonic()
    earlier = folder.manifest_at(folder.path)
    if earlier is not None:
        plan = _resumed(plan, earlier, folder, say)
    created = earlier.created if earlier else _now()
    database = folder.database
    rows, changed = _planned_rows(plan, database)
    # Written before anything is deleted, so that the folder of a killed process is marked as unfinished.
    folder.write_manifest(manifest_of(plan, folder, created, finished=None, earlier=earlier))
    if rows != database.planned_images():
        with database:
            database.plan_images(rows)
            database.touch()
    known = {row.image_id: row for row in rows}
    for entry in changed:
        known[entry.id] = _recheck(plan, folder, entry, known[entry.id])
    _delete_lost_maps(folder, say)
    missing = _missing(plan, database, known)
    n_kept = len(plan.images) - len(missing)
    if n_kept:
        say(f"{n_kept} of {len(plan.images)} images are already in the run folder; --fresh computes them again")
    failures, spent = Failures(fatal=plan.fail_on_error), Spent(batch_size=plan.model.batch_size)
    if missing:
        _compute_missing(plan, folder, missing, known, executor_of(plan, say), (failures, spent), console, say)
    finished = earlier.finished if earlier and not missing else None
    manifest = manifest_of(
        plan,
        folder,
        created,
        finished=finished or _now(),
        earlier=earlier,
        batch_size=spent.batch_size,
        passes=(spent.forward_passes, spent.backward_passes),
        seconds=time.monotonic() - started if missing else 0.0,
    )
    for image_id, reason in manifest.data.unreadable:
        say(f"not scored: {image_id}: {reason}")
    about_maps = plan.kept_maps.notes if missing else ()
    for line in (*failures.lines(), *notes_after(database.planned_images()), *about_maps):
        say(line)
    with uninterrupted():
        database.require_there()
        folder.write_manifest(manifest)
    if missing and (folder.path / REPORT).is_file():
        say(f"'{folder.path / REPORT}' shows earlier scores; to update it: python -m evalkit report {folder.path}")
    return manifest


def _planned_rows(plan: Plan, database: Database) -> tuple[list[ImageRow], list[Entry]]:
    """Return ``image_rows``; the plan takes over the digests of photos that the store holds."""
    known = database.images()
    if plan.partners is not None:
        plan.partners.remember(known.values())
    return image_rows(plan, known)


def _missing(plan: Plan, database: Database, known: Mapping[str, ImageRow]) -> list[Missing]:
    """Return what is missing of each image; images that lack nothing are left out."""
    regions = database.image_facts.keys()
    if set(regions.values()) - {plan.region_key}:  # of another model or setting
        with database:
            database.image_facts.keep(plan.region_key)
            database.touch()
    planned = (
        missing_cells(
            plan,
            entry,
            database,
            repeated=position < REPEATED_IMAGES,
            region=plan.localizes and regions.get(entry.id) != plan.region_key,
        )
        for position, entry in zip(plan.positions, plan.images.entries, strict=True)
    )
    # A run of another model in the same folder has stored that model's facts of an image.
    return [image for image in planned if image or known[image.entry.id].facts_key != plan.facts_key]


def _compute_missing(
    plan: Plan,
    folder: RunFolder,
    missing: Sequence[Missing],
    known: Mapping[str, ImageRow],
    executor: Executor,
    log: tuple[Failures, Spent],
    console: Console,
    say: Say,
) -> None:
    """Give the executor a job for each image, and commit every outcome."""
    failures, spent = log
    works = {
        image.entry.id: sum(_work(plan, explainer, metrics) for explainer, metrics in image.cells)
        + _shared_work(image)
        + sum(sum(plan.passes_of(text)) for text in image.repeats)
        + (_REGION_WORK if image.region else 0)
        for image in missing
    }
    with RunProgress(console, len(missing), sum(works.values()), executor.passes) as progress:

        def jobs() -> Iterator[Job]:
            for image in missing:
                if executor.in_turn:
                    progress.begin_photo(works[image.entry.id])
                yield _job_of(plan, folder, image, known[image.entry.id], say)

        for outcome in executor.outcomes(jobs(), progress.advance):
            commit(plan, folder, outcome, known[outcome.image_id])
            spent.add(outcome)
            if not executor.in_turn:
                progress.end_photo(works[outcome.image_id], executor.status())
            if outcome.problem:
                failures.add_photo(outcome.image_id, outcome.problem)
            failures.add_cells(outcome.image_id, outcome.cells)
    for note in executor.notes():
        say(note)


def _job_of(plan: Plan, folder: RunFolder, missing: Missing, row: ImageRow, say: Say) -> Job:
    cells = tuple((explainer.text, tuple(metric.text for metric in metrics)) for explainer, metrics in missing.cells)
    stored = _stored_maps(plan, folder, missing, say)
    partners = plan.partners_of(missing.entry.id)
    return Job(
        missing.entry,
        cells,
        stored,
        row.sha256,
        row.place,
        missing.repeats,
        missing.repeated,
        partners,
        missing.region,
        plan.kept_maps.keeps(row.position or 0),
    )


def _stored_maps(plan: Plan, folder: RunFolder, missing: Missing, say: Say) -> dict[str, NDArray[np.float32]]:
    rows = folder.database.maps_of(missing.entry.id)
    maps: dict[str, NDArray[np.float32]] = {}
    for text in sorted({*(explainer.text for explainer, _ in missing.cells), *missing.repeats}):
        row = rows.get(text)
        if row is None or row.key != plan.map_keys[text] or not row.file:
            continue
        saliency_map = load_map(folder.path, row.file, row.sha256, text, exact=True)
        if saliency_map is None and load_map(folder.path, row.file, row.sha256, text) is not None:
            continue  # kept for pictures only
        if saliency_map is None:
            say(f"'{folder.path / row.file}' is damaged; the map of {text} is computed again")
        else:
            maps[text] = saliency_map
    return maps


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _resumed(plan: Plan, earlier: Manifest, folder: RunFolder, say: Say) -> Plan:
    """Return the plan with the batch size and the kept maps of the run in the folder; report other settings."""
    if plan.keep_maps is None:
        plan = replace(plan, keep_maps=read_kept_maps("keep_maps", earlier.settings.keep_maps))
    if plan.batch_size is None and earlier.model.fingerprint == plan.model.fingerprint:
        plan = plan.with_batch_size(earlier.settings.batch_size)
    kept = earlier.settings.threads
    if kept and kept != plan.threads and not plan.threads_given:
        if plan.threads_are_set:
            say(other_threads(kept, plan.threads))
        else:
            plan = replace(plan, threads=kept)
    if earlier.finished and not folder.database.images():
        say(f"'{folder.database.path}' is empty although the run was finished; everything is computed again")
    other = _other_settings(earlier.signature.run, plan.signatures().run)
    if other:
        say(
            f"the run folder holds a run with other settings (now {', '.join(other)}); "
            "results that depend on them are replaced"
        )
    return plan


def _other_settings(earlier: str, now: str) -> list[str]:
    """Return the settings of a signature line that differ from those of an earlier one, e.g. ``seed:5``."""
    known = {*re.split(r" ?\| ?", earlier), ""}
    # The number of images changes no score of an image.
    ignored = ("images:", "limit:")
    return [setting for setting in re.split(r" ?\| ?", now) if setting not in known and not setting.startswith(ignored)]


def _recheck(plan: Plan, folder: RunFolder, entry: Entry, row: ImageRow) -> ImageRow:
    """Keep the cells of a photo whose content is unchanged; delete them otherwise."""
    try:
        kept = accepted(row, entry, plan.images.read(entry).sha256)
    except ImageError:
        kept = None
    now = kept or new_row(entry, row.position or 0)
    with folder.database as database:
        if kept is None:
            database.drop_cells(entry.id)
        database.put_images([now])
        database.touch()
    return now


def _delete_lost_maps(folder: RunFolder, say: Say) -> None:
    """Delete the rows of maps whose files are missing or truncated, so that they are computed and scored again."""
    files = folder.database.map_files()
    lost_files = [file for file, size_bytes in files if not map_is_there(folder.path, file, size_bytes)]
    if lost_files:
        lost = folder.database.maps_in(lost_files)
        with folder.database as database:
            for image_id, explainer in lost:
                database.drop_map(image_id, explainer)
            database.touch()
        say(f"{len(lost)} maps are missing or truncated (first: {lost[0][1]} of {lost[0][0]}); they are computed again")


def _work(plan: Plan, explainer: Explainer, metrics: Sequence[Metric]) -> float:
    """Return the largest number of passes, forward and backward, of one explainer and its metrics on one image."""
    costs = [metric.cost() for metric in metrics]
    per_map = sum(plan.passes_of(explainer.text))
    images, maps = sum(cost.images for cost in costs), sum(cost.maps for cost in costs)
    return _MAPS_WORK + images + (1 + maps) * per_map


def _shared_work(image: Missing) -> int:
    """Return the number of passes that all maps of one image share."""
    metrics = {metric.text: metric for _, metrics in image.cells for metric in metrics}
    return sum(metric.cost().shared_images for metric in metrics.values())
