"""The command that makes a run again, from what its manifest holds."""

from __future__ import annotations

import shlex

import msgspec

from evalkit.core.settings import OPTIONS
from evalkit.store.manifest import Manifest

__all__ = ["rerun_command"]

_SUPPLIED = "maps"  # the explainer that reads maps from files


def rerun_command(manifest: Manifest) -> tuple[str, list[str]]:
    """Return the command line that makes this run again, and notes on what it lacks."""
    folders = [str(one.parameters.get("folder")) for one in manifest.explainers if one.name == _SUPPLIED]
    parts = ["python", "-m", "evalkit", *(["score", *folders] if folders else ["run"])]
    values = _values(manifest)
    for name, option in OPTIONS.items():
        if not option.not_repeated and values.get(name) is not None:
            parts += option.rendered(values[name])
    notes = []
    if "(" in manifest.settings.target and "class_map" not in manifest.files:
        notes.append("Add the --class-map FILE that you gave.")
    if "model" not in manifest.files:
        notes.append("The model was an object in memory: evaluate it from Python, or save it and name its file.")
    if not manifest.data.source:
        notes.append("The images were in memory: evaluate them from Python.")
    return shlex.join(parts), notes


def _values(manifest: Manifest) -> dict[str, object]:
    """Return the value of every option that the manifest knows; None = the default."""
    settings, model, data = manifest.settings, manifest.model, manifest.data
    return {
        **msgspec.structs.asdict(settings),  # its fields are called like the options
        **settings.chosen,
        "data": data.source or data.name,
        "data_format": data.kind if data.kind in OPTIONS["data_format"].choices else None,
        "model": model.name,
        **manifest.files,
        "preprocess": model.preprocess,
        "explainers": [one.text for one in manifest.explainers if one.name != _SUPPLIED],
        "metrics": manifest.metrics,
        "criterion": settings.criterion if settings.criterion in manifest.metrics else None,
        "target": settings.target.partition("(")[0],  # without the digest of the class map
        "precision": model.precision if model.precision in OPTIONS["precision"].choices else None,
    }
