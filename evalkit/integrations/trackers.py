"""The trackers that a run can be exported to, and which options each takes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from evalkit.core.errors import ConfigError, nearest

if TYPE_CHECKING:
    from evalkit.api.run import Run
    from evalkit.datasets.image_set import ImageSet
    from evalkit.integrations.record import Exported

__all__ = ["Tracker", "export_run", "require_options"]

Tracker = Literal["mlflow", "wandb", "tensorboard", "fiftyone"]

_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "mlflow": ("tracking_uri", "experiment"),
    "wandb": ("project",),
    "tensorboard": ("log_dir",),
    "fiftyone": ("photos", "overwrite"),
}
"""The options of each tracker besides those that all take, as their functions call them."""


def export_run(
    run: Run | str | PathLike[str],
    to: str,
    *,
    name: str | None = None,
    images: ImageSet | None = None,
    options: Mapping[str, object],
) -> Exported:
    """Export a run to a tracker.

    Args:
        run: a run of ``evalkit.evaluate`` or ``evalkit.open_run``, or a run folder.
        to: name of the tracker.
        name: the run's name in the tracker; None = the name of its folder.
        images: the photos, if they were in memory or have moved.
        options: the tracker's own options by name; None and False = not given.

    Raises:
        ConfigError: an unknown tracker, or an option of another tracker.
        EvalkitError: as the tracker's own ``export``.
    """
    given = require_options(to, options)
    module: Any = importlib.import_module(f"evalkit.integrations.{to}")
    return cast("Exported", module.export(run, name=name, images=images, **given))


def require_options(to: str, options: Mapping[str, object]) -> dict[str, object]:
    """Return the options that were given.

    Raises:
        ConfigError: an unknown tracker, or an option that it does not take.
    """
    if to not in _OPTIONS:
        raise ConfigError(f"--to '{to}' is not known: {nearest(to, get_args(Tracker))}")
    given = {option: value for option, value in options.items() if value is not None and value is not False}
    for option in given:
        if option not in _OPTIONS[to]:
            others = [tracker for tracker, own in _OPTIONS.items() if option in own]
            own = " and ".join(_flag(one) for one in _OPTIONS[to])
            raise ConfigError(
                f"{_flag(option)} has no effect with --to {to}, which takes {own}; leave it out, or use --to "
                f"{' or '.join(others)}"
            )
    return given


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
