"""A baseline: what a run scored, small enough to commit, for the gate to hold later runs against."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from evalkit.core.errors import StoreError
from evalkit.core.names import is_text
from evalkit.store.files import write_file

__all__ = ["BASELINE_VERSION", "Baseline", "BaselineModel", "Recommendation", "read_baseline", "write_baseline"]

BASELINE_VERSION = 2
_DIGITS = 5
_LARGEST = 1e6  # no metric comes near

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
        targets: the class explained in each; None where nothing could be.
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
    targets: tuple[int | None, ...]
    scores: dict[str, dict[str, tuple[float | None, ...]]]
    rank_hashes: dict[str, tuple[Hash | None, ...]]


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write the file: keys in order, one line for the scores of an explainer under a metric, so that a diff is short.

    Raises:
        StoreError: the folder does not exist or cannot be written.
    """
    write_file(path, (_laid_out(msgspec.to_builtins(baseline)) + "\n").encode(), "--output")


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        StoreError: there is none, it is damaged or incomplete, or a later evalkit wrote it.
    """
    again = "write it anew: python -m evalkit baseline RUN --output FILE"
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        said = error.strerror if isinstance(error, OSError) else error
        raise StoreError(f"--baseline '{path}' cannot be read: {said}; {again}") from error
    try:
        found = json.loads(data, object_pairs_hook=_without_twins).get("schema_version")
        if found != BASELINE_VERSION:
            raise StoreError(
                f"--baseline '{path}' has schema version {found}, this evalkit reads {BASELINE_VERSION}; {again}"
            )
        baseline = msgspec.json.decode(data, type=Baseline)
    except (ValueError, AttributeError, RecursionError) as error:
        raise StoreError(f"--baseline '{path}' is damaged: {error}; {again}") from error
    problem = _problem(baseline)
    if problem:
        raise StoreError(f"--baseline '{path}' {problem}; {again}")
    return baseline


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; a file that was merged by hand may hold a key twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key '{next(key for key in keys if keys.count(key) > 1)}' stands in it twice")
    return found


def _problem(baseline: Baseline) -> str | None:
    """Say why a baseline that can be read cannot be used."""
    n_images = len(baseline.images)
    for what in ("metrics", "explainers", "images"):
        if not getattr(baseline, what):
            return f"is incomplete: it holds no {what}"
    if len(set(baseline.images)) != n_images:
        return "is damaged: it lists an image twice"
    held: dict[str, Sequence[object] | None] = {"targets": baseline.targets}
    for explainer in baseline.explainers:
        scores = baseline.scores.get(explainer, {})
        held |= {f"scores of {explainer} under {metric}": scores.get(metric) for metric in baseline.metrics}
        held[f"rank hashes of {explainer}"] = baseline.rank_hashes.get(explainer)
    for what, values in held.items():
        if values is None or len(values) != n_images:
            return f"is incomplete: {'no' if values is None else len(values)} {what} for {n_images} images"
    for text in (*baseline.explainers, *baseline.metrics):
        if not is_text(text):
            return f"is damaged: {text!r} is no name"
    largest = max((abs(one) for by in baseline.scores.values() for row in by.values() for one in row if one), default=0)
    return f"is damaged: a score of {largest:g} is none" if largest > _LARGEST else None


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
