"""The versions of the packages that can change a number; imports none of them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version

from evalkit.core.component import Component
from evalkit.core.errors import ConfigError
from evalkit.core.provenance import DISTRIBUTION, distribution_of, is_built_in

__all__ = ["libraries", "versions"]

# Name in keys and manifests, and name on the package index.
_VERSIONED = {"evalkit": DISTRIBUTION} | {
    name: name
    for name in (
        "tensorflow",
        "keras",
        "tf-explain",
        "numpy",
        "opencv-python",
        "pillow",
        "pycocotools",
        "scipy",
        "scikit-image",
    )
}
# The same modules come in other distributions, e.g. tensorflow-cpu and opencv-python-headless.
_MODULES = {"tensorflow": "tensorflow", "opencv-python": "cv2"}


def versions(components: Iterable[Component] = ()) -> dict[str, str]:
    """Return the version of every package that can change a number.

    Args:
        components: the explainers and metrics of the run; the distributions of classes outside evalkit are added.
    """
    foreign = {type(component) for component in components if not is_built_in(type(component))}
    return dict(_versions()) | dict(filter(None, map(distribution_of, foreign)))


@cache  # used by every cell's key; reading a package's metadata takes a millisecond
def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((name, _version(distribution)) for name, distribution in _VERSIONED.items())


def _version(distribution: str) -> str:
    """Return the version of a distribution, or of another one that has its module.

    Raises:
        ConfigError: neither is installed.
    """
    try:
        return version(distribution)
    except PackageNotFoundError as error:
        others = packages_distributions().get(_MODULES.get(distribution, ""), ())
        if not others:
            raise ConfigError(f"package '{distribution}' is not installed; pip install {distribution}") from error
        return version(others[0])


def libraries() -> str:
    """Return the packages and their versions in one line."""
    return "|".join(f"{name}:{number}" for name, number in _versions())
