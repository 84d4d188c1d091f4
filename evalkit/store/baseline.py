"""A baseline: what a run scored, small enough to commit, for the gate to hold later runs against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec

from evalkit.errors import StoreError
from evalkit.store.files import write_bytes

__all__ = ["BASELINE_VERSION", "Baseline", "BaselineModel", "Recommendation", "read_baseline", "write_baseline"]

BASELINE_VERSION = 2
_DIGITS = 5

Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]


class BaselineModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model that was explained: it may change, and the gate says how.

    Attributes:
        name: as in the manifest.
        fingerprint: sha256 of architecture, weights and preprocessing.
        precision: the dtype that it computed in.
        accuracy: share of the labelled images that it got right.
        median_clean_score: of its images.
    """

    name: str
    fingerprint: str
    precision: str
    accuracy: float | None
    median_clean_score: float | None


class Recommendation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The patch size of occlusion that a run recommends.

    Attributes:
        criterion: the metric that decided, by its text.
        margin: the loss of it that was accepted.
        patch_size: pixels.
        stride: pixels.
        decided: the images sufficed to say so.
    """

    criterion: str
    margin: float
    patch_size: int
    stride: int
    decided: bool


class Baseline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file.

    Attributes:
        schema_version: of the file.
        created: when the run was finished, ISO 8601.
        target: ``label`` or ``predicted``.
        geometry: how photos were fitted.
        model: what was explained.
        data: name of the image set.
        versions: package name to version.
        metrics: text to signature line, of the gated metrics.
        explainers: text to signature line.
        recommended: the patch size; None without a sweep.
        images: their keys, see ``image_keys``.
        scores: explainer to metric to one score an image, in the order of ``images``; None = not scored.
        rank_hashes: explainer to one rank hash an image, in the order of ``images``; None = no finite map.
    """

    schema_version: int
    created: str
    target: str
    geometry: str
    model: BaselineModel
    data: str
    versions: dict[str, str]
    metrics: dict[str, str]
    explainers: dict[str, str]
    recommended: Recommendation | None
    images: tuple[str, ...]
    scores: dict[str, dict[str, tuple[float | None, ...]]]
    rank_hashes: dict[str, tuple[Hash | None, ...]]


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write the file: keys in order, one line for the scores of an explainer under a metric, so that a diff is short.

    Raises:
        StoreError: the folder does not exist or cannot be written.
    """
    try:
        write_bytes(path, (_laid_out(msgspec.to_builtins(baseline)) + "\n").encode())
    except OSError as error:
        raise StoreError(f"--output '{path}' cannot be written: {error.strerror}; name another file") from error


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        StoreError: there is none, it is damaged or incomplete, or a later evalkit wrote it.
    """
    again = "write it anew: python -m evalkit baseline RUN --output FILE"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"--baseline '{path}' cannot be read: {error.strerror}; {again}") from error
    try:
        version = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("schema_version")
        found = None if version is None else msgspec.json.decode(version)
        if found != BASELINE_VERSION:
            raise StoreError(
                f"--baseline '{path}' has schema version {found}, this evalkit reads {BASELINE_VERSION}; {again}"
            )
        baseline = msgspec.json.decode(data, type=Baseline)
    except msgspec.MsgspecError as error:
        raise StoreError(f"--baseline '{path}' is damaged: {error}; {again}") from error
    _require_complete(path, baseline, again)
    return baseline


def _require_complete(path: Path, baseline: Baseline, again: str) -> None:
    n_images = len(baseline.images)
    if len(set(baseline.images)) != n_images:
        raise StoreError(f"--baseline '{path}' is damaged: it lists an image twice; {again}")
    for explainer in baseline.explainers:
        held = {f"scores of {explainer} under {metric}": baseline.scores.get(explainer, {}).get(metric)
                for metric in baseline.metrics}  # fmt: skip
        for what, values in {**held, f"rank hashes of {explainer}": baseline.rank_hashes.get(explainer)}.items():
            if values is None or len(values) != n_images:
                have = "no" if values is None else len(values)
                raise StoreError(f"--baseline '{path}' is incomplete: {have} {what} for {n_images} images; {again}")


def _laid_out(value: Any, indent: str = "") -> str:  # noqa: ANN401 - whatever JSON holds
    """Return JSON with a line for each key of an object, lists on one line."""
    if isinstance(value, dict) and value:
        inner = indent + " "
        lines = [f"{inner}{json.dumps(key)}: {_laid_out(one, inner)}" for key, one in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, float):
        return json.dumps(round(value, _DIGITS))
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_laid_out(one) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
