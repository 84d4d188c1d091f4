"""Made-up rows, facts, manifests and score tables for tests: a test gives the fields that it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from evalkit.metrics.case import Region
from evalkit.metrics.spec import Metric
from evalkit.store.manifest import DataFacts, ExplainerFacts, Manifest, ModelFacts, Settings, Signatures
from evalkit.store.rows import ImageRow, ScoreRow
from evalkit.store.scores import ScoreTable


def image_row(image_id: str, position: int | None = 0, **changes: Any) -> ImageRow:
    """Return what is known of an image before the model has seen it; ``changes`` are further fields."""
    fields = {
        "class_index": 1, "label": "cat", "photo_file": f"/photos/{image_id}", "size_bytes": 10, "mtime_ns": 20,
        "truth": "truth", "sha256": "sum", "problem": None,
    }  # fmt: skip
    return ImageRow(image_id, position, **{**fields, **changes})


def score_row(image_id: str, explainer: str, metric: str, value: float | None = None, **changes: Any) -> ScoreRow:
    """Return a cell; ``changes`` are further fields."""
    return ScoreRow(image_id, explainer, metric, value, **{"reason": None, "statistics": None, "key": "key", **changes})


def explainer_facts(text: str, **changes: Any) -> ExplainerFacts:
    """Return the facts of an explainer of one forward pass; ``changes`` are further fields."""
    fields = {
        "name": text.partition("(")[0], "parameters": {}, "control": False, "positions": None, "forward_passes": 1,
        "method": "full pass",
    }  # fmt: skip
    return ExplainerFacts(text, **{**fields, **changes})


def manifest(
    explainers: Sequence[ExplainerFacts] = (),
    metrics: Sequence[str] = ("deletion",),
    *,
    model: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Manifest:
    """Return the manifest of a finished run of these explainers and metrics.

    Args:
        explainers: the facts of each, see ``explainer_facts``.
        metrics: specs.
        model: fields of ``ModelFacts`` that differ from the made-up ones.
        data: the same of ``DataFacts``.
        settings: the same of ``Settings``.
        **changes: further fields of the manifest itself.
    """
    made = Manifest(
        schema_version=1,
        signature=Signatures(
            run="run|target:label|geometry:squash",
            metrics={text: f"{text}|v:1|steps:28" for text in metrics},
            explainers={one.text: f"{one.text}|v:1" for one in explainers},
        ),
        model=ModelFacts("vgg16.keras", "f" * 64, "vgg16", (224, 224), 10, "block5_conv3", "float32"),
        data=DataFacts("labels.csv", "csv", 2),
        settings=Settings("label", "squash", 28, 0, 16, None),
        explainers=tuple(explainers),
        metrics=tuple(metrics),
        versions={"evalkit": "0.1.0"},
        created="2026-11-23T00:00:00Z",
        finished="2026-11-23T00:10:00Z",
    )
    parts = {
        name: msgspec.structs.replace(getattr(made, name), **part)
        for name, part in (("model", model), ("data", data), ("settings", settings))
        if part
    }
    return msgspec.structs.replace(made, **parts, **changes)


def score_table(values: Any, explainers: Sequence[str], metrics: Sequence[str], **changes: Any) -> ScoreTable:
    """Return a table of scores (n, E, M) of the images ``0.jpg``, ``1.jpg``, ...; ``changes`` are further fields."""
    values = np.asarray(values, dtype=np.float64)
    fields = {"image_ids": tuple(f"{at}.jpg" for at in range(len(values))), "statistics": {}, "reasons": {}}
    return ScoreTable(explainers=tuple(explainers), metrics=tuple(metrics), values=values, **{**fields, **changes})


def statistics_size(metric: Metric) -> int:
    """Return how many numbers an image adds to a set-level metric."""
    region = np.zeros((8, 8), dtype=bool)
    region[2:5, 3:6] = True
    return int(metric.score_region(np.eye(8), Region(region, np.array([[3.0, 2, 6, 5]]), exact=True)).size)


def stored_maps(path):
    """Return the maps in a file of maps, by explainer; the file is closed."""
    with np.load(path) as file:
        return dict(file)
