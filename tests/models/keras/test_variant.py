"""The changed copy of a model: which weights are new, and the user's model stays as it is."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from evalkit.core.errors import ModelError
from evalkit.metrics.requests import Variant
from evalkit.models.classifier import Classifier
from evalkit.models.keras.variant import ChangedWeights, weighted_layers

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


def with_new_weights(model, seed):
    changing = ChangedWeights(model)
    changing.apply(Variant("output", seed))
    return changing.copy


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


def test_one_changed_copy_is_counted_with_its_parent(images):
    classifier = Classifier(trained(sequential))
    variant = classifier.variant(Variant("output", 11))
    assert classifier.variant(Variant("output", 11)) is variant
    assert classifier.variant(Variant("first", 12, 1)) is variant  # the same copy, with other weights
    assert classifier.variant(Variant("output", 11)) is variant
    assert (classifier.count.forward, classifier.count.backward) == (0, 0)  # making one takes no pass
    variant.logits(images)
    classifier.logits(images[:1])
    variant.features.activations_and_gradients(images, [0, 1, 2], variant.target_layer)
    assert classifier.count is variant.count
    assert (classifier.count.forward, classifier.count.backward) == (3 + 1 + 3, 3)


def normalized():
    """A network with input statistics, batch normalization, a depthwise and a separable convolution, shared layers."""
    scaling = keras.layers.Normalization(mean=0.0, variance=1.0)
    adapted = keras.layers.Normalization()
    adapted.build((None, SIDE, SIDE, 3))
    shared = keras.layers.Conv2D(4, 1, padding="same", name="shared")
    images = keras.Input((SIDE, SIDE, 3))
    tensor = keras.layers.Conv2D(4, 3, padding="same", name="first")(adapted(scaling(images)))
    tensor = keras.layers.BatchNormalization(beta_initializer="ones", name="norm")(tensor)
    tensor = keras.layers.Add()([shared(tensor), shared(keras.layers.ReLU()(tensor))])
    tensor = keras.layers.DepthwiseConv2D(3, name="depthwise")(tensor)
    tensor = keras.layers.SeparableConv2D(4, 3, name="separable")(tensor)
    tensor = keras.layers.GlobalAveragePooling2D()(backbone_of(4)(tensor))
    return keras.Model(images, keras.layers.Dense(CLASSES, activation="softmax", name="scores")(tensor))


def backbone_of(channels):
    images = keras.Input((None, None, channels))
    return keras.Model(images, keras.layers.Conv2D(4, 3, name="nested_conv")(images), name="nested")


def first_of(changing, count, seed=11):
    changing.apply(Variant("first", seed, count))
    return weights_of(changing.copy)


def test_layers_are_counted_in_the_order_computed():
    names = [layer.name for layer in weighted_layers(normalized())]
    assert names == ["first", "norm", "shared", "depthwise", "separable", "nested_conv", "scores"]
    assert Classifier(normalized()).n_layers == 7


@pytest.mark.parametrize("make", [*MODELS, normalized])
def test_first_layers_are_new_and_the_rest_are_the_users(make):
    model = trained(make)
    before, changing = weights_of(model), ChangedWeights(model)
    layers = weighted_layers(changing.copy)
    owned = [{id(weight) for weight in layer.weights} for layer in layers]
    for count in range(1, len(layers) + 1):
        after = first_of(changing, count)
        new = set().union(*owned[:count])
        assert equal(before, after) == [id(weight) not in new for weight in changing.copy.weights]
    assert all(equal(before, weights_of(model)))


@pytest.mark.parametrize("make", [sequential, normalized])
def test_weights_of_a_stage_do_not_depend_on_what_came_before(make):
    model = trained(make)
    last = len(weighted_layers(model))
    fresh = {count: first_of(ChangedWeights(model), count) for count in (1, 2, last)}
    changing = ChangedWeights(model)
    for count in (2, 1, last, 1, last, 2):
        assert all(equal(first_of(changing, count), fresh[count]))
        first_of(changing, last, seed=5)
        changing.apply(Variant("output", 5))


def test_after_an_error_all_weights_are_set_again(images, monkeypatch):
    classifier = Classifier(trained(windowed_model), precision="bfloat16")
    expected = classifier.variant(Variant("first", 3, 2)).logits(images)
    classifier.variant(Variant("first", 3, 1))
    for broken in ("evalkit.models.keras.source.KerasSource.reload", "evalkit.models.keras.variant._drawn"):
        with monkeypatch.context() as patched:
            patched.setattr(broken, lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                classifier.variant(Variant("first", 5, 2))
        np.testing.assert_array_equal(classifier.variant(Variant("first", 3, 2)).logits(images), expected)


def test_a_stage_keeps_the_new_weights_of_the_stage_before():
    changing = ChangedWeights(trained(sequential))
    one, two = first_of(changing, 1), first_of(changing, 2)
    assert all(equal(one[:2], two[:2]))
    assert not np.array_equal(two[0], first_of(changing, 2, seed=12)[0])


def test_layers_of_one_shape_get_different_weights():
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(),
                              *(keras.layers.Dense(3) for _ in range(3))])  # fmt: skip
    weights = first_of(ChangedWeights(model), 3)
    assert not np.array_equal(weights[2], weights[4])


def test_batch_normalization_gets_its_initial_statistics():
    changing = ChangedWeights(trained(normalized))
    first_of(changing, 2)
    norm = weighted_layers(changing.copy)[1]
    gamma, beta, mean, variance = (weight.numpy() for weight in norm.weights)
    assert (gamma == 1).all()
    assert (beta == 1).all()  # by its own initializer
    assert (mean == 0).all()
    assert (variance == 1).all()


def everything_seen(classifier, images):
    """Whatever a classifier computes from its weights, by each of its ways."""
    layer = classifier.target_layer
    found = {
        "logits": classifier.logits(images),
        "features": classifier.features.activations_and_gradients(images, [0, 1, 2], layer),
        "pixels": classifier.input_gradients(images, [0, 1, 2]),
        "above": classifier.above.without_channels(images[0].astype(np.float32), layer)[1],
        "composed": classifier.composed.logits(
            images[:2].astype(np.float32), np.arange(SIDE * SIDE, dtype=np.int32).reshape(1, SIDE, SIDE),
            np.array([[0, 1, 0, 40]], np.int32)
        ),
        "blended": classifier.blended.logits(
            *images[:2].astype(np.float32), 1, lambda a, b: np.full((b - a, SIDE, SIDE), 0.5, np.float32)
        ),
        "given": classifier.given.flat_for("")[0](classifier.given.preprocessed(images)).numpy(),
    }  # fmt: skip
    places = np.arange(0, SIDE - 1, 2, dtype=np.int64)
    image = images[0].astype(np.float32)
    found["occluded"] = classifier.occluded.logits(image, np.zeros_like(image), places, places, 2)
    return found


def windowed_model():
    """A chain that windows are worth on, with padding, which copies its layers, and a softmax inside the last one."""
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Rescaling(1 / 255),
            *(keras.layers.Conv2D(6, 3, padding="same", activation="relu") for _ in range(2)),
            keras.layers.BatchNormalization(),
            keras.layers.MaxPooling2D(4),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("make", [windowed_model, nested, residual])
def test_everything_is_computed_with_the_new_weights(make, precision, images):
    keras.utils.set_random_seed(2)
    model = make()
    classifier = Classifier(model, precision=precision)
    with classifier.variant(Variant("first", 3, 1)).sharing():
        variants = Variant("first", 3, 1), Variant("first", 3, 2), Variant("output", 4), Variant("first", 9, 3)
        for number, variant in enumerate(variants):
            changed = classifier.variant(variant)
            found = everything_seen(changed, images)
            if precision == "bfloat16" and number % 2 == 0:
                continue  # reloaded by the same code; every variant is compared in float32
            copy = keras.models.clone_model(model)
            copy.set_weights(weights_of(changed.model))
            fresh = Classifier(copy, precision=precision, head=classifier.head, target_layer=classifier.target_layer)
            for name, expected in everything_seen(fresh, images).items():
                np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6, err_msg=f"{name} {variant}")
    if make is windowed_model:
        assert changed.occluded.method(*[np.arange(0, SIDE - 1, 2)] * 2, 2) == "windowed"


def one_unit():
    images = keras.Input((SIDE, SIDE, 3))
    tensor = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, activation="relu")(images / 255.0))
    return keras.Model(images, keras.layers.Dense(1, activation="sigmoid")(tensor))


def both_of_one_unit():
    model = one_unit()
    unit = model.output
    return keras.Model(model.input, keras.layers.Concatenate()([1 - unit, unit]))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("make", [one_unit, both_of_one_unit])
def test_sigmoid_units_are_computed_with_the_new_weights(make, precision, images):
    keras.utils.set_random_seed(2)
    model = make()
    classifier = Classifier(model, precision=precision)
    for variant in (Variant("first", 3, 1), Variant("first", 3, 2), Variant("first", 4, 2)):
        changed = classifier.variant(variant)
        copy = keras.models.clone_model(model)
        copy.set_weights(weights_of(changed.model))
        fresh = Classifier(copy, precision=precision, head=classifier.head)
        np.testing.assert_allclose(changed.logits(images), fresh.logits(images), rtol=1e-5, atol=1e-6)
        found, expected = (one.input_gradients(images, [0, 1, 1]) for one in (changed, fresh))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_variants_of_tokens_know_where_the_tokens_are():
    classifier = Classifier(trained(sequential))
    changed = classifier.variant(Variant("first", 3, 1))
    assert changed.grids is classifier.grids
    assert changed.target_layer == classifier.target_layer


def test_one_copy_is_made_whatever_the_variants(monkeypatch):
    made = []
    clone = keras.models.clone_model
    monkeypatch.setattr(keras.models, "clone_model", lambda *args, **kwargs: made.append(1) or clone(*args, **kwargs))
    classifier = Classifier(trained(sequential))
    for seed in (1, 2, 3):
        for first in (1, 2):
            classifier.variant(Variant("first", seed, first))
        classifier.variant(Variant("output", seed))
    assert len(made) == 1


def test_a_model_that_cannot_be_copied_is_tried_once(monkeypatch):
    made = []
    clone = keras.models.clone_model
    classifier = Classifier(ending_in(keras.layers.Dense(3), Stubborn(1))())
    monkeypatch.setattr(keras.models, "clone_model", lambda *args, **kwargs: made.append(1) or clone(*args, **kwargs))
    for seed in (1, 2):
        with pytest.raises(ModelError, match=r"model 'broken' cannot be copied .*; leave out mprt and emprt"):
            classifier.variant(Variant("first", seed, 1))
    assert len(made) == 1


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (ending_in(Scale(name="scale"), keras.layers.Dense(3)), "layer 'scale' of model 'broken' has no scale_init"),
        (
            ending_in(keras.layers.Dense(3, kernel_initializer=seven, name="last")),
            "layer 'last' of model 'broken' has no kernel_initializer of Keras",
        ),
        (
            ending_in(keras.layers.BatchNormalization(), keras.layers.Dense(3, kernel_initializer="zeros")),
            "no layer of model 'broken' has a random initializer",
        ),
        (ending_in(), "model 'broken' has no layer with weights"),
    ],
)
def test_model_without_random_layers_is_refused(make, message):
    model = make()
    with pytest.raises(ModelError, match=f"{message}.*; leave out mprt and emprt$"):
        ChangedWeights(model).apply(Variant("first", 11, 1))


def test_model_without_a_single_output_layer_can_be_changed_from_below():
    model = trained(joined)
    changing = ChangedWeights(model)
    assert equal(weights_of(model), first_of(changing, 1)) == [False, False, True, True]


@pytest.mark.parametrize("first", [0, 3])
def test_a_number_of_layers_that_the_model_lacks_is_an_error(first):
    with pytest.raises(ValueError, match=f"first={first}: model '.*' has 2 layers with weights"):
        ChangedWeights(trained(sequential)).apply(Variant("first", 11, first))
