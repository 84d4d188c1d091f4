"""``validate``: check labelled images before a run."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from evalkit.cli.console import print_result, quiet_native_stderr, stderr_console, terminal_width
from evalkit.cli.options import DATA, MODEL, takes
from evalkit.core.settings import merge
from evalkit.models.environment import require_keras

if TYPE_CHECKING:
    from evalkit.datasets.entry import Entry

__all__ = ["validate"]

_COULD_NOT_START = 2


@takes(*DATA, *MODEL, "limit", "target", "geometry", required=("data",), defaults={"model": "", "limit": "all"})
def validate(
    *,
    format: Literal["table", "json"] = "table",  # noqa: A002 - the option's name
    **options: object,
) -> None:
    """Check labelled images without explaining any; exit code 0 if a run could start, 2 if not.

    Reports the numbers and sizes of images, classes and regions; files that have the same content, cannot be read, or
    have boxes outside the image or empty masks; and with --model the classes that it lacks and how many photos it gets
    right. Without --model no model is loaded. With --target predicted, images need no label.

    Args:
        format: How to print the report; json has every class, problem and duplicate.
    """
    from evalkit.harness.validate import validate_data
    from evalkit.report.tables.dataset_check import render_validation

    settings = merge(options)
    if settings.model is not None:
        with quiet_native_stderr():
            require_keras()
            import evalkit.models.zoo.load  # noqa: F401 - loaded here, where its messages are discarded
    validation = validate_data(settings, _with_progress)
    print_result(render_validation(validation, format, width=terminal_width()))
    if validation.blocking:
        sys.exit(_COULD_NOT_START)


def _with_progress(entries: Iterable[Entry]) -> Iterable[Entry]:
    from rich.progress import track

    return track(list(entries), description="reading", console=stderr_console(), transient=True)
