"""The JSON document of a run: strict JSON (null, never NaN)."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from evalkit.analysis.facts import same_substrate
from evalkit.analysis.results import Results
from evalkit.report.tables.shortcut import shortcut_document
from evalkit.store.manifest import Manifest

__all__ = ["SCHEMA_VERSION", "document"]

SCHEMA_VERSION = 1


def document(manifest: Manifest, results: Results) -> dict[str, object]:
    """Return the document; docs/architecture.md lists its fields.

    Args:
        manifest: the manifest of the run.
        results: the analysis of the run.
    """
    shown = msgspec.to_builtins(results)
    facts = msgspec.to_builtins(manifest)
    return {
        "schema_version": SCHEMA_VERSION,
        "signature": facts["signature"],
        "model": _finite(facts["model"]),
        "data": _finite(facts["data"]),
        "settings": facts["settings"],
        "versions": facts["versions"],
        **{key: _finite(value) for key, value in shown.items()},
        "shortcut_sentences": shortcut_document(manifest, results),
        "same_substrate": {metric: list(explainers) for metric, explainers in same_substrate(manifest).items()},
    }


def _finite(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
