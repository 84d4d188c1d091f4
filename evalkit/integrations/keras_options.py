"""The arguments of ``ExplanationQuality``: their types, defaults and checks, before any model is known."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from evalkit.analysis.gate.check import require_comparable
from evalkit.analysis.gate.tolerance import parse_alpha, parse_tolerance
from evalkit.api.model_keywords import ModelKeywords
from evalkit.api.photos import image_set_of
from evalkit.core.errors import ConfigError
from evalkit.core.settings import RunOptions, merge
from evalkit.core.signature import without_digest
from evalkit.datasets.class_map import read_class_map
from evalkit.datasets.open import open_image_set
from evalkit.explainers.catalog import expand_listed
from evalkit.metrics.catalog import build_metrics
from evalkit.models.keras.precision import has_fewer_digits
from evalkit.models.preprocessing import Preprocessing
from evalkit.store.baseline import Baseline

if TYPE_CHECKING:
    from evalkit.datasets.image_set import ImageSet

__all__ = ["QualityOptions", "opened", "run_options", "whole"]

_EXPLAINERS, _METRICS, _LIMIT = ("gradcam",), ("symmetric_relevance_gain",), 16


class QualityOptions(ModelKeywords, total=False):
    """The types of the options of ``ExplanationQuality``; ``core/settings.py`` declares the options."""

    data_format: str | None
    class_map: str | PathLike[str] | None
    class_order: Literal["sorted", "numeric", "index", "index-from-1"] | None
    patch_sizes: str | Sequence[int] | None
    strides: str | Sequence[int | str] | None
    steps: int | None
    region_area: str | tuple[float, float] | None
    target: Literal["label", "predicted"] | None
    geometry: Literal["squash", "center-crop"] | None
    batch_size: int | None
    seed: int | None
    tolerance: str | float | None
    alpha: float | None
    max_lost: str | float | None


def run_options(given: Mapping[str, object], baseline: Baseline | None, options: Mapping[str, object]) -> RunOptions:
    """Return the options of the run that each scoring is, checked as far as that needs no model.

    Args:
        given: explainers, metrics, limit and precision; None = their defaults.
        baseline: the baseline, whose explainers, metrics, images and precision are the defaults; None = no baseline.
        options: the other options, by name.

    Raises:
        EvalkitError: an option that is not allowed, or that does not fit the baseline.
    """
    known = {
        "explainers": tuple(baseline.explainers) if baseline else _EXPLAINERS,
        "metrics": tuple(baseline.metrics) if baseline else _METRICS,
        "limit": None if baseline else _LIMIT,
        "precision": baseline.model.precision if baseline and has_fewer_digits(baseline.model.precision) else "float32",
    }
    merged = merge(known, given, options)
    _require_valid(merged, baseline, options)
    return merged


def _require_valid(options: RunOptions, baseline: Baseline | None, given: Mapping[str, object]) -> None:
    """Check all that needs no model.

    Raises:
        EvalkitError: an option that is not allowed, or that does not fit the baseline.
    """
    build_metrics(options.metrics, steps=options.steps)
    expand_listed(options.explainers, None, options.seed)
    if options.preprocess is not None:
        Preprocessing.parse(options.preprocess)
    if options.class_map:
        read_class_map(Path(options.class_map))
    if baseline is None:
        for name in ("tolerance", "alpha", "max_lost"):
            if given.get(name) is not None:
                raise ConfigError(f"{name}={given[name]!r} needs a baseline; add baseline=FILE, or leave both out")
        return
    parse_tolerance(options.tolerance, list(baseline.metrics))
    parse_alpha(options.alpha)
    # A class map, of which the target carries a digest, is compared with that of the run itself.
    without = msgspec.structs.replace(baseline, target=without_digest(baseline.target))
    require_comparable(without, options.target, options.geometry)


def whole(name: str, given: object, least: int, unit: str) -> int:
    """Return a whole number.

    Raises:
        ConfigError: it is none, or below the least that is allowed.
    """
    if not isinstance(given, int) or isinstance(given, bool) or given < least:
        raise ConfigError(f"{name}={given!r} is not allowed; give a whole number of {unit}, {least} or more")
    return given


def opened(images: Any, data_format: str | None) -> ImageSet:  # noqa: ANN401 - whatever evaluate takes
    """Return a labelled set of whatever ``evaluate`` takes.

    Raises:
        EvalkitError: nothing of which a set can be made.
    """
    of_arrays = image_set_of(images)
    return open_image_set(os.fspath(images), data_format) if of_arrays is None else of_arrays
