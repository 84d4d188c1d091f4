"""What holds for every explainer in the catalog, on models of three shapes."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from typing import ClassVar

import keras
import numpy as np
import pytest

from evalkit.core.errors import ConfigError, ModelError
from evalkit.datasets.image import LabelledImage
from evalkit.explainers.base import Explainer
from evalkit.explainers.catalog import DEFAULT_EXPLAINERS, EXPLAINERS, expand
from evalkit.models.classifier import KERAS_OFFERS, Classifier
from tests.cheap_explainers import cheap_explainer, cheap_spec

OTHER_PARAMETERS = [
    "gradcam(layer=conv)",
    "layercam(layer=conv)",
    "eigencam(layer=conv)",
    "ablationcam(layer=conv)",
    "scorecam(layer=conv)",
    "occlusion(patch_size=8, stride=3, fill=blur)",
    "occlusion(patch_size=8, stride=half)",
    "rise(masks=300, grid=5, probability=0.4, tolerance=0, seed=3)",
    "lime(samples=40, segments=9, fill=blur)",
    "kernel_shap(samples=40, segments=9, fill=black)",
    "tf_explain.gradcam(layer=conv, guided=false)",
    "tf_explain.occlusion(patch_size=5)",
    "tf_explain.smoothgrad(num_samples=3, noise=0.5, seed=2)",
    "tf_explain.integrated_gradients(n_steps=4)",
    "gradient_x_input(baseline=blur, reduce=abs_sum)",
    "smoothgrad(samples=3, noise=10, seed=2)",
    "integrated_gradients(steps=4, baseline=black)",
    "random(seed=9)",
]
OF_ABSOLUTE_VALUES = (
    "gradient",
    "smoothgrad",
    "tf_explain.vanilla_gradients",
    "tf_explain.gradients_inputs",
    "tf_explain.integrated_gradients",
)
TARGETS, OTHER_TARGETS = [0, 1], [1, 0]
CLOSE = {"rtol": 1e-6, "atol": 1e-6}

REFUSED = {
    ("cam", "residual"): "does not end in global average pooling and one dense layer; use gradcam",
    ("tf_explain.occlusion", "residual"): "needs a square input, and model 'residual' takes 24 x 32; use occlusion",
    ("guided_backprop", "dense"): "has no ReLU, so that guided gradients would be plain gradients; use gradient",
    ("gradcam", "dense"): "has no convolution larger than 1 x 1; use occlusion",
    ("cam", "dense"): "does not end in global average pooling and one dense layer; use gradcam",
    ("tf_explain.gradcam", "dense"): "has no layer with a 4-D output; use occlusion",
    **{
        (name, "dense"): "has no convolution larger than 1 x 1; use occlusion"
        for name in ("hirescam", "layercam", "gradcam_plus_plus", "xgradcam", "eigencam", "ablationcam", "scorecam")
    },
}


def build(name):
    return cheap_explainer(name)


EXPLAINER = pytest.mark.parametrize("name", EXPLAINERS.names())
ACCEPTED = pytest.mark.parametrize(
    ("name", "shape"),
    [
        (name, shape)
        for name in EXPLAINERS.names()
        for shape in ("chain", "residual", "nested", "sigmoid")
        if (name, shape) not in REFUSED
    ],
)
NEED = pytest.mark.parametrize(
    ("name", "need"), [(name, need) for name in EXPLAINERS.names() for need in sorted(build(name).needs)]
)


def scores_layer(n_classes):
    """A softmax that is neither flat nor saturated on random images."""
    initializer = keras.initializers.RandomNormal(stddev=1.0)
    return keras.layers.Dense(n_classes, activation="softmax", kernel_initializer=initializer)


def chain_model():
    """Large enough for windowed occlusion to pay."""
    return keras.Sequential(
        [
            keras.layers.Input((24, 24, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1.0),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="conv"),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            scores_layer(3),
        ],
        name="chain",
    )


def residual_model():
    """Not square, and without a global average pooling."""
    inputs = keras.layers.Input((24, 32, 3))
    stem = keras.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="conv")(
        keras.layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    )
    branch = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(stem)
    pooled = keras.layers.AveragePooling2D(4)(keras.layers.Add()([stem, branch]))
    return keras.Model(inputs, scores_layer(4)(keras.layers.Flatten()(pooled)), name="residual")


def nested_model():
    inner = keras.layers.Input((28, 28, 3))
    features = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="conv")(inner)
    backbone = keras.Model(inner, keras.layers.MaxPooling2D()(features), name="backbone")
    inputs = keras.layers.Input((28, 28, 3))
    features = backbone(keras.layers.Rescaling(1 / 127.5, offset=-1.0)(inputs))
    return keras.Model(inputs, scores_layer(3)(keras.layers.GlobalAveragePooling2D()(features)), name="nested")


def sigmoid_model():
    """One unit for two classes."""
    return keras.Sequential(
        [
            keras.layers.Input((24, 24, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1.0),
            keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="conv"),
            keras.layers.Conv2D(6, 3, padding="same", activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, activation="sigmoid", kernel_initializer=keras.initializers.RandomNormal(stddev=2.0)),
        ],
        name="sigmoid",
    )


def dense_model():
    return keras.Sequential([keras.layers.Input((24, 24, 3)), keras.layers.Flatten(), scores_layer(3)], name="dense")


@pytest.fixture(scope="module")
def models():
    keras.utils.set_random_seed(11)
    return {
        "chain": chain_model(),
        "residual": residual_model(),
        "nested": nested_model(),
        "sigmoid": sigmoid_model(),
        "dense": dense_model(),
    }


@pytest.fixture(scope="module")
def classifiers(models):
    return {shape: classifier_of(model, 5) for shape, model in models.items()}


@pytest.fixture(scope="module")
def one_at_a_time(models):
    return {shape: classifier_of(model, 1) for shape, model in models.items()}


def classifier_of(model, batch_size):
    """A classifier that knows three images of a set, which some explainers need."""
    classifier = Classifier(model, batch_size=batch_size)
    size = (3, *classifier.input_size, classifier.channels)
    return classifier.with_references(np.random.default_rng(6).integers(0, 256, size, dtype=np.uint8))


def images_for(classifier):
    """Two images that nothing may write to."""
    images = np.random.default_rng(5).integers(0, 256, (2, *classifier.input_size, 3), dtype=np.uint8)
    images.setflags(write=False)
    return images


@pytest.fixture(scope="module")
def expected(classifiers):
    """Each explainer's maps on each model, computed once."""
    kept = {}

    def maps(name, shape):
        if (name, shape) not in kept:
            classifier = classifiers[shape]
            kept[name, shape] = build(name).explain(classifier, images_for(classifier), list(TARGETS))
            kept[name, shape].setflags(write=False)
        return kept[name, shape]

    return maps


class Only:
    """An object reduced to some of its attributes; reading any other fails the test.

    Args:
        whole: the object.
        allowed: attributes; ``features.activations`` allows that one attribute of ``whole.features``.
    """

    def __init__(self, whole, allowed, **replaced):
        self._whole, self._allowed = whole, frozenset(allowed)
        self.__dict__.update(replaced)

    def __getattr__(self, name):
        if name in self._allowed:
            return getattr(self._whole, name)
        inner = {path.partition(".")[2] for path in self._allowed if path.startswith(f"{name}.")}
        # Failed is no Exception: neither hasattr nor a broad except hides it.
        if not inner:
            pytest.fail(f"reads .{name}, which is not declared")
        return Only(getattr(self._whole, name), inner)


# What every classifier says of itself, a black box too.
ALWAYS = {"name", "input_size", "n_classes", "class_names", "class_ids", "batch_size", "precision", "fingerprint",
          "count", "channels", "required_mean_color", "references", "head", "given.preprocessed",
          "given.channels_first"}  # fmt: skip
# What each need stands for. Libraries are given a model: for scores only its ``predict``, for features its layers, for
# gradients all of it.
GIVEN_BY = {
    "scores": {"logits", "logits_from", "probabilities", "occluded", "composed", "blended", "given.predict"},
    "features": {"features.activations", "above", "target_layer", "default_layer", "resolve_layer", "depends_on",
                 "pooled_end", "graph.shapes", "given.spatial_layers", "given.last_spatial_layer"},
    "gradients": {"features.activations_and_gradients", "input_gradients", "given.flat_for", "given.class_model",
                  "given.last_layer"},
}  # fmt: skip


def stand_in(classifier, offers):
    """A classifier that offers only this."""
    return Only(classifier, ALWAYS.union(*(GIVEN_BY[need] for need in offers)), offers=frozenset(offers))


@EXPLAINER
def test_declaration_is_complete(name):
    explainer = build(name)
    assert explainer.name == explainer.spec_name() == name
    assert explainer.version >= 1
    assert explainer.needs <= KERAS_OFFERS
    assert explainer.summary
    assert explainer.reference
    assert explainer.method
    assert not explainer.origin
    assert set(explainer.swept_by) <= set(explainer.parameters())
    assert ("seed" in explainer.parameters()) == explainer.draws
    if explainer.control:
        assert not explainer.needs


@pytest.mark.parametrize("spec", [cheap_spec(name) for name in EXPLAINERS.names()] + OTHER_PARAMETERS)
def test_text_and_pickle_round_trip(spec):
    explainer = EXPLAINERS.build(spec)
    for copy in (EXPLAINERS.build(explainer.text), pickle.loads(pickle.dumps(explainer))):  # noqa: S301 - our own bytes
        assert copy == explainer
        assert copy.signature == explainer.signature
        assert copy.text == explainer.text


@pytest.mark.parametrize("spec", [cheap_spec(name) for name in EXPLAINERS.names()] + OTHER_PARAMETERS)
def test_resolved_parameters_build_the_same_explainer(spec):
    explainer = EXPLAINERS.build(spec)
    resolved = explainer.resolved_parameters()
    assert list(resolved) == list(explainer.parameters())
    assert type(explainer)(**resolved) == explainer
    assert all(isinstance(value, (int, float, str, bool, type(None))) for value in resolved.values())


@pytest.mark.parametrize("size", [(24, 24), (24, 32), (224, 224)])
@EXPLAINER
def test_positions_and_passes_are_consistent(name, size):
    explainer = build(name)
    forward, backward, positions = (
        explainer.forward_passes(size), explainer.backward_passes(size), explainer.positions(size),
    )  # fmt: skip
    assert (positions is not None) == ("patch_size" in explainer.parameters())
    if positions is not None:
        assert positions >= np.prod([side // explainer.patch_size for side in size])
        assert positions <= forward <= positions + 1
    assert (forward == 0) == explainer.control
    assert (backward > 0) == ("gradients" in explainer.needs)


@ACCEPTED
def test_maps_are_finite_floats_of_the_images_size(name, shape, classifiers, expected):
    classifier = classifiers[shape]
    build(name).check(classifier)
    maps = expected(name, shape)
    assert isinstance(maps, np.ndarray)
    assert maps.shape == (2, *classifier.input_size)
    assert np.issubdtype(maps.dtype, np.floating)
    assert np.isfinite(maps).all()
    assert build(name).method_on(classifier)


@ACCEPTED
def test_a_second_call_gives_equal_bits_at_the_declared_cost(name, shape, classifiers, expected):
    explainer, classifier, first = build(name), classifiers[shape], expected(name, shape)
    before = replace(classifier.count)
    maps, facts = explainer.explain_with_facts(classifier, images_for(classifier), TARGETS)
    assert maps.tobytes() == first.tobytes()
    passes = [one.passes or explainer.passes(classifier) for one in facts]
    assert classifier.count.forward - before.forward == sum(one.forward for one in passes)
    assert classifier.count.backward - before.backward == sum(one.backward for one in passes)
    most = explainer.passes(classifier)
    assert all(one.forward <= most.forward and one.backward <= most.backward for one in passes)


@EXPLAINER
def test_the_first_call_costs_what_is_declared(name, models):
    explainer, classifier = build(name), classifier_of(models["chain"], 5)
    _, facts = explainer.explain_with_facts(classifier, images_for(classifier)[:1], TARGETS[:1])
    passes = facts[0].passes or explainer.passes(classifier)
    assert (classifier.count.forward, classifier.count.backward) == passes


def test_the_models_cover_both_ways_of_occlusion(classifiers):
    assert build("occlusion").method_on(classifiers["chain"]) == "windowed"
    assert build("occlusion").method_on(classifiers["residual"]) == "full pass"


@pytest.mark.parametrize("name", [name for name in EXPLAINERS.names() if build(name).draws])
def test_another_seed_gives_another_map(name, classifiers, expected):
    explainer, classifier = build(name), classifiers["chain"]
    other = replace(explainer, seed=explainer.seed + 1)
    assert other.signature != explainer.signature
    maps = other.explain(classifier, images_for(classifier), TARGETS)
    for index in range(2):
        assert not np.array_equal(maps[index], expected(name, "chain")[index])


@ACCEPTED
def test_batches_and_order_do_not_matter(name, shape, classifiers, expected):
    explainer, classifier, maps = build(name), classifiers[shape], expected(name, shape)
    images = images_for(classifier)
    singly = [explainer.explain(classifier, images[[index]], [TARGETS[index]])[0] for index in range(2)]
    np.testing.assert_allclose(singly, maps, **CLOSE)
    np.testing.assert_allclose(explainer.explain(classifier, images[::-1], TARGETS[::-1])[::-1], maps, **CLOSE)


@ACCEPTED
def test_batch_size_of_the_classifier_does_not_matter(name, shape, one_at_a_time, expected):
    classifier = one_at_a_time[shape]
    np.testing.assert_allclose(
        build(name).explain(classifier, images_for(classifier), TARGETS), expected(name, shape), **CLOSE
    )


@ACCEPTED
def test_float_pixels_give_the_map_of_equal_integers(name, shape, classifiers, expected):
    classifier = classifiers[shape]
    images = images_for(classifier).astype(np.float32)
    np.testing.assert_allclose(build(name).explain(classifier, images, TARGETS), expected(name, shape), **CLOSE)


@ACCEPTED
def test_an_image_of_a_set_is_explained_alike(name, shape, classifiers, expected):
    classifier = classifiers[shape]
    image = LabelledImage("photo", images_for(classifier)[0], TARGETS[0], "")
    found, _ = build(name).explain_photo(classifier, image, TARGETS[0])
    np.testing.assert_allclose(found, expected(name, shape)[:1], **CLOSE)


@ACCEPTED
def test_images_targets_and_model_are_not_changed(name, shape, classifiers):
    classifier, targets = classifiers[shape], list(TARGETS)
    images = images_for(classifier).copy()  # writable: a method that writes must not pass by failing
    pixels, weights = images.copy(), [array.copy() for array in classifier.model.get_weights()]
    architecture = classifier.model.to_json()
    build(name).explain(classifier, images, targets)
    np.testing.assert_array_equal(images, pixels)
    assert targets == TARGETS
    assert classifier.model.to_json() == architecture
    for after, before in zip(classifier.model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(after, before)


@ACCEPTED
def test_the_target_decides_if_maps_are_class_specific(name, shape, classifiers, expected):
    explainer, classifier = build(name), classifiers[shape]
    other = explainer.explain(classifier, images_for(classifier), OTHER_TARGETS)
    # The gradients of both classes of one unit differ in their sign, which absolute values hide.
    differs = explainer.class_specific and not (shape == "sigmoid" and name in OF_ABSOLUTE_VALUES)
    for mine, theirs in zip(other, expected(name, shape), strict=True):
        if mine.any() or theirs.any():  # a ReLU may leave nothing of both
            assert np.allclose(mine, theirs, rtol=1e-5, atol=0) != differs


@ACCEPTED
def test_explains_with_only_what_it_declares(name, shape, classifiers, expected):
    explainer, classifier = build(name), classifiers[shape]
    reduced = stand_in(classifier, explainer.needs)
    explainer.check(reduced)
    assert explainer.method_on(reduced) == explainer.method_on(classifier)
    maps = explainer.explain(reduced, images_for(classifier), TARGETS)
    np.testing.assert_allclose(maps, expected(name, shape), **CLOSE)


@NEED
def test_a_lacking_need_is_refused_in_words(name, need, classifiers):
    explainer = build(name)
    reduced = stand_in(classifiers["chain"], KERAS_OFFERS - {need})
    with pytest.raises(ModelError) as refusal:
        explainer.check(reduced)
    words = str(refusal.value)
    assert words.startswith(f"{explainer.text} needs {need}, which model 'chain' does not offer; ")
    advice = words.partition("; ")[2]
    advised = [one for one in EXPLAINERS.names() if one in advice.replace(",", "").split()]
    assert advised
    for one in advised:
        build(one).check(reduced)


@EXPLAINER
def test_everything_that_is_lacking_is_named(name, classifiers):
    explainer = build(name)
    reduced = stand_in(classifiers["chain"], ())
    if not explainer.needs:
        explainer.check(reduced)
        return
    with pytest.raises(ModelError, match=" and ".join(sorted(explainer.needs))):
        explainer.check(reduced)


def test_the_stand_in_reveals_what_is_not_declared(classifiers):
    images = images_for(classifiers["chain"])
    for name in EXPLAINERS.names():
        for need in build(name).needs:
            reduced = stand_in(classifiers["chain"], build(name).needs - {need})
            with pytest.raises(pytest.fail.Exception, match="which is not declared"):
                build(name).explain(reduced, images, TARGETS)


@pytest.mark.parametrize(("name", "shape"), REFUSED)
def test_a_model_that_does_not_fit_is_refused_in_words(name, shape, classifiers):
    explainer = build(name)
    with pytest.raises(ModelError) as refusal:
        explainer.check(classifiers[shape])
    assert str(refusal.value).startswith(f"{explainer.text}: ")
    assert REFUSED[name, shape] in str(refusal.value)


@EXPLAINER
def test_a_model_without_convolutions_is_explained_or_refused(name, classifiers):
    explainer, classifier = build(name), classifiers["dense"]
    if (name, "dense") not in REFUSED:
        explainer.check(classifier)
        maps = explainer.explain(classifier, images_for(classifier), TARGETS)
        assert np.isfinite(maps).all()


@pytest.mark.parametrize("shape", ["chain", "residual", "nested", "dense"])
@pytest.mark.parametrize("layer", ["no_such_layer", "scores"])
@pytest.mark.parametrize("name", [name for name in EXPLAINERS.names() if "layer" in build(name).parameters()])
def test_a_layer_that_does_not_fit_is_refused_in_words(name, layer, shape, classifiers):
    classifier = classifiers[shape]
    wanted = classifier.model.layers[-1].name if layer == "scores" else layer
    with pytest.raises(ModelError, match=f"'{wanted}'") as refusal:
        replace(build(name), layer=wanted).check(classifier)
    assert not str(refusal.value).endswith("Allowed: ")


@pytest.mark.parametrize("name", [name for name in EXPLAINERS.names() if "patch_size" in build(name).parameters()])
def test_a_patch_that_does_not_fit_is_refused_in_words(name, classifiers):
    classifier = classifiers["chain"]
    with pytest.raises(ConfigError, match="patch_size=25 is larger than the model's input, 24 x 24"):
        replace(build(name), patch_size=25).check(classifier)
    replace(build(name), patch_size=24).check(classifier)


@dataclass(frozen=True)
class Toy(Explainer):
    """Brightness, some power of it."""

    needs: ClassVar = frozenset()
    summary: ClassVar[str] = "brightness"
    reference: ClassVar[str] = "none"
    power: int = 1

    def explain(self, classifier, images, targets):
        return images.astype(np.float64).mean(axis=-1) ** self.power

    def forward_passes(self, input_size):
        return 0


TOY = f"{__name__}:Toy"


def test_the_default_set_is_in_the_catalog():
    assert set(DEFAULT_EXPLAINERS) <= set(EXPLAINERS.names())
    assert len(set(DEFAULT_EXPLAINERS)) == len(DEFAULT_EXPLAINERS)


def test_all_stands_for_every_explainer():
    explainers = expand("all", [8, 12], 4)
    assert list(dict.fromkeys(explainer.name for explainer in explainers)) == EXPLAINERS.names()
    assert [explainer.patch_size for explainer in explainers if explainer.name == "occlusion"] == [8, 12]
    assert all(explainer.seed == 4 for explainer in explainers if explainer.draws)


def test_an_explainer_outside_evalkit_joins_the_default_set(classifiers):
    explainers = expand(f"default, {TOY}(power=2)", [8], 0)
    assert [explainer.name for explainer in explainers] == [*DEFAULT_EXPLAINERS, "Toy"]
    found = explainers[-1]
    assert found == Toy(power=2)
    assert found.text == f"{TOY}(power=2)"
    assert EXPLAINERS.build(found.text) == found
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - our own bytes
    found.check(classifiers["chain"])
    images = images_for(classifiers["chain"])
    np.testing.assert_array_equal(found.explain(classifiers["chain"], images, TARGETS), images.mean(axis=-1) ** 2)
