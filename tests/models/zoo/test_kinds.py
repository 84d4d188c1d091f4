"""One model in every kind of file: the same scores and the same maps."""

from __future__ import annotations

import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from evalkit.core.errors import ModelError
from evalkit.explainers.catalog import EXPLAINERS
from evalkit.models.preprocessing import PreprocessingMissingError
from evalkit.models.zoo.load import as_classifier, load_classifier

LAYERS = keras.layers


def small(side=16, count=3, activation="softmax", seed=5, channels=3):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((side, side, channels))
    tensor = LAYERS.Conv2D(4, 3, activation="relu", name="conv", bias_initializer="random_normal")(inputs)
    end = LAYERS.Dense(count, activation, kernel_initializer=keras.initializers.RandomNormal(stddev=0.02, seed=seed))
    return keras.Model(inputs, end(LAYERS.GlobalAveragePooling2D()(tensor)), name="small")


def cats_and_dogs():
    """A beginner's model: augmentation, rescaling, a nested MobileNetV2, dropout, and one sigmoid."""
    keras.utils.set_random_seed(3)
    backbone = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)
    for layer in backbone.layers:  # random features vanish unless they are normalized
        if isinstance(layer, LAYERS.BatchNormalization):
            layer.momentum = 0.0
    backbone(keras.random.uniform((16, 32, 32, 3), -1, 1, seed=1), training=True)
    augmentation = keras.Sequential([LAYERS.RandomFlip("horizontal"), LAYERS.RandomRotation(0.1)])
    inputs = keras.Input((32, 32, 3))
    tensor = LAYERS.Rescaling(1 / 127.5, offset=-1)(augmentation(inputs))
    tensor = LAYERS.GlobalAveragePooling2D()(backbone(tensor, training=False))
    end = LAYERS.Dense(1, "sigmoid", kernel_initializer=keras.initializers.RandomNormal(stddev=0.1, seed=1))
    return keras.Model(inputs, end(LAYERS.Dropout(0.2)(tensor)), name="cats_and_dogs")


def export(model, folder):
    """Save a SavedModel without augmentation, which ``model.export`` leaves on."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    shape = (None, *model.input_shape[1:])
    archive.add_endpoint("serve", lambda image: model(image, training=False), [tf.TensorSpec(shape)])
    archive.write_out(str(folder), verbose=False)


def scores_of(model, images):
    return np.asarray(model(images, training=False))


@pytest.fixture
def images(rng):
    return rng.uniform(0, 255, (5, 16, 16, 3)).astype(np.float32)


@pytest.fixture
def mobile(rng):
    """Photos on whose occlusion maps kinds are compared."""
    return rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


@pytest.mark.slow
def test_a_binary_model_has_the_same_maps_in_every_kind_of_file(tmp_path, mobile):
    model = cats_and_dogs()
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
    export(model, tmp_path / "saved")
    occlusion = EXPLAINERS.build("occlusion(patch_size=8)")
    expected = scores_of(model, mobile.astype(np.float32))[:, 0]
    assert np.ptp(expected) > 1e-3
    assert ((expected > 0.01) & (expected < 0.99)).all()
    classifiers = {name: load_classifier(str(tmp_path / name)) for name in ("model.keras", "model.h5")}
    classifiers["saved"] = load_classifier(str(tmp_path / "saved"), preprocess="none")
    if _has_onnx():
        from tests.onnx_writer import write_onnx

        write_onnx(model, tmp_path / "model.onnx")
        classifiers["model.onnx"] = load_classifier(str(tmp_path / "model.onnx"), preprocess="none")
    maps = occlusion.explain(classifiers["model.keras"], mobile, [1, 0])
    assert np.abs(maps).max() > 1e-3
    for name, classifier in classifiers.items():
        np.testing.assert_allclose(classifier.probabilities(mobile)[:, 1], expected, rtol=1e-4, atol=2e-5, err_msg=name)
        assert (classifier.head.kind, classifier.n_classes) == ("sigmoid", 2)
        np.testing.assert_allclose(occlusion.explain(classifier, mobile, [1, 0]), maps, atol=1e-4, err_msg=name)
    assert classifiers["saved"].offers == {"scores"}
    assert "gradients" in classifiers["model.h5"].offers


def _has_onnx():
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        return False
    return True


def test_saved_models_are_read_by_their_signature(tmp_path, images):
    """Inputs of float or uint8, any batch or one image at a time, outputs in a dictionary or list."""
    model = small()
    expected = scores_of(model, images)

    def save(name, function, *shape, dtype=tf.float32):
        holder = tf.Module()
        holder.model, holder.serve = model, tf.function(function, input_signature=[tf.TensorSpec(shape, dtype)])
        tf.saved_model.save(holder, str(tmp_path / name), signatures={"serving_default": holder.serve})
        return str(tmp_path / name)

    one = save("one", lambda image: {"scores": model(image)}, 1, 16, 16, 3)
    two = save("two", lambda image: {"a": model.layers[1](image), "b": model(image)}, None, 16, 16, 3)
    bytes_in = save("bytes", lambda image: model(tf.cast(image, tf.float32) / 255), None, 16, 16, 3, dtype=tf.uint8)
    first = save("first", lambda image: model(tf.transpose(image, (0, 2, 3, 1))), None, 3, 16, 16)
    for classifier in (
        load_classifier(one, preprocess="none"),
        load_classifier(first, preprocess="none"),
        load_classifier(two, preprocess="none", output_name="b"),
        load_classifier(f"{two}/saved_model.pb", preprocess="none", output_name="1"),
    ):
        assert (classifier.input_size, classifier.channels) == ((16, 16), 3)
        np.testing.assert_allclose(classifier.probabilities(images), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(PreprocessingMissingError, match="--model 'one' does not say how its input is preprocessed"):
        load_classifier(one)
    whole = np.rint(images).astype(np.uint8)
    classifier = load_classifier(bytes_in)
    np.testing.assert_allclose(
        classifier.probabilities(whole), scores_of(model, whole / np.float32(255)), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(ModelError, match=r"--preprocess -1..1 does not fit model 'bytes', which takes whole numbers"):
        load_classifier(bytes_in, preprocess="-1..1")
    with pytest.raises(ModelError, match=r"has 2 outputs: a \(6, 14, 14, 4\), b \(6, 3\); name .* with --output-name"):
        load_classifier(two, preprocess="none")
    with pytest.raises(ModelError, match="--output-name 'c': model 'two' has no such output"):
        load_classifier(two, preprocess="none", output_name="c")
    loaded = tf.saved_model.load(one)
    np.testing.assert_allclose(
        as_classifier(loaded, preprocess="none").probabilities(images), expected, rtol=1e-5, atol=1e-6
    )


def test_preprocessing_applies_before_a_saved_model(tmp_path, images):
    model = small()
    model.export(tmp_path / "saved", verbose=False)
    classifier = load_classifier(str(tmp_path / "saved"), preprocess="0..1")
    np.testing.assert_allclose(classifier.probabilities(images), scores_of(model, images / 255), rtol=1e-5, atol=1e-6)
    assert classifier.preprocess == "0..1"
    other = load_classifier(str(tmp_path / "saved"), preprocess="-1..1")
    assert other.fingerprint != classifier.fingerprint


@pytest.mark.parametrize(
    ("signatures", "words"),
    [
        ({}, "is a SavedModel with no signature and no 'serving_default'"),
        ({"one": [], "two": []}, "with signatures one, two and no 'serving_default'"),
        (
            {"serving_default": ["image", "age"]},
            r"has 2 inputs in its serving signature: (age .*, image|image .*, age)",
        ),
        ({"serving_default": ["text"]}, "takes string in its serving signature"),
    ],
)
def test_saved_models_that_take_no_images_say_so(tmp_path, signatures, words):
    holder = tf.Module()

    def function(inputs):
        text = inputs == ["text"]
        kind = {"shape": [None], "dtype": tf.string} if text else {"shape": [None, 8]}
        specs = [tf.TensorSpec(name=name, **kind) for name in inputs]
        body = (lambda image, age: {"y": image + age}) if len(inputs) == 2 else (lambda *_: {"y": tf.zeros(3)})
        return tf.function(body).get_concrete_function(*specs)

    made = {name: function(inputs) for name, inputs in signatures.items()}
    holder.kept = list(made.values())
    tf.saved_model.save(holder, str(tmp_path / "saved"), signatures=made or None)
    with pytest.raises(ModelError, match=words):
        load_classifier(str(tmp_path / "saved"), preprocess="none")


def test_a_saved_model_with_augmentation_left_on_is_refused(tmp_path):
    """``model.export`` of Keras 3 traces the call without training=False, so that photos are flipped at random."""
    inputs = keras.Input((16, 16, 3))
    keras.Model(inputs, small()(LAYERS.RandomRotation(0.3)(inputs))).export(tmp_path / "saved", verbose=False)
    with pytest.raises(ModelError, match=r"returns other outputs for the same images .* model.export.. leaves"):
        load_classifier(str(tmp_path / "saved"), preprocess="none")


def test_a_layer_of_a_saved_model_has_gradients_inside_a_graph(tmp_path, images):
    model = small(activation=None)
    model.export(tmp_path / "saved", verbose=False)
    inputs = keras.Input((16, 16, 3))
    layer = LAYERS.TFSMLayer(str(tmp_path / "saved"), call_endpoint="serve")
    graph = as_classifier(keras.Model(inputs, LAYERS.Softmax()(layer(inputs))), preprocess="none")
    np.testing.assert_allclose(graph.logits(images), scores_of(model, images), rtol=1e-5, atol=1e-6)
    assert "gradients" in graph.offers
    with pytest.raises(ModelError, match="has no convolution"):
        EXPLAINERS.build("gradcam").check(graph)
    alone = as_classifier(LAYERS.TFSMLayer(str(tmp_path / "saved"), call_endpoint="serving_default"), preprocess="none")
    np.testing.assert_allclose(alone.logits(images), scores_of(model, images), rtol=1e-5, atol=1e-6)
    named = keras.Model(inputs, LAYERS.TFSMLayer(str(tmp_path / "saved"), call_endpoint="serving_default")(inputs))
    np.testing.assert_allclose(
        as_classifier(named, preprocess="none").logits(images), scores_of(model, images), atol=1e-6
    )


def tflite(model, path, *, representative=None, types=(tf.float32, tf.float32), batch=None):
    inputs = keras.Input(batch_shape=(batch, *model.input_shape[1:]))
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, model(inputs)))
    if representative is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in representative)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type, converter.inference_output_type = types
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter, on the statistics of quantized inputs
        path.write_bytes(converter.convert())
    return str(path)


@pytest.mark.parametrize("batch", [None, 1])
def test_tflite_files(tmp_path, images, batch):
    model = small()
    path = tflite(model, tmp_path / "model.tflite", batch=batch)
    with pytest.raises(PreprocessingMissingError):
        load_classifier(path)
    classifier = load_classifier(path, preprocess="none")
    assert (classifier.name, classifier.head.kind) == ("model.tflite", "probabilities")
    np.testing.assert_allclose(classifier.probabilities(images), scores_of(model, images), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(classifier.probabilities(images[:2]), scores_of(model, images[:2]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("types", [(tf.uint8, tf.uint8), (tf.int8, tf.int8)])
def test_quantized_tflite_files_are_read_as_real_numbers(tmp_path, images, types):
    """A softmax in steps of 1/256 does not sum to 1 any more; it is still a softmax, not several labels."""
    model = small(count=9)
    path = tflite(model, tmp_path / "model.tflite", representative=images, types=types)
    classifier = load_classifier(path, preprocess="none")
    assert classifier.head.kind == "probabilities"
    found = classifier.probabilities(images)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(found, scores_of(model, images), atol=0.02)


def test_onnx_files(tmp_path, images):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from onnx import TensorProto

    from tests.onnx_writer import write_onnx

    model, path = small(), tmp_path / "model.onnx"
    for options in (
        {},
        {"channels_first": False},
        {"batch": 1},
        {"batch": 2, "channels_first": False},
    ):
        write_onnx(model, path, **options)
        classifier = load_classifier(str(path), preprocess="none")
        assert (classifier.input_size, classifier.channels) == ((16, 16), 3)
        np.testing.assert_allclose(classifier.probabilities(images), scores_of(model, images), rtol=1e-5, atol=1e-5)
    write_onnx(model, path, dtype=TensorProto.UINT8)
    whole = np.rint(images)
    np.testing.assert_allclose(
        load_classifier(str(path)).probabilities(whole), scores_of(model, whole), rtol=1e-5, atol=1e-5
    )
    write_onnx(model, path, size=("h", "w"))
    with pytest.raises(ModelError, match=r"'model.onnx' does not say the size of its input; add --input-size"):
        load_classifier(str(path), preprocess="none")
    sized = load_classifier(str(path), preprocess="none", input_size=(16, 16))
    np.testing.assert_allclose(sized.probabilities(images), scores_of(model, images), rtol=1e-5, atol=1e-5)


def test_onnx_without_its_package_names_the_line_that_installs_it(tmp_path, monkeypatch):
    from evalkit.core.errors import MissingPackageError

    (tmp_path / "model.onnx").write_bytes(b"onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackageError, match=r"needs onnxruntime .*; pip install 'evalkit-saliency\[onnx\]'"):
        load_classifier(str(tmp_path / "model.onnx"), preprocess="none")
