"""Tokens of transformers as grids of patches, the default layer among them, and Grad-CAM beside GradientTape."""

from __future__ import annotations

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from evalkit.core.errors import ModelError
from evalkit.explainers.cam import Cam, GradCam
from evalkit.models.classifier import Classifier
from evalkit.models.keras.default_layer import find_default_layer
from evalkit.models.keras.graph import TensorAt
from evalkit.models.keras.source import KerasSource
from evalkit.models.keras.tokens import Grids

layers, ops = keras.layers, keras.ops
WIDTH = 16


@keras.saving.register_keras_serializable("test_tokens")
class ExtraTokens(layers.Layer):
    """Class, distillation or register tokens, before or after those of patches."""

    def __init__(self, count=1, last=False, **arguments):
        super().__init__(**arguments)
        self.count, self.last = count, last

    def build(self, shape):
        self.tokens = self.add_weight(shape=(1, self.count, shape[-1]), initializer="normal", name="tokens")

    def call(self, patches):
        tokens = ops.repeat(self.tokens, ops.shape(patches)[0], axis=0)
        return ops.concatenate([patches, tokens] if self.last else [tokens, patches], axis=1)

    def get_config(self):
        return {**super().get_config(), "count": self.count, "last": self.last}


@keras.saving.register_keras_serializable("test_tokens")
class Positions(layers.Layer):
    def build(self, shape):
        self.table = self.add_weight(shape=(1, *shape[1:]), initializer="normal", name="table")

    def call(self, tokens):
        return tokens + self.table


@keras.saving.register_keras_serializable("test_tokens")
class Patches(layers.Layer):
    """Patches as in keras.io's example: inside a layer of one's own, without a convolution."""

    def call(self, images):
        height, width = images.shape[1] // 8, images.shape[2] // 8
        return ops.reshape(ops.image.extract_patches(images, size=8), (-1, height * width, 8 * 8 * 3))


@keras.saving.register_keras_serializable("test_tokens")
class Block(layers.Layer):
    """A transformer block as one layer of the graph."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.norm = layers.LayerNormalization()
        self.attention = layers.MultiHeadAttention(2, WIDTH // 2)
        self.mlp = keras.Sequential([layers.LayerNormalization(), layers.Dense(WIDTH, activation="gelu")])

    def build(self, shape):
        self.norm.build(shape)
        self.attention.build(shape, shape)
        self.mlp.build(shape)

    def call(self, tokens):
        normal = self.norm(tokens)
        tokens = tokens + self.attention(normal, normal)
        return tokens + self.mlp(tokens)

    def get_config(self):
        return dict(super().get_config())


def block(tokens, number, by_hand=False):
    normal = layers.LayerNormalization(name=f"block{number}_norm")(tokens)
    if by_hand:
        parts = [layers.Dense(WIDTH)(normal) for _ in "qkv"]
        count = tokens.shape[1]
        query, key, value = (
            ops.transpose(ops.reshape(part, (-1, count, 2, WIDTH // 2)), (0, 2, 1, 3)) for part in parts
        )
        weights = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))))
        mixed = ops.reshape(ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3)), (-1, count, WIDTH))
    else:
        mixed = layers.MultiHeadAttention(2, WIDTH // 2)(normal, normal)
    tokens = layers.Add()([tokens, mixed])
    return layers.Add()([tokens, layers.Dense(WIDTH, activation="gelu")(layers.LayerNormalization()(tokens))])


def vit(size=(32, 32), extra=0, last=False, end="mean", stem="convolution", by_hand=False, depth=2):
    """A vision transformer of plain Keras layers, patches of 8 pixels."""
    inputs = keras.Input((*size, 3))
    tensor = layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    grid = (size[0] // 8, size[1] // 8)
    if stem == "convolution":
        tensor = layers.Reshape((grid[0] * grid[1], WIDTH))(layers.Conv2D(WIDTH, 8, 8, name="patches")(tensor))
    elif stem == "columns":
        tensor = layers.Permute((2, 1, 3))(layers.Conv2D(WIDTH, 8, 8, name="patches")(tensor))
        tensor = layers.Reshape((grid[0] * grid[1], WIDTH))(tensor)
    elif stem == "extract_patches":
        tensor = ops.image.extract_patches(tensor, (8, 8))
        tensor = layers.Dense(WIDTH)(layers.Reshape((grid[0] * grid[1], 192))(tensor))
    else:
        tensor = layers.Dense(WIDTH)(Patches()(tensor))
    if extra:
        tensor = ExtraTokens(extra, last)(tensor)
    tensor = Positions()(tensor)
    for number in range(depth):
        tensor = block(tensor, number, by_hand)
    tensor = layers.LayerNormalization(name="final_norm")(tensor)
    if end == "mean":
        tensor = layers.GlobalAveragePooling1D(name="mean")(tensor)
    elif end == "flat":
        tensor = layers.Flatten()(tensor)
    else:
        tensor = tensor[:, -1 if last else 0]
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(tensor), name="vit")


def mixer():
    inputs = keras.Input((32, 64, 3))
    tokens = layers.Reshape((32, WIDTH))(layers.Conv2D(WIDTH, 8, 8)(inputs))
    mixed = layers.Permute((2, 1))(layers.LayerNormalization()(tokens))
    mixed = layers.Permute((2, 1))(layers.Dense(32, activation="gelu", name="over_tokens")(mixed))
    tokens = layers.Add()([tokens, mixed])
    tokens = layers.Add()([tokens, layers.Dense(WIDTH)(layers.LayerNormalization()(tokens))])
    tokens = layers.LayerNormalization(name="final_norm")(tokens)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(tokens)))


def hybrid():
    """Convolutions, then a transformer with a class token."""
    tensor = inputs = keras.Input((32, 48, 3))
    for filters in (8, WIDTH):
        tensor = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(tensor)
    tokens = ExtraTokens()(layers.Reshape((8 * 12, WIDTH))(tensor))
    tokens = block(block(tokens, 0), 1)
    return keras.Model(inputs, layers.Dense(3)(layers.LayerNormalization()(tokens)[:, 0]))


def windows():
    """A network like Swin's: attention in windows, feature maps (N, h, w, K) between them."""
    inputs = keras.Input((32, 32, 3))
    tensor = layers.Conv2D(WIDTH, 4, 4, name="patches")(inputs)
    parts = ops.transpose(ops.reshape(layers.LayerNormalization()(tensor), (-1, 2, 4, 2, 4, WIDTH)), (0, 1, 3, 2, 4, 5))
    parts = ops.reshape(parts, (-1, 16, WIDTH))
    parts = layers.MultiHeadAttention(2, 8)(parts, parts)
    parts = ops.transpose(ops.reshape(parts, (-1, 2, 2, 4, 4, WIDTH)), (0, 1, 3, 2, 4, 5))
    tensor = layers.Add()([tensor, ops.reshape(parts, (-1, 8, 8, WIDTH))])
    tensor = layers.LayerNormalization(name="final_norm")(tensor)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(tensor)))


def convmixer():
    inputs = keras.Input((32, 32, 3))
    tensor = layers.Conv2D(8, 4, 4)(inputs)
    tensor = layers.Add()([tensor, layers.DepthwiseConv2D(3, padding="same")(tensor)])
    tensor = layers.BatchNormalization(name="last")(layers.Conv2D(8, 1, activation="gelu")(tensor))
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(tensor)))


def recurrent():
    """Columns of a feature map, read by an LSTM: steps are no grid."""
    inputs = keras.Input((32, 32, 3))
    tensor = layers.Conv2D(4, 3, strides=2, padding="same", name="last")(inputs)
    steps = layers.LSTM(6, return_sequences=True)(layers.Reshape((16, 64))(tensor))
    return keras.Model(inputs, layers.Dense(3)(layers.LSTM(4)(steps)))


def attention_pooling():
    """A weighted mean of a convolution's features."""
    inputs = keras.Input((32, 32, 3))
    tensor = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(inputs)
    tensor = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="last")(tensor)
    tokens = layers.Reshape((64, 8))(tensor)
    weights = layers.Softmax(axis=1)(layers.Dense(1)(layers.Dense(8, activation="tanh")(tokens)))
    return keras.Model(inputs, layers.Dense(3)(ops.sum(tokens * weights, axis=1)))


def own_blocks(extra=1):
    inputs = keras.Input((32, 48, 3))
    tokens = Positions()(ExtraTokens(extra)(layers.Reshape((24, WIDTH))(layers.Conv2D(WIDTH, 8, 8)(inputs))))
    tokens = Block(name="second")(Block(name="first")(tokens))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(tokens[:, 0]))


def nested():
    inner = vit(extra=1, end="class")
    encoder = keras.Model(inner.inputs, inner.get_layer("final_norm").output, name="encoder")
    inputs = keras.Input((32, 32, 3))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(encoder(inputs)[:, 0]))


def latents():
    """Latent tokens that read the patches: they have no place in the photo."""
    inputs = keras.Input((32, 32, 3))
    tokens = layers.Reshape((16, WIDTH))(layers.Conv2D(WIDTH, 8, 8)(inputs))
    queries = ExtraTokens(9)(tokens)[:, :9]
    read = layers.LayerNormalization()(layers.Add()([queries, layers.MultiHeadAttention(2, 8)(queries, tokens)]))
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(read)))


def built(make, *arguments, **options):
    keras.utils.set_random_seed(5)
    return make(*arguments, **options)


def opened(model):
    source = KerasSource(model, name=None, preprocess="none", precision="float32")
    return source, Grids(source)


def images_for(classifier, count=2):
    return np.random.default_rng(2).integers(0, 256, (count, *classifier.input_size, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("make", "layer", "grid", "first"),
    [
        (vit, "final_norm", (4, 4), 0),
        (lambda: vit((24, 48)), "final_norm", (3, 6), 0),
        (lambda: vit(end="flat", stem="extract_patches"), "final_norm", (4, 4), 0),
        (lambda: vit(end="flat", stem="own layer"), "final_norm", (4, 4), 0),
        (lambda: vit((24, 48), stem="columns"), "final_norm", (3, 6), 0),
        # Behind the last attention nothing but the class token is read.
        (lambda: vit(extra=1, end="class"), "block1_norm", (4, 4), 1),
        (lambda: vit((24, 48), extra=5, end="class"), "block1_norm", (3, 6), 5),
        (lambda: vit(extra=1, last=True, end="class"), "block1_norm", (4, 4), 0),
        (lambda: vit(extra=1, end="class", by_hand=True), "block1_norm", (4, 4), 1),
        (lambda: vit(extra=1, end="class", depth=1), "block0_norm", (4, 4), 1),
        (lambda: vit(by_hand=True), "final_norm", (4, 4), 0),
        (lambda: vit(extra=1), "final_norm", (4, 4), 1),
        (mixer, "final_norm", (4, 8), 0),
        (hybrid, "block1_norm", (8, 12), 1),
        (own_blocks, "second/norm", (4, 6), 1),
        (nested, "encoder/block1_norm", (4, 4), 1),
    ],
)
def test_default_layer_of_transformers(make, layer, grid, first):
    source, grids = opened(built(make))
    assert find_default_layer(source, grids).path == layer
    found = grids.grid(TensorAt(layer))
    assert (found.height, found.width, found.tokens[0]) == (*grid, first)


@pytest.mark.parametrize(
    ("make", "layer"),
    [(windows, "final_norm"), (convmixer, "last"), (recurrent, "last"), (attention_pooling, "last")],
)
def test_models_that_end_in_feature_maps_keep_their_layer(make, layer):
    found = find_default_layer(*opened(built(make)))
    assert (found.path, found.of_tokens) == (layer, False)


def test_patches_in_columns_are_put_in_rows():
    model = built(vit, (24, 48), stem="columns")
    grid = opened(model)[1].grid(TensorAt("final_norm"))
    assert grid.tokens == tuple(np.arange(18).reshape(6, 3).T.ravel())


def tape_gradcam(model, layer, image, target, tokens, grid):
    """Grad-CAM on tokens by hand: the logit is log p, whose gradient differs by that of a constant over classes."""
    before_softmax = model.layers[-1]
    kernel, bias = before_softmax.get_weights()
    inner = keras.Model(model.inputs[0], [model.get_layer(layer).output, before_softmax.input])
    with tf.GradientTape() as tape:
        features, entering = inner(image[None].astype("float32"), training=False)
        tape_gradient = (entering @ kernel + bias)[0, target]
    gradient = tape.gradient(tape_gradient, features).numpy()[0, tokens].astype(np.float64)
    coarse = np.maximum(features.numpy()[0, tokens] @ gradient.mean(axis=0), 0).reshape(grid)
    return cv2.resize(coarse, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize(
    ("options", "layer", "tokens", "grid"),
    [
        ({"size": (24, 48), "extra": 2, "end": "class"}, "block1_norm", range(2, 20), (3, 6)),
        ({"extra": 1, "last": True, "end": "class"}, "block1_norm", range(16), (4, 4)),
        ({"size": (24, 48), "stem": "extract_patches", "end": "flat"}, "final_norm", range(18), (3, 6)),
    ],
)
def test_gradcam_on_tokens_equals_gradient_tape(options, layer, tokens, grid):
    classifier = Classifier(built(vit, **options))
    images = images_for(classifier)
    maps = GradCam().explain(classifier, images, [0, 2])
    for image, target, found in zip(images, [0, 2], maps, strict=True):
        expected = tape_gradcam(classifier.model, layer, image, target, list(tokens), grid)
        assert expected.max() > 0
        np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())


def test_gradcam_takes_layers_of_tokens_by_name():
    classifier = Classifier(built(vit, (24, 48), extra=1, end="class"))
    images = images_for(classifier)
    explainer = GradCam(layer="block0_norm")
    explainer.check(classifier)
    expected = tape_gradcam(classifier.model, "block0_norm", images[0], 1, list(range(1, 19)), (3, 6))
    np.testing.assert_allclose(explainer.explain(classifier, images[:1], [1])[0], expected, atol=1e-4 * expected.max())


def test_a_layer_behind_the_last_attention_is_refused_for_a_class_token():
    classifier = Classifier(built(vit, extra=1, end="class"))
    message = r"do not depend on the tokens of patches in layer 'final_norm'.*; use block1_norm"
    with pytest.raises(ModelError, match=message):
        GradCam(layer="final_norm").check(classifier)
    GradCam(layer="final_norm").check(Classifier(built(vit)))


def test_tokens_without_a_grid_are_refused_in_words():
    classifier = Classifier(built(latents))
    assert classifier.target_layer is None
    with pytest.raises(ModelError, match=r"has tokens .*\(1, 9, 16\).* that are no grid of patches.*; use occlusion"):
        GradCam().check(classifier)
    with pytest.raises(ModelError, match=r"outputs of shape .*9, 16.*tokens \(N, T, K\) of which each patch"):
        GradCam(layer=list(classifier.graph.shapes)[-3]).check(classifier)


def test_outputs_of_heads_are_no_feature_map():
    """(N, heads, T, d) of an attention written by hand, and (N, K, T) of transposed tokens."""
    by_hand = Classifier(built(vit, by_hand=True))
    heads = next(path for path, shape in by_hand.graph.shapes.items() if shape == (1, 2, 16, 8))
    with pytest.raises(ModelError, match=r"outputs of shape \(1, 2, 16, 8\); a feature map"):
        by_hand.resolve_layer(heads)
    with pytest.raises(ModelError, match=r"outputs of shape \(1, 16, 32\)"):
        Classifier(built(mixer)).resolve_layer("over_tokens")


def test_feature_maps_may_have_another_shape_than_the_photo():
    """A stride of 8 along the rows only; a copy of the classifier is given the layer by name."""
    inputs = keras.Input((16, 32, 3))
    features = layers.Conv2D(4, 3, strides=(1, 8), padding="same", name="narrow")(inputs)
    keras.utils.set_random_seed(5)
    classifier = Classifier(keras.Model(inputs, layers.Dense(3)(layers.Flatten()(features))))
    assert classifier.target_layer == classifier.resolve_layer("narrow") == "narrow"
    assert classifier.in_precision("bfloat16").target_layer == "narrow"


@keras.saving.register_keras_serializable("test_tokens")
class Compiled(Block):
    call = tf.function(Block.call)


def test_layers_inside_a_compiled_layer_are_passed_over():
    inputs = keras.Input((32, 48, 3))
    tokens = Positions()(layers.Reshape((24, WIDTH))(layers.Conv2D(WIDTH, 8, 8)(inputs)))
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(Compiled(name="compiled")(tokens))))
    classifier = Classifier(model)
    assert classifier.target_layer == "compiled"
    assert GradCam().explain(classifier, images_for(classifier), [0, 1]).shape == (2, 32, 48)


def test_cam_of_pooled_tokens_is_the_class_weights_on_them():
    model = built(vit, (24, 48))
    classifier = Classifier(model)
    images = images_for(classifier)
    Cam().check(classifier)
    entering = keras.Model(model.inputs[0], model.get_layer("final_norm").output)(images.astype("float32")).numpy()
    coarse = (entering @ np.asarray(model.layers[-1].kernel)[:, 1]).reshape(2, 3, 6).astype(np.float64)
    expected = np.stack([cv2.resize(one, (48, 24)) for one in coarse])
    np.testing.assert_allclose(Cam().explain(classifier, images, [1, 1]), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ModelError, match="does not end in global average pooling"):
        Cam().check(Classifier(built(vit, extra=1)))  # the mean takes in the class token


def test_layers_inside_own_layers_have_names_that_last(tmp_path):
    """Keras numbers unnamed layers by process; the names are those of attributes."""
    model = built(own_blocks)
    model.save(tmp_path / "own.keras")
    first, loaded = Classifier(model), Classifier(keras.saving.load_model(tmp_path / "own.keras"))
    assert first.target_layer == loaded.target_layer == "second/norm"
    assert loaded.resolve_layer("first/norm") == "first/norm"
    assert "call" not in vars(model.get_layer("second").norm)
    images = images_for(first)
    np.testing.assert_allclose(
        GradCam().explain(first, images, [0, 1]), GradCam().explain(loaded, images, [0, 1]), atol=1e-6
    )
    with pytest.raises(ModelError, match="has 2 layers called 'norm'"):
        first.resolve_layer("norm")


def test_bfloat16_reads_the_same_tokens():
    classifier = Classifier(built(vit, extra=1, end="class"))
    images = images_for(classifier)
    fast = classifier.in_precision("bfloat16")
    assert fast.target_layer == classifier.target_layer
    exact, rounded = (GradCam().explain(one, images, [0, 1]) for one in (classifier, fast))
    assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.98
