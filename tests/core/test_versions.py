"""Versions of packages that come in several distributions."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from evalkit.core import versions
from evalkit.core.errors import ConfigError


@pytest.fixture
def lacking(monkeypatch):
    """Return a function that hides a distribution behind another one."""

    def hide(distribution, others):
        known = {"tensorflow-cpu": "2.21.0", "opencv-python-headless": "5.0.0"}

        def version(name):
            if name == distribution:
                raise PackageNotFoundError(name)
            return known.get(name, "1.0")

        monkeypatch.setattr(versions, "version", version)
        monkeypatch.setattr(versions, "packages_distributions", lambda: others)

    return hide


@pytest.mark.parametrize(
    ("distribution", "module", "other", "expected"),
    [
        ("tensorflow", "tensorflow", "tensorflow-cpu", "2.21.0"),
        ("opencv-python", "cv2", "opencv-python-headless", "5.0.0"),
    ],
)
def test_another_distribution_of_the_same_module_counts(lacking, distribution, module, other, expected):
    lacking(distribution, {module: [other]})
    assert versions._version(distribution) == expected


def test_a_missing_package_is_named(lacking):
    lacking("scipy", {"cv2": ["opencv-python"]})
    with pytest.raises(ConfigError, match="package 'scipy' is not installed; pip install scipy"):
        versions._version("scipy")
