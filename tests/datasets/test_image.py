from __future__ import annotations

import numpy as np
import pytest

from evalkit.datasets.image import LabelledImage


def share(*boxes: tuple[float, ...], height: int = 10, width: int = 20) -> float | None:
    pixels = np.zeros((height, width, 3), np.uint8)
    region = np.zeros((height, width), bool)
    return LabelledImage("a", pixels, 0, "", region, np.array(boxes, dtype=float).reshape(-1, 4)).object_share


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([(0, 0, 20, 10)], 1.0),
        ([(2, 1, 7, 5)], 0.1),
        ([(0.5, 0.25, 3, 2.25)], 0.025),
        ([(0, 0, 1, 1), (5, 5, 15, 10), (0, 0, 4, 4)], 0.25),  # the largest, not the last, the sum or the hull
        ([(0, 0, 10, 10), (0, 0, 10, 10)], 0.5),
        ([], 0.0),
    ],
)
def test_object_share_is_that_of_the_largest_box(boxes: list[tuple[float, ...]], expected: float) -> None:
    assert share(*boxes) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((-5, -5, 10, 5), 0.25),
        ((10, 5, 100, 100), 0.25),
        ((-100, -100, 100, 100), 1.0),
        ((15, -3, 25, 4), 0.1),
        ((20, 0, 40, 10), 0.0),
        ((-9, 0, -1, 10), 0.0),
        ((25, 12, 30, 18), 0.0),
    ],
)
def test_object_share_ignores_parts_outside(box: tuple[float, ...], expected: float) -> None:
    assert share(box) == pytest.approx(expected)
    assert share(box, (0, 0, 1, 1)) == pytest.approx(max(expected, 1 / 200))


def test_object_share_without_boxes_is_none() -> None:
    assert LabelledImage("a", np.zeros((10, 20, 3), np.uint8), 0, "").object_share is None
