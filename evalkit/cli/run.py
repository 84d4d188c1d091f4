"""``run``: explain and score a labelled set, and compare the explainers."""

from __future__ import annotations

from pathlib import Path

from evalkit.cli.options import DATA, ENGINE, GATE, MODEL, RUN, Flag, takes
from evalkit.cli.shared import compute_and_print
from evalkit.core.settings import read_config
from evalkit.report.formats import OutputFormat

__all__ = ["run"]


@takes(*DATA, *MODEL, *RUN, *ENGINE, *GATE)
def run(
    config: Path | None = None,
    /,
    *,
    format: OutputFormat = "table",  # noqa: A002 - the option's name
    all: Flag = False,  # noqa: A002 - the option's name
    wide: Flag = False,
    **options: object,
) -> None:
    """Explain every photo of a labelled set, score the maps, and print the leaderboards.

    Without options it runs the embedded benchmark: 24 scenes and vgg16-mini, a model trained on such scenes. Repeating
    a command continues the run where it stopped, or prints what is already computed.

    Args:
        config: TOML file with these options, with underscores instead of dashes; the command line takes precedence.
        format: Output format.
        all: Print every table, the tests, the cost and the signature, not only the first screen.
        wide: Print every table, with intervals even if the terminal is narrow.
    """
    compute_and_print({**(read_config(config) if config else {}), **options}, format, wide=wide, everything=all or wide)
