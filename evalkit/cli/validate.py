"""``validate``: what the data are, before anything is computed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from evalkit.cli.console import print_result, quiet_native_stderr, stderr_console, terminal_width
from evalkit.cli.options import DataFormat, DataParameters, Geometry, ModelParameters, Target, given
from evalkit.core.settings import RunOptions, merge

if TYPE_CHECKING:
    from evalkit.datasets.entry import Entry

__all__ = ["validate"]

_COULD_NOT_START = 2


def validate(
    *,
    data: str,
    data_format: DataFormat | None = None,
    class_map: str | None = None,
    model: ModelParameters = ModelParameters(),
    limit: int | None = None,
    target: Target | None = None,
    geometry: Geometry | None = None,
    format: Literal["table", "json"] = "table",  # noqa: A002 - the option's name
) -> None:
    """Look through labelled images without explaining any: exit 0 if a run could start, 2 if not.

    Says how many images, classes and regions there are, of what sizes and how evenly; which files have the same
    content, cannot be read, have boxes outside or empty masks; and with --model which classes it lacks and how many
    photos it gets right. Without --model no model is loaded.

    Parameters
    ----------
    data
        What `list datasets` shows.
    data_format
        Which reader takes the data. [default: the one that fits what stands there]
    class_map
        What classes of the images stand for, as for `run`.
    limit
        Look at no more than so many images, evenly over the classes. [default: all]
    target
        With predicted, images need no label. [default: label]
    geometry
        How photos are fitted to the model's input. [default: squash]
    format
        How to print the report; json has every class, problem and duplicate.
    """
    from evalkit.harness.validate import validate_data
    from evalkit.report.tables.dataset_check import render_validation

    images = DataParameters(data, data_format, class_map)
    options = merge(given(images, model), RunOptions(limit=limit, target=target, geometry=geometry))
    if model.model is not None:
        with quiet_native_stderr():
            import evalkit.models.zoo.load  # noqa: F401 - later imports find it there, and say nothing
    found = validate_data(options, _with_progress)
    print_result(render_validation(found, format, width=terminal_width()))
    if found.blocking:
        sys.exit(_COULD_NOT_START)


def _with_progress(entries: Iterable[Entry]) -> Iterable[Entry]:
    from rich.progress import track

    return track(list(entries), description="reading", console=stderr_console(), transient=True)
