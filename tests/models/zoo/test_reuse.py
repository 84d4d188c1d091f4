"""Classifiers kept with their model: built once, never out of date, freed with the model."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import evalkit
from evalkit.models.keras import graph
from evalkit.models.zoo import reuse
from evalkit.models.zoo.reuse import reused_classifier

OCCLUSION = "occlusion(patch_size=6)"  # computed by windows, from copies of the weights


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return _model()


def _model():
    return keras.Sequential(
        [
            keras.Input((24, 24, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)


@pytest.fixture
def built(monkeypatch):
    """Count the classifiers that are built, and the passes through the graph while one is traced."""
    counts = {"classifiers": 0, "traces": 0}
    build, run = reuse.as_classifier, graph.run

    def counted_build(*arguments, **options):
        counts["classifiers"] += 1
        return build(*arguments, **options)

    def counted_run(*arguments):
        counts["traces"] += 1
        return run(*arguments)

    monkeypatch.setattr(reuse, "as_classifier", counted_build)
    monkeypatch.setattr(graph, "run", counted_run)
    return counts


def test_later_calls_build_and_trace_nothing(model, photo, built):
    first = [evalkit.explain(model, photo, spec).saliency_map for spec in ("gradcam", OCCLUSION)]
    after_one = dict(built)
    for _ in range(3):
        later = [evalkit.explain(model, photo, spec).saliency_map for spec in ("gradcam", OCCLUSION)]
        np.testing.assert_array_equal(first, later)
    assert built == after_one
    assert after_one["classifiers"] == 1


def _train(model):
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(np.zeros((2, 24, 24, 3), np.float32), np.array([0, 1]), verbose=0)


def _linear_end(model):
    model.layers[-1].activation = keras.activations.linear


CHANGES = {
    "training": _train,
    "one weight": lambda model: model.layers[1].weights[0].value[0, 0, 0, 0].assign(3.0),
    "set_weights": lambda model: model.set_weights([weight * 1.5 for weight in model.get_weights()]),
    "sparse update": lambda model: model.layers[-1].weights[0].value.scatter_nd_update([[0, 0]], [9.0]),
    "activation": lambda model: setattr(model.layers[1], "activation", keras.activations.tanh),
    "linear end": _linear_end,
    "scale": lambda model: setattr(model.layers[0], "scale", 1 / 20),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_model_is_prepared_anew(model, photo, change):
    for spec in ("gradcam", OCCLUSION):
        evalkit.explain(model, photo, spec, class_index=1)
    CHANGES[change](model)
    fresh = _model()
    fresh.set_weights(model.get_weights())
    if change not in ("training", "one weight", "set_weights", "sparse update"):
        CHANGES[change](fresh)
    for spec in ("gradcam", OCCLUSION):
        now, expected = (evalkit.explain(each, photo, spec, class_index=1) for each in (model, fresh))
        np.testing.assert_array_equal(now.saliency_map, expected.saliency_map)
        assert now.probability == expected.probability


def test_a_variable_that_copies_when_read_is_not_a_changed_one(model, photo, built):
    model.layers[-1].weights[0].value.scatter_nd_update([[0, 0]], [9.0])  # TensorFlow copies it from now on
    for _ in range(3):
        evalkit.explain(model, photo)
    assert built["classifiers"] == 1


def test_a_layer_that_is_taken_away_counts(model, photo):
    model.add(keras.layers.Softmax())
    before = evalkit.explain(model, photo, class_index=0).probability
    model.pop()
    assert evalkit.explain(model, photo, class_index=0).probability != before


def test_options_that_alternate_are_both_kept(model, photo, built):
    for _ in range(3):
        for names in (None, ["a", "b", "c"], ("x", "y", "z")):
            made = evalkit.explain(model, photo, class_names=names)
            assert made.class_name in (names or ["class 0", "class 1", "class 2"])
    assert built["classifiers"] == 3


def test_the_model_is_freed_with_its_classifiers(photo):
    model = _model()
    evalkit.explain(model, photo, OCCLUSION)
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None


def test_two_users_at_a_time_have_two_classifiers(model):
    with reused_classifier(model) as first, reused_classifier(model) as second:
        assert first is not second
    with reused_classifier(model) as third:
        assert third in (first, second)


def test_a_model_that_was_explained_is_saved_and_copied_as_before(model, photo, tmp_path):
    evalkit.explain(model, photo)
    model.save(tmp_path / "model.keras")
    for other in (
        keras.saving.load_model(tmp_path / "model.keras"),
        pickle.loads(pickle.dumps(model)),  # noqa: S301 - own data
        copy.deepcopy(model),
        keras.models.clone_model(model),
    ):
        assert evalkit.explain(other, photo).saliency_map.shape == (24, 24)
    model.export(tmp_path / "saved", verbose=False)
    assert tf.saved_model.load(tmp_path / "saved").serve(photo[None].astype(np.float32)).shape == (1, 3)
