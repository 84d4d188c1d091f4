"""The batch follows the largest tensor and the free memory."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from evalkit.models import memory


@pytest.mark.parametrize(
    ("side", "channels", "free_gb", "expected"),
    [(224, 64, 20, 16), (224, 8, 20, 32), (224, 64, 1, 4), (224, 64, 0.001, 1), (1024, 256, 20, 1), (8, 1, 20, 32)],
)
def test_batch(side, channels, free_gb, expected, monkeypatch):
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=free_gb * 1e9))
    assert memory.fitting_batch({"a": (None, side, side, channels), "b": (None, 10)}) == expected
