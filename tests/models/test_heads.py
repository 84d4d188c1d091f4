"""Heads: the score of a class is the model's own output, its complement is exact, its gradient has the right sign."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from evalkit.core.errors import ModelError, NotScored
from evalkit.explainers.catalog import EXPLAINERS
from evalkit.models.blackbox import BlackBox
from evalkit.models.classifier import Classifier
from evalkit.models.heads import Head
from evalkit.models.inference.perturbation import PhotoScores

SIDE = 16
LAYERS = keras.layers


@keras.saving.register_keras_serializable("tests")
class OwnSoftmax(LAYERS.Layer):
    """A layer of one's own whose end nobody can see from outside."""

    def __init__(self, count=3, **options):
        super().__init__(**options)
        self.count = count
        self.dense = LAYERS.Dense(count)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, tensor):
        return tf.nn.softmax(self.dense(tensor))


class OwnSigmoid(OwnSoftmax):
    def call(self, tensor):
        return tf.nn.sigmoid(self.dense(tensor))


def squashed(tensor):
    return 0.5 + tf.math.tanh(tensor / 2) / 2


def network(*end, seed=5):
    keras.utils.set_random_seed(seed)
    tensor = inputs = keras.Input((SIDE, SIDE, 3))
    tensor = LAYERS.Rescaling(1 / 255)(tensor)
    tensor = LAYERS.Conv2D(6, 3, activation="relu", name="conv", bias_initializer="random_normal")(tensor)
    tensor = LAYERS.GlobalAveragePooling2D()(tensor)
    for layer in end:
        tensor = layer(tensor)
    return keras.Model(inputs, tensor, name=f"network{seed}")


def dense(count, activation=None, scale=3.0):
    return LAYERS.Dense(count, activation, kernel_initializer=keras.initializers.RandomNormal(stddev=scale))


def averaged():
    one, two = network(dense(3, "softmax")), network(dense(3, "softmax"), seed=6)
    inputs = keras.Input((SIDE, SIDE, 3))
    return keras.Model(inputs, LAYERS.Average()([one(inputs), two(inputs)]))


def one_minus():
    model = network(dense(1, "sigmoid"))
    p = model.outputs[0]
    return keras.Model(model.inputs[0], LAYERS.Concatenate()([1 - p, p]))


def augmented():
    model = network(dense(3, "softmax"))
    inputs = keras.Input((SIDE, SIDE, 3))
    flipped = keras.ops.flip(inputs, axis=2)
    return keras.Model(inputs, (model(inputs) + model(flipped)) / 2)


# What it ends in: the model, the text of its head, and whether a softmax or sigmoid of its outputs is its score.
ENDS = {
    "softmax": (lambda: network(dense(3, "softmax")), "softmax", ""),
    "softmax layer and a cast": (
        lambda: network(dense(3), LAYERS.Softmax(), lambda t: keras.ops.cast(t, "float32")), "softmax", ""
    ),
    "ops.softmax": (lambda: network(dense(3), keras.ops.softmax), "softmax", ""),
    "tf.nn.softmax as activation": (lambda: network(dense(3, tf.nn.softmax)), "softmax", ""),
    "a function of one's own as activation": (lambda: network(dense(1, squashed)), "sigmoid, one unit", ""),
    "logits": (lambda: network(dense(3)), "softmax, of logits", "softmax"),
    "temperature of logits": (lambda: network(dense(3), lambda t: t / 2.5), "softmax, of logits", "softmax"),
    "log softmax": (lambda: network(dense(3), keras.ops.log_softmax), "softmax, of logits", "softmax"),
    "one sigmoid": (lambda: network(dense(1, "sigmoid")), "sigmoid, one unit", ""),
    "one sigmoid activation": (lambda: network(dense(1), LAYERS.Activation("sigmoid")), "sigmoid, one unit", ""),
    "ops.sigmoid": (lambda: network(dense(1), keras.ops.sigmoid), "sigmoid, one unit", ""),
    "one logit": (lambda: network(dense(1)), "sigmoid, one unit, of logits", "sigmoid"),
    "one probability, seen": (
        lambda: network(OwnSigmoid(1)),
        "sigmoid: one probability (seen), no logit, float32 resolution",
        "",
    ),
    "multilabel": (lambda: network(dense(4, "sigmoid")), "multilabel, a sigmoid for each class", ""),
    "two sigmoids": (lambda: network(dense(2, "sigmoid")), "multilabel, a sigmoid for each class", ""),
    "multilabel, seen": (
        lambda: network(OwnSigmoid(4)),
        "multilabel: a probability for each class (seen), no logit, float32 resolution",
        "",
    ),
    "average of softmaxes": (averaged, "probabilities (seen), no logit", ""),
    "test-time augmentation": (augmented, "probabilities (seen), no logit", ""),
    "one minus p, and p": (one_minus, "sigmoid, one unit (outputs p and 1 - p)", ""),
    "p, and one minus p, in a Lambda": (
        lambda: network(dense(1, "sigmoid"), LAYERS.Lambda(lambda p: tf.concat([p, 1 - p], axis=1))),
        "sigmoid, one unit (outputs p and 1 - p)",
        "",
    ),
    "two softmaxed logits": (lambda: network(dense(2, "softmax")), "softmax", ""),
    "a sigmoid that is normalized": (
        lambda: network(dense(3, "sigmoid"), lambda p: p / keras.ops.sum(p, axis=1, keepdims=True)),
        "probabilities (seen), no logit",
        "",
    ),
    "two sigmoids that are normalized": (
        lambda: network(dense(2, "sigmoid"), lambda p: p / keras.ops.sum(p, axis=1, keepdims=True)),
        "probabilities (seen), no logit",
        "",
    ),
    "softmax, then a clip": (
        lambda: network(dense(3, "softmax"), lambda t: keras.ops.clip(t, 1e-7, 1 - 1e-7)),
        "probabilities (seen), no logit",
        "",
    ),
    "softmax in a Lambda": (
        lambda: network(dense(3), LAYERS.Lambda(tf.nn.softmax)),
        "probabilities (seen), no logit",
        "",
    ),
    "a layer of one's own": (lambda: network(OwnSoftmax()), "probabilities (seen), no logit", ""),
    "softmax, sharpened": (
        # Weights that keep the probabilities away from 1, where 1 - p has few digits of float32.
        lambda: network(dense(3, "softmax", scale=1.0), lambda t: t**2 / keras.ops.sum(t**2, axis=-1, keepdims=True)),
        "probabilities (seen), no logit",
        "",
    ),
}  # fmt: skip


def images_of(rng, count=4):
    return rng.uniform(0, 255, (count, SIDE, SIDE, 3)).astype(np.float32)


def documented(outputs, transform):
    """Return the class scores that the documentation promises for a model's own outputs."""
    outputs = np.asarray(outputs, dtype=np.float64)
    if transform == "softmax":
        outputs = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    if transform == "sigmoid":
        outputs = 1 / (1 + np.exp(-outputs))
    return np.concatenate([1 - outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs


@pytest.mark.parametrize("end", ENDS)
def test_scores_are_the_models_own_outputs(end, rng):
    build, text, transform = ENDS[end]
    model, images = build(), images_of(rng)
    classifier = Classifier(model)
    assert classifier.head.text == text
    expected = documented(model(images, training=False).numpy(), transform)
    np.testing.assert_allclose(classifier.probabilities(images), expected, rtol=2e-5, atol=1e-6)
    assert classifier.n_classes == expected.shape[1]
    logits = classifier.logits(images)
    for target in range(classifier.n_classes):
        complement = np.exp(classifier.head.log_complement(logits, target))
        np.testing.assert_allclose(complement, 1 - expected[:, target], rtol=1e-3, atol=1e-6)
        odds = np.log(expected[:, target]) - np.log1p(-expected[:, target])
        np.testing.assert_allclose(classifier.head.log_odds(logits, target), odds, rtol=1e-3, atol=1e-4)


# The layers of the others run twice, or the gradient is that of the logit, which test_classifier.py looks at.
@pytest.mark.parametrize("end", [end for end in ENDS if "softmaxes" not in end and "augment" not in end])
def test_where_there_is_no_softmax_the_gradient_is_that_of_the_log_odds(end, rng):
    build, _, transform = ENDS[end]
    model, image = build(), images_of(rng, 1)
    classifier = Classifier(model)
    behind = keras.Model(model.get_layer("conv").output, model.outputs[0])
    features = keras.Model(model.inputs[0], model.get_layer("conv").output)(image)
    for target in range(classifier.n_classes):
        if classifier.head.kind == "softmax":
            continue
        with tf.GradientTape() as tape:
            tape.watch(features)
            odds = _log_odds(behind(features), transform, target, multilabel=classifier.head.kind == "multilabel")
        _, found = classifier.features.activations_and_gradients(image, [target], "conv")
        np.testing.assert_allclose(found, tape.gradient(odds, features).numpy(), rtol=2e-3, atol=1e-6)


def _log_odds(outputs, transform, target, *, multilabel):
    if transform == "sigmoid":
        outputs = tf.sigmoid(outputs)
    if outputs.shape[1] == 1:
        p = outputs[:, 0] if target == 1 else 1 - outputs[:, 0]
        return tf.math.log(p) - tf.math.log(1 - p)
    p = outputs[:, target]
    return tf.math.log(p) - tf.math.log(1 - p if multilabel else tf.reduce_sum(outputs, axis=1) - p)


def test_the_gradient_of_one_unit_is_plus_z_or_minus_z(rng):
    model, image = network(dense(1, "sigmoid")), images_of(rng, 1)
    classifier = Classifier(model)
    kernel = np.asarray(model.layers[-1].kernel)[:, 0]
    for target, sign in ((1, 1.0), (0, -1.0)):
        _, gradient = classifier.features.activations_and_gradients(image, [target], "conv")
        np.testing.assert_allclose(gradient[0].sum(axis=(0, 1)), sign * kernel, rtol=1e-5)
    yes, no = (EXPLAINERS.build("cam").explain(classifier, image, [target]) for target in (1, 0))
    np.testing.assert_allclose(yes, -no, rtol=1e-6)
    features = keras.Model(model.inputs[0], model.get_layer("conv").output)(image).numpy()[0]
    np.testing.assert_allclose(yes[0].mean(), (features @ kernel).mean(), rtol=1e-2)


def test_one_unit_keeps_drops_that_one_minus_p_loses():
    """p = sigmoid(40) is 1 in float64; black against white moves z by one."""
    inputs = keras.Input((4, 4, 3))
    end = LAYERS.Dense(1, "sigmoid", kernel_initializer="ones", bias_initializer=keras.initializers.Constant(40.0))
    model = keras.Model(inputs, end(LAYERS.GlobalAveragePooling2D()(LAYERS.Rescaling(1 / 765)(inputs))))
    classifier = Classifier(model)
    white = np.full((1, 4, 4, 3), 255, np.uint8)
    map_of_one = EXPLAINERS.build("occlusion(patch_size=4)").explain(classifier, white, [1])[0]
    np.testing.assert_allclose(map_of_one, np.exp(-40.0) - np.exp(-41.0), rtol=1e-4)


def test_two_outputs_of_one_unit_keep_what_one_minus_p_loses():
    """In float32, 1 - sigmoid(20) is 0; the unit's logit is reached."""
    inputs = keras.Input((4, 4, 3))
    unit = LAYERS.Dense(1, "sigmoid", kernel_initializer="ones", bias_initializer=keras.initializers.Constant(20.0))
    p = unit(LAYERS.GlobalAveragePooling2D()(LAYERS.Rescaling(1 / 765)(inputs)))
    for model, sure in (
        (keras.Model(inputs, LAYERS.Concatenate()([1 - p, p])), 1),
        (keras.Model(inputs, LAYERS.Concatenate()([p, 1 - p])), 0),
    ):
        classifier, white = Classifier(model), np.full((1, 4, 4, 3), 255, np.uint8)
        assert classifier.n_classes == 2
        found = EXPLAINERS.build("occlusion(patch_size=4)").explain(classifier, white, [sure])[0]
        np.testing.assert_allclose(found, np.exp(-20.0) - np.exp(-21.0), rtol=1e-4)


def test_a_single_probability_has_the_resolution_of_float32():
    head = Head("sigmoid", 1, from_logits=False)
    logits = head.class_logits(np.array([[1.0], [0.25], [0.0]]))
    np.testing.assert_allclose(head.scores(logits), [[0, 1], [0.75, 0.25], [1, 0]])
    assert head.is_float32
    assert not Head("probabilities", 3, from_logits=False).is_float32


def test_of_several_probabilities_the_complement_is_the_sum_of_the_others():
    head = Head("probabilities", 3, from_logits=False)
    logits = head.class_logits(np.array([[1.0, 3e-12, 1e-12]]))
    np.testing.assert_allclose(np.exp(head.log_complement(logits, 0)), 4e-12, rtol=1e-9)


def test_outputs_that_leave_the_range_of_probabilities_have_no_score():
    head = Head("probabilities", 2, from_logits=False)
    logits = head.class_logits(np.array([[0.3, 0.7], [0.3, 0.9], [-0.5, 1.5]]))
    assert np.isnan(head.scores(logits)).any(axis=1).tolist() == [False, True, True]
    assert not head.is_right(head.scores(logits)[1], [1])


def test_where_a_probability_is_zero_in_float32_the_map_is_not_scored():
    inputs = keras.Input((4, 4, 3))
    tensor = LAYERS.Conv2D(2, 1, name="conv", kernel_initializer="ones")(inputs)
    tensor = LAYERS.Dense(2, kernel_initializer=keras.initializers.Constant([[1.0, -1.0]] * 2))(
        LAYERS.GlobalAveragePooling2D()(tensor)
    )
    model = keras.Model(inputs, LAYERS.Lambda(tf.nn.softmax)(tensor))
    classifier = Classifier(model)
    white, dark = np.full((1, 4, 4, 3), 255, np.uint8), np.zeros((1, 4, 4, 3), np.uint8)
    with pytest.raises(NotScored, match="saturated"):
        EXPLAINERS.build("gradcam(layer=conv)").explain(classifier, white, [0])
    assert np.isfinite(EXPLAINERS.build("gradcam(layer=conv)").explain(classifier, dark, [0])).all()


def test_right_is_top_1_or_of_several_labels_a_half():
    scores = np.array([0.5, 0.9, 0.2])
    several, exclusive = Head("multilabel", 3), Head("softmax", 3)
    assert [several.is_right(scores, [index]) for index in range(3)] == [True, True, False]
    assert [exclusive.is_right(scores, [index]) for index in range(3)] == [False, True, False]
    sure = np.array([0.1, 0.2, 0.9])
    assert not several.is_right(sure, [-1])  # no label, not the last class
    assert not exclusive.is_right(sure, [-1])


@pytest.mark.parametrize(
    ("end", "question"),
    [
        ([dense(3, "relu")], "--head softmax if they are the logits .* or --head multilabel"),
        ([dense(3, "softplus")], "--head softmax"),
        ([dense(1, "tanh")], "--head sigmoid if it is the logit of class 1, or --head probabilities"),
        ([dense(1, "relu")], "--head sigmoid"),
    ],
)
def test_an_ambiguous_end_is_a_question(end, question):
    with pytest.raises(ModelError, match=question):
        Classifier(network(*end))


def test_an_answer_is_taken(rng):
    images = images_of(rng)
    model = network(dense(3, "relu"))
    np.testing.assert_allclose(
        Classifier(model, head="softmax").probabilities(images), documented(model(images).numpy(), "softmax"), rtol=1e-4
    )
    several = Classifier(network(dense(3)), head="multilabel")
    assert several.head.kind == "multilabel"
    np.testing.assert_allclose(
        several.probabilities(images), documented(several.model(images).numpy(), "sigmoid"), rtol=1e-4
    )
    exclusive = Classifier(network(dense(3, "sigmoid")), head="softmax")  # the softmax of what enters the sigmoid
    np.testing.assert_allclose(exclusive.probabilities(images).sum(axis=1), 1)


@pytest.mark.parametrize(
    ("build", "head", "words"),
    [
        (lambda: network(dense(3, "softmax")), "sigmoid", "has 3 outputs, and one unit is needed"),
        (lambda: network(dense(1, "sigmoid")), "softmax", "--head sigmoid is for one unit"),
        (averaged, "softmax", "probabilities that sum to 1; use --head probabilities"),
        (averaged, "multilabel", "probabilities that sum to 1"),
        (lambda: network(dense(3, "softmax")), "multilabel", "use --head softmax"),
        (lambda: network(dense(3)), "probabilities", "puts out numbers from"),
        (lambda: network(dense(3, "sigmoid")), "probabilities", "--head multilabel"),
    ],
)
def test_an_answer_that_contradicts_the_outputs_is_refused(build, head, words):
    with pytest.raises(ModelError, match=words):
        Classifier(build(), head=head)


def test_a_softmax_over_one_output_is_refused():
    with pytest.raises(ModelError, match="always 1"):
        Classifier(network(dense(1, "softmax")))


def test_metrics_use_the_score_of_the_head(rng):
    model = network(dense(1, "sigmoid"))
    classifier, image = Classifier(model), images_of(rng, 1)[0]
    scores = PhotoScores(classifier, image, 0, classifier.logits(image[None])[0])
    from evalkit.metrics.requests import Perturbation

    rank = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    ((_, curve),) = scores.scores([Perturbation("image", "mean", rank, np.array([0, 100, 256]))])
    half = image.copy()
    half[rank < 100] = (123.68, 116.779, 103.939)
    mean = np.broadcast_to(np.float32((123.68, 116.779, 103.939)), image.shape)
    expected = 1 - model(np.stack([image, half, mean])).numpy()[:, 0]
    np.testing.assert_allclose(curve, expected, rtol=1e-4)


def test_a_black_box_is_seen_as_a_model_is(rng):
    model, images = network(dense(3, "softmax")), images_of(rng)
    box = Classifier(BlackBox(lambda batch: model(batch).numpy(), (SIDE, SIDE)))
    assert box.head.text == "probabilities (seen), no logit"
    assert box.offers == {"scores"}
    np.testing.assert_allclose(box.probabilities(images), model(images).numpy(), rtol=1e-5)
    spec = EXPLAINERS.build("occlusion(patch_size=5)")
    ours, theirs = (
        spec.explain(classifier, images[:1].astype(np.uint8), [1]) for classifier in (Classifier(model), box)
    )
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-6)
    changed = network(dense(3, "softmax"), seed=9)
    other = Classifier(BlackBox(lambda batch: changed(batch).numpy(), (SIDE, SIDE)))
    assert other.fingerprint != box.fingerprint
    with pytest.raises(ModelError, match="needs features and gradients"):
        EXPLAINERS.build("gradcam").check(box)


def test_probabilities_are_not_computed_in_bfloat16():
    with pytest.raises(ModelError, match="three digits"):
        Classifier(averaged()).in_precision("bfloat16")
    fast = Classifier(network(dense(1, "sigmoid"))).in_precision("bfloat16")
    assert fast.head == Head("sigmoid", 1)


def logarithm(end, *rest):
    """Return a model of the logarithms of mean colors: on the black image it puts out NaN."""
    keras.utils.set_random_seed(5)
    inputs = keras.Input((SIDE, SIDE, 3))
    tensor = keras.ops.log(LAYERS.GlobalAveragePooling2D()(inputs))
    for layer in (end, *rest):
        tensor = layer(tensor)
    return keras.Model(inputs, tensor)


@pytest.mark.parametrize(
    ("end", "text"),
    [
        ([dense(3, "softmax")], "softmax"),
        ([dense(3, "softmax"), lambda t: keras.ops.clip(t, 1e-7, 1)], "probabilities (seen), no logit"),
        ([dense(3)], "softmax, of logits"),
    ],
)
def test_probe_images_without_finite_outputs_are_passed_over(end, text, rng):
    model, images = logarithm(*end), images_of(rng)
    classifier = Classifier(model)
    assert classifier.head.text == text
    expected = documented(model(images).numpy(), "softmax" if "logits" in text else "")
    np.testing.assert_allclose(classifier.probabilities(images), expected, rtol=1e-5, atol=1e-6)


def test_a_probability_that_rounding_made_negative_is_none_of_logits(rng):
    def rest(tensor):
        return LAYERS.Concatenate()([tensor, (1 - 1e-6) - keras.ops.sum(tensor, axis=1, keepdims=True)])

    model, images = network(dense(2, scale=200.0), LAYERS.Softmax(), rest), images_of(rng)
    assert (model(images).numpy() < 0).any()
    classifier = Classifier(model)
    assert classifier.head.kind == "probabilities"
    np.testing.assert_allclose(classifier.probabilities(images), model(images).numpy(), rtol=1e-5, atol=1e-5)


def test_a_model_of_whole_numbers_keeps_its_logits(rng):
    inputs = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    tensor = LAYERS.GlobalAveragePooling2D()(LAYERS.Rescaling(1 / 255)(inputs))
    assert Classifier(keras.Model(inputs, dense(3, "softmax")(tensor))).head == Head("softmax", 3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_model_of_half_precision_with_float32_scores_keeps_its_logits(dtype):
    inputs = keras.Input((SIDE, SIDE, 3))
    tensor = LAYERS.Conv2D(8, 3, dtype=f"mixed_{dtype}")(LAYERS.Rescaling(1 / 255)(inputs))
    tensor = LAYERS.Conv2D(8, 3, dtype=f"mixed_{dtype}")(tensor)
    tensor = LAYERS.GlobalAveragePooling2D(dtype=f"mixed_{dtype}")(tensor)
    outputs = LAYERS.Activation("softmax", dtype="float32")(dense(3)(tensor))
    assert Classifier(keras.Model(inputs, outputs)).head == Head("softmax", 3)


def gated_features():
    tensor = inputs = keras.Input((SIDE, SIDE, 3))
    tensor = LAYERS.Conv2D(6, 3, activation="relu")(LAYERS.Rescaling(1 / 255)(tensor))
    gate = dense(6, "sigmoid")(LAYERS.GlobalAveragePooling2D()(tensor))
    tensor = tensor * LAYERS.Reshape((1, 1, 6))(gate)
    return keras.Model(inputs, dense(2)(LAYERS.GlobalAveragePooling2D()(tensor)))


@pytest.mark.parametrize(
    "build",
    [
        gated_features,
        lambda: network(dense(1, "sigmoid"), dense(2)),
        lambda: network(lambda t: dense(2)(t) * dense(1, "sigmoid")(t)),
    ],
)
def test_a_sigmoid_inside_a_model_of_two_logits_is_no_end(build, rng):
    keras.utils.set_random_seed(5)
    model, images = build(), images_of(rng)
    classifier = Classifier(model)
    assert classifier.head == Head("softmax", 2, ending=False)
    expected = documented(model(images).numpy(), "softmax")
    np.testing.assert_allclose(classifier.probabilities(images), expected, rtol=1e-4)
    np.testing.assert_allclose(classifier.in_precision("bfloat16").probabilities(images), expected, atol=2e-2)


class Scores(LAYERS.Dense):
    """A dense layer that cannot be made again from its configuration."""

    def __init__(self):
        super().__init__(3, activation="softmax", kernel_initializer=keras.initializers.RandomNormal(stddev=3.0))


def test_a_layer_that_cannot_be_copied_is_judged_by_what_it_puts_out(rng):
    model, images = network(Scores()), images_of(rng)
    classifier = Classifier(model)
    assert classifier.head.text == "probabilities (seen), no logit"
    np.testing.assert_allclose(classifier.probabilities(images), model(images).numpy(), rtol=1e-5, atol=1e-6)


class SquashedDense(LAYERS.Dense):
    """A dense layer without an activation by its configuration, which squashes its outputs all the same."""

    def call(self, tensor):
        return tf.math.sigmoid(super().call(tensor))


@pytest.mark.parametrize(("count", "kind"), [(1, "sigmoid"), (3, "multilabel")])
def test_a_dense_layer_of_ones_own_is_judged_by_what_it_puts_out(count, kind, rng):
    model, images = network(SquashedDense(count)), images_of(rng)
    classifier = Classifier(model)
    assert classifier.head == Head(kind, count, from_logits=False)
    np.testing.assert_allclose(
        classifier.probabilities(images), documented(model(images).numpy(), ""), rtol=1e-5, atol=1e-6
    )


def test_logits_that_lie_in_0_to_1_by_chance_are_a_question(rng):
    """Images of far more contrast show that they have no upper bound."""
    model, images = network(dense(3), keras.ops.relu, lambda tensor: tensor / 20), images_of(rng)
    assert 0 <= model(images).numpy().min() <= model(images).numpy().max() < 1
    with pytest.raises(ModelError, match="neither surely logits nor surely probabilities"):
        Classifier(model)
    for answer, transform in (("softmax", "softmax"), ("multilabel", "sigmoid")):
        expected = documented(model(images).numpy(), transform)
        np.testing.assert_allclose(Classifier(model, head=answer).probabilities(images), expected, rtol=1e-4)


def test_the_unit_of_two_outputs_keeps_float32_in_bfloat16():
    fast = Classifier(one_minus()).in_precision("bfloat16").graph.computed
    assert [layer.compute_dtype for layer in fast.layers if isinstance(layer, LAYERS.Dense)] == ["float32"]
    assert fast.get_layer("conv").compute_dtype == "bfloat16"
