"""What explainers of one photo share, and that nothing is kept beyond the photo."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from evalkit.explainers.catalog import EXPLAINERS
from evalkit.harness.planning.fitting import shared_layers
from evalkit.models.memo import PassMemo


def test_nothing_is_remembered_outside_a_block():
    memo, calls = PassMemo(), []
    for _ in range(2):
        memo.get("key", lambda: calls.append(1))
    assert len(calls) == 2


def test_remembered_inside_and_forgotten_after():
    memo, calls = PassMemo(), []
    with memo.sharing(()):
        with memo.sharing(()):
            memo.get("key", lambda: calls.append(1))
        memo.get("key", lambda: calls.append(1))
        assert len(calls) == 1
    with memo.sharing(()):
        memo.get("key", lambda: calls.append(1))
    assert len(calls) == 2


def test_least_recently_used_is_forgotten_first(monkeypatch):
    monkeypatch.setattr("evalkit.models.memo._LIMIT_BYTES", 20)
    memo, calls = PassMemo(), []

    def get(key):
        return memo.get(key, lambda: (calls.append(key), np.zeros(8, dtype=np.uint8)))

    with memo.sharing(()):
        for key in ("a", "b", "a", "c", "a", "b"):
            get(key)
    assert calls == ["a", "b", "c", "b"]


def test_time_saved_is_the_time_of_the_remembered_result(monkeypatch):
    clock = iter([0.0, 3.0])
    monkeypatch.setattr("evalkit.models.memo.perf_counter", lambda: next(clock))
    memo = PassMemo()
    with memo.sharing(()):
        for _ in range(3):
            memo.get("key", lambda: None)
    assert memo.saved_s == 6.0


def test_layers_are_those_of_all_open_blocks():
    memo = PassMemo()
    with memo.sharing({"a"}):
        with memo.sharing({"b"}):
            assert memo.layers == {"a", "b"}
        assert memo.layers == {"a"}
    assert memo.layers == frozenset()


def test_blocks_may_end_in_any_order():
    memo = PassMemo()
    first, second = memo.sharing({"a"}), memo.sharing({"a", "b"})
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert memo.layers == {"a", "b"}
    second.__exit__(None, None, None)
    assert memo.layers == frozenset()


def test_maps_of_one_layer_take_one_pass_in_any_order(tiny, photos):
    explainers = [EXPLAINERS.build(name) for name in ("gradcam", "hirescam", "layercam", "eigencam")]
    alone = {one.name: one.explain(tiny, photos[:1], [1]) for one in explainers}
    for order in permutations(explainers):
        before = (tiny.count.forward, tiny.count.backward)
        with tiny.sharing(shared_layers(tiny, order)):
            together = {one.name: one.explain(tiny, photos[:1], [1]) for one in order}
        assert (tiny.count.forward - before[0], tiny.count.backward - before[1]) == (1, 1)
        assert all(np.array_equal(together[name], alone[name]) for name in alone)


@pytest.mark.parametrize("changed", ["image", "target"])
def test_other_images_and_targets_are_not_confused(tiny, photos, changed):
    gradcam = EXPLAINERS.build("gradcam")
    image, target = (photos[1:2], [1]) if changed == "image" else (photos[:1], [0])
    expected = gradcam.explain(tiny, image, target)
    with tiny.sharing(shared_layers(tiny, [gradcam])):
        gradcam.explain(tiny, photos[:1], [1])
        assert np.array_equal(gradcam.explain(tiny, image, target), expected)


def test_weights_that_change_between_blocks_are_seen(tiny_copy, photos):
    def gradients():
        with tiny_copy.sharing({"conv_b"}):
            return tiny_copy.features.activations_and_gradients(photos[:1], [1], "conv_b")[1]

    before = gradients()
    kernel = tiny_copy.model.get_layer("conv_a").kernel
    kernel.assign(-kernel)
    assert not np.array_equal(gradients(), before)


@pytest.fixture
def tiny_copy(tiny):
    import keras

    from evalkit.models.classifier import Classifier

    model = keras.models.clone_model(tiny.model)
    model.set_weights(tiny.model.get_weights())
    return Classifier(model, preprocess=tiny.preprocess)
