"""Which maps of a run are kept on disk: the value of ``--keep-maps``."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

from evalkit.core.errors import ConfigError

__all__ = ["KeptMaps", "read_kept_maps"]

_HALF = "float16"


class KeptMaps(NamedTuple):
    """Which maps are kept.

    Attributes:
        most: number of images, the first of the run, whose maps are kept; None = of all images.
        half: whether they are kept as float16, for pictures only.
    """

    most: int | None = None
    half: bool = False

    def keeps(self, position: int) -> bool:
        """Return whether the maps of the image at this position, from 0, are kept."""
        return self.most is None or position < self.most

    def __str__(self) -> str:
        """Return the value as it is written on the command line."""
        images = "all" if self.most is None else str(self.most or "none")
        return f"{images},{_HALF}" if self.half else images

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on what a run without all of its maps cannot do; none if it has all of them."""
        if self.most is None and not self.half:
            return ()
        kept = "no maps are kept" if self.most == 0 else "the maps of all images are kept"
        kept = f"maps of the first {self.most} images are kept" if self.most else kept
        form = f" as {_HALF}, for pictures only" if self.half else ""
        shows = "the report shows none" if self.most == 0 else "the report shows these"
        return (f"{kept}{form} (--keep-maps {self}): {shows}, and metrics that are added later compute maps again",)


def read_kept_maps(flag: str, written: object) -> KeptMaps:
    """Return which maps ``all``, ``none``, ``100``, ``"all,float16"``, a number or what was read keeps.

    Raises:
        ConfigError: something else.
    """
    if isinstance(written, KeptMaps):
        return written
    value: Any = written
    try:
        if isinstance(written, str):
            images, separator, form = (part.strip() for part in written.partition(","))
            half = {"": False, f",{_HALF}": True}[f"{separator}{form}"]
            most = {"all": None, "none": 0}[images] if images in ("all", "none") else _count(images)
            if not (half and most == 0):
                return KeptMaps(most, half)
        elif not isinstance(written, bool) and operator.index(value) >= 0:
            return KeptMaps(operator.index(value))
    except (KeyError, ValueError, TypeError):
        pass
    raise ConfigError(
        f"{flag} '{written}' is not allowed; write all, none or a number of images; with ,{_HALF} behind all or the "
        "number, maps are kept for pictures only"
    )


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise ValueError(text)
    return int(text)
