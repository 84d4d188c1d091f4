"""Compositions made on the device are those of the definition, in batches of any size."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.models.classifier import Classifier


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
    np.testing.assert_allclose(classifier.composed.logits(canvases, ranks, rows, asked.append), expected, atol=1e-5)
    assert sum(asked) == classifier.passes == 5
    assert classifier.composed.logits(canvases, ranks, rows[:0]).shape == (0, 3)


def test_batches_of_one_shape_are_traced_once(tiny_model, rng):
    classifier = Classifier(tiny_model, batch_size=4)
    canvases = rng.uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
    for count in (1, 4, 7, 9):
        ranks = np.stack([np.arange(32 * 32).reshape(32, 32)] * count).astype(np.int32)
        rows = np.array([(0, 1, number, 50) for number in range(count)], dtype=np.int32)
        classifier.composed.logits(canvases, ranks, rows)
    assert classifier.composed._logits.experimental_get_tracing_count() == 1
