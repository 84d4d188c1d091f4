"""The readers by name. Other packages add theirs with ``READERS.register`` or the entry point group.

A new reader needs one module with a ``Reader`` record, and one line here. A record's module is imported only when the
reader is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from evalkit.core.errors import ConfigError, nearest
from evalkit.core.imports import import_object
from evalkit.datasets.readers.base import Reader

__all__ = ["BUILT_IN", "ENTRY_POINTS", "READERS", "ReaderRegistry", "all_readers", "reader_names"]

ENTRY_POINTS = "evalkit.readers"


class ReaderRegistry:
    """Readers by name, loaded when they are used."""

    def __init__(self, targets: Mapping[str, str], group: str = "") -> None:
        """Create a registry.

        Args:
            targets: ``"module:RECORD"`` of each name.
            group: entry point group in which installed packages declare more readers; empty for none.
        """
        self._targets = dict(targets)
        self._group = group

    def register(self, name: str, target: str) -> None:
        """Add a reader.

        Args:
            name: name of the format; the record must have the same.
            target: ``"module:RECORD"``, where RECORD is a ``Reader``.

        Raises:
            ConfigError: the name is taken, or the target has another form.
        """
        if name in self._all_targets:
            raise ConfigError(f"reader '{name}' exists already, as {self._all_targets[name]}; choose another name")
        module, colon, record = target.partition(":")
        if not (module and colon and record):
            raise ConfigError(f"reader '{name}': target '{target}' is not allowed; write module:RECORD")
        self._targets[name] = target

    def names(self) -> tuple[str, ...]:
        """Return every name, in the order registered."""
        return tuple(self._all_targets)

    def get(self, name: str) -> Reader:
        """Return the reader of a name, or of ``module:RECORD``.

        Raises:
            ConfigError: the name is unknown, or its record cannot be imported.
        """
        target = self._all_targets.get(name) or (name if ":" in name else "")
        if not target:
            allowed = nearest(name, self._all_targets)
            raise ConfigError(f"--data-format '{name}' is unknown: {allowed}, or module:RECORD")
        reader = import_object(target, f"reader '{name}'", ConfigError)
        if not isinstance(reader, Reader) or name not in (reader.name, target):
            raise ConfigError(f"reader '{name}': {target} is not a Reader named '{name}'; repair or remove it")
        return reader

    def __iter__(self) -> Iterator[Reader]:
        """Yield every reader, in the order registered."""
        return map(self.get, self.names())

    @property
    def _all_targets(self) -> Mapping[str, str]:
        more = {name: target for name, target in self._installed.items() if name not in self._targets}
        return {**self._targets, **more}

    @cached_property
    def _installed(self) -> Mapping[str, str]:
        """The readers of installed packages; they replace none that is registered."""
        if not self._group:
            return {}
        from importlib.metadata import entry_points

        return {entry.name: entry.value for entry in entry_points(group=self._group)}


_HERE = "evalkit.datasets.readers"

READERS = ReaderRegistry(
    {
        "folder": f"{_HERE}.class_folder:READER",
        "masks": f"{_HERE}.mask_folder:READER",
        "pets": f"{_HERE}.pets:READER",
        "csv": f"{_HERE}.csv_manifest:READER",
        "boxes": f"{_HERE}.box_csv:READER",
        "labelme": f"{_HERE}.labelme:READER",
        "coco": f"{_HERE}.coco:READER",
        "voc": f"{_HERE}.voc:READER",
        "yolo": f"{_HERE}.yolo:READER",
        "imagenet": f"{_HERE}.imagenet_csv:READER",
    },
    ENTRY_POINTS,
)
"""Formats of files and folders. Of several that recognize a path, the first is used, general ones last."""

BUILT_IN = ReaderRegistry({"scenes": "evalkit.datasets.scenes.scenes:READER"})
"""Sets without files, which ``--data`` names."""


def reader_names() -> tuple[str, ...]:
    """Return the values of ``--data-format``, without importing a reader."""
    return READERS.names()


def all_readers() -> list[Reader]:
    """Return every reader for ``list datasets``: built-in sets, then formats of files and folders."""
    return [*BUILT_IN, *READERS]
