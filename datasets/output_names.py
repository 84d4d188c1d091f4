"""The names of a model's outputs, searched by label, WordNet id or index."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

from evalkit.core.errors import ConfigError
from evalkit.datasets.class_map import ClassMap

__all__ = ["OutputNames"]

_WORDNET_ID = re.compile(r"n[0-9]{8}")


class OutputNames:
    """The names of a model's outputs.

    Attributes:
        names: names in the order of the outputs; None if unknown.
        count: number of outputs.
    """

    def __init__(self, names: Sequence[str] | None, ids: Sequence[str] | None, count: int) -> None:
        """Create the search index.

        Args:
            names: names in the order of the outputs; None if unknown.
            ids: WordNet ids in the order of the outputs; None if unknown.
            count: number of outputs.
        """
        self.names = names
        self.count = count
        self._ids = {name: index for index, name in enumerate(ids or ())}
        self._exact: dict[str, list[int]] = {}
        self._plain: dict[str, list[int]] = {}
        for index, name in enumerate(names or ()):
            self._exact.setdefault(name, []).append(index)
            self._plain.setdefault(_plain(name), []).append(index)

    def find(self, label: str) -> list[int]:
        """Return the outputs with a name or WordNet id: none, one, or several if outputs share the name."""
        if label in self._ids:
            return [self._ids[label]]
        return self._exact.get(label) or self._plain.get(_plain(label), [])

    def mapped(self, class_map: ClassMap, labels: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Return the outputs of the labels in a class map, found by exact name or else regardless of case.

        Raises:
            ConfigError: the map names an unknown output, an ambiguous one, or all outputs for one class.
        """
        resolved = {name: self._outputs(class_map, name) for name in class_map.outputs}
        plain: dict[str, tuple[int, ...]] = {}
        for name, outputs in resolved.items():
            if plain.setdefault(_plain(name), outputs) != outputs:
                raise ConfigError(
                    f"--class-map '{class_map.name}': '{name}' is written in two ways that differ only in case, '_', "
                    "'-' or blanks, and have different outputs; keep one"
                )
        by_label = {label: resolved.get(label, plain.get(_plain(label))) for label in labels}
        return {label: outputs for label, outputs in by_label.items() if outputs is not None}

    def _outputs(self, class_map: ClassMap, name: str) -> tuple[int, ...]:
        outputs: dict[int, None] = {}
        for given in class_map.outputs[name]:
            origin = f"--class-map '{class_map.name}': class '{name}' has the output '{given}'"
            if isinstance(given, int):
                if not 0 <= given < self.count:
                    raise ConfigError(f"{origin}; the model has {self.count} outputs, 0..{self.count - 1}")
                outputs[given] = None
                continue
            candidates = self.find(given)
            if not candidates:
                known = "" if self.names else "; its outputs have no names: give indices, or --class-names FILE"
                raise ConfigError(f"{origin}, which the model lacks{self.nearest(given)}{known}")
            if len(candidates) > 1:
                listed = ", ".join(map(str, candidates))
                raise ConfigError(f"{origin}, the name of outputs {listed}; give the index or the WordNet id")
            outputs[candidates[0]] = None
        if len(outputs) >= self.count:
            raise ConfigError(
                f"--class-map '{class_map.name}': class '{name}' has every output of the model, so its score is always "
                "1; leave one out"
            )
        return tuple(sorted(outputs))

    def nearest(self, label: str) -> str:
        """Return a hint at the nearest name, or an empty text."""
        plain = {_plain(name): name for name in self.names or ()}
        close = difflib.get_close_matches(_plain(label), plain, n=1)
        return f" (did you mean '{plain[close[0]]}'?)" if close else ""

    def ids_hint(self, labels: Iterable[str]) -> str:
        """Return a hint at lists of WordNet ids if all labels look like them and none is known, or an empty text."""
        if self._ids or not all(map(_WORDNET_ID.fullmatch, labels)):
            return ""
        return " (Keras' imagenet_class_index.json or ImageNet's LOC_synset_mapping.txt name WordNet ids)"


def unused_classes(class_map: ClassMap, labels: Iterable[str]) -> list[str]:
    """Return the classes of the map that no image has."""
    known = {_plain(label) for label in labels}
    return [name for name in class_map.outputs if _plain(name) not in known]


def _plain(name: str) -> str:
    """Return the form in which names are compared, without case, ``_``, ``-`` and the encoding of accents."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()
