"""The names of YOLO's classes and the paths of its splits: ``data.yaml``, ``classes.txt`` and ``*.names``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.core.errors import DataError
from evalkit.core.names import is_text, shown
from evalkit.datasets.annotations import read_text
from evalkit.datasets.readers.base import visible_files

__all__ = ["SPLITS", "YAML", "YoloFile", "is_data_yaml", "names_in", "read_data_yaml", "yaml_of"]

YAML = (".yaml", ".yml")
SPLITS = ("val", "test", "train")
"""The splits that data.yaml names; of several, the first that is there is read."""

_LARGEST_YAML, _LARGEST_LIST = 256 * 1024, 1024**2  # bytes
_HEAD = 65536  # bytes
_USUAL = ("data", "dataset")  # names of data.yaml
_NUMBER = re.compile(r"0|[1-9][0-9]{0,5}")
_NEEDED = "needed: names (a list, or numbers with names) and the paths train, val or test"


@dataclass(frozen=True)
class YoloFile:
    """What a file says of a set.

    Attributes:
        path: path of the file.
        names: name of each class by its number.
        splits: paths of each split as written, with the path before them.
        n_keypoint_numbers: how many numbers of keypoints follow each box.
    """

    path: Path
    names: Mapping[int, str]
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    n_keypoint_numbers: int = 0


def is_data_yaml(path: Path) -> bool:
    """Return whether a file begins as ``data.yaml`` does: it has names of classes, and the path of a split."""
    if path.suffix.lower() not in YAML:
        return False
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    keys = set(re.findall(r"^\ufeff?['\"]?(\w+)['\"]?[ \t]*:", head, re.MULTILINE))
    return "names" in keys and bool(keys & set(SPLITS))


def yaml_of(folder: Path) -> Path | None:
    """Return the ``data.yaml`` of a folder, whatever its name is; None if it has none.

    Raises:
        DataError: there are several, and none has a usual name.
    """
    files = [file for ending in YAML for file in visible_files(folder, ending) if is_data_yaml(file)]
    usual = [file for file in files if file.stem.lower() in _USUAL]
    if len(files) > 1 and len(usual) != 1:
        listed = ", ".join(str(file) for file in files[:3])
        raise DataError(f"--data '{folder}' has several files like data.yaml: {listed}; name one of them as --data")
    return next(iter([*usual, *files]), None)


def names_in(folders: Iterable[Path]) -> YoloFile | None:
    """Return the names of the classes from the first of these folders that has a file of names; None if none has."""
    for folder in dict.fromkeys(folders):
        if path := yaml_of(folder):
            return read_data_yaml(path)
        listed = visible_files(folder, "classes.txt")
        lists = [*(file for file in listed if file.name.lower() == "classes.txt"), *visible_files(folder, ".names")]
        if lists:
            return YoloFile(lists[0], _listed_names(lists[0]))
    return None


def read_data_yaml(path: Path) -> YoloFile:
    """Return the contents of ``data.yaml``.

    Raises:
        DataError: the file cannot be read, is no YAML, has aliases or a key twice, or lacks what is needed.
    """
    document = _parsed(path)
    if not isinstance(document, dict) or not isinstance(document.get("names"), list | dict):
        raise DataError(f"{path}: the names of the classes are missing; {_NEEDED}")
    names = _names(document["names"], path)
    count = document.get("nc", str(len(names)))
    if count != str(len(names)):
        raise DataError(f"{path}: nc is {_text(count)}, but names has {len(names)}; correct one of them")
    base = document.get("path", "")
    if not isinstance(base, str):
        raise DataError(f"{path}: path is a {type(base).__name__}; write the path of a folder")
    splits = {split: _paths(document[split], base, split, path) for split in SPLITS if document.get(split)}
    return YoloFile(path, names, splits, _keypoint_numbers(document.get("kpt_shape"), path))


def _parsed(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    import yaml

    class Loader(yaml.BaseLoader):  # type: ignore[misc] # a library without types
        """Builds texts, lists and dicts only; every value stays a text, also no and yes."""

        def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases (*) are not allowed")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: ANN401
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if len(set(keys)) < len(keys):
                twice = next(key for key in keys if keys.count(key) > 1)
                raise yaml.YAMLError(f"'{shown(twice)}' is there twice; keep one")
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(read_text(path, _LARGEST_YAML, "data.yaml"), Loader=Loader)  # noqa: S506 - a BaseLoader
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is not valid YAML: {shown(reason, 200)}; {_NEEDED}") from error


def _names(given: list[Any] | dict[Any, Any], path: Path) -> dict[int, str]:
    """Return the name of each class by its number.

    Raises:
        DataError: a number or a name is not allowed, or two classes have the same name.
    """
    items = enumerate(given) if isinstance(given, list) else given.items()
    names: dict[int, str] = {}
    taken: set[str] = set()
    for key, name in items:
        if not _NUMBER.fullmatch(str(key)):
            raise DataError(f"{path}: the class number '{_text(key)}' is not a whole number from 0; {_NEEDED}")
        if not isinstance(name, str) or not name.strip() or not is_text(name.strip()):
            raise DataError(f"{path}: the name {_text(name)!r} of class {key} is not allowed; write a text")
        if name.strip() in taken:
            raise DataError(f"{path}: two classes have the name '{shown(name.strip())}'; rename one")
        taken.add(name.strip())
        names[int(key)] = name.strip()
    if not names:
        raise DataError(f"{path}: names is empty; {_NEEDED}")
    return names


def _paths(given: object, base: str, split: str, path: Path) -> tuple[str, ...]:
    """Return the paths of a split, with the path before them."""
    texts = []
    for text in given if isinstance(given, list) else [given]:
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{path}: {split} is {_text(text)!r}; write the path of a folder or list, or several")
        texts.append(f"{base}/{text}" if base else text)
    return tuple(texts)


def _keypoint_numbers(given: object, path: Path) -> int:
    """Return how many numbers of keypoints follow a box; 0 without keypoints."""
    if given is None:
        return 0
    counts = given if isinstance(given, list) else []
    if len(counts) != 2 or not all(isinstance(count, str) and _NUMBER.fullmatch(count) for count in counts):
        raise DataError(f"{path}: kpt_shape is {_text(given)}; write [number of keypoints, 2 or 3]")
    return int(counts[0]) * int(counts[1])


def _listed_names(path: Path) -> dict[int, str]:
    """Return the names of a file with one a line.

    Raises:
        DataError: the file cannot be read, or a line is empty: numbers behind it would be wrong.
    """
    lines = read_text(path, _LARGEST_LIST, "a list of class names").rstrip().splitlines()
    if not lines:
        raise DataError(f"{path} is empty; write the name of one class a line, class 0 first")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise DataError(f"{path} line {number} is empty; write the name of one class a line, class 0 first")
    return _names(list(lines), path)


def _text(value: object) -> str:
    return shown(value) if isinstance(value, str) else f"a {type(value).__name__}"
