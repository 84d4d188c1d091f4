"""Classifiers that stay loaded and compiled between the commands that tests run in one process.

Loading a model and tracing its passes is more than half of a command on a small model. evalkit never changes a model,
so a command on the same file with the same options may have the classifier of the command before.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from pathlib import Path

from evalkit.models.zoo import load

__all__ = ["KeptModels"]

_READ_FROM_FILES = ("weights", "class_names")


class KeptModels:
    """Loads classifiers as ``load_classifier`` does, and keeps the last few of Keras files.

    What a run leaves in a classifier is put back before the next one gets it: its count of passes and its batch size.
    """

    def __init__(self, limit: int = 6) -> None:
        """Keep at most ``limit`` classifiers."""
        self._load, self._limit = load.load_classifier, limit
        self._kept = OrderedDict()

    def load_classifier(self, source, *, batch_size=None, **options):
        """Return a classifier, see ``evalkit.models.zoo.load.load_classifier``."""
        if not source.endswith(".keras") or not Path(source).is_file() or options.get("imports"):
            return self._load(source, batch_size=batch_size, **options)
        given = {name: _content(value) if name in _READ_FROM_FILES else value for name, value in options.items()}
        key = repr((Path(source).resolve().name, _content(source), batch_size, sorted(given.items())))
        if key not in self._kept:
            classifier = self._load(source, batch_size=batch_size, **options)
            self._kept[key] = classifier, classifier.batch_size
        self._kept.move_to_end(key)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        classifier, classifier.batch_size = self._kept[key]
        classifier.count.forward = classifier.count.backward = 0
        classifier.memo.saved_s = 0.0
        return classifier


def _content(value):
    """Return the digest of a file's bytes; of what is no file the value itself."""
    if isinstance(value, str | Path) and Path(value).is_file():
        return sha256(Path(value).read_bytes()).hexdigest()
    return value
