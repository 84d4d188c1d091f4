"""What the tests of the Python API share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _steady(steady_precision):
    """Runs that are compared have the same precision."""
