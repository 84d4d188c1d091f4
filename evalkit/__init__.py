"""How good is a visual explanation? Scores saliency maps of Keras image classifiers.

From Python: ``explain`` and ``save`` for a photo; ``evaluate`` and ``ImageSet.from_arrays`` for a labelled set, or
``open_run`` for a run made before. The command line is
``python -m evalkit``; docs/architecture.md says how the package is laid out.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING

from evalkit.core.provenance import DISTRIBUTION as _DISTRIBUTION

if TYPE_CHECKING:
    from evalkit.api.explain import explain, save
    from evalkit.api.run import Run, evaluate, open_run
    from evalkit.datasets.image_set import ImageSet

__all__ = ["ImageSet", "Run", "__version__", "evaluate", "explain", "open_run", "save"]

__version__ = _version(_DISTRIBUTION)

_FOUND_IN = {
    "ImageSet": "evalkit.datasets.image_set",
    "Run": "evalkit.api.run",
    "evaluate": "evalkit.api.run",
    "explain": "evalkit.api.explain",
    "open_run": "evalkit.api.run",
    "save": "evalkit.api.explain",
}


def __getattr__(name: str) -> object:
    """Import what is asked for only then, so that ``import evalkit`` is light."""
    if name not in _FOUND_IN:
        raise AttributeError(f"module 'evalkit' has no attribute '{name}'")
    return getattr(_import_module(_FOUND_IN[name]), name)
