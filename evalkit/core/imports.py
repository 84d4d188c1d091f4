"""Import of objects by ``module:attribute``, with one-sentence error messages."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from evalkit.core.errors import EvalkitError

__all__ = ["first_line", "import_module", "import_object"]


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
        raise error_type(f"{what} is not an object of a module; write MODULE:NAME, for example my_module:build")
    imported: object = import_module(module_name, what, error_type)
    for part in attribute.split("."):
        if not part or not hasattr(imported, part):
            raise error_type(f"{what}: module '{module_name}' has no '{attribute}'")
        imported = getattr(imported, part)
    return imported


def import_module(module_name: str, what: str, error_type: type[EvalkitError]) -> ModuleType:
    """Import a module, which may lie in the current folder.

    Args:
        module_name: the module, with dots.
        what: the option and value, at the beginning of a message.
        error_type: the error to raise.

    Raises:
        EvalkitError: of ``error_type``; the module cannot be imported.
    """
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise error_type(f"{what}: '{module_name}' is not a module's name; write for example my_package.my_module")
    if "" not in sys.path:
        sys.path.insert(0, "")  # the user's module may be in the current folder
    try:
        return importlib.import_module(module_name)
    except ImportError as error:
        raise error_type(f"{what}: module '{module_name}' cannot be imported: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise error_type(
            f"{what}: importing '{module_name}' failed: {type(error).__name__}: {first_line(error)}"
        ) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 300 characters; its type if the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
