"""Extension of griffe: docstrings as they are at run time, with the options' texts that ``described`` adds."""

from __future__ import annotations

import inspect
from importlib import import_module

import griffe

__all__ = ["DescribedDocstrings"]


class DescribedDocstrings(griffe.Extension):
    """Replaces the docstring of every function that is decorated with ``described``."""

    def on_function(self, *, func: griffe.Function, **_: object) -> None:
        """Take the docstring from the imported function.

        Args:
            func: function as read from the source.
            **_: what griffe hands over besides.
        """
        decorated = any(str(decorator.value).startswith("described(") for decorator in func.decorators)
        if decorated and func.docstring is not None:
            described = getattr(import_module(func.module.path), func.name)
            func.docstring.value = inspect.cleandoc(described.__doc__)
