"""``score``: maps made elsewhere, in the leaderboard beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from evalkit.cli.options import DataParameters, ModelParameters, RunParameters, given
from evalkit.cli.shared import compute_and_print
from evalkit.core.errors import ConfigError
from evalkit.report.formats import OutputFormat

__all__ = ["score"]


def score(
    *maps_dirs: Path,
    data: DataParameters = DataParameters(),
    model: ModelParameters = ModelParameters(),
    options: RunParameters = RunParameters(),
    format: OutputFormat = "table",  # noqa: A002 - the option's name
    wide: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Score maps that anyone made, and enter them into the leaderboard beside evalkit's own explainers.

    A map is a .npy file of numbers (height, width) or a gray PNG of 8 or 16 bits, higher = more important, of any
    resolution: it covers what the model sees and is resized bilinearly to the model's input. It is called like its
    image: cats/1.npy or 1.npy for cats/1.jpg. With --output of an earlier run nothing of that run is computed again.
    --explainers names those beside the maps, for example uniform,random,gradcam, which are quick.

    Parameters
    ----------
    maps_dirs
        Folders of maps, each an entrant called maps(FOLDER'S NAME).
    format
        How to print the result.
    wide
        Print intervals at any width.
    """
    if not maps_dirs:
        raise ConfigError("MAPS_DIR is missing; name a folder with a map for each image: <image's name>.npy")
    compute_and_print(given(data, model, options), format, wide=wide, maps=maps_dirs)
