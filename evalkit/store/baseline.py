"""The baseline file: the scores of a run, small enough to commit, that ``check`` compares later runs with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from evalkit.core.errors import StoreError
from evalkit.core.names import is_text
from evalkit.core.specs import Literals
from evalkit.store.files import write_file

__all__ = ["BASELINE_VERSION", "Baseline", "BaselineModel", "Recommendation", "read_baseline", "write_baseline"]

BASELINE_VERSION = 3
_WITHOUT_PHOTOS = 2  # the version before; it is read too
_DIGITS = 5
_LARGEST = 1e6  # far above every metric's range

Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
PhotoNumber = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class BaselineModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model that was explained. It may change; the gate reports how.

    Attributes:
        name: name as in the manifest.
        fingerprint: sha256 of architecture, weights and preprocessing.
        precision: dtype of its computations.
        accuracy: fraction of the labelled images that it classified correctly.
        median_clean_score: median score of the target on the unchanged images.
    """

    name: str
    fingerprint: str
    precision: str
    accuracy: float | None
    median_clean_score: float | None


class Recommendation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The patch size that a run recommends, with the explainer's other settings.

    Attributes:
        criterion: spec of the metric that decided.
        margin: largest accepted loss of the criterion, relative to the best size.
        patch_size: patch size in pixels.
        stride: stride in pixels.
        decided: whether there were enough images to decide.
        explainer: name of the explainer; empty in older files.
        parameters: its other parameters; empty in older files.
    """

    criterion: str
    margin: float
    patch_size: int
    stride: int
    decided: bool
    explainer: str = ""
    parameters: dict[str, Literals] = {}


class Baseline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of a baseline file.

    Attributes:
        schema_version: version of the file's schema.
        created: time when the run was finished, ISO 8601.
        target: ``label`` or ``predicted``.
        geometry: how photos were resized to the model's input.
        model: the explained model.
        data: name of the image set.
        versions: versions by package name.
        metrics: signature lines of the gated metrics, by spec.
        explainers: signature lines by spec.
        recommended: recommended patch size; None without a sweep.
        images: keys of the images, see ``image_keys``.
        targets: explained class of each image; None if it could not be explained.
        scores: by explainer and metric, one score per image, in the order of ``images``; None = not scored.
        rank_hashes: by explainer, one rank hash per image, in the order of ``images``; None = no finite map.
        photos: number of the photo that each image is an entry of, from 0, in the order of ``images``; empty in the
            files of older versions.
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
    photos: tuple[PhotoNumber, ...] = ()

    @property
    def n_photos(self) -> int:
        """The number of photos; entries of one photo count once."""
        return len(set(self.photos))


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write a baseline with fixed key order and one line per explainer and metric, so that diffs are short.

    Raises:
        StoreError: the file cannot be written.
    """
    write_file(path, (_laid_out(msgspec.to_builtins(baseline)) + "\n").encode(), "--output")


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        StoreError: the file is missing, damaged, incomplete, or has another schema version.
    """
    again = "write it again: python -m evalkit baseline RUN --output FILE"
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # a path with a null byte raises a ValueError
        reason = error.strerror if isinstance(error, OSError) else error
        raise StoreError(f"--baseline '{path}' cannot be read: {reason}; {again}") from error
    try:
        version = json.loads(data, object_pairs_hook=_unique_keys).get("schema_version")
        if version not in (_WITHOUT_PHOTOS, BASELINE_VERSION):
            raise StoreError(
                f"--baseline '{path}' has schema version {version}, this evalkit reads {_WITHOUT_PHOTOS} and "
                f"{BASELINE_VERSION}; {again}"
            )
        baseline = msgspec.json.decode(data, type=Baseline)
    except (ValueError, AttributeError, RecursionError) as error:
        raise StoreError(f"--baseline '{path}' is damaged: {error}; {again}") from error
    problem = _problem(baseline)
    if problem:
        raise StoreError(f"--baseline '{path}' {problem}; {again}")
    return baseline


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; raise ValueError if a key occurs twice, as after a manual merge."""
    by_key = dict(pairs)
    if len(by_key) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key '{next(key for key in keys if keys.count(key) > 1)}' is there twice")
    return by_key


def _problem(baseline: Baseline) -> str | None:
    """Return why a decoded baseline cannot be used; None if it can."""
    n_images = len(baseline.images)
    for noun in ("metrics", "explainers", "images"):
        if not getattr(baseline, noun):
            return f"is incomplete: it has no {noun}"
    if len(set(baseline.images)) != n_images:
        return "is damaged: it lists an image twice"
    columns: dict[str, Sequence[object] | None] = {"targets": baseline.targets}
    columns |= {"photos": baseline.photos} if baseline.photos or baseline.schema_version != _WITHOUT_PHOTOS else {}
    for explainer in baseline.explainers:
        scores = baseline.scores.get(explainer, {})
        columns |= {f"scores of {explainer} under {metric}": scores.get(metric) for metric in baseline.metrics}
        columns[f"rank hashes of {explainer}"] = baseline.rank_hashes.get(explainer)
    for noun, values in columns.items():
        if values is None or len(values) != n_images:
            return f"is incomplete: {'no' if values is None else len(values)} {noun} for {n_images} images"
    for text in (*baseline.explainers, *baseline.metrics):
        if not is_text(text):
            return f"is damaged: {text!r} is not a valid name"
    rows = [row for by_metric in baseline.scores.values() for row in by_metric.values()]
    largest = max((abs(score) for row in rows for score in row if score), default=0)
    return f"is damaged: score {largest:g} is outside the valid range" if largest > _LARGEST else None


def _laid_out(value: Any, indent: str = "") -> str:  # noqa: ANN401 - any JSON value
    """Return JSON with one line per key of an object, and lists on one line."""
    if isinstance(value, dict) and value:
        inner = indent + " "
        lines = [f"{inner}{json.dumps(key)}: {_laid_out(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, float):
        return json.dumps(round(value, _DIGITS))
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_laid_out(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
