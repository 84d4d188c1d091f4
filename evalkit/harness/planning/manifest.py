"""Builds the manifest of a run from its plan and the stored results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from evalkit.core.provenance import is_built_in, target_of
from evalkit.core.versions import versions
from evalkit.explainers.base import Explainer
from evalkit.harness.planning.plan import Plan
from evalkit.harness.planning.shards import whole_set
from evalkit.harness.planning.stored_facts import n_at_limit, with_results
from evalkit.metrics.facts import facts_of_metric
from evalkit.store.manifest import SCHEMA_VERSION, DataFacts, ExplainerFacts, Manifest, ModelFacts, Settings
from evalkit.store.run_folder import RunFolder

__all__ = ["manifest_of"]

_NOTES, _LONGEST_NOTE = 5, 400  # the last notes are those about regions


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
    planned = Manifest(
        schema_version=SCHEMA_VERSION,
        signature=plan.signatures(),
        model=_model_facts(plan),
        data=_data_facts(plan),
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
            shard="" if plan.shard is None else str(plan.shard),
            keep_maps=str(plan.kept_maps),
        ),
        explainers=tuple(_explainer_facts(plan, explainer) for explainer in plan.explainers),
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
    return with_results(
        planned,
        folder.database,
        rows,
        class_names=dict(enumerate(plan.classifier.class_names or ())),
        at_limit=0 if plan.classifier.head.from_logits else n_at_limit(rows),
        notes=_notes_of(plan.explainers),
    )


def _model_facts(plan: Plan) -> ModelFacts:
    model = plan.classifier
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
    )


def _data_facts(plan: Plan) -> DataFacts:
    return DataFacts(
        name=plan.images.name,
        kind=plan.images.kind,
        n_images=0,
        source=plan.source,
        class_order=plan.class_order,
        notes=tuple(note[:_LONGEST_NOTE] for note in plan.images.notes[-_NOTES:]),
        mean_color=() if plan.mean is None else plan.mean.color,
        mean_stamp="" if plan.mean is None else plan.mean.stamp,
        whole=None if plan.whole is None else whole_set(plan.whole),
    )


def _explainer_facts(plan: Plan, explainer: Explainer) -> ExplainerFacts:
    forward, backward = plan.passes_of(explainer.text)
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
        method=explainer.method_on(plan.classifier),
        substrate=explainer.substrate,
        family=explainer.family,
    )


def _notes_of(explainers: Sequence[Explainer]) -> Callable[[str, Sequence[Mapping[str, float]]], Sequence[str]]:
    """Return the function from an explainer's text and the facts of its maps to sentences about them."""
    by_text = {explainer.text: explainer for explainer in explainers}
    return lambda text, facts: by_text[text].sentences(facts)
