"""A class that stands for several outputs: its score is their summed probability, and maps explain that."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.explainers.cam import Cam, GradCam
from evalkit.explainers.occlusion import Occlusion
from evalkit.explainers.tf_explain import TfExplainGradCam, TfExplainOcclusion
from evalkit.models.probabilities import log_complement, score_of, softmax

BOTH = (0, 2)


def test_the_score_is_the_sum_and_its_complement_does_not_cancel(rng):
    logits = rng.normal(size=(5, 4)) * 3
    probabilities = softmax(logits)
    np.testing.assert_array_equal(score_of(probabilities, (1, 3)), probabilities[:, 1] + probabilities[:, 3])
    np.testing.assert_array_equal(score_of(probabilities, 2), probabilities[:, 2])
    np.testing.assert_array_equal(score_of(probabilities, (2,)), probabilities[:, 2])
    np.testing.assert_allclose(np.exp(log_complement(logits, (1, 3))), probabilities[:, [0, 2]].sum(axis=1), rtol=1e-12)
    sure = np.array([50.0, 49.0, 0.0])
    assert np.exp(log_complement(sure, (0, 1))) == pytest.approx(np.exp(-50) / (1 + np.exp(-1)), rel=1e-12)


def test_one_output_in_a_tuple_is_that_output(tiny, photos):
    for explainer in (GradCam(), Cam(), Occlusion(patch_size=8), TfExplainGradCam(), TfExplainOcclusion(patch_size=8)):
        np.testing.assert_array_equal(
            explainer.explain(tiny, photos, [1] * 4), explainer.explain(tiny, photos, [(1,)] * 4)
        )


def test_gradients_are_of_the_log_summed_probability(tiny, photos):
    single = [tiny.features.activations_and_gradients(photos, [index] * 4, "conv_b")[1] for index in BOTH]
    both = tiny.features.activations_and_gradients(photos, [BOTH] * 4, "conv_b")[1]
    share = softmax(tiny.logits(photos)[:, list(BOTH)])
    expected = sum(share[:, place, None, None, None] * one for place, one in enumerate(single))
    np.testing.assert_allclose(both, expected, rtol=1e-5, atol=1e-6)
    mixed = tiny.features.activations_and_gradients(photos, [0, BOTH, 2, BOTH], "conv_b")[1]
    np.testing.assert_allclose(mixed[[0, 2]], [single[0][0], single[1][2]], atol=1e-7)


def test_cam_is_the_gradient_of_the_same_score(tiny, photos):
    """The network ends in a pooling and a dense layer, so the gradient with respect to what is pooled is weights."""
    features, gradients = tiny.features.activations_and_gradients(photos, [BOTH] * 4, "pool_b")
    coarse = np.einsum("bhwk,bhwk->bhw", gradients * features.shape[1] * features.shape[2], features)
    found = Cam().explain(tiny, photos, [BOTH] * 4)
    # Bilinear enlarging keeps the mean of a map that is enlarged by whole numbers.
    np.testing.assert_allclose(found.mean(axis=(1, 2)), coarse.mean(axis=(1, 2)), rtol=1e-3, atol=1e-5)


def test_occlusion_is_the_drop_of_the_sum(tiny, photos):
    found = Occlusion(patch_size=16).explain(tiny, photos[:1], [BOTH])[0]
    occluded = photos[:1].copy()
    occluded[:, :16, 16:] = 0
    clean, under = (score_of(tiny.probabilities(one), BOTH)[0] for one in (photos[:1], occluded))
    assert found[3, 20] == pytest.approx(clean - under, abs=1e-7)


def test_tf_explains_methods_see_the_sum_as_one_output(tiny, photos):
    singles = [TfExplainOcclusion(patch_size=8).explain(tiny, photos[:2], [index] * 2) for index in BOTH]
    both = TfExplainOcclusion(patch_size=8).explain(tiny, photos[:2], [BOTH] * 2)
    np.testing.assert_allclose(1 - both, (1 - singles[0]) + (1 - singles[1]), rtol=1e-5, atol=1e-6)
    one, two = (TfExplainGradCam(guided=False).explain(tiny, photos[:2], [index] * 2) for index in BOTH)
    together = TfExplainGradCam(guided=False).explain(tiny, photos[:2], [BOTH] * 2)
    np.testing.assert_allclose(together, one + two, rtol=1e-5, atol=1e-6)
