from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photo() -> np.ndarray:
    """4 x 6 pixels, every value its own: uint8 (4, 6, 3) = 0, 1, 2, ..."""
    return np.arange(72, dtype=np.uint8).reshape(4, 6, 3)


@pytest.fixture
def save(tmp_path: Path) -> Callable[[str, np.ndarray], Path]:
    """Write an array as an image file below tmp_path."""

    def write(name: str, pixels: np.ndarray) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[[str], Path]:
    """Write labels.csv in tmp_path."""

    def write(text: str) -> Path:
        path = tmp_path / "labels.csv"
        path.write_text(text, encoding="utf-8", newline="")
        return path

    return write
