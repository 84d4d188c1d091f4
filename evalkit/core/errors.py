"""The errors that evalkit raises on purpose.

Every message names the file or option, the value found, what is allowed and what to do next. The command line
prints the message alone and exits with ``exit_code``; a traceback means a defect in evalkit.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ConfigError",
    "DataError",
    "EvalkitError",
    "ImageError",
    "MissingPackageError",
    "ModelError",
    "NotComparableError",
    "NotScored",
    "StoreError",
    "nearest",
]


_CLOSE = 0.7  # share of letters in common; no hint is better than a wrong one


class EvalkitError(Exception):
    """Base of every error that evalkit raises on purpose.

    Attributes:
        exit_code: the exit code of the command line.
        ends_process: whether the command line ends without waiting for other threads and what they hold.
    """

    exit_code = 2
    ends_process = False


class ConfigError(EvalkitError, ValueError):
    """An option, a spec or a configuration file is not valid."""


class DataError(EvalkitError, ValueError):
    """The labelled image set as a whole cannot be used."""


class ImageError(EvalkitError, ValueError):
    """One image cannot be used; the message is the reason stored with its cells. Never stops a run."""


class ModelError(EvalkitError, ValueError):
    """The model cannot be loaded, or cannot be explained in this way."""


class NotScored(EvalkitError, ValueError):  # noqa: N818 - no fault of anybody
    """An explainer has no map for one image; the message is the reason stored with its cells. Never stops a run."""


class StoreError(EvalkitError, RuntimeError):
    """The run folder cannot be read or written."""


class MissingPackageError(EvalkitError, ImportError):
    """A package or a system library is missing; the message holds the line that installs it."""


class NotComparableError(EvalkitError, ValueError):
    """Two sets of scores were measured under different settings."""

    exit_code = 3


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return the end of an error message: the nearest allowed name, if any is close, and all allowed names.

    >>> nearest("occulsion", ["gradcam", "occlusion"])
    "did you mean 'occlusion'? Allowed: gradcam, occlusion"
    """
    names = sorted(allowed)
    close = difflib.get_close_matches(name, names, n=1, cutoff=_CLOSE)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}Allowed: {', '.join(names)}"
