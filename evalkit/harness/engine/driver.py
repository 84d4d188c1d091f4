"""Computes what a plan lacks, photo by photo, and commits each photo whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from evalkit.core.errors import DataError, EvalkitError, ImageError
from evalkit.core.names import escaped
from evalkit.datasets.geometry import fit
from evalkit.datasets.image import UNLABELLED
from evalkit.datasets.image_set import Entry
from evalkit.explainers.base import Explainer
from evalkit.harness.engine.commit import commit, commit_problem, without_map
from evalkit.harness.engine.failures import Failures
from evalkit.harness.engine.progress import RunProgress
from evalkit.harness.engine.signals import uninterrupted
from evalkit.harness.engine.worker import score_photo, unscored, why_failed
from evalkit.harness.planning.manifest import manifest_of
from evalkit.harness.planning.plan import Missing, Plan, accepted, forgotten, image_rows, missing_cells
from evalkit.metrics.spec import Metric, PerturbationMetric
from evalkit.store.database import ImageRow
from evalkit.store.manifest import Manifest
from evalkit.store.maps import load_map, map_is_there
from evalkit.store.run_folder import REPORT, RunFolder, writing

__all__ = ["compute", "require_readable"]

_MAPS_WORK = 1.0  # of a control, in passes: scoring a map is never free

Say = Callable[[str], None]


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
        plan: what is asked for. Its classifier takes the batch size of the run that the folder holds.
        folder: open for writing; each photo's cells are committed in one transaction.
        console: on stderr, for progress and the names of photos that cannot be used.

    Raises:
        StoreError: the folder cannot be written any more; what was committed is kept.
        RunError: something failed, and the plan says that this is fatal.
    """

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    earlier = _go_on(plan, folder, say)
    created = earlier.created if earlier else _now()
    database = folder.database
    rows, changed = image_rows(plan, database.images())
    # Before anything is forgotten: whoever looks at what a killed process leaves is told that it is not finished.
    folder.write_manifest(manifest_of(plan, folder, created, finished=None))
    if rows != database.planned_images():
        with database:
            database.plan_images(rows)
            database.touch()
    known = {row.image_id: row for row in rows}
    for entry in changed:
        known[entry.id] = _look_again(plan, folder, entry, known[entry.id])
    _forget_lost_maps(folder, say)
    planned = (missing_cells(plan, entry, database) for entry in plan.images.entries)
    # A run of another model into the same folder leaves its own facts of a photo.
    missing = [one for one in planned if one.cells or known[one.entry.id].facts_key != plan.facts_key]
    n_kept = len(plan.images) - len(missing)
    if n_kept:
        say(f"{n_kept} of {len(plan.images)} images are taken as the run folder has them; --fresh computes them again")
    work = sum(_work(plan, explainer, metrics) for one in missing for explainer, metrics in one.cells)
    failures = Failures(fatal=plan.fail_on_error)
    with RunProgress(console, len(missing), work, lambda: plan.classifier.passes) as progress:
        run = _Run(plan, folder, failures, progress, say)
        for one in missing:
            progress.begin_photo(sum(_work(plan, explainer, metrics) for explainer, metrics in one.cells))
            run.do_photo(one, known[one.entry.id])
    finished = earlier.finished if earlier and not missing else None
    manifest = manifest_of(plan, folder, created, finished=finished or _now())
    for image_id, reason in manifest.data.unreadable:
        say(f"not scored: {image_id}: {reason}")
    for line in failures.lines():
        say(line)
    with uninterrupted():
        database.require_there()
        folder.write_manifest(manifest)
    if missing and (folder.path / REPORT).is_file():
        say(f"'{folder.path / REPORT}' is of earlier scores; make it anew: python -m evalkit report {folder.path}")
    return manifest


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _go_on(plan: Plan, folder: RunFolder, say: Say) -> Manifest | None:
    """Take from the run that the folder holds what must stay as it was; returns its manifest, if there is one."""
    earlier = folder.manifest_at(folder.path)
    if earlier is None:
        return None
    if plan.batch_size is None and earlier.model.fingerprint == plan.classifier.fingerprint:
        plan.classifier.batch_size = earlier.settings.batch_size
    if earlier.finished and not folder.database.images():
        say(f"'{folder.database.path}' holds nothing although the run was finished; everything is computed again")
    other = _other_settings(earlier.signature.run, plan.signatures().run)
    if other:
        say(f"the run folder held a run of other settings (now {', '.join(other)}); what depends on them is replaced")
    return earlier


def _other_settings(earlier: str, now: str) -> list[str]:
    """Return the settings of a signature line that differ from those of an earlier one, e.g. ``seed:5``."""
    known = {*re.split(r" ?\| ?", earlier), ""}
    # More or fewer images move no score of the others.
    return [one for one in re.split(r" ?\| ?", now) if one not in known and not one.startswith(("images:", "limit:"))]


def _look_again(plan: Plan, folder: RunFolder, entry: Entry, row: ImageRow) -> ImageRow:
    """Keep the cells of a photo whose file has another time if its content is the same; else forget them."""
    try:
        kept = accepted(row, entry, plan.images.read(entry).sha256)
    except ImageError:
        kept = None
    now = kept or forgotten(row, entry)
    with folder.database as database:
        if kept is None:
            database.drop_cells(entry.id)
        database.put_images([now])
        database.touch()
    return now


def _forget_lost_maps(folder: RunFolder, say: Say) -> None:
    """Have maps made and scored again whose files are gone or cut short."""
    lost = [
        (image_id, explainer)
        for image_id, explainer, file, size_bytes in folder.database.map_files()
        if not map_is_there(folder.path, file, size_bytes)
    ]
    if lost:
        with folder.database as database:
            for image_id, explainer in lost:
                database.drop_map(image_id, explainer)
            database.touch()
        say(f"{len(lost)} maps are gone or cut short (first: {lost[0][1]} of {lost[0][0]}); they are made again")


def _work(plan: Plan, explainer: Explainer, metrics: Sequence[Metric]) -> float:
    """Estimate the model passes of one explainer on one photo."""
    asking = [metric.parameters() for metric in metrics if isinstance(metric, PerturbationMetric)]
    curves = sum("steps" in parameters for parameters in asking)
    return _MAPS_WORK + explainer.forward_passes(plan.classifier.input_size) + curves * plan.steps


@dataclass(frozen=True, eq=False)
class _Run:
    plan: Plan
    folder: RunFolder
    failures: Failures
    progress: RunProgress
    say: Say

    def do_photo(self, missing: Missing, row: ImageRow) -> None:
        """Compute and commit what one photo lacks."""
        plan, folder, entry = self.plan, self.folder, missing.entry
        try:
            image = plan.images.read(entry)
            fitted = fit(image, plan.classifier.input_size, plan.geometry)
        except ImageError as error:
            commit_problem(plan, folder, replace(forgotten(row, entry), problem=escaped(str(error))))
            self.failures.add_photo(entry.id, escaped(str(error)))
            return
        if row.sha256 not in ("", image.sha256) or row.place not in (None, image.place):
            with folder.database as database:
                database.drop_cells(entry.id)
            missing = missing_cells(plan, entry, folder.database)
        stored = self._stored_maps(missing)
        try:
            result = score_photo(plan, fitted, missing.cells, stored, self.progress.advance)
        except EvalkitError:
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # One photo on which the model fails costs its own cells, not the run; what was known of it stays.
            result = unscored(missing.cells, why_failed("the model", error))
            seen = replace(row, sha256=image.sha256, problem=None, place=image.place)
        else:
            seen = replace(
                row,
                sha256=image.sha256,
                problem=None,
                target=result.targets[0],
                predicted=result.predicted,
                clean_score=result.clean_score,
                correct=None if image.class_index == UNLABELLED else int(result.predicted in image.targets),
                place=image.place,
                object_share=fitted.object_share,
                facts_key=plan.facts_key,
            )
        with uninterrupted(), writing(folder.path):
            commit(plan, folder, result, seen, without_map(missing, stored, result))
        self.failures.add_cells(entry.id, result.cells)

    def _stored_maps(self, missing: Missing) -> dict[str, NDArray[np.float32]]:
        rows = self.folder.database.maps_of(missing.entry.id)
        found: dict[str, NDArray[np.float32]] = {}
        for explainer, _ in missing.cells:
            row = rows.get(explainer.text)
            if row is None or row.key != self.plan.map_key(explainer):
                continue
            saliency_map = load_map(self.folder.path, row.file, row.sha256)
            if saliency_map is None:
                self.say(f"'{self.folder.path / row.file}' is damaged; the map is made again")
            else:
                found[explainer.text] = saliency_map
        return found
