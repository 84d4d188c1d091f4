"""The number of a target that explainers without gradients explain: the same that gradients are taken of."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from evalkit.models.heads import Head
from evalkit.models.keras.features import objective


@pytest.mark.parametrize(
    ("head", "target"),
    [
        (Head("softmax", 4), 2),
        (Head("softmax", 4), (0, 3)),
        (Head("multilabel", 4), 1),
        (Head("multilabel", 4, from_logits=False), 1),
        (Head("sigmoid", 1), 0),
        (Head("sigmoid", 1), 1),
        (Head("sigmoid", 1, from_logits=False), 0),
        (Head("probabilities", 4, from_logits=False), 3),
        (Head("probabilities", 4, from_logits=False), (1, 2)),
    ],
)
def test_it_is_the_objective_of_gradients(head, target, rng):
    outputs = rng.normal(size=(5, head.n_outputs))
    if head.kind == "probabilities":
        outputs = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    elif not head.from_logits:
        outputs = 1 / (1 + np.exp(-outputs))
    chosen = np.zeros((5, head.n_classes), dtype=bool)
    chosen[:, np.atleast_1d(target)] = True
    expected = objective(head, tf.constant(outputs), tf.constant(chosen)).numpy()
    np.testing.assert_allclose(head.explained(head.class_logits(outputs), target), expected, rtol=1e-9)
