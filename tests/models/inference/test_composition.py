"""Compositions made on the device are those of the definition, in batches of any size."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.harness.engine.worker_facts import facts_here
from evalkit.models.classifier import Classifier
from evalkit.models.inference.composition import ComposedPass, compose


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_each_row_shows_end_where_its_rank_is_below_its_cut(tiny_model, rng, batch_size):
    classifier, asked = Classifier(tiny_model, batch_size=batch_size), []
    canvases = rng.uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
    ranks = np.stack([rng.permutation(32 * 32).reshape(32, 32) for _ in range(2)]).astype(np.int32)
    rows = np.array([(0, 1, 0, 100), (1, 0, 1, 1), (2, 0, 0, 1024), (0, 2, 1, 0), (1, 2, 1, 700)], dtype=np.int32)
    made = [
        np.where((ranks[rank] < cut)[..., None], canvases[end], canvases[start])
        for start, end, rank, cut in rows.tolist()
    ]
    expected = Classifier(tiny_model).logits(np.stack(made))
    np.testing.assert_allclose(
        classifier.composed.logits(canvases, ranks, rows, asked.append), expected, rtol=1e-5, atol=1e-5
    )
    assert sum(asked) == classifier.passes == 5
    assert classifier.composed.logits(canvases, ranks, rows[:0]).shape == (0, 3)


def test_batches_of_one_shape_are_traced_once(tiny_model, rng):
    classifier = Classifier(tiny_model, batch_size=4)
    canvases = rng.uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
    for count in (1, 4, 7, 9):
        ranks = np.stack([np.arange(32 * 32).reshape(32, 32)] * count).astype(np.int32)
        rows = np.array([(0, 1, number, 50) for number in range(count)], dtype=np.int32)
        classifier.composed.logits(canvases, ranks, rows)
    assert classifier.composed._composed.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_compose_is_the_definition_for_any_number_of_channels(rng, channels, dtype):
    canvases = rng.integers(0, 60_000, (2, 5, 7, channels)).astype(dtype)
    ranks = rng.permutation(35).reshape(1, 5, 7).astype(np.int32)
    rows = np.array([(0, 1, 0, 9), (1, 0, 0, 0), (1, 1, 0, 35)], dtype=np.int32)
    images = np.empty((3, 5, 7, channels), dtype)
    compose(canvases, ranks, rows, images)
    np.testing.assert_array_equal(images[0], np.where((ranks[0] < 9)[..., None], canvases[1], canvases[0]))
    np.testing.assert_array_equal(images[1:], canvases[[1, 1]])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("preprocess", ["none", "vgg16"])
def test_images_composed_outside_tensorflow_have_the_same_logits_bit_for_bit(tiny_model, rng, precision, preprocess):
    classifier = Classifier(tiny_model, batch_size=4, precision=precision, preprocess=preprocess)
    canvases = rng.uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    ranks = rng.permutation(32 * 32).reshape(1, 32, 32).astype(np.int32)
    rows = np.array([(0, 1, 0, cut) for cut in range(0, 1024, 100)], dtype=np.int32)
    own, device = (ComposedPass(classifier, classifier.graph, on_device=flag) for flag in (False, True))
    np.testing.assert_array_equal(own.logits(canvases, ranks, rows), device.logits(canvases, ranks, rows))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_logits_do_not_depend_on_how_far_a_pass_is_filled(tiny_model, rng, precision):
    classifier = Classifier(tiny_model, batch_size=32, precision=precision)
    canvases = rng.uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    ranks = rng.permutation(32 * 32).reshape(1, 32, 32).astype(np.int32)
    rows = np.array([(0, 1, 0, cut) for cut in range(0, 1024, 32)], dtype=np.int32)
    together = classifier.composed.logits(canvases, ranks, rows)
    # The same bits on processors with AVX-512; elsewhere kernels of another shape round otherwise.
    largest = 0.0 if "avx512f" in facts_here().processor else {"float32": 1e-6, "bfloat16": 2e-2}[precision]
    for count in (1, 8, 9, 17, 25):
        some = classifier.composed.logits(canvases, ranks, rows[:count])
        np.testing.assert_allclose(some, together[:count], rtol=0, atol=largest)
