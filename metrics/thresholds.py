"""Thresholds chosen on other images: the file that ``threshold_from`` names."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

import msgspec

from evalkit.core.errors import ConfigError
from evalkit.core.names import path_of

__all__ = ["NO_THRESHOLD", "THRESHOLDS_VERSION", "StoredThresholds", "ThresholdFile", "read_thresholds"]

THRESHOLDS_VERSION = 1
NO_THRESHOLD = "threshold_from has no threshold for this explainer"
_AGAIN = "write it again: python -m evalkit thresholds RUN --output FILE"
_DIGITS = 16


class ThresholdFile(msgspec.Struct, frozen=True):
    """The content of the file.

    Attributes:
        schema_version: version of these fields.
        run: the run folder whose images chose the thresholds.
        model: its model.
        data: its images.
        thresholds: by metric name and explainer text, the thresholds, 0..1.
    """

    schema_version: int
    run: str
    model: str
    data: str
    thresholds: dict[str, dict[str, tuple[float, ...]]]


class StoredThresholds(NamedTuple):
    """The thresholds of one metric by explainer text, and the digest of the file."""

    by_explainer: dict[str, tuple[float, ...]]
    digest: str


def read_thresholds(path: str, metric: str, count: int) -> StoredThresholds:
    """Read the thresholds of one metric.

    Args:
        path: path of the file.
        metric: name of the metric.
        count: number of thresholds for each explainer.

    Raises:
        ConfigError: the file cannot be read, is damaged, or lacks the metric.
    """
    named = f"metric '{metric}': threshold_from '{path}'"
    try:
        data = path_of(path).read_bytes()
    except (OSError, ValueError) as error:  # a path with a null byte raises a ValueError
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{named} cannot be read: {reason}; {_AGAIN}") from error
    try:
        content = msgspec.json.decode(data, type=ThresholdFile)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{named} is not a file of thresholds: {error}; {_AGAIN}") from error
    if content.schema_version != THRESHOLDS_VERSION:
        raise ConfigError(
            f"{named} has schema version {content.schema_version}, this evalkit reads {THRESHOLDS_VERSION}; {_AGAIN}"
        )
    by_explainer = content.thresholds.get(metric, {})
    if not by_explainer:
        has = f"it has {', '.join(content.thresholds)}" if content.thresholds else "it is empty"
        raise ConfigError(f"{named} has no thresholds for {metric} ({has}); {_AGAIN}")
    for explainer, values in by_explainer.items():
        if len(values) != count or not all(0 <= value <= 1 for value in values):
            raise ConfigError(
                f"{named} is damaged: {explainer} has {list(values)}, expected {count} numbers from 0 to 1; {_AGAIN}"
            )
    return StoredThresholds(by_explainer, sha256(data).hexdigest()[:_DIGITS])
