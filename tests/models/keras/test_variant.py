"""Changed copies of a model: only the output layer is new, and the user's model stays as it is."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from evalkit.core.errors import ModelError
from evalkit.metrics.requests import Variant
from evalkit.models.classifier import Classifier
from evalkit.models.keras.variant import with_new_weights

SIDE, CLASSES = 16, 3


def backbone():
    images = keras.Input((SIDE, SIDE, 3))
    tensor = keras.layers.Conv2D(4, 3, activation="relu", name="inner_conv")(images)
    return keras.Model(images, keras.layers.BatchNormalization()(tensor), name="backbone")


def sequential():
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(CLASSES, activation="softmax", name="scores"),
        ]
    )


def nested():
    images = keras.Input((SIDE, SIDE, 3))
    tensor = keras.layers.GlobalAveragePooling2D()(backbone()(images / 255.0))  # with an operator
    return keras.Model(images, keras.layers.Dense(CLASSES, activation="softmax", name="scores")(tensor))


def nested_head():
    features = keras.Input((4,))
    head = keras.Model(features, keras.layers.Dense(CLASSES, name="scores")(features), name="head")
    return keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), backbone(), keras.layers.GlobalAveragePooling2D(), head, keras.layers.Softmax()]
    )


def residual():
    images = keras.Input((SIDE, SIDE, 3))
    tensor = keras.layers.Conv2D(4, 3, padding="same")(images)
    tensor = keras.layers.Add()([tensor, keras.layers.Conv2D(4, 3, padding="same", activation="relu")(tensor)])
    tensor = keras.layers.Flatten()(keras.layers.MaxPooling2D(4)(tensor))
    return keras.Model(images, keras.layers.Activation("softmax")(keras.layers.Dense(CLASSES, name="scores")(tensor)))


def convolution_end():
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Conv2D(CLASSES, 1, name="scores", kernel_initializer="he_normal"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Reshape((CLASSES,)),
            keras.layers.Softmax(),
        ]
    )


MODELS = (sequential, nested, nested_head, residual, convolution_end)


def trained(make, seed=5):
    """A model whose weights are unlike those of any initializer."""
    keras.utils.set_random_seed(seed)
    model = make()
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.2, 0.8, weight.shape).astype(np.float32) for weight in model.weights])
    return model


def weights_of(model):
    return [weight.numpy().copy() for weight in model.weights]


def equal(first, second):
    return [np.array_equal(one, other) for one, other in zip(first, second, strict=True)]


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize("make", MODELS)
def test_only_the_output_layer_gets_new_weights(make):
    model = trained(make)
    before, architecture = weights_of(model), model.to_json()
    copy = with_new_weights(model, 11)
    assert all(equal(before, weights_of(model)))
    assert model.to_json() == architecture
    # The output layer is the last: its kernel and its bias are the last two weights.
    assert equal(before, weights_of(copy)) == [True] * (len(before) - 2) + [False, False]
    assert not {id(weight) for weight in copy.weights} & {id(weight) for weight in model.weights}


@pytest.mark.parametrize("make", MODELS)
def test_same_seed_gives_same_weights(make):
    model = trained(make)
    first, again, other = (weights_of(with_new_weights(model, seed)) for seed in (11, 11, 12))
    assert all(equal(first, again))
    assert not np.array_equal(first[-2], other[-2])


def test_new_weights_do_not_depend_on_global_seeds():
    model, found = trained(sequential), []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        found.append(weights_of(with_new_weights(model, 11)))
    assert all(equal(*found))


def test_new_weights_are_of_the_layers_own_initializers():
    def make():
        model = sequential()
        model.pop()
        model.add(
            keras.layers.Dense(
                200,
                kernel_initializer=keras.initializers.RandomUniform(7.0, 9.0, seed=1),
                bias_initializer=keras.initializers.Constant(-4.0),
            )
        )
        return model

    kernel, bias = weights_of(with_new_weights(trained(make), 11))[-2:]
    assert 7 <= kernel.min() < 7.2
    assert 8.8 < kernel.max() <= 9
    assert (bias == -4.0).all()
    # The seed of the initializer itself is not used again: else every variant would be the same.
    assert not np.array_equal(kernel, weights_of(with_new_weights(trained(make), 12))[-2])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("make", MODELS)
def test_scores_of_a_variant_differ(make, precision, images):
    classifier = Classifier(trained(make), precision=precision)
    before = classifier.probabilities(images)
    variant = classifier.variant(Variant("output", 11))
    assert variant.precision == classifier.precision == precision
    assert (variant.probabilities(images) != before).any(axis=1).all()
    np.testing.assert_array_equal(classifier.probabilities(images), before)
    assert variant.target_layer == classifier.target_layer
    assert variant.fingerprint != classifier.fingerprint


@pytest.mark.parametrize("make", [sequential, nested, nested_head, residual])
def test_bfloat16_variant_sees_the_same_features(make, images):
    from evalkit.models.keras.graph import TensorAt

    classifier = Classifier(trained(make), precision="bfloat16")
    variant = classifier.variant(Variant("output", 11))
    layer = TensorAt(classifier.target_layer)
    np.testing.assert_array_equal(
        variant.features.activations(images, layer), classifier.features.activations(images, layer)
    )


def test_mixed_precision_variant_sees_the_same_features(images):
    from evalkit.models.keras.graph import TensorAt

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = keras.Sequential(
            [
                keras.Input((SIDE, SIDE, 3)),
                keras.layers.Rescaling(1 / 255, dtype="float32"),
                keras.layers.Conv2D(4, 3, activation="relu", dtype="float32", name="exact"),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(CLASSES, dtype="float32"),
            ]
        )
    finally:
        keras.config.set_dtype_policy(policy)
    classifier = Classifier(model)
    variant = classifier.variant(Variant("output", 11))
    np.testing.assert_array_equal(
        variant.features.activations(images, TensorAt("exact")),
        classifier.features.activations(images, TensorAt("exact")),
    )


def test_variants_are_kept_and_counted_with_their_parent(images):
    classifier = Classifier(trained(sequential))
    variant = classifier.variant(Variant("output", 11))
    assert classifier.variant(Variant("output", 11)) is variant
    assert classifier.variant(Variant("output", 12)) is not variant
    assert (classifier.count.forward, classifier.count.backward) == (0, 0)  # making one takes no pass
    variant.logits(images)
    classifier.logits(images[:1])
    variant.features.activations_and_gradients(images, [0, 1, 2], variant.target_layer)
    assert classifier.count is variant.count
    assert (classifier.count.forward, classifier.count.backward) == (3 + 1 + 3, 3)


class Scale(keras.layers.Layer):
    """A layer with a weight that it does not say how to initialize."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

    def call(self, tensor):
        return tensor * self.scale


class Stubborn(keras.layers.Layer):
    """A layer that cannot be made from its configuration."""

    def __init__(self, needed):
        super().__init__()
        self.needed = needed

    def call(self, tensor):
        return tensor


@keras.saving.register_keras_serializable("tests")
def seven(shape, dtype=None):
    return keras.ops.full(shape, 7.0, dtype=dtype)


def joined():
    images = keras.Input((SIDE, SIDE, 3))
    tensor = keras.layers.Flatten()(images)
    halves = [keras.layers.Dense(CLASSES)(tensor) for _ in range(2)]
    return keras.Model(images, keras.layers.Add()(halves), name="joined")


def ending_in(*layers):
    return lambda: keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), keras.layers.GlobalAveragePooling2D(), *layers], name="broken"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (ending_in(keras.layers.Dense(3), Scale(name="last")), "layer 'last' of model 'broken' has no scale_init"),
        (
            ending_in(keras.layers.Dense(3, kernel_initializer=seven, name="last")),
            "layer 'last' of model 'broken' has no kernel_initializer of Keras",
        ),
        (
            ending_in(keras.layers.Dense(3, kernel_initializer="zeros", name="last")),
            "layer 'last' of model 'broken' has no random initializer",
        ),
        (
            ending_in(keras.layers.Dense(3), keras.layers.BatchNormalization(name="last")),
            "layer 'last' of model 'broken' has no random initializer",
        ),
        (ending_in(keras.layers.Dense(3), Stubborn(1)), "model 'broken' cannot be copied"),
        (ending_in(), "model 'broken' has no single output layer with weights"),
        (joined, "model 'joined' has no single output layer with weights"),
    ],
)
def test_model_without_a_random_output_layer_is_refused(make, message):
    model = make()
    before = weights_of(model)
    with pytest.raises(ModelError, match=f"{message}.*leave out mprt"):
        with_new_weights(model, 11)
    assert all(equal(before, weights_of(model)))
