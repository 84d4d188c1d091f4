"""JSON files of annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evalkit.core.errors import DataError
from evalkit.datasets.annotations import read_bytes

__all__ = ["read_json"]


def read_json(path: Path, needed: str) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return a JSON file's contents.

    Args:
        path: path of the file, with or without byte order mark.
        needed: what the file should hold, for messages.

    Raises:
        DataError: the file cannot be read, or is not valid JSON; the message names the line if it is known.
    """
    data = read_bytes(path)
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        raise DataError(f"{path} line {error.lineno} is not valid JSON: {error.msg}; {needed}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON: {str(error)[:200]}; {needed}") from error
