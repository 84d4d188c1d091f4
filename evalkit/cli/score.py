"""``score``: maps from files, in the leaderboard beside evalkit's own explainers."""

from __future__ import annotations

from pathlib import Path

from evalkit.cli.options import DATA, ENGINE, GATE, MODEL, RUN, Flag, takes
from evalkit.cli.shared import compute_and_print
from evalkit.core.errors import ConfigError
from evalkit.report.formats import OutputFormat

__all__ = ["score"]


@takes(*DATA, *MODEL, *RUN, *ENGINE, *GATE)
def score(
    *maps_dirs: Path,
    format: OutputFormat = "table",  # noqa: A002 - the option's name
    all: Flag = False,  # noqa: A002 - the option's name
    wide: Flag = False,
    **options: object,
) -> None:
    """Score maps from files, and add them to the leaderboard beside evalkit's own explainers.

    A map is a .npy file of numbers (height, width) or a gray PNG of 8 or 16 bits, higher = more important, of any
    resolution: it covers what the model sees and is resized bilinearly to the model's input. It has the name of its
    image: cats/1.npy or 1.npy for cats/1.jpg. With --output of an earlier run nothing of that run is computed again.
    Name the explainers to compare with in --explainers; uniform,random,gradcam are quick.

    Args:
        maps_dirs: Folders of maps; each is listed as maps(FOLDER'S NAME).
        format: Output format.
        all: Print every table, the tests, the cost and the signature, not only the first screen.
        wide: Print every table, with intervals even if the terminal is narrow.
    """
    if not maps_dirs:
        raise ConfigError("MAPS_DIR is missing; name a folder with a map for each image: <image's name>.npy")
    compute_and_print(options, format, wide=wide, everything=all or wide, maps=maps_dirs)
