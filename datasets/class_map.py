"""``--class-map FILE``: the model's outputs for each class of the images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.core.errors import ConfigError, DataError
from evalkit.core.json_keys import once
from evalkit.datasets.class_order import whole_number
from evalkit.datasets.readers.csv_lines import csv_lines, require_commas

__all__ = ["ClassMap", "read_class_map"]

Named = int | str
_EXPECTED = (
    'expected: JSON {"dog": [151, "n02085620", "beagle"], "cat": 281}, or CSV with the columns class,output, one row '
    "per output"
)


@dataclass(frozen=True)
class ClassMap:
    """The model's outputs for each class of a set.

    Attributes:
        name: name of the file, for messages.
        outputs: outputs by class, each an index, a name or a WordNet id; an empty tuple leaves the class out.
    """

    name: str
    outputs: Mapping[str, tuple[Named, ...]]


def read_class_map(path: Path) -> ClassMap:
    """Read a class map: JSON (an object of indices, names or lists of them), or CSV (``class,output``).

    In a CSV an output that is a whole number is an index; an empty one leaves the class out.

    Args:
        path: path of a UTF-8 file, with or without byte order mark.

    Raises:
        ConfigError: the file is missing, is neither JSON nor CSV, or names a class twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: bytes that are not UTF-8, or a path with a zero byte
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"--class-map '{path}' cannot be read: {reason}; {_EXPECTED}") from error
    outputs = _from_json(text, path) if text.lstrip()[:1] in ("{", "[") else _from_csv(path)
    if not outputs:
        raise ConfigError(f"--class-map '{path}' maps no class; {_EXPECTED}")
    return ClassMap(path.name, outputs)


def _from_json(text: str, path: Path) -> dict[str, tuple[Named, ...]]:
    hook = once(lambda key: ConfigError(f"--class-map '{path}': the class '{key}' is there twice; keep one"))
    try:
        document = json.loads(text, object_pairs_hook=hook)
    except json.JSONDecodeError as error:
        raise ConfigError(f"--class-map '{path}' line {error.lineno} is not valid JSON: {error.msg}") from error
    except (RecursionError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"--class-map '{path}' is not valid JSON: {str(error)[:200]}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"--class-map '{path}' holds a {type(document).__name__}; {_EXPECTED}")
    return {name: _listed(name, given, path) for name, given in document.items()}


def _listed(name: str, given: object, path: Path) -> tuple[Named, ...]:
    listed = given if isinstance(given, list) else [given]
    values: list[Any] = [int(value) if isinstance(value, float) and value.is_integer() else value for value in listed]
    for value in values:
        if not isinstance(value, int | str) or isinstance(value, bool) or value == "":
            raise ConfigError(
                f"--class-map '{path}': class '{name}' has the output {str(value)[:40]!r}; give an index, "
                "a name or a WordNet id"
            )
    return tuple(dict.fromkeys(values))


def _from_csv(path: Path) -> dict[str, tuple[Named, ...]]:
    by_class: dict[str, list[Named]] = {}
    try:
        lines = csv_lines(path)
        header = next(lines, None)
        if header is None:
            raise ConfigError(f"--class-map '{path}' is empty; {_EXPECTED}")
        require_commas(header, path)
        if [name.lower() for name in header.fields] != ["class", "output"]:
            raise ConfigError(f"--class-map '{path}': the columns are {header.shown}; {_EXPECTED}")
        for line in lines:
            if len(line.fields) != 2 or not line.fields[0]:
                raise ConfigError(f"--class-map: {line.where} is not a class and an output; {_EXPECTED}")
            name, output = line.fields
            outputs = by_class.setdefault(name, [])
            if output:
                index = whole_number(output)
                outputs.append(output if index is None else index)
    except DataError as error:
        raise ConfigError(f"--class-map: {error}") from error
    return {name: tuple(dict.fromkeys(outputs)) for name, outputs in by_class.items()}
