"""ROAD's imputation: worked by hand, beside a dense solve from the definition, and on images whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.metrics.requests import Perturbation
from evalkit.models.inference import imputation
from evalkit.models.inference.imputation import NOISE_SD, RoadImages, imputed

WEIGHTS = {(dy, dx): 1 / 12 if dy and dx else 1 / 6 for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx}


def slow(pixels, hidden):
    """x_i = sum w x_n / sum w over the neighbors inside the image, as a dense system."""
    pixels, (height, width) = np.float64(pixels), hidden.shape
    places = [tuple(place) for place in np.argwhere(hidden)]
    matrix, right = np.zeros((len(places), len(places))), np.zeros((len(places), pixels.shape[2]))
    for row, (y, x) in enumerate(places):
        inside = {
            (y + dy, x + dx): weight
            for (dy, dx), weight in WEIGHTS.items()
            if 0 <= y + dy < height and 0 <= x + dx < width
        }
        total = sum(inside.values())
        matrix[row, row] = 1.0
        for neighbor, weight in inside.items():
            if hidden[neighbor]:
                matrix[row, places.index(neighbor)] -= weight / total
            else:
                right[row] += weight / total * pixels[neighbor]
    return np.linalg.solve(matrix, right)


def mask_of(size, *places):
    hidden = np.zeros(size, dtype=bool)
    for place in places:
        hidden[place] = True
    return hidden


def test_one_pixel_is_the_weighted_mean_of_its_neighbors():
    pixels = np.array([[12.0, 0, 0], [6, 99, 0], [0, 0, 24]])[..., None]
    assert imputed(pixels, mask_of((3, 3), (1, 1)))[0, 0] == pytest.approx(12 / 12 + 6 / 6 + 24 / 12)


def test_weights_are_renormalized_at_borders():
    pixels = np.array([[99.0, 10, 0], [20, 5, 99], [0, 50, 0]])[..., None]
    corner = (10 / 6 + 20 / 6 + 5 / 12) / (5 / 12)
    side = (0 / 6 + 5 / 6 + 0 / 6 + 10 / 12 + 50 / 12) / (8 / 12)
    found = imputed(pixels, mask_of((3, 3), (0, 0), (1, 2)))
    assert found[:, 0] == pytest.approx([corner, side])


def test_hidden_neighbors_are_solved_for_together():
    row = np.array([[0.0, 99, 99, 30, 7]])[..., None]
    hidden = mask_of((1, 5), (0, 1), (0, 2))
    for pixels, mask in ((row, hidden), (row.transpose(1, 0, 2), hidden.T)):
        assert imputed(pixels, mask)[:, 0] == pytest.approx([10.0, 20.0])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_it_equals_the_dense_solve(channels, share, rng):
    pixels = rng.integers(0, 256, (11, 13, channels)).astype(np.float32)
    hidden = rng.random((11, 13)) < share
    hidden[2, 3], hidden[7, 8] = False, True
    found = imputed(pixels, hidden)
    np.testing.assert_allclose(found, slow(pixels, hidden), rtol=0, atol=1e-9)
    known = np.float64(pixels[~hidden])
    assert (found >= known.min(axis=0) - 1e-9).all()
    assert (found <= known.max(axis=0) + 1e-9).all()


def test_values_behind_the_mask_are_not_used(rng):
    pixels, hidden = rng.random((9, 20, 3)), rng.random((9, 20)) < 0.6
    other = np.where(hidden[..., None], 1e6, pixels)
    np.testing.assert_array_equal(imputed(other, hidden), imputed(pixels, hidden))


def test_a_plane_is_restored_inside_the_image():
    rows, columns = np.mgrid[:60, :80].astype(float)
    plane = (3 * rows - columns + 100)[..., None]
    hidden = np.zeros((60, 80), dtype=bool)
    hidden[1:-1, 1:-1] = True
    np.testing.assert_allclose(imputed(plane, hidden), plane[hidden], atol=1e-8)


def test_one_known_pixel_colors_a_whole_photo():
    hidden = np.ones((224, 224), dtype=bool)
    hidden[10, 200] = False
    pixels = np.where(hidden[..., None], 0.0, [10.0, 20.0, 30.0])
    np.testing.assert_allclose(imputed(pixels, hidden), np.broadcast_to([10.0, 20.0, 30.0], (224**2 - 1, 3)), rtol=1e-6)


def test_a_solution_that_does_not_fit_is_refused(monkeypatch):
    class Wrong:
        def solve(self, right):
            return np.zeros_like(right)

    pixels = np.full((4, 4, 3), 10.0)
    monkeypatch.setattr(imputation, "splu", lambda *_, **__: Wrong())
    with pytest.raises(ArithmeticError, match="left a residual of 120 color levels"):
        imputed(pixels, mask_of((4, 4), (1, 1)))


def test_equal_images_are_made_once_and_only_when_needed(rng):
    photo = rng.integers(0, 256, (4, 5, 3)).astype(np.float32)
    rank = np.arange(20).reshape(4, 5)
    noise = rng.normal(0, NOISE_SD, photo.shape)
    deletion = Perturbation("image", "road", rank, np.array([0, 5, 10, 20]))
    backward = Perturbation("road", "image", 19 - rank, np.array([0, 10, 15, 18, 20]))  # hides ranks below 10, 5, 2
    asked, made, ticks = [], [], []

    def logits_from(count, make):
        asked.append(count)
        made.extend(make(number) for number in (0, 1, 0, 1, 2))  # a batch was too large, and is repeated
        return np.arange(count)[:, None] * 1.0

    images = RoadImages([deletion, backward], lambda name: {"image": photo}[name], noise)
    found = images.logits(logits_from, ticks.append)
    assert asked == [3]
    assert sum(ticks) == 3
    assert found[deletion.images_key].ravel().tolist() == [0.0, 1.0]
    assert found[backward.images_key].ravel().tolist() == [1.0, 0.0, 2.0]
    hidden = rank < 5
    np.testing.assert_array_equal(made[0][~hidden], photo[~hidden])
    np.testing.assert_allclose(made[0][hidden], imputed(photo, hidden) + noise[hidden], rtol=1e-6)
