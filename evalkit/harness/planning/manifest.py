"""Builds the manifest of a run from its plan and the stored results."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from evalkit.core.provenance import is_built_in, target_of
from evalkit.explainers.base import Explainer
from evalkit.harness.planning.cache_keys import versions
from evalkit.harness.planning.missing import REPEATED_IMAGES
from evalkit.harness.planning.plan import Plan
from evalkit.metrics.facts import facts_of_metric
from evalkit.store.database import ImageRow
from evalkit.store.manifest import SCHEMA_VERSION, DataFacts, ExplainerFacts, Manifest, ModelFacts, Settings
from evalkit.store.map_facts import REPEATABILITY, MapFactsRow
from evalkit.store.run_folder import RunFolder

__all__ = ["manifest_of"]

_NOTES, _LONGEST_NOTE = 5, 400  # the last notes are those about regions
_NAMED = 100


def manifest_of(
    plan: Plan,
    folder: RunFolder,
    created: str,
    finished: str | None,
    *,
    earlier: Manifest | None = None,
    batch_size: int | None = None,
    passes: tuple[int, int] = (0, 0),
    seconds: float = 0.0,
) -> Manifest:
    """Return the manifest.

    Args:
        plan: the run.
        folder: the run's folder.
        created: the time when the run was created, ISO 8601, UTC.
        finished: the time when it was finished, ISO 8601, UTC; None while cells are missing.
        earlier: the manifest that the folder holds; its passes are added.
        batch_size: the largest number of images in one pass now; None = as planned.
        passes: the forward and backward passes of this process, in images.
        seconds: the wall time of this process.
    """
    rows = folder.database.planned_images()
    return Manifest(
        schema_version=SCHEMA_VERSION,
        signature=plan.signatures(),
        model=_model_facts(plan, rows),
        data=_data_facts(plan, rows),
        settings=Settings(
            target=plan.target_text,
            geometry=plan.geometry,
            steps=plan.steps,
            seed=plan.seed,
            batch_size=batch_size or plan.model.batch_size,
            limit=plan.limit,
            criterion=plan.criterion,
            margin=plan.margin,
            chosen=dict(plan.chosen),
            threads=plan.threads,
        ),
        explainers=_explainers_facts(plan, folder),
        metrics=tuple(metric.text for metric in plan.metrics),
        metric_facts=tuple(facts_of_metric(metric) for metric in plan.metrics),
        versions=versions([*plan.explainers, *plan.metrics]),
        files=dict(plan.files),
        forward_passes=passes[0] + (earlier.forward_passes if earlier else 0),
        backward_passes=passes[1] + (earlier.backward_passes if earlier else 0),
        seconds=round(seconds + (earlier.seconds if earlier else 0.0), 1),
        created=created,
        finished=finished,
    )


def _model_facts(plan: Plan, rows: Sequence[ImageRow]) -> ModelFacts:
    model = plan.classifier
    scored = [row for row in rows if row.predicted is not None]
    labelled = [row.correct for row in scored if row.correct is not None]
    right = sum(labelled)
    clean = np.array([row.clean_score for row in scored if row.clean_score is not None])
    return ModelFacts(
        name=model.name,
        fingerprint=model.fingerprint,
        preprocess=model.preprocess,
        input_size=model.input_size,
        n_classes=model.n_classes,
        target_layer=model.target_layer,
        precision=model.precision,
        head=model.head.text,
        channels=model.channels,
        given=dict(plan.model_given),
        n_at_limit=0 if model.head.from_logits else int(np.isin(clean, (0.0, 1.0)).sum()),
        accuracy=right / len(labelled) if labelled else None,
        n_right=right if labelled else None,
        median_clean_score=float(np.median(clean)) if clean.size else None,
        saturated_share=float((clean > 0.999).mean()) if clean.size else None,
        class_names=_class_names(plan, rows),
    )


def _class_names(plan: Plan, rows: Sequence[ImageRow]) -> dict[int, str]:
    names = plan.classifier.class_names or ()
    used = {index for row in rows for index in (row.class_index, row.target) if index is not None}
    return {index: names[index] for index in sorted(used) if 0 <= index < len(names)}


def _data_facts(plan: Plan, rows: Sequence[ImageRow]) -> DataFacts:
    problems = [(row.image_id, row.problem) for row in rows if row.problem is not None]
    # Contents, not paths: the same images have the same fingerprint on every machine.
    contents = [repr((row.image_id, row.sha256, row.label, row.class_index, row.place)) for row in rows if row.sha256]
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
        class_order=plan.class_order,
        notes=tuple(note[:_LONGEST_NOTE] for note in plan.images.notes[-_NOTES:]),
        mean_color=() if plan.mean is None else plan.mean.color,
        mean_stamp="" if plan.mean is None else plan.mean.stamp,
    )


def _explainers_facts(plan: Plan, folder: RunFolder) -> tuple[ExplainerFacts, ...]:
    costs, facts = folder.database.map_costs(), folder.database.map_facts.of_run()
    return tuple(
        _explainer_facts(plan, explainer, costs.get(explainer.text, (0, 0.0)), facts.get(explainer.text, []))
        for explainer in plan.explainers
    )


def _explainer_facts(
    plan: Plan, explainer: Explainer, cost: tuple[int, float], facts: Sequence[MapFactsRow]
) -> ExplainerFacts:
    n_maps, seconds = cost
    forward, backward = plan.passes_of(explainer.text)
    # An earlier run of the folder may have measured it on other images.
    first = {entry.id for entry in plan.images.entries[:REPEATED_IMAGES]}
    measured = [row.values.get(REPEATABILITY) for row in facts if row.image_id in first]
    repeated = [value for value in measured if value is not None]
    return ExplainerFacts(
        text=explainer.text,
        name=explainer.spec_name(),
        parameters=explainer.resolved_on(plan.classifier),
        control=explainer.control,
        swept_by=explainer.swept_by,
        origin=explainer.origin or ("built-in" if is_built_in(type(explainer)) else target_of(type(explainer))),
        positions=explainer.positions(plan.classifier.input_size),
        forward_passes=forward,
        backward_passes=backward,
        mean_passes=_mean_passes(facts),
        method=explainer.method_on(plan.classifier),
        seconds=seconds,
        n_maps=n_maps,
        substrate=explainer.substrate,
        family=explainer.family,
        notes=tuple(explainer.sentences([_defined(row) for row in facts])) if facts else (),
        repeatability=float(np.mean(repeated)) if repeated else None,
        n_repeated=len(repeated),
    )


def _mean_passes(facts: Sequence[MapFactsRow]) -> tuple[float, float] | None:
    counted = [(row.forward_passes, row.backward_passes or 0.0) for row in facts if row.forward_passes is not None]
    if not counted:
        return None
    forward, backward = np.mean(counted, axis=0).tolist()
    return forward, backward


def _defined(row: MapFactsRow) -> dict[str, float]:
    """Return the facts of a map, without those of the harness; what is not defined is NaN."""
    return {
        name: float("nan") if value is None else value for name, value in row.values.items() if name != REPEATABILITY
    }
