"""Objects by ``module:attribute``, with every way to fail said in one sentence."""

from __future__ import annotations

import importlib
import sys

from evalkit.core.errors import EvalkitError

__all__ = ["first_line", "import_object"]


def import_object(target: str, what: str, error_type: type[EvalkitError]) -> object:
    """Import ``module:attribute``; the module may lie in the current folder.

    Args:
        target: for example ``my_module:build`` or ``my_module:Outer.Inner``.
        what: the option and value, at the beginning of a message, e.g. ``--model 'my_module:build'``.
        error_type: the error to raise.

    Raises:
        EvalkitError: of ``error_type``; the module cannot be imported, or has no such attribute.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise error_type(f"{what} is no object of a module; write MODULE:NAME, for example my_module:build")
    if "" not in sys.path:
        sys.path.insert(0, "")  # the user's module lies where the command is run
    try:
        found: object = importlib.import_module(module_name)
    except ImportError as error:
        raise error_type(f"{what}: module '{module_name}' cannot be imported: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise error_type(
            f"{what}: importing '{module_name}' failed: {type(error).__name__}: {first_line(error)}"
        ) from error
    for part in attribute.split("."):
        if not part or not hasattr(found, part):
            raise error_type(f"{what}: module '{module_name}' has no '{attribute}'")
        found = getattr(found, part)
    return found


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, at most 300 characters; its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
