"""How good is a visual explanation? Scores saliency maps of Keras image classifiers.

From Python: ``explain`` and ``save`` for single photos, ``evaluate`` and ``ImageSet.from_arrays`` for a labelled set,
``open_run`` for an earlier run, ``BlackBox`` for a model given as a function. The command line is
``python -m evalkit``; docs/architecture.md describes the package.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING

from evalkit.core.provenance import DISTRIBUTION as _DISTRIBUTION

if TYPE_CHECKING:
    from evalkit.api.evaluate import evaluate
    from evalkit.api.explain import explain, save
    from evalkit.api.merge import merge_runs
    from evalkit.api.run import Run, open_run
    from evalkit.datasets.image_set import ImageSet
    from evalkit.models.blackbox import BlackBox

__all__ = ["BlackBox", "ImageSet", "Run", "__version__", "evaluate", "explain", "merge_runs", "open_run", "save"]

__version__ = _version(_DISTRIBUTION)

_MODULES = {
    "BlackBox": "evalkit.models.blackbox",
    "ImageSet": "evalkit.datasets.image_set",
    "Run": "evalkit.api.run",
    "evaluate": "evalkit.api.evaluate",
    "explain": "evalkit.api.explain",
    "merge_runs": "evalkit.api.merge",
    "open_run": "evalkit.api.run",
    "save": "evalkit.api.explain",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that ``import evalkit`` is fast."""
    if name not in _MODULES:
        raise AttributeError(f"module 'evalkit' has no attribute '{name}'")
    return getattr(_import_module(_MODULES[name]), name)
