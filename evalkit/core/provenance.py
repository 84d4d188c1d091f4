"""The origin of a class: evalkit itself, a registered plug-in, or a module of the user's."""

from __future__ import annotations

import hashlib
import inspect
import sys
from functools import cache, partial
from importlib.metadata import entry_points, packages_distributions, version
from pathlib import Path

__all__ = [
    "DISTRIBUTION",
    "GROUPS",
    "distribution_of",
    "file_digest",
    "is_built_in",
    "register_name",
    "registered_name",
    "source_digest",
    "target_of",
]

DISTRIBUTION = "evalkit-saliency"
"""The name of evalkit's distribution; on the package index, ``evalkit`` is another project."""

GROUPS = ("evalkit.explainers", "evalkit.metrics")
"""The entry point groups for explainers and metrics of installed packages."""

_ROOT = "evalkit"
_REGISTERED: dict[str, str] = {}


def target_of(kind: type) -> str:
    """Return ``module:Class``."""
    return f"{kind.__module__}:{kind.__qualname__}"


def is_built_in(kind: type) -> bool:
    """Return whether a class is part of evalkit."""
    return kind.__module__ == _ROOT or kind.__module__.startswith(f"{_ROOT}.")


def register_name(name: str, target: str) -> None:
    """Set the name under which the class ``module:Class`` is shown."""
    _REGISTERED[target] = name


def registered_name(kind: type) -> str | None:
    """Return the name of a class in a registry or an entry point; None if it has none."""
    target = target_of(kind)
    return _REGISTERED.get(target) or _entry_point_names().get(target)


@cache
def _entry_point_names() -> dict[str, str]:
    return {point.value.replace(" ", ""): point.name for group in GROUPS for point in entry_points(group=group)}


def source_digest(kind: type) -> str | None:
    """Return the sha256 of the file that defines a class, and of the files of its bases outside evalkit.

    Returns:
        64 hexadecimal digits; None if a file cannot be found, as for a class typed into an interpreter.
    """
    digests = []
    for base in kind.__mro__:
        if is_built_in(base) or base.__module__ in sys.stdlib_module_names or base.__module__ == "builtins":
            continue
        digest = file_digest(base)
        if digest is None:
            return None
        digests += [digest] if digest not in digests else []
    if len(digests) < 2:
        return digests[0] if digests else None
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def file_digest(defined: object) -> str | None:
    """Return the sha256 of the file that defines a class, a function or an object's class; None if there is none."""
    while isinstance(defined, partial):
        defined = defined.func
    if not isinstance(defined, type) and not inspect.isroutine(defined):
        defined = type(defined)
    try:
        file = inspect.getsourcefile(inspect.unwrap(defined) if callable(defined) else defined)
        return hashlib.sha256(Path(file or "").read_bytes()).hexdigest()
    except (OSError, TypeError):
        return None


def distribution_of(kind: type) -> tuple[str, str] | None:
    """Return name and version of the installed distribution that a class belongs to; None if it belongs to none."""
    names = packages_distributions().get(kind.__module__.partition(".")[0])
    return (names[0], version(names[0])) if names else None
