"""``run``: explain, score, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from evalkit.cli.options import DataParameters, ModelParameters, RunParameters, given
from evalkit.cli.shared import compute_and_print
from evalkit.core.settings import RunOptions, merge, read_config
from evalkit.report.formats import OutputFormat

__all__ = ["run"]


def run(
    config: Path | None = None,
    /,
    *,
    data: DataParameters = DataParameters(),
    model: ModelParameters = ModelParameters(),
    options: RunParameters = RunParameters(),
    format: OutputFormat = "table",  # noqa: A002 - the option's name
    wide: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Explain every photo of a labelled set, score the maps, and print the leaderboards.

    With nothing given it runs the embedded benchmark: 24 scenes and vgg16-mini, a model made for them. Repeating a
    command goes on where it stopped, or shows what is already computed.

    Parameters
    ----------
    config
        A TOML file with these options, underscores for dashes; the command line wins.
    format
        How to print the result.
    wide
        Print intervals at any width.
    """
    from_file = read_config(config) if config else RunOptions()
    compute_and_print(merge(from_file, given(data, model, options)), format, wide=wide)
