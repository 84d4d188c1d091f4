"""The names of a model's outputs: from files of many tools, and from Python."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from evalkit.core.errors import ModelError
from evalkit.core.json_keys import once
from evalkit.core.names import escaped, path_of, shown

__all__ = ["GivenNames", "read_classes"]

GivenNames = str | PathLike[str] | Sequence[str] | Mapping[Any, Any]
"""What names the outputs: a file, names separated by commas, names in order, or a mapping of names and indices."""

_Names = tuple[list[str], list[str] | None]

_SYNSET = re.compile(r"(n[0-9]{8})\b\s*(.*)")
_NUMBERED = re.compile(r"([0-9]{1,9})(?:\s*[:;,=]\s*|\s+)(\S.*)")
_ENDINGS = (".txt", ".json", ".yaml", ".yml", ".csv", ".names", ".labels", ".pbtxt")
_YAML = (".yaml", ".yml")
_KEYS = ("names", "id2label")  # of YOLO's data.yaml, and of Hugging Face's config.json
_FORMS = (
    "give a file with one name per line, a JSON list, or Keras' class_indices; or names separated by commas: no,yes"
)


def read_classes(given: GivenNames) -> _Names:
    """Return the names of a model's outputs in their order, and their WordNet ids if they are known.

    A file is one of these:

    * a JSON list of names, or one name per line;
    * Keras' ``class_indices`` as JSON, ``{"cat": 0, "dog": 1}``, or the reverse, ``{"0": "cat", "1": "dog"}``;
    * lines of index and name, ``0 cat``, as in Teachable Machine's ``labels.txt``;
    * YOLO's ``data.yaml``, of which ``names`` is used;
    * Keras' ``imagenet_class_index.json``, ``{"0": ["n01440764", "tench"], ...}``, or ImageNet's
      ``LOC_synset_mapping.txt``, ``n01440764 tench, Tinca tinca`` per line, of which the first name is used.

    Args:
        given: the path of a file; a text with the names separated by commas, if no such file exists; the names in
            order; or a mapping from name to index or from index to name.

    Returns:
        Names and ids.

    Raises:
        ModelError: the file is missing, empty or of another kind, or its indices are not consecutive.
    """
    if isinstance(given, str | PathLike):
        return _from_text(fspath(given))
    if isinstance(given, Mapping):
        return _from_mapping(dict(given), "class_names")
    names = list(given)
    if not names or not all(isinstance(name, str) for name in names):
        raise ModelError(f"class_names is {shown(names)}; give the names of the outputs as texts, in their order")
    return [str(name) for name in names], None


def _from_text(text: str) -> _Names:
    """Read the file of this path, or the text itself if no such file exists and it has commas."""
    path = path_of(text)
    if "," in text and not text.lower().endswith(_ENDINGS) and not _exists(path):
        (names,) = csv.reader([text], skipinitialspace=True)
        if not all(name.strip() for name in names):
            raise ModelError(f"--class-names '{text}' has an empty name; write the names separated by commas: no,yes")
        return [escaped(name.strip()) for name in names], None
    where = f"--class-names '{text}'"
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # bytes that are not UTF-8, or a path with a null byte
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"{where} cannot be read: {reason}; {_FORMS}") from error
    if path.suffix.lower() in _YAML:
        return _from_yaml(content, where)
    if content.lstrip().startswith(("[", "{")):
        return _from_json(content, where)
    return _from_lines([line.strip() for line in content.splitlines() if line.strip()], where)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a null byte
        return False


def _from_json(content: str, where: str) -> _Names:
    hook = once(lambda key: ModelError(f"{where}: '{escaped(key)}' is there twice; keep one"))
    try:
        document = json.loads(content, object_pairs_hook=hook)
    except ModelError:
        raise
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where} is not valid JSON: {str(error)[:200]}") from error
    return _from_document(document, where)


def _from_yaml(content: str, where: str) -> _Names:
    import yaml

    try:
        # Every value stays a text: YAML 1.1 would read the names no and yes as False and True.
        document = yaml.load(content, Loader=yaml.BaseLoader)  # noqa: S506 - builds texts, lists and dicts only
    except (yaml.YAMLError, RecursionError) as error:
        raise ModelError(f"{where} is not valid YAML: {' '.join(str(error).split())[:200]}") from error
    if isinstance(document, dict) and isinstance(document.get("names"), list | dict):
        count, names = document.get("nc"), document["names"]
        if isinstance(count, str) and count != str(len(names)):
            raise ModelError(f"{where}: nc is {shown(count)}, but names has {len(names)}; correct one of them")
    return _from_document(document, where)


def _from_document(document: object, where: str) -> _Names:
    """Return the names in a parsed JSON or YAML document."""
    if isinstance(document, dict):
        for key in _KEYS:
            if isinstance(document.get(key), list | dict):
                return _from_document(document[key], where)
        return _from_mapping(document, where)
    if not isinstance(document, list) or not all(isinstance(name, str) for name in document):
        raise ModelError(f"{where}: a JSON list of strings is needed, or an object of names and indices; {_FORMS}")
    return _from_lines(document, where, numbered=False)


def _from_lines(lines: Sequence[str], where: str, *, numbered: bool = True) -> _Names:
    """Return the names of a list, in its order; ``0 cat`` in the order of its numbers."""
    if not lines:
        raise ModelError(f"{where} contains no names; {_FORMS}")
    pairs = [_SYNSET.fullmatch(line) for line in lines]
    classes = [(pair[1], pair[2].partition(",")[0].strip() or pair[1]) for pair in pairs if pair]
    if len(classes) == len(lines):
        return [escaped(name) for _, name in classes], [wordnet_id for wordnet_id, _ in classes]
    split = [_NUMBERED.fullmatch(line) for line in lines] if numbered else []
    indexed = [(int(part[1]), part[2].strip()) for part in split if part]
    # Names may begin with a number themselves (1 euro, 2 euro): such numbers do not begin at 0 or 1, or what follows
    # them is the same text.
    differ = len({name for _, name in indexed}) == len(lines)
    if len(indexed) == len(lines) and differ and min(indexed)[0] <= 1:
        return _in_order(indexed, where), None
    return [escaped(line) for line in lines], None


def _from_mapping(mapping: dict[Any, Any], where: str) -> _Names:
    """Return the names of a mapping from name to index, from index to name, or from index to WordNet id and name."""
    keys, values = list(mapping), list(mapping.values())
    if mapping and all(map(_is_index, keys)) and all(isinstance(value, str) for value in values):
        return _in_order([(int(key), value) for key, value in mapping.items()], where), None
    if mapping and all(isinstance(key, str) for key in keys) and all(map(_is_index, values)):
        return _in_order([(int(value), key) for key, value in mapping.items()], where), None
    pairs = all(isinstance(value, list) and [type(part) for part in value] == [str, str] for value in values)
    if mapping and all(map(_is_index, keys)) and pairs:
        names = _in_order([(int(key), value[1]) for key, value in mapping.items()], where)
        return names, _in_order([(int(key), value[0]) for key, value in mapping.items()], where)
    raise ModelError(
        f'{where}: an object must be Keras\' class_indices, {{"cat": 0, "dog": 1}}, the reverse, {{"0": "cat"}}, or '
        'Keras\' class index, {"0": ["n01440764", "tench"]}; give one of these, or a JSON list of strings'
    )


def _is_index(value: object) -> bool:
    """Return whether a key or value is a whole number, also as text or as NumPy's."""
    if isinstance(value, str):
        return value.isascii() and value.isdigit() and len(value) < 10
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _in_order(indexed: Sequence[tuple[int, str]], where: str) -> list[str]:
    """Return the names by index.

    Raises:
        ModelError: the indices are not 0, 1, 2, ... (or 1, 2, 3, ...), each once.
    """
    by_index: dict[int, str] = {}
    for index, name in indexed:
        if index in by_index:
            raise ModelError(
                f"{where}: index {index} has two names, '{escaped(by_index[index])}' and '{escaped(name)}'; give each "
                "output one"
            )
        by_index[index] = name
    first = 1 if by_index and min(by_index) == 1 else 0  # as many names as outputs: counted from 1, or an error
    missing = next((index for index in range(first, first + len(by_index)) if index not in by_index), None)
    if missing is not None:
        raise ModelError(
            f"{where}: the {len(by_index)} indices must be 0 to {len(by_index) - 1}, each once; {missing} is missing, "
            f"the highest is {max(by_index)}"
        )
    return [escaped(name) for _, name in sorted(by_index.items())]
