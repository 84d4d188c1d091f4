"""The perturbation engine: right images, nothing asked twice."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from evalkit.metrics.requests import Blend, Masked, Perturbation, Shown
from evalkit.models.heads import Head
from evalkit.models.inference.imputation import NOISE_SD, imputed
from evalkit.models.inference.perturbation import MEAN_COLOR, PhotoScores, blurred, enlarged, rise_kernel
from evalkit.models.probabilities import softmax

QUARTER = np.log([0.75, 0.25])  # logits of a clean photo whose score is 0.25


class Recorder:
    """Stands in for a classifier: the logit of class 1 is the mean red value, and every image asked for is kept."""

    def __init__(self):
        self.images = []
        self.composed = self
        self.blended = SimpleNamespace(logits=self.blends)
        self.head = Head("softmax", 2)

    def logits(self, canvases, ranks, rows, tick):
        def made(number):
            start, end, rank, cut = rows[number]
            return np.where((ranks[rank] < cut)[..., None], canvases[end], canvases[start])

        tick(len(rows))
        return self.logits_from(len(rows), made)

    def blends(self, photo, substrate, count, make):
        weights = make(0, count)[..., None]
        return self.logits_from(count, lambda number: substrate + (photo - substrate) * weights[number])

    def logits_from(self, count, make):
        if count == 0:
            return np.empty((0, 2))
        batch = [np.array(make(number)) for number in range(count)]
        self.images += batch
        means = np.array([image[..., 0].astype(np.float64).mean() / 100 for image in batch])
        return np.stack([np.zeros(len(batch)), means], axis=1)


def red_score(image):
    return softmax(np.array([[0.0, image[..., 0].astype(np.float64).mean() / 100]]))[0, 1]


@pytest.fixture
def photo(rng):
    return rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)


def deletion_of(photo, cuts=(0, 5, 20)):
    rank = np.arange(20).reshape(4, 5)
    return Perturbation("image", "mean", rank, np.array(cuts))


def test_compositions_show_end_below_the_cut(photo):
    recorder = Recorder()
    fractions, scores = PhotoScores(recorder, photo, 1, QUARTER).scores([deletion_of(photo)])[0]
    expected = photo.astype(np.float32)
    expected[0] = MEAN_COLOR
    assert any(np.array_equal(image, expected) for image in recorder.images)
    mean_image = np.broadcast_to(np.float32(MEAN_COLOR), photo.shape)
    assert fractions.tolist() == [0.0, 0.25, 1.0]
    np.testing.assert_allclose(scores, [0.25, red_score(expected), red_score(mean_image)], rtol=1e-12)


def test_clean_score_is_never_asked_again_and_ends_once_a_photo(photo):
    recorder = Recorder()
    engine = PhotoScores(recorder, photo, 1, QUARTER)
    back = Perturbation("mean", "image", np.arange(20).reshape(4, 5), np.array([0, 5, 20]))
    engine.scores([deletion_of(photo), back, deletion_of(photo)])
    assert len(recorder.images) == 3  # the mean color, and one image inside each curve
    engine.scores([deletion_of(photo, (0, 7, 20))])
    assert len(recorder.images) == 4


def test_a_blend_shows_the_weighted_sum(photo, rng):
    recorder = Recorder()
    weight = rng.random((4, 5))
    scores = PhotoScores(recorder, photo, 1, QUARTER).scores([Blend("image", "mean", weight)])[0]
    expected = weight[..., None] * photo + (1 - weight[..., None]) * np.array(MEAN_COLOR)
    np.testing.assert_allclose(recorder.images[0], expected, rtol=1e-5)
    assert scores.shape == (1,)


def test_the_photo_is_not_changed(photo):
    before = photo.copy()
    PhotoScores(Recorder(), photo, 1, QUARTER).scores([deletion_of(photo)])
    np.testing.assert_array_equal(photo, before)


def test_rise_kernel_is_nearly_a_box_as_its_code_makes_it():
    kernel = rise_kernel()
    assert kernel.shape == (11, 11)
    assert kernel.sum() == pytest.approx(1.0)
    assert kernel[5, 5] / kernel[0, 0] == pytest.approx(1.14, abs=0.005)
    impulse = np.zeros((11, 11))
    impulse[5, 5] = 1
    np.testing.assert_allclose(kernel, gaussian_filter(impulse, 5))


def test_blur_equals_a_slow_padded_convolution(rng):
    photo = rng.integers(0, 256, (13, 9, 3), dtype=np.uint8)
    kernel, slow = rise_kernel(), np.zeros((13, 9, 3))
    padded = np.empty((23, 19, 3))
    padded[:] = MEAN_COLOR
    padded[5:18, 5:14] = photo
    for row in range(13):
        for column in range(9):
            window = padded[row : row + 11, column : column + 11]
            slow[row, column] = (window * kernel[..., None]).sum(axis=(0, 1))
    np.testing.assert_allclose(blurred(photo), slow, rtol=1e-5)


def test_blur_of_the_mean_color_is_the_mean_color():
    flat = np.broadcast_to(np.float32(MEAN_COLOR), (20, 20, 3))
    np.testing.assert_allclose(blurred(flat), flat, rtol=1e-6)


def test_cells_are_enlarged_to_the_photo():
    cells = np.array([[[True, False, False]]])
    assert enlarged(cells, (2, 7))[0].tolist() == [[True, True, True, False, False, False, False]] * 2
    grid = np.arange(81).reshape(1, 9, 9) % 2 == 0
    sizes = enlarged(grid, (224, 224))
    assert sizes.shape == (1, 224, 224)
    assert set(np.diff(np.flatnonzero(np.diff(sizes[0, 0].astype(int))))) <= {24, 25}


def test_masks_show_the_substrate_and_are_asked_once(photo):
    recorder = Recorder()
    engine = PhotoScores(recorder, photo, 1, QUARTER)
    hidden = np.array([[[True, False]], [[False, False]]])
    ticks = []
    first = engine.scores([Masked(hidden, "black")], ticks.append)[0]
    second = engine.scores([Masked(hidden.copy(), "black")], ticks.append)[0]
    expected = photo.astype(np.float64)
    expected[:, :3] = 0.0  # of five columns, 0, 1 and 2 belong to the first of two cells
    np.testing.assert_allclose(first, [red_score(expected), red_score(photo)], rtol=1e-6)
    np.testing.assert_array_equal(first, second)
    assert len(recorder.images) == 2
    assert sum(ticks) == 2
    assert Masked(hidden).key != Masked(hidden, "black").key
    assert Masked(hidden).key != Masked(hidden.transpose(1, 0, 2)).key


def test_an_image_of_its_own_is_asked_once(photo):
    recorder = Recorder()
    engine = PhotoScores(recorder, photo, 1, QUARTER)
    other = photo[::-1]
    answers = engine.scores([Shown(other), Shown(other.astype(np.float32))])
    np.testing.assert_allclose(answers[0], [1 - red_score(other), red_score(other)], rtol=1e-12)
    assert len(recorder.images) == 1


def test_noise_is_drawn_once_an_image_and_by_the_seed(photo):
    first, again = PhotoScores(Recorder(), photo, 1, QUARTER), PhotoScores(Recorder(), photo, 1, QUARTER)
    other = PhotoScores(Recorder(), photo, 1, QUARTER, seed=1)
    np.testing.assert_array_equal(first.canvas("noise"), again.canvas("noise"))
    assert not np.array_equal(first.canvas("noise"), other.canvas("noise"))
    assert first.canvas("noise").min() >= 0
    assert first.canvas("noise").max() <= 255
    assert not first.canvas("black").any()


def road_images(photo, rank, seed=0, **options):
    """The images inside and at the end of the curve from the photo to ROAD's imputation."""
    recorder = Recorder()
    curve = Perturbation("image", "road", rank, np.array([0, 5, 20]))
    scores = PhotoScores(recorder, photo, 1, QUARTER, seed=seed, **options).scores([curve])[0]
    (whole,) = [image for image in recorder.images if not (image == photo).all(axis=2).any()]
    (part,) = [image for image in recorder.images if image is not whole]
    np.testing.assert_allclose(scores[1], [0.25, red_score(part), red_score(whole)], rtol=1e-12)
    return part, whole


def test_road_imputes_hidden_pixels_and_adds_one_noise(photo):
    rank = np.arange(20).reshape(4, 5)
    part, whole = road_images(photo, rank)
    hidden = rank < 5
    np.testing.assert_array_equal(part[~hidden], photo[~hidden])
    noise = whole - np.float32(MEAN_COLOR)  # where all is hidden nothing is known, so the mean color is shown
    np.testing.assert_allclose(part[hidden] - imputed(photo, hidden), noise[hidden], atol=1e-4)
    assert 0.5 * NOISE_SD < noise.std() < 1.5 * NOISE_SD
    assert np.abs(noise.mean()) < NOISE_SD


def test_noise_of_road_depends_on_photo_and_seed_only(photo):
    rank = np.arange(20).reshape(4, 5)
    _, whole = road_images(photo, rank)
    np.testing.assert_array_equal(road_images(photo, rank[::-1])[1], whole)
    assert not np.array_equal(road_images(photo, rank, seed=1)[1], whole)
    assert not np.array_equal(road_images(photo[::-1].copy(), rank)[1], whole)


def test_road_takes_any_number_of_channels(rng):
    for channels in (1, 4):
        gray = rng.integers(0, 256, (4, 5, channels), dtype=np.uint8)
        part, whole = road_images(gray, np.arange(20).reshape(4, 5), mean_color=(50.0,) * channels)
        assert part.shape == whole.shape == gray.shape
        assert np.abs(whole - 50).max() < 6 * NOISE_SD


def test_curves_of_road_and_of_the_mean_color_are_scored_together(photo):
    rank, cuts = np.arange(20).reshape(4, 5), np.array([0, 5, 12, 20])
    requests = [Perturbation(*ends, rank, cuts) for ends in (("image", "road"), ("image", "mean"), ("road", "image"))]
    recorder = Recorder()
    together = PhotoScores(recorder, photo, 1, QUARTER).scores(requests)
    assert len(recorder.images) == 3 * 2 + 2
    for request, scores in zip(requests, together, strict=True):
        alone = PhotoScores(Recorder(), photo, 1, QUARTER).scores([request])[0]
        np.testing.assert_array_equal(scores, alone)
