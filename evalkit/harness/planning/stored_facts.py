"""What the manifest takes from the stored results: accuracy, counts, the costs of maps. Needs no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

import numpy as np
from msgspec.structs import replace

from evalkit.store.database import Database, ImageRow
from evalkit.store.manifest import DataFacts, ExplainerFacts, Manifest, ModelFacts
from evalkit.store.map_facts import REPEATABILITY, MapFactsRow

__all__ = ["REPEATED_IMAGES", "n_at_limit", "with_results"]

REPEATED_IMAGES = 20
"""The number of images of a run, the first ones, on which the repeatability of explainers is measured."""

_NAMED = 100

Notes = Callable[[str, Sequence[Mapping[str, float]]], Sequence[str]]


def with_results(
    manifest: Manifest,
    database: Database,
    rows: Sequence[ImageRow],
    *,
    class_names: Mapping[int, str],
    at_limit: int,
    notes: Notes,
) -> Manifest:
    """Return a manifest with everything that follows from the stored results.

    Args:
        manifest: the manifest with what is known without results.
        database: the results.
        rows: the images of the run, in its order.
        class_names: the names of the model's outputs, by index.
        at_limit: see ``ModelFacts.n_at_limit``.
        notes: a function from an explainer's text and the facts of its maps, NaN = not defined, to sentences.
    """
    costs, facts = database.map_costs(), database.map_facts.of_run()
    # An earlier run of the folder may have measured it on other images.
    first = {row.image_id for row in rows if row.position is not None and row.position < REPEATED_IMAGES}
    return replace(
        manifest,
        model=_model_facts(manifest.model, rows, class_names, at_limit),
        data=_data_facts(manifest.data, rows),
        explainers=tuple(
            _explainer_facts(one, costs.get(one.text, (0, 0.0)), facts.get(one.text, []), first, notes)
            for one in manifest.explainers
        ),
    )


def n_at_limit(rows: Sequence[ImageRow]) -> int:
    """Return the number of images on which the target's probability is 0 or 1."""
    return int(np.isin(_clean_scores(rows), (0.0, 1.0)).sum())


def _clean_scores(rows: Sequence[ImageRow]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the scores of the targets on the unchanged images that have one, float64 (n,)."""
    return np.array(
        [row.clean_score for row in rows if row.predicted is not None and row.clean_score is not None], dtype=np.float64
    )


def _model_facts(
    model: ModelFacts, rows: Sequence[ImageRow], class_names: Mapping[int, str], at_limit: int
) -> ModelFacts:
    labelled = [row.correct for row in rows if row.predicted is not None and row.correct is not None]
    right, clean = sum(labelled), _clean_scores(rows)
    used = {index for row in rows for index in (row.class_index, row.target) if index is not None}
    return replace(
        model,
        n_at_limit=at_limit,
        accuracy=right / len(labelled) if labelled else None,
        n_right=right if labelled else None,
        median_clean_score=float(np.median(clean)) if clean.size else None,
        saturated_share=float((clean > 0.999).mean()) if clean.size else None,
        class_names={index: class_names[index] for index in sorted(used) if index in class_names},
    )


def _data_facts(data: DataFacts, rows: Sequence[ImageRow]) -> DataFacts:
    problems = [(row.image_id, row.problem) for row in rows if row.problem is not None]
    # Contents, not paths: the same images have the same fingerprint on every machine.
    contents = [repr((row.image_id, row.sha256, row.label, row.class_index, row.place)) for row in rows if row.sha256]
    complete = len(contents) + len(problems) == len(rows)
    return replace(
        data,
        n_images=len(rows),
        n_unreadable=len(problems),
        n_regions=sum(row.object_share is not None for row in rows),
        fingerprint=sha256("\n".join(contents).encode()).hexdigest() if complete and contents else None,
        unreadable=tuple(problems[:_NAMED]),
    )


def _explainer_facts(
    explainer: ExplainerFacts, cost: tuple[int, float], facts: Sequence[MapFactsRow], first: set[str], notes: Notes
) -> ExplainerFacts:
    n_maps, seconds = cost
    measured = [row.values.get(REPEATABILITY) for row in facts if row.image_id in first]
    repeated = [value for value in measured if value is not None]
    return replace(
        explainer,
        mean_passes=_mean_passes(facts),
        seconds=seconds,
        n_maps=n_maps,
        notes=tuple(notes(explainer.text, [_defined(row) for row in facts])) if facts else (),
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
