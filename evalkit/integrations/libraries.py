"""Import of a tracker's library when it is used, and its errors as sentences."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from evalkit.core.errors import EvalkitError, MissingPackageError, StoreError
from evalkit.core.imports import first_line

__all__ = ["errors_as_sentences", "library"]


def library(module: str, title: str, extra: str) -> Any:  # noqa: ANN401 - the libraries are not installed for mypy
    """Import and return a library.

    Args:
        module: the module to import.
        title: the library's name in messages.
        extra: the extra of this distribution that installs it.

    Raises:
        MissingPackageError: it is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]
        what = "which is not installed" if missing else f"which cannot be imported ({first_line(error)})"
        raise MissingPackageError(
            f"the export to {title} needs {title}, {what}: pip install 'evalkit-saliency[{extra}]'"
        ) from error


@contextlib.contextmanager
def errors_as_sentences(title: str, what_next: str) -> Iterator[None]:
    """Turn an error of a tracker's library in the block into a StoreError.

    Args:
        title: the tracker's name.
        what_next: what the user can do, the end of the message.

    Raises:
        StoreError: the library raised any other error than evalkit's own.
    """
    try:
        yield
    except EvalkitError:
        raise
    except Exception as error:
        raise StoreError(f"{title} refused the export: {first_line(error).rstrip('.')}; {what_next}") from error
