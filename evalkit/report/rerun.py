"""The command that makes a run again, from what its manifest holds."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from evalkit.analysis.facts import origin_of
from evalkit.core.settings import OPTIONS
from evalkit.core.signature import without_digest
from evalkit.datasets.readers.catalog import reader_names
from evalkit.store.manifest import Manifest

__all__ = ["more_commands", "rerun_command", "rerun_values"]


def more_commands(folder: Path, given: Mapping[str, object] = MappingProxyType({})) -> tuple[str, ...]:
    """Return lines with the commands that show more of a run than its first screen.

    Args:
        folder: the run folder.
        given: the options of ``show`` that were given, by name.
    """
    path = shlex.quote(str(folder))
    options = shlex.join([part for name, value in given.items() for part in OPTIONS[name].rendered(value)])
    options = f" {options}" if options else ""
    return f"More:  python -m evalkit show {path}{options} --all", f"       python -m evalkit report {path}{options}"


def rerun_command(manifest: Manifest) -> tuple[str, list[str]]:
    """Return the command line that makes this run again, and notes on what it lacks."""
    folders = [str(one.parameters.get("folder")) for one in manifest.explainers if origin_of(one) == "precomputed"]
    parts = ["python", "-m", "evalkit", *(["score", *folders] if folders else ["run"])]
    values = rerun_values(manifest)
    for name, option in OPTIONS.items():
        if not option.not_repeated and values.get(name) is not None:
            parts += option.rendered(values[name])
    notes = []
    if without_digest(manifest.settings.target) != manifest.settings.target and "class_map" not in manifest.files:
        notes.append("Add the --class-map FILE that you gave.")
    if "model" not in manifest.files:
        notes.append("The model was an object in memory: evaluate it from Python, or save it and name its file.")
    if not manifest.data.source:
        notes.append("The images were in memory: evaluate them from Python.")
    return shlex.join(parts), notes


def rerun_values(manifest: Manifest) -> dict[str, object]:
    """Return the value of every option that the manifest knows; None = the default."""
    settings, model, data = manifest.settings, manifest.model, manifest.data
    return {
        **msgspec.structs.asdict(settings),  # its fields are called like the options
        **settings.chosen,
        "shard": settings.shard or None,
        "only_correct": "only_correct" in settings.chosen,
        "data": data.source or data.name,
        "data_format": data.kind if data.kind in reader_names() else None,
        "model": model.name,
        **manifest.files,
        **model.given,
        "preprocess": model.preprocess,
        "explainers": [one.text for one in manifest.explainers if origin_of(one) != "precomputed"],
        "metrics": manifest.metrics,
        "criterion": settings.criterion if settings.criterion in manifest.metrics else None,
        "target": without_digest(settings.target),
        "keep_maps": None if settings.keep_maps == "all" else settings.keep_maps,
        "precision": model.precision if model.precision in OPTIONS["precision"].choices else None,
    }
