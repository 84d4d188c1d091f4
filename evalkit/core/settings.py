"""The options of ``run``: CONFIG.toml and the command line say the same things in the same words."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from evalkit.core.errors import ConfigError, nearest
from evalkit.core.specs import simplify

__all__ = [
    "DEFAULTS",
    "DEFAULT_ALPHA",
    "DEFAULT_CRITERION",
    "DEFAULT_MARGIN",
    "DEFAULT_TOLERANCE",
    "RunOptions",
    "completed",
    "merge",
    "patch_sizes_of",
    "read_config",
    "region_area_of",
    "strides_of",
]


DEFAULT_CRITERION, DEFAULT_MARGIN = "symmetric_relevance_gain", 0.02
DEFAULT_TOLERANCE, DEFAULT_ALPHA = "0.02", 0.05


class RunOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every option of ``run`` that CONFIG.toml may hold; None = not given.

    Attributes:
        data: what ``--data`` points to.
        data_format: which reader takes it; None = the one that fits what stands there.
        model: a ``.keras`` file, a ``keras.applications`` name or ``module:function``.
        weights: a weights file.
        preprocess: a ``keras.applications`` family, or ``none``.
        class_names: a JSON list, one name a line, or Keras' class index.
        class_map: a JSON or CSV file: class of the images to one or more outputs of the model.
        explainers: specs, as one text or a list.
        patch_sizes: pixels, as one text or a list.
        strides: ``patch``, ``half`` or pixels, as one text or a list.
        metrics: specs, as one text or a list.
        criterion: the metric that decides the patch size.
        margin: the loss of it that is accepted.
        steps: of the perturbation metrics.
        limit: the most images.
        region_area: only images whose object takes such a share of the photo, e.g. ``0.02..0.5``.
        only_correct: only images that the model gets right.
        target: ``label`` or ``predicted``.
        geometry: ``squash`` or ``center-crop``.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        batch_size: the most images in one pass.
        seed: of everything random.
        output: the run folder.
        fresh: forget what the run folder holds.
        fail_on_error: stop at the first photo, explainer or metric that fails.
        baseline: what the run is held against.
        tolerance: how much worse a mean may be, see ``parse_tolerance``.
        alpha: family-wise error of "regressed".
        fail_on_inconclusive: exit 1 as well where the images do not suffice to say.
        fail_on_map_drift: exit 1 as well where maps changed.
        junit: where the gate's verdicts go as JUnit XML.
    """

    data: str | None = None
    data_format: str | None = None
    model: str | None = None
    weights: str | None = None
    preprocess: str | None = None
    class_names: str | None = None
    class_map: str | None = None
    explainers: str | list[str] | None = None
    patch_sizes: str | list[int] | None = None
    strides: str | list[int | str] | None = None
    metrics: str | list[str] | None = None
    criterion: str | None = None
    margin: float | None = None
    steps: int | None = None
    limit: int | None = None
    region_area: str | None = None
    only_correct: bool | None = None
    target: str | None = None
    geometry: str | None = None
    precision: str | None = None
    batch_size: int | None = None
    seed: int | None = None
    output: str | None = None
    fresh: bool | None = None
    fail_on_error: bool | None = None
    baseline: str | None = None
    tolerance: str | float | None = None
    alpha: float | None = None
    fail_on_inconclusive: bool | None = None
    fail_on_map_drift: bool | None = None
    junit: str | None = None


DEFAULTS = RunOptions(
    steps=28,
    target="label",
    geometry="squash",
    precision="auto",
    seed=0,
    only_correct=False,
    fresh=False,
    margin=DEFAULT_MARGIN,
)

_SCENES, _MINI = "scenes", "vgg16-mini"
_BENCHMARK = RunOptions(data=_SCENES, model=_MINI, limit=24)

_CHOICES = {
    "target": ("label", "predicted"),
    "geometry": ("squash", "center-crop"),
    "precision": ("auto", "float32", "bfloat16"),
}
_AT_LEAST = {"steps": 1, "limit": 1, "batch_size": 1, "seed": 0}


def read_config(path: Path) -> RunOptions:
    """Read CONFIG.toml.

    Raises:
        ConfigError: the file is missing, not TOML, or has an unknown key or a value of the wrong kind.
    """
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"configuration '{path}' cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration '{path}' is not valid TOML: {error}") from error
    known = RunOptions.__struct_fields__
    for key in table:
        if key not in known:
            raise ConfigError(f"configuration '{path}': unknown key '{key}': {nearest(key, known)}")
    try:
        return msgspec.convert(table, RunOptions)
    except msgspec.ValidationError as error:
        raise ConfigError(f"configuration '{path}': {error}") from error


def merge(*layers: RunOptions) -> RunOptions:
    """Lay options over each other, the last one on top, and check their values.

    Raises:
        ConfigError: a value that is not allowed; the option is named as on the command line.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update({key: value for key, value in msgspec.structs.asdict(layer).items() if value is not None})
    for key, value in merged.items():
        if "\0" in str(value):
            raise ConfigError(f"{_option(key)} {value!r} holds a zero character; leave it out")
    for key, allowed in _CHOICES.items():
        if key in merged and merged[key] not in allowed:
            raise ConfigError(f"{_option(key)} '{merged[key]}' is unknown: {nearest(merged[key], allowed)}")
    for key, lowest in _AT_LEAST.items():
        if key in merged and merged[key] < lowest:
            raise ConfigError(f"{_option(key)} {merged[key]} is not allowed; it must be at least {lowest}")
    if "margin" in merged and not 0 < merged["margin"] < float("inf"):
        raise ConfigError(f"--margin {merged['margin']:g} is not allowed; it must be above 0, for example 0.02")
    return RunOptions(**merged)


def completed(options: RunOptions) -> RunOptions:
    """Fill in the embedded benchmark: scenes need no model and no limit, and its model, or nothing at all, no data."""
    if options.data is None and simplify(options.model or _MINI) == simplify(_MINI):
        options = merge(options, RunOptions(data=_SCENES))
    return merge(_BENCHMARK, options) if options.data == _SCENES else options


def patch_sizes_of(options: RunOptions) -> list[int] | None:
    """Return the patch sizes in pixels, or None if not given.

    Raises:
        ConfigError: not whole numbers of at least 1.
    """
    given = options.patch_sizes
    if given is None:
        return None
    parts = [part.strip() for part in given.split(",") if part.strip()] if isinstance(given, str) else given
    try:
        sizes = [int(part) for part in parts]
    except ValueError:
        raise ConfigError(f"--patch-sizes '{given}' is not a list of pixels; write for example 16,32,40") from None
    if not sizes or min(sizes) < 1:
        raise ConfigError(f"--patch-sizes '{given}' is not allowed; every size must be at least 1 pixel")
    return list(dict.fromkeys(sizes))


def strides_of(options: RunOptions) -> list[int | str] | None:
    """Return the strides, ``patch``, ``half`` or pixels, or None if not given.

    Raises:
        ConfigError: something else.
    """
    given = options.strides
    if given is None:
        return None
    parts = [part.strip() for part in given.split(",") if part.strip()] if isinstance(given, str) else given
    strides: list[int | str] = []
    for part in parts:
        text = str(part)
        if text not in ("patch", "half") and not (text.isdecimal() and int(text) >= 1):
            raise ConfigError(f"--strides '{text}' is not allowed; write patch, half, or pixels of at least 1")
        strides.append(int(text) if text.isdecimal() else text)
    if not strides:
        raise ConfigError("--strides is empty; write for example patch,half or 16")
    return list(dict.fromkeys(strides))


def region_area_of(options: RunOptions) -> tuple[float, float] | None:
    """Return the least and the largest share of the photo that the object may take, both included, or None.

    Raises:
        ConfigError: not two shares of 0..1, the smaller first.
    """
    if options.region_area is None:
        return None
    low, separator, high = options.region_area.partition("..")
    try:
        least, most = float(low or 0), float(high or 1)
    except ValueError:
        least, most = math.nan, math.nan
    if not separator or not 0 <= least <= most <= 1:
        raise ConfigError(
            f"--region-area '{options.region_area}' is not allowed; write two shares of the photo's area, for example "
            "0.02..0.5, or 0.02.. or ..0.5"
        )
    return least, most


def _option(key: str) -> str:
    return f"--{key.replace('_', '-')}"
