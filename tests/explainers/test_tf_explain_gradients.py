"""tf-explain's gradient methods, beside their formulas by hand and the library's own calls."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tf_explain.core.gradients_inputs import GradientsInputs
from tf_explain.core.integrated_gradients import IntegratedGradients
from tf_explain.core.smoothgrad import SmoothGrad
from tf_explain.core.vanilla_gradients import VanillaGradients

from evalkit.core.errors import ConfigError, ModelError
from evalkit.core.randomness import generator
from evalkit.explainers.controls import image_digest
from evalkit.explainers.tf_explain import TfExplainGradCam
from evalkit.explainers.tf_explain_gradients import (
    TfExplainGradientsInputs,
    TfExplainIntegratedGradients,
    TfExplainSmoothGrad,
    TfExplainVanillaGradients,
)
from evalkit.models.classifier import Classifier
from evalkit.models.zoo.load import load_classifier
from tests.closeness import require_equal_gradients

layers = keras.layers
SIDE = 12
BOTH = (0, 2)


def network(*end, shape=(SIDE, SIDE, 3), units=3, activation=None, spread=0.1, **options):
    """A functional network whose last dense layer has an activation, or layers behind it."""
    keras.utils.set_random_seed(6)
    inputs = keras.Input(shape)
    tensor = layers.Conv2D(4, 3, activation="relu", name="conv", **options)(layers.Rescaling(1 / 127.5, -1.0)(inputs))
    initializer = keras.initializers.RandomNormal(stddev=spread)
    tensor = layers.Dense(units, activation, kernel_initializer=initializer, **options)(layers.Flatten()(tensor))
    for one in end:
        tensor = one(tensor)
    return keras.Model(inputs, tensor)


def photos(count=1, shape=(SIDE, SIDE, 3)):
    return np.random.default_rng(3).integers(0, 256, (count, *shape), dtype=np.uint8)


def gradient_of(explained, images):
    """The gradient at images of the sum of a function of them, (N, H, W, C)."""
    images = tf.constant(images, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)
        values = explained(images)
    return tape.gradient(values, images).numpy()


def reduced(values):
    return np.abs(values.astype(np.float64)).sum(axis=-1)


def noisy(image, prepared, samples, noise, seed):
    random = generator(seed, image_digest(image), "tf_explain.smoothgrad")
    legacy = np.random.RandomState(random.integers(0, 2**32, 8, dtype=np.uint32))
    return prepared + legacy.normal(0, noise, (samples, *prepared.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def mini():
    return load_classifier("vgg16-mini")


@pytest.fixture(scope="module")
def scene(mini):
    """One image as pixels, and as vgg16-mini takes it."""
    image = np.random.default_rng(8).integers(0, 256, (*mini.input_size, 3), dtype=np.uint8)
    return image, mini.given.preprocessed(image[None])[0]


class TestFormulas:
    """Each on vgg16-mini, which ends in a dense layer with a softmax inside."""

    def test_vanilla_gradients_are_of_the_softmax_score(self, mini, scene):
        expected = gradient_of(lambda x: mini.model(x)[:, 4], scene[1][None])
        require_equal_gradients(TfExplainVanillaGradients().explain(mini, scene[0][None], [4]), reduced(expected))

    def test_gradients_inputs_multiply_by_the_models_input(self, mini, scene):
        expected = gradient_of(lambda x: mini.model(x)[:, 4], scene[1][None]) * scene[1]
        require_equal_gradients(TfExplainGradientsInputs().explain(mini, scene[0][None], [4]), reduced(expected))

    def test_smoothgrad_averages_gradients_of_the_cross_entropy(self, mini, scene):
        copies = noisy(*scene, samples=5, noise=1.0, seed=0)
        expected = gradient_of(lambda x: -tf.math.log(mini.model(x)[:, 4]), copies).mean(axis=0)
        require_equal_gradients(TfExplainSmoothGrad().explain(mini, scene[0][None], [4])[0], reduced(expected), 1e-4)

    def test_integrated_gradients_are_a_mean_gradient_from_zero(self, mini, scene):
        path = np.stack([scene[1] * step / 9 for step in range(10)])
        expected = gradient_of(lambda x: mini.model(x)[:, 4], path).mean(axis=0)
        require_equal_gradients(
            TfExplainIntegratedGradients().explain(mini, scene[0][None], [4])[0], reduced(expected), 1e-4
        )


class TestLibrary:
    """The library's own calls with the user's model, which is functional and so needs no help."""

    @pytest.mark.parametrize("separate", [False, True])
    @pytest.mark.parametrize(
        ("explainer", "library"),
        [(TfExplainVanillaGradients(), VanillaGradients), (TfExplainGradientsInputs(), GradientsInputs)],
    )
    @pytest.mark.filterwarnings("ignore:Unsupported model architecture")
    def test_a_separate_activation_is_taken_off(self, explainer, library, separate):
        model = network(layers.Activation("softmax")) if separate else network(activation="softmax")
        image = photos()
        scores = library().get_score_model(model)
        assert (scores is model) != separate
        expected = library.compute_gradients(image.astype(np.float32), scores, 1).numpy()
        require_equal_gradients(explainer.explain(Classifier(model), image, [1]), reduced(expected))

    def test_integrated_gradients(self):
        model, image = network(activation="softmax"), photos()
        path = IntegratedGradients.generate_interpolations(image.astype(np.float32), 4)
        expected = IntegratedGradients.get_integrated_gradients(path, model, 1, 4).numpy()
        require_equal_gradients(
            TfExplainIntegratedGradients(n_steps=4).explain(Classifier(model), image, [1]), reduced(expected)
        )

    @pytest.mark.parametrize("activation", ["softmax", "sigmoid", None])
    def test_smoothgrad(self, activation):
        """Keras takes the loss of logits where it finds some: those of a sigmoid for each class as those of a softmax.

        Outputs that are logits themselves are taken for probabilities: where they are negative, the map is 0.
        """
        model, image = network(activation=activation), photos()
        classifier = Classifier(model, head="auto" if activation else "softmax")
        copies = noisy(image[0], image[0].astype(np.float32), 2, 1.0, 0)
        expected = reduced(SmoothGrad.get_averaged_gradients(copies, model, 1, 2).numpy())
        found = TfExplainSmoothGrad(num_samples=2).explain(classifier, image, [1])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)
        assert expected.any() == (activation is not None)
        if activation == "sigmoid":
            logits = network()
            logits.set_weights(model.get_weights())
            by_hand = gradient_of(lambda x: -tf.nn.log_softmax(logits(x))[:, 1], copies).mean(axis=0)
            require_equal_gradients(found[0], reduced(by_hand))

    def test_smoothgrad_runs_on_sequential_models_where_the_library_fails(self):
        plain = network(activation="softmax")
        model, image = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *plain.layers[1:]]), photos()
        with pytest.raises(AttributeError, match="has never been called"):
            SmoothGrad().explain((image.astype(np.float32), None), model, 1)
        found = TfExplainSmoothGrad(num_samples=2).explain(Classifier(model), image, [1])
        copies = noisy(image[0], image[0].astype(np.float32), 2, 1.0, 0)
        require_equal_gradients(found, reduced(SmoothGrad.get_averaged_gradients(copies, plain, 1, 2).numpy()))


class TestTargets:
    def test_one_sigmoid_unit_is_two_classes(self):
        image = photos()
        for model, score in (
            (network(units=1, activation="sigmoid"), lambda x, sign: sign * network(units=1, activation="sigmoid")(x)),
            (network(layers.Activation("sigmoid"), units=1), lambda x, sign: sign * network(units=1)(x)),
        ):
            for target, sign in ((1, 1.0), (0, -1.0)):
                found = TfExplainGradientsInputs().explain(Classifier(model), image, [target])
                expected = gradient_of(lambda x, sign=sign, score=score: score(x, sign), image)
                require_equal_gradients(found, reduced(expected * image))

    def test_smoothgrad_of_one_unit_is_of_the_other_probability(self):
        model, image = network(units=1, activation="sigmoid"), photos()
        copies = noisy(image[0], image[0].astype(np.float32), 2, 1.0, 0)
        for target, score in ((1, model), (0, lambda x: 1 - model(x))):
            expected = gradient_of(lambda x, score=score: -tf.math.log(score(x)[:, 0]), copies).mean(axis=0)
            require_equal_gradients(
                TfExplainSmoothGrad(num_samples=2).explain(Classifier(model), image, [target])[0], reduced(expected)
            )

    @pytest.mark.parametrize("target", [0, 1])
    def test_two_outputs_of_one_unit_are_explained_by_class(self, target):
        """The flat model once put out four columns, of which class 0 was the probability of class 1."""
        unit = network(units=1, activation="sigmoid")
        model = keras.Model(unit.inputs, layers.Concatenate()([1 - unit.outputs[0], unit.outputs[0]]))
        classifier, image = Classifier(model), photos()
        assert classifier.head.unit == 1
        outputs = classifier.given.flat_for("")[0](image.astype(np.float32))
        np.testing.assert_allclose(outputs, classifier.given.predict(image.astype(np.float32), 1), rtol=1e-5, atol=1e-6)
        expected = TfExplainGradCam().explain(Classifier(unit), image, [target])
        np.testing.assert_allclose(
            TfExplainGradCam().explain(classifier, image, [target]), expected, rtol=1e-5, atol=1e-6
        )

    def test_several_outputs_of_one_class_are_summed(self):
        model, image = network(activation="softmax"), photos()
        classifier = Classifier(model)
        both = gradient_of(lambda x: tf.reduce_sum(tf.gather(model(x), BOTH, axis=1), axis=1), image)
        require_equal_gradients(TfExplainVanillaGradients().explain(classifier, image, [BOTH]), reduced(both))
        copies = noisy(image[0], image[0].astype(np.float32), 2, 1.0, 0)
        expected = gradient_of(
            lambda x: -tf.math.log(tf.reduce_sum(tf.gather(model(x), BOTH, axis=1), axis=1)), copies
        ).mean(axis=0)
        require_equal_gradients(
            TfExplainSmoothGrad(num_samples=2).explain(classifier, image, [BOTH])[0], reduced(expected), 1e-4
        )
        np.testing.assert_array_equal(
            TfExplainIntegratedGradients().explain(classifier, image, [(1,)]),
            TfExplainIntegratedGradients().explain(classifier, image, [1]),
        )


class TestModels:
    EXPLAINERS = (
        TfExplainVanillaGradients(), TfExplainGradientsInputs(), TfExplainSmoothGrad(), TfExplainIntegratedGradients(),
    )  # fmt: skip

    @pytest.mark.parametrize("explainer", EXPLAINERS, ids=lambda one: one.name)
    @pytest.mark.parametrize("shape", [(8, SIDE, 3), (SIDE, SIDE, 1), (SIDE, SIDE, 4)])
    def test_inputs_of_any_shape_and_channels(self, explainer, shape):
        classifier = Classifier(network(shape=shape, activation="softmax"))
        explainer.check(classifier)
        maps = explainer.explain(classifier, photos(2, shape), [1, 0])
        assert maps.shape == (2, *shape[:2])
        assert np.ptp(maps) > 0

    @pytest.mark.parametrize("explainer", EXPLAINERS, ids=lambda one: one.name)
    @pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
    def test_models_of_mixed_precision(self, explainer, policy):
        model, exact, image = network(activation="softmax", dtype=policy), network(activation="softmax"), photos()
        exact.set_weights(model.get_weights())
        found, expected = (explainer.explain(Classifier(one), image, [1])[0] for one in (model, exact))
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.95

    def test_an_activation_that_is_used_twice_is_kept(self):
        """The library would fail on it; only the last of its calls is the end of the model."""
        again = layers.Activation("softmax")
        model = network(again, layers.Dense(3), again)
        classifier, image = Classifier(model), photos()
        assert classifier.given.last_layer is None
        expected = gradient_of(lambda x: model(x)[:, 1], image)
        require_equal_gradients(TfExplainVanillaGradients().explain(classifier, image, [1]), reduced(expected))

    def test_smoothgrad_of_a_saturated_score(self):
        """Keras finds the logits behind a softmax; without them the loss is clipped at 1 - 1e-7 and its gradient 0."""
        model = network(activation="softmax", spread=50.0)
        behind = keras.Model(model.inputs, layers.Identity()(model.outputs[0] * 1.0))
        sure = int(Classifier(model).logits(photos()).argmax())
        assert Classifier(model).probabilities(photos())[0, sure] > 1 - 1e-8
        assert TfExplainSmoothGrad().explain(Classifier(model), photos(), [sure]).any()
        assert not TfExplainSmoothGrad().explain(Classifier(behind), photos(), [sure]).any()


def test_integrated_gradients_are_not_multiplied_by_the_input():
    """On a linear model they are its weights, whatever the photo."""
    inputs = keras.Input((2, 2, 1))
    dense = layers.Dense(2, use_bias=False)
    model = keras.Model(inputs, dense(layers.Flatten()(inputs)))
    dense.set_weights([np.array([[1.0, 0.0], [-2.0, 0.0], [3.0, 0.0], [0.5, 1.0]])])
    image = np.array([[[[10], [20]], [[30], [40]]]], dtype=np.uint8)
    classifier = Classifier(model, head="softmax")
    found = TfExplainIntegratedGradients().explain(classifier, image, [0])
    np.testing.assert_allclose(found, [[[1.0, 2.0], [3.0, 0.5]]], rtol=1e-5, atol=1e-6)
    found = TfExplainGradientsInputs().explain(classifier, image, [0])
    np.testing.assert_allclose(found, [[[10.0, 40.0], [90.0, 20.0]]], rtol=1e-5, atol=1e-5)


class TestNoise:
    def test_the_global_state_of_numpy_is_neither_used_nor_changed(self):
        classifier, images = Classifier(network(activation="softmax")), photos(2)
        maps = []
        for seed in (1, 2):
            np.random.seed(seed)  # noqa: NPY002 - the state that the library uses
            before = np.random.get_state()[1].copy()  # noqa: NPY002
            maps.append(TfExplainSmoothGrad().explain(classifier, images, [0, 1]))
            np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
        np.testing.assert_array_equal(*maps)

    def test_it_is_restored_after_an_error(self, monkeypatch):
        def fail(*_):
            np.random.random()  # noqa: NPY002 - as the library
            raise ValueError("noise")

        monkeypatch.setattr(SmoothGrad, "generate_noisy_images", staticmethod(fail))
        before = np.random.get_state()  # noqa: NPY002
        with pytest.raises(ValueError, match="noise"):
            TfExplainSmoothGrad().explain(Classifier(network(activation="softmax")), photos(), [0])
        assert np.random.get_state()[2] == before[2]  # noqa: NPY002

    def test_without_noise_it_is_the_gradient_of_the_cross_entropy(self):
        model, image = network(activation="softmax"), photos()
        expected = gradient_of(lambda x: -tf.math.log(model(x)[:, 1]), image)
        require_equal_gradients(TfExplainSmoothGrad(noise=0).explain(Classifier(model), image, [1]), reduced(expected))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TfExplainSmoothGrad(num_samples=0), "num_samples=0 is not allowed; at least 1"),
        (lambda: TfExplainSmoothGrad(noise=-1.0), "noise=-1.0 is not allowed; at least 0"),
        (lambda: TfExplainSmoothGrad(noise=float("nan")), "noise=nan is not allowed"),
        (lambda: TfExplainIntegratedGradients(n_steps=1), "n_steps=1 is not allowed; at least 2"),
    ],
)
def test_a_parameter_out_of_range_is_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_too_little_memory_is_said_in_words(monkeypatch):
    def exhausted(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(SmoothGrad, "get_averaged_gradients", staticmethod(exhausted))
    with pytest.raises(ModelError, match=r"runs 5 images at once, .* use fewer num_samples"):
        TfExplainSmoothGrad().explain(Classifier(network(activation="softmax")), photos(), [0])


def test_smoothgrad_of_one_unit_without_a_sigmoid_is_refused():
    classifier = Classifier(network(units=1))
    with pytest.raises(ModelError, match="z and -z, have the sum 0; use smoothgrad"):
        TfExplainSmoothGrad().check(classifier)
    TfExplainSmoothGrad().check(Classifier(network(units=1, activation="sigmoid")))
