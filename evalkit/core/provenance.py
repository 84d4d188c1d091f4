"""Where a class comes from: evalkit itself, a registered plug-in, or a module of the user's."""

from __future__ import annotations

import hashlib
import inspect
import sys
from functools import cache
from importlib.metadata import entry_points, packages_distributions, version
from pathlib import Path

__all__ = [
    "DISTRIBUTION",
    "GROUPS",
    "distribution_of",
    "is_built_in",
    "register_name",
    "registered_name",
    "source_digest",
    "target_of",
]

DISTRIBUTION = "evalkit-saliency"
"""The name of evalkit's distribution on the package index, where ``evalkit`` is another project's."""

GROUPS = ("evalkit.explainers", "evalkit.metrics")
"""The entry points under which an installed package offers explainers and metrics."""

_ROOT = "evalkit"
_REGISTERED: dict[str, str] = {}


def target_of(kind: type) -> str:
    """Return ``module:Class``."""
    return f"{kind.__module__}:{kind.__qualname__}"


def is_built_in(kind: type) -> bool:
    """Tell whether a class is evalkit's own."""
    return kind.__module__ == _ROOT or kind.__module__.startswith(f"{_ROOT}.")


def register_name(name: str, target: str) -> None:
    """Let the class ``module:Class`` be shown under a name, as its registry knows it."""
    _REGISTERED[target] = name


def registered_name(kind: type) -> str | None:
    """Return the name that a registry or an entry point gives a class; None where none does."""
    target = target_of(kind)
    return _REGISTERED.get(target) or _offered().get(target)


@cache
def _offered() -> dict[str, str]:
    return {one.value.replace(" ", ""): one.name for group in GROUPS for one in entry_points(group=group)}


def source_digest(kind: type) -> str | None:
    """Return the sha256 of the file that defines a class; of several files, if it inherits from others outside evalkit.

    Returns:
        64 hexadecimal digits; None if a file cannot be found, as for a class typed into an interpreter.
    """
    digests = []
    for one in kind.__mro__:
        if is_built_in(one) or one.__module__ in sys.stdlib_module_names or one.__module__ == "builtins":
            continue
        try:
            file = inspect.getsourcefile(one)
            digest = hashlib.sha256(Path(file or "").read_bytes()).hexdigest()
        except (OSError, TypeError):
            return None
        digests += [digest] if digest not in digests else []
    if len(digests) < 2:
        return digests[0] if digests else None
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def distribution_of(kind: type) -> tuple[str, str] | None:
    """Return name and version of the installed distribution that a class belongs to; None if it belongs to none."""
    found = packages_distributions().get(kind.__module__.partition(".")[0])
    return (found[0], version(found[0])) if found else None
