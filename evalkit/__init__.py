"""How good is a visual explanation? Scores saliency maps of Keras image classifiers.

The command line is ``python -m evalkit``; docs/architecture.md says how the package is laid out.
"""

from __future__ import annotations

from importlib.metadata import version as _version

__all__ = ["__version__"]

__version__ = _version("evalkit")
