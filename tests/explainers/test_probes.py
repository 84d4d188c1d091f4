"""Maps that are changed in known ways."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from evalkit.core.errors import ConfigError, NotScored
from evalkit.datasets.image import LabelledImage
from evalkit.explainers.probes import CHANGES, DegradedMap, KnownMap, changed_map
from evalkit.store.maps import save_map

SIZE = (14, 21)


@pytest.fixture
def saliency_map(rng):
    return rng.normal(size=SIZE).astype(np.float32)


def seeded():
    return np.random.default_rng(7)


def test_noise_keeps_the_histogram_and_changes_the_share(saliency_map):
    for dose in (0.2, 0.6, 1.0):
        noisy = changed_map(saliency_map, "noise", dose, seeded())
        assert sorted(noisy.ravel()) == sorted(saliency_map.ravel())
        assert (noisy != saliency_map).mean() == pytest.approx(dose, abs=0.02)
    np.testing.assert_array_equal(changed_map(saliency_map, "noise", 0.0, seeded()), saliency_map)


def test_the_pixels_of_a_smaller_dose_are_among_those_of_a_larger(saliency_map):
    small, large = (changed_map(saliency_map, "noise", dose, seeded()) != saliency_map for dose in (0.2, 0.6))
    assert (small & ~large).sum() <= 2  # a pixel may get its own value back


def test_noise_at_full_dose_leaves_nothing(rng):
    ramp = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    noisy = changed_map(ramp, "noise", 1.0, seeded())
    assert abs(np.corrcoef(ramp.ravel(), noisy.ravel())[0, 1]) < 0.05


def test_coarse_maps_are_the_means_of_their_parts(saliency_map):
    coarse = changed_map(saliency_map, "coarsen", 7.0, seeded())
    np.testing.assert_allclose(coarse[0:2, 3:6], saliency_map[0:2, 3:6].mean(), rtol=1e-5)
    assert np.unique(coarse).size == 49
    assert coarse.mean() == pytest.approx(saliency_map.mean(), abs=1e-6)


def test_a_map_smaller_than_the_parts_is_its_own_coarse_map():
    small = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(changed_map(small, "coarsen", 7.0, seeded()), small)


def test_blur_and_sharpen_are_opposite(saliency_map):
    blurred = changed_map(saliency_map, "blur", 4.0, seeded())
    sharpened = changed_map(saliency_map, "sharpen", 4.0, seeded())
    assert blurred.std() < saliency_map.std() < sharpened.std()
    np.testing.assert_allclose((sharpened + blurred) / 2, saliency_map, rtol=1e-5, atol=1e-6)
    constant = np.full(SIZE, 2.5, dtype=np.float32)
    for change, dose in CHANGES:
        np.testing.assert_allclose(changed_map(constant, change, dose, seeded()), constant, rtol=1e-6)


@pytest.fixture
def stored(tmp_path, saliency_map, rng):
    saved = save_map(tmp_path, "maps/gradcam/a.npy", saliency_map)
    image = LabelledImage("a", rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), 0, "", sha256="s")
    return tmp_path, saved, image, SimpleNamespace(input_size=SIZE)


def test_a_stored_map_is_changed(stored, saliency_map):
    folder, saved, image, classifier = stored
    probe = DegradedMap("gradcam", "blur", 4.0, folder, {"a": saved}, {"a": "s"})
    maps, _ = probe.explain_photo(classifier, image, (0,))
    np.testing.assert_array_equal(maps[0], changed_map(saliency_map, "blur", 4.0, seeded()))
    assert probe.text == "degraded(of=gradcam, change=blur, dose=4.0)"
    other = DegradedMap("gradcam", "blur", 4.0, folder, {"a": saved._replace(sha256="x")}, {"a": "s"})
    assert other.contents != probe.contents


def test_a_map_of_another_photo_or_no_map_is_not_scored(stored):
    folder, saved, image, classifier = stored
    for files, photos, reason in (
        ({}, {"a": "s"}, "the run has no map of gradcam"),
        ({"a": saved._replace(sha256="damaged")}, {"a": "s"}, "the run has no map of gradcam"),
        ({"a": saved}, {"a": "another"}, "the photo changed after the run"),
    ):
        with pytest.raises(NotScored, match=reason):
            DegradedMap("gradcam", "noise", 0.2, folder, files, photos).explain_photo(classifier, image, (0,))


def test_the_known_map_is_the_exact_mask(rng):
    region = np.zeros(SIZE, dtype=bool)
    region[3:6, 4:9] = True
    image = LabelledImage("a", rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), 0, "", region=region, exact=True)
    classifier = SimpleNamespace(input_size=SIZE)
    np.testing.assert_array_equal(KnownMap(0.0).explain_photo(classifier, image, (0,))[0][0], region)
    shuffled = KnownMap(1.0).explain_photo(classifier, image, (0,))[0][0]
    assert shuffled.sum() == region.sum()
    with pytest.raises(NotScored, match="no exact mask"):
        KnownMap(0.0).explain_photo(classifier, LabelledImage("a", image.pixels, 0, ""), (0,))


def test_a_probe_explains_no_other_image_and_takes_no_other_change(stored):
    folder, saved, image, classifier = stored
    probe = DegradedMap("gradcam", "blur", 4.0, folder, {"a": saved}, {"a": "s"})
    with pytest.raises(ConfigError, match="named photos"):
        probe.explain(classifier, image.pixels[None], [(0,)])
    with pytest.raises(ConfigError, match="change=rotate"):
        DegradedMap("gradcam", "rotate", 4.0, folder, {}, {})
