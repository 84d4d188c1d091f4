"""Every kind of image classifier as a small random model, with what its documentation promises of it.

A model stands beside a *twin* that shares its layers and puts out the logits, where the kind has any: twins are made by
Keras alone, so that what is computed by hand from them owes nothing to evalkit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

__all__ = ["KINDS", "Kind", "Specimen"]

LAYERS = keras.layers
OPS = keras.ops
SIDE = 16


@dataclass(frozen=True, eq=False)
class Specimen:
    """One model of a kind.

    Attributes:
        model: the user's own model, which takes pixels in 0..255.
        twin: the same model before its softmax or sigmoid; None if the kind has no logit that can be reached.
        options: the options that the user gives with it.
        function: what computes the outputs by hand; None = the model itself.
    """

    model: Any
    twin: Any = None
    options: dict[str, Any] = field(default_factory=dict)
    function: Any = None


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of classifier.

    Attributes:
        text: the kind in words, for the table.
        build: the function that makes one.
        score: how the model's own outputs become class scores: ``itself``; ``softmax``; ``sigmoid``.
        shape: (height, width, channels) of its images.
        loose: how many times the tolerances are larger: in float16 and bfloat16 two ways to compute the same differ.
        patch_size: of the occlusion that is compared.
        left_out: those of ``gradcam`` and ``occlusion`` that cannot explain it.
        prepare: what the user does to images before the model.
        channels_first: True if the model takes (N, C, H, W), and its feature maps are (N, K, h, w).
        grid: of a transformer: the index of the first patch's token, and the rows and columns of patches.
    """

    text: str
    build: Callable[[], Specimen]
    score: str = "itself"
    shape: tuple[int, int, int] = (SIDE, SIDE, 3)
    loose: float = 1.0
    patch_size: int = 5
    left_out: tuple[str, ...] = ()
    prepare: Callable[[Any], Any] = lambda images: images
    channels_first: bool = False
    grid: tuple[int, int, int] | None = None


def dense(count, activation=None, scale=3.0, **options):
    return LAYERS.Dense(
        count,
        activation,
        kernel_initializer=keras.initializers.RandomNormal(stddev=scale),
        bias_initializer=keras.initializers.RandomNormal(stddev=0.5),
        **options,
    )


def convolution(filters, size=3, **options):
    options = {"activation": "relu", "padding": "same", "bias_initializer": "random_normal", **options}
    return LAYERS.Conv2D(filters, size, **options)


def body(shape=(SIDE, SIDE, 3), *, name=None):
    """Return the input and the pooled features of two convolutions."""
    inputs = keras.Input(shape, name=name)
    tensor = LAYERS.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    tensor = LAYERS.MaxPooling2D()(convolution(6)(tensor))
    tensor = convolution(8, name=f"last_{name}" if name else "last")(tensor)
    return inputs, LAYERS.GlobalAveragePooling2D()(tensor)


def ended(count, end, *, linear=None, shape=(SIDE, SIDE, 3), twin=True, seed=3):
    """Return a specimen of ``body`` with ``end`` (tensor to tensor) on ``count`` logits."""
    keras.utils.set_random_seed(seed)
    inputs, pooled = body(shape)
    logits = (linear or dense(count, name="logits"))(pooled)
    return Specimen(keras.Model(inputs, end(logits)), keras.Model(inputs, logits) if twin else None)


def fused(count, activation, seed=3):
    """Return a specimen whose last dense layer holds the activation."""
    keras.utils.set_random_seed(seed)
    inputs, pooled = body()
    own, linear = dense(count, activation, name="scores"), dense(count, name="logits")
    outputs, logits = own(pooled), linear(pooled)
    linear.set_weights(own.get_weights())
    return Specimen(keras.Model(inputs, outputs), keras.Model(inputs, logits))


def shown(outputs, inputs, logits=None, **options):
    return Specimen(keras.Model(inputs, outputs), None if logits is None else keras.Model(inputs, logits), options)


@keras.saving.register_keras_serializable("zoo")
class OwnEnd(LAYERS.Layer):
    """A layer of the user's that holds a dense layer and the activation."""

    def __init__(self, count=3, activation="softmax", **options):
        super().__init__(**options)
        self.count, self.activation_name = count, activation
        self.dense = dense(count)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, tensor):
        return getattr(tf.nn, self.activation_name)(self.dense(tensor))

    def get_config(self):
        return {**super().get_config(), "count": self.count, "activation": self.activation_name}


# --- ends -------------------------------------------------------------------------------------------------------------


def softmax_full_pass():
    """A graph that is no chain: occlusion takes full passes."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((SIDE, SIDE, 3))
    tensor = first = convolution(6)(LAYERS.Rescaling(1 / 255)(inputs))
    tensor = LAYERS.Add()([first, convolution(6)(tensor)])
    logits = dense(3, scale=0.5)(LAYERS.Flatten()(LAYERS.MaxPooling2D(4)(tensor)))
    return shown(LAYERS.Softmax()(logits), inputs, logits)


def members(*ends):
    """Return whole models of equal inputs with these ends, to be averaged."""
    made = []
    for number, end in enumerate(ends):
        keras.utils.set_random_seed(11 + number)
        inputs, pooled = body(name=f"member{number}")
        made.append(keras.Model(inputs, dense(3, end)(pooled), name=f"model{number}"))
    return made


def average_of(activation):
    one, two = members(activation, activation)
    inputs = keras.Input((SIDE, SIDE, 3))
    averaged = LAYERS.Average()([one(inputs), two(inputs)])
    return shown(averaged, inputs, averaged if activation is None else None)


def average_of_logits_then_softmax():
    one, two = members(None, None)
    inputs = keras.Input((SIDE, SIDE, 3))
    averaged = LAYERS.Average()([one(inputs), two(inputs)])
    return shown(LAYERS.Softmax()(averaged), inputs, averaged)


def augmented_at_test_time():
    (model,) = members("softmax")
    inputs = keras.Input((SIDE, SIDE, 3))
    return shown((model(inputs) + model(OPS.flip(inputs, axis=2))) / 2, inputs)


def product_of_softmaxes():
    """Two coarse classes times two fine ones: four probabilities that sum to 1."""
    keras.utils.set_random_seed(8)
    inputs, pooled = body()
    coarse, fine = (dense(2, "softmax")(pooled) for _ in range(2))
    product = LAYERS.Reshape((2, 1))(coarse) * LAYERS.Reshape((1, 2))(fine)
    return shown(LAYERS.Flatten()(product), inputs)


def rest_is_the_last_class():
    """Two of three softmax outputs, and what is left of 1: rounding makes it slightly negative."""
    keras.utils.set_random_seed(8)
    inputs, pooled = body()
    first = OPS.softmax(dense(3, scale=12.0)(pooled))[:, :2]
    return shown(LAYERS.Concatenate()([first, 1.0 - OPS.sum(first, axis=1, keepdims=True)]), inputs)


def one_minus_p():
    keras.utils.set_random_seed(9)
    inputs, pooled = body()
    p = dense(1, "sigmoid")(pooled)
    return shown(LAYERS.Concatenate()([1 - p, p]), inputs)


def normalized_sigmoids():
    return ended(3, lambda z: OPS.sigmoid(z) / OPS.sum(OPS.sigmoid(z), axis=1, keepdims=True), twin=False)


# --- bodies -----------------------------------------------------------------------------------------------------------


def nested_transfer():
    """The usual transfer model: augmentation, rescaling, a backbone with batch normalization as a layer, dropout."""
    keras.utils.set_random_seed(12)
    inside = keras.Input((32, 32, 3))
    tensor = LAYERS.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(inside)
    tensor = LAYERS.ReLU(6.0)(LAYERS.BatchNormalization()(tensor))
    tensor = LAYERS.DepthwiseConv2D(3, padding="same", use_bias=False)(tensor)
    tensor = LAYERS.ReLU(6.0, name="last")(LAYERS.BatchNormalization()(tensor))
    backbone = keras.Model(inside, tensor, name="backbone")
    _alive(backbone)
    inputs = keras.Input((32, 32, 3))
    tensor = LAYERS.RandomRotation(0.2)(LAYERS.RandomFlip("horizontal")(inputs))
    tensor = backbone(LAYERS.Rescaling(1 / 127.5, offset=-1)(tensor), training=False)
    pooled = LAYERS.Dropout(0.3)(LAYERS.GlobalAveragePooling2D()(tensor))
    own, linear = dense(1, "sigmoid", name="scores"), dense(1, name="logits")
    outputs, logits = own(pooled), linear(pooled)
    linear.set_weights(own.get_weights())
    return shown(outputs, inputs, logits)


def _alive(model):
    """Give batch normalization the statistics of a trained model."""
    rng = np.random.default_rng(4)
    for layer in model.layers:
        if isinstance(layer, LAYERS.BatchNormalization):
            count = layer.gamma.shape[0]
            layer.set_weights(
                [rng.uniform(0.5, 1.5, count), rng.normal(0, 0.2, count), rng.normal(0, 0.2, count),
                 rng.uniform(0.3, 1.5, count)]
            )  # fmt: skip


def several_features():
    """A backbone that returns two feature maps, of which the second is read."""
    keras.utils.set_random_seed(13)
    inside = keras.Input((SIDE, SIDE, 3))
    first = convolution(4)(inside)
    second = convolution(6, name="last")(LAYERS.MaxPooling2D()(first))
    backbone = keras.Model(inside, [first, second], name="backbone")
    inputs = keras.Input((SIDE, SIDE, 3))
    maps = backbone(LAYERS.Rescaling(1 / 255)(inputs))
    logits = dense(3)(LAYERS.GlobalAveragePooling2D()(maps[1]))
    return shown(LAYERS.Softmax()(logits), inputs, logits)


def residual():
    keras.utils.set_random_seed(14)
    inputs = keras.Input((SIDE, SIDE, 3))
    tensor = convolution(6)(LAYERS.Rescaling(1 / 255)(inputs))
    for _ in range(2):
        inner = LAYERS.BatchNormalization()(convolution(6, activation=None)(tensor))
        tensor = LAYERS.ReLU()(LAYERS.Add()([tensor, inner]))
    logits = dense(3, scale=0.5)(LAYERS.GlobalAveragePooling2D()(tensor))
    made = shown(LAYERS.Softmax()(logits), inputs, logits)
    _alive(made.model)
    return made


def separable():
    keras.utils.set_random_seed(15)
    inputs = keras.Input((SIDE, SIDE, 3))
    tensor = LAYERS.DepthwiseConv2D(3, strides=2, padding="same")(LAYERS.Rescaling(1 / 127.5, offset=-1)(inputs))
    tensor = LAYERS.SeparableConv2D(8, 3, activation="relu", padding="same")(tensor)
    logits = dense(3)(LAYERS.GlobalAveragePooling2D()(tensor))
    return shown(LAYERS.Softmax()(logits), inputs, logits)


def mixed(policy):
    def build():
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            keras.utils.set_random_seed(16)
            inputs, pooled = body()
            logits = dense(3, name="logits", dtype="float32")(pooled)
            return shown(LAYERS.Activation("softmax", dtype="float32")(logits), inputs, logits)
        finally:
            keras.config.set_dtype_policy(before)

    return build


def float16_to_the_end():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return fused(3, "softmax", seed=17)
    finally:
        keras.config.set_dtype_policy(before)


def of_shape(shape):
    return lambda: ended(3, LAYERS.Softmax(), shape=shape)


def any_size():
    keras.utils.set_random_seed(18)
    inputs = keras.Input((None, None, 3))
    tensor = LAYERS.GlobalMaxPooling2D()(convolution(8)(LAYERS.Rescaling(1 / 255)(inputs)))
    logits = dense(3)(tensor)
    return shown(LAYERS.Softmax()(logits), inputs, logits, input_size=(24, 20))


def pooled_by(pool):
    def build():
        keras.utils.set_random_seed(19)
        inputs = keras.Input((SIDE, SIDE, 3))
        tensor = convolution(6, strides=2, name="last")(LAYERS.Rescaling(1 / 127.5, offset=-1)(inputs))
        logits = dense(3, scale=1.0)(pool(tensor))
        return shown(LAYERS.Softmax()(logits), inputs, logits)

    return build


def attention_pooling(tensor):
    """Return the mean of the features, weighted by a softmax over positions."""
    rows = LAYERS.Reshape((-1, tensor.shape[-1]))(tensor)
    weights = LAYERS.Softmax(axis=1)(dense(1)(rows))
    return OPS.sum(rows * weights, axis=1)


def fully_convolutional():
    """Scores by a convolution and average pooling, without a dense layer."""
    keras.utils.set_random_seed(20)
    inputs = keras.Input((SIDE, SIDE, 3))
    tensor = convolution(6, strides=2)(LAYERS.Rescaling(1 / 127.5, offset=-1)(inputs))
    logits = LAYERS.GlobalAveragePooling2D()(
        LAYERS.Conv2D(3, 1, name="maps", kernel_initializer="random_normal")(tensor)
    )
    return shown(LAYERS.Softmax()(logits), inputs, logits)


def scores_of_one_pixel(activation):
    """Outputs (N, 1, 1, C): the last layer is a convolution."""

    def build():
        keras.utils.set_random_seed(27)
        inputs = keras.Input((SIDE, SIDE, 3))
        tensor = convolution(6, name="last")(LAYERS.Rescaling(1 / 127.5, offset=-1)(inputs))
        pooled = LAYERS.GlobalAveragePooling2D(keepdims=True)(tensor)
        random = keras.initializers.RandomNormal(stddev=3.0)
        own, linear = (convolution(3, 1, activation=end, kernel_initializer=random) for end in (activation, None))
        outputs, logits = own(pooled), LAYERS.Flatten()(linear(pooled))
        linear.set_weights(own.get_weights())
        return shown(outputs, inputs, logits)

    return build


def sequential():
    keras.utils.set_random_seed(21)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            LAYERS.Rescaling(1 / 127.5, offset=-1),
            convolution(6),
            LAYERS.MaxPooling2D(),
            convolution(8),
            LAYERS.Flatten(),
            dense(3, "softmax", scale=0.5),
        ]
    )
    linear = dense(3)
    logits = linear(model.layers[-1].input)
    linear.set_weights(model.layers[-1].get_weights())
    return Specimen(model, keras.Model(model.inputs, logits))


def without_convolution():
    keras.utils.set_random_seed(22)
    inputs = keras.Input((SIDE, SIDE, 3))
    tensor = LAYERS.Dense(8, "relu")(LAYERS.Flatten()(LAYERS.Rescaling(1 / 255)(inputs)))
    logits = dense(3)(tensor)
    return shown(LAYERS.Softmax()(logits), inputs, logits)


def several_outputs():
    keras.utils.set_random_seed(23)
    inputs, pooled = body()
    logits = dense(3, name="logits")(pooled)
    scores = LAYERS.Softmax(name="species")(logits)
    model = keras.Model(inputs, {"species": scores, "age": dense(1, name="age")(pooled)})
    return Specimen(model, keras.Model(inputs, logits), {"output_name": "species"})


def list_of_one():
    keras.utils.set_random_seed(24)
    inputs, pooled = body()
    logits = dense(3)(pooled)
    return Specimen(keras.Model([inputs], [LAYERS.Softmax()(logits)]), keras.Model(inputs, logits))


def dictionary_of_one():
    keras.utils.set_random_seed(24)
    inputs, pooled = body(name="photo")
    logits = dense(3)(pooled)
    model = keras.Model({"photo": inputs}, {"scores": LAYERS.Softmax()(logits)})
    return Specimen(model, keras.Model(inputs, logits))


def saved_and_loaded(ending):
    def build():
        import tempfile
        from pathlib import Path

        made = nested_transfer()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"model{ending}"
            made.model.save(file)
            loaded = keras.saving.load_model(file, compile=False)
        linear = dense(1)
        logits = linear(loaded.layers[-1].input)
        linear.set_weights(loaded.layers[-1].get_weights())
        return Specimen(loaded, keras.Model(loaded.inputs, logits))

    return build


def channels_first():
    """As models come from PyTorch: (N, C, H, W)."""
    keras.utils.set_random_seed(28)
    first = {"data_format": "channels_first"}
    inputs = keras.Input((3, SIDE, SIDE))
    tensor = LAYERS.MaxPooling2D(**first)(convolution(6, **first)(LAYERS.Rescaling(1 / 127.5, offset=-1)(inputs)))
    logits = dense(3)(LAYERS.GlobalAveragePooling2D(**first)(convolution(8, name="last", **first)(tensor)))
    return shown(LAYERS.Softmax()(logits), inputs, logits)


def turned_inside():
    """(N, H, W, C) outside, (N, C, H, W) inside."""
    inner = channels_first()
    inputs = keras.Input((SIDE, SIDE, 3))
    outputs, logits = (model(LAYERS.Permute((3, 1, 2))(inputs)) for model in (inner.model, inner.twin))
    return shown(outputs, inputs, logits)


@keras.saving.register_keras_serializable("zoo")
class ClassToken(LAYERS.Layer):
    """Puts a learned token before those of the patches, and adds learned positions."""

    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[2]), initializer="random_normal", name="token")
        self.positions = self.add_weight(shape=(1, shape[1] + 1, shape[2]), initializer="random_normal", name="at")

    def call(self, tokens):
        first = OPS.repeat(self.token, OPS.shape(tokens)[0], axis=0)
        return OPS.concatenate([first, tokens], axis=1) + self.positions

    def compute_output_shape(self, shape):
        return (shape[0], shape[1] + 1, shape[2])


def transformer(read):
    """Patches by a convolution, two blocks; the class is read from the class token or from the mean of patches."""

    def build():
        keras.utils.set_random_seed(29)
        width = 12
        inputs = keras.Input((32, 32, 3))
        patches = LAYERS.Conv2D(width, 8, strides=8, name="patches")(LAYERS.Rescaling(1 / 127.5, offset=-1)(inputs))
        tokens = LAYERS.Reshape((16, width))(patches)
        tokens = ClassToken()(tokens) if read == "token" else tokens
        for _ in range(2):
            normal = LAYERS.LayerNormalization()(tokens)
            tokens = LAYERS.Add()([tokens, LAYERS.MultiHeadAttention(2, width // 2)(normal, normal)])
            inner = LAYERS.Dense(2 * width, "gelu")(LAYERS.LayerNormalization()(tokens))
            tokens = LAYERS.Add()([tokens, LAYERS.Dense(width)(inner)])
        tokens = LAYERS.LayerNormalization()(tokens)
        logits = dense(3, scale=0.5)(tokens[:, 0] if read == "token" else LAYERS.GlobalAveragePooling1D()(tokens))
        return shown(LAYERS.Softmax()(logits), inputs, logits)

    return build


def without_rescaling(preprocess):
    def build():
        keras.utils.set_random_seed(30)
        inputs = keras.Input((SIDE, SIDE, 3))
        tensor = convolution(8, name="last")(LAYERS.MaxPooling2D()(convolution(6)(inputs)))
        logits = dense(3)(LAYERS.GlobalAveragePooling2D()(tensor))
        return shown(LAYERS.Softmax()(logits), inputs, logits, preprocess=preprocess)

    return build


def preprocessed_in_the_graph(family):
    def build():
        keras.utils.set_random_seed(31)
        inputs = keras.Input((SIDE, SIDE, 3))
        tensor = getattr(keras.applications, family).preprocess_input(inputs)
        tensor = convolution(8, name="last")(LAYERS.MaxPooling2D()(convolution(6)(tensor)))
        scale = 3.0 if family == "mobilenet_v2" else 0.03
        logits = dense(3, scale=scale)(LAYERS.GlobalAveragePooling2D()(tensor))
        return shown(LAYERS.Softmax()(logits), inputs, logits, preprocess=None)

    return build


def standardized(images):
    return (images / 255.0 - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])


def function_of(activation):
    """Return a builder of a function from images to outputs; that Keras is inside is not seen."""

    def build():
        model = fused(3, activation, seed=26).model

        def function(images):
            return np.asarray(model(images))

        function.input_size, function.n_classes = (SIDE, SIDE), 3
        return Specimen(function)

    return build


class Subclassed(keras.Model):
    """A model with a ``call`` of its own."""

    def __init__(self):
        super().__init__()
        self.steps = [convolution(6), LAYERS.GlobalAveragePooling2D(), LAYERS.Dropout(0.5), dense(3, "softmax")]

    def call(self, images, training=None):
        tensor = images / 127.5 - 1.0
        for step in self.steps:
            tensor = step(tensor, training=training) if isinstance(step, LAYERS.Dropout) else step(tensor)
        return tensor


def subclassed():
    keras.utils.set_random_seed(32)
    model = Subclassed()
    model(np.zeros((1, SIDE, SIDE, 3), dtype=np.float32))
    return Specimen(model, options={"input_size": (SIDE, SIDE)})


def saved_model(form):
    """The model with one sigmoid, exported for inference; as the loaded object or inside a layer."""

    def build():
        import tempfile

        made = fused(1, "sigmoid", seed=33)
        with tempfile.TemporaryDirectory() as folder:
            archive = keras.export.ExportArchive()
            archive.track(made.model)
            signature = [keras.InputSpec(shape=(None, SIDE, SIDE, 3), dtype="float32")]
            archive.add_endpoint("serve", lambda images: made.model(images, training=False), signature)
            archive.write_out(folder, verbose=False)
            if form == "object":
                return Specimen(tf.saved_model.load(folder), function=made.model)
            layer = keras.layers.TFSMLayer(folder, call_endpoint="serve")
        inputs = keras.Input((SIDE, SIDE, 3))
        return Specimen(keras.Model(inputs, layer(inputs)), function=made.model)

    return build


def with_lambda():
    return ended(3, LAYERS.Lambda(tf.nn.softmax), twin=False)


def by_exponentials(z):
    exponentials = OPS.exp(z - OPS.max(z, axis=-1, keepdims=True))
    return exponentials / OPS.sum(exponentials, axis=-1, keepdims=True)


def log_softmax():
    """Log probabilities are logits too: the gradient is that of log p."""
    made = ended(3, OPS.log_softmax, twin=False)
    return Specimen(made.model, made.model)


def clip(z):
    return OPS.clip(OPS.softmax(z), 1e-7, 1 - 1e-7)


def sharpened(z):
    p = OPS.softmax(z)
    return p**2 / OPS.sum(p**2, axis=-1, keepdims=True)


def own_end(count, activation):
    def build():
        keras.utils.set_random_seed(25)
        inputs, pooled = body()
        return shown(OwnEnd(count, activation)(pooled), inputs)

    return build


KINDS: dict[str, Kind] = {
    # Softmax whose logits are reached
    "chain": Kind("softmax, a chain of layers", lambda: fused(3, "softmax")),
    "full pass": Kind("softmax, a graph with branches", softmax_full_pass),
    "softmax layer": Kind("`Softmax` layer", lambda: ended(3, LAYERS.Softmax())),
    "softmax activation": Kind('`Activation("softmax")`', lambda: ended(3, LAYERS.Activation("softmax"))),
    "ops softmax": Kind("`keras.ops.softmax`", lambda: ended(3, OPS.softmax)),
    "tf.nn.softmax as activation": Kind("`Dense(activation=tf.nn.softmax)`", lambda: fused(3, tf.nn.softmax)),
    "own function as activation": Kind(
        "`Dense(activation=a function that is a softmax)`", lambda: fused(3, by_exponentials)
    ),
    "softmax and cast": Kind("softmax, then a cast", lambda: ended(3, lambda z: OPS.cast(OPS.softmax(z), "float32"))),
    "softmax of z/T": Kind(
        "softmax of logits divided by a temperature",
        lambda: ended(3, OPS.softmax, linear=lambda pooled: dense(3)(pooled) / 2.5),
    ),
    "average of logits, softmax": Kind("softmax of an average of logits", average_of_logits_then_softmax),
    # Logits
    "logits": Kind("logits", lambda: ended(3, lambda z: z), score="softmax"),
    "temperature": Kind(
        "logits, divided by a temperature",
        lambda: ended(3, lambda z: z, linear=lambda pooled: dense(3)(pooled) / 2.5),
        score="softmax",
    ),
    "log softmax": Kind("log-softmax", log_softmax, score="softmax"),
    "average of logits": Kind("average of logits", lambda: average_of(None), score="softmax"),
    "huge logits": Kind(
        "logits of hundreds",
        lambda: ended(3, lambda z: z, linear=lambda pooled: dense(3)(pooled) * 100),
        score="softmax",
    ),
    # One unit
    "one sigmoid": Kind("one sigmoid unit", lambda: fused(1, "sigmoid")),
    "one sigmoid layer": Kind("one unit, then a sigmoid", lambda: ended(1, LAYERS.Activation("sigmoid"))),
    "tf.nn.sigmoid as activation": Kind("`Dense(1, activation=tf.nn.sigmoid)`", lambda: fused(1, tf.nn.sigmoid)),
    "one logit": Kind("one unit without a sigmoid", lambda: ended(1, lambda z: z), score="sigmoid"),
    "one probability": Kind("one probability of a layer of one's own", own_end(1, "sigmoid")),
    # Several sigmoids
    "two sigmoids": Kind("two sigmoids", lambda: fused(2, "sigmoid")),
    "multilabel": Kind("a sigmoid for each class", lambda: fused(4, "sigmoid")),
    "own multilabel": Kind("a probability for each class of a layer of one's own", own_end(4, "sigmoid")),
    # Probabilities without a logit
    "softmax in a lambda": Kind("softmax in a `Lambda`", with_lambda),
    "own softmax": Kind("a layer of one's own that ends in a softmax", own_end(3, "softmax")),
    "softmax and clip": Kind("softmax, then a clip", lambda: ended(3, clip, twin=False)),
    "sharpened": Kind("softmax, sharpened", lambda: ended(3, sharpened, twin=False)),
    "average of softmaxes": Kind("average of softmaxes", lambda: average_of("softmax")),
    "test-time augmentation": Kind(
        "test-time augmentation in the graph", augmented_at_test_time, left_out=("gradcam",)
    ),
    "one minus p": Kind("[1 - p, p]", one_minus_p),
    "normalized sigmoids": Kind("sigmoids divided by their sum", normalized_sigmoids),
    "product of softmaxes": Kind("product of two softmaxes", product_of_softmaxes),
    "rest": Kind("two probabilities, and what is left of 1", rest_is_the_last_class),
    # Bodies
    "nested transfer": Kind(
        "transfer model: augmentation, a backbone as a layer, dropout, one sigmoid", nested_transfer, shape=(32, 32, 3)
    ),
    "keras file": Kind("the same from a `.keras` file", saved_and_loaded(".keras"), shape=(32, 32, 3)),
    "several features": Kind("a backbone as a layer with several outputs", several_features),
    "residual": Kind("residual, batch normalization", residual),
    "separable": Kind("depthwise and separable convolutions", separable),
    "mixed_float16": Kind("`mixed_float16`, scores in float32", mixed("mixed_float16"), loose=10),
    "mixed_bfloat16": Kind("`mixed_bfloat16`, scores in float32", mixed("mixed_bfloat16"), loose=10),
    "float16 scores": Kind("`mixed_float16` to the end", float16_to_the_end, loose=1000),
    "sequential": Kind("`Sequential`", sequential),
    "flatten": Kind("convolutions, `Flatten`", pooled_by(LAYERS.Flatten())),
    "max pooling": Kind("`GlobalMaxPooling2D`", pooled_by(LAYERS.GlobalMaxPooling2D())),
    "attention pooling": Kind("attention pooling", pooled_by(attention_pooling)),
    "fully convolutional": Kind("a convolution for each class, average pooling", fully_convolutional),
    "one pixel": Kind("outputs of shape (N, 1, 1, C)", scores_of_one_pixel("softmax")),
    "no convolution": Kind("dense layers only", without_convolution, left_out=("gradcam",)),
    "several outputs": Kind("several outputs, `--output-name`", several_outputs),
    "dictionary of one": Kind("a dictionary of one input and one output", dictionary_of_one),
    "list of one": Kind("a list of one input and one output", list_of_one),
    # Black boxes
    "callable": Kind("any function that returns probabilities", function_of("softmax"), left_out=("gradcam",)),
    "callable of logits": Kind(
        "any function that returns logits", function_of(None), score="softmax", left_out=("gradcam",)
    ),
    "subclassed": Kind("subclassed Keras model", subclassed, left_out=("gradcam",)),
    "SavedModel": Kind("SavedModel", saved_model("object"), left_out=("gradcam",)),
    "TFSMLayer": Kind("`TFSMLayer` inside a functional model", saved_model("layer"), left_out=("gradcam",)),
    # Inputs
    "non-square": Kind("non-square", of_shape((16, 24, 3)), shape=(16, 24, 3)),
    "gray": Kind("one channel (gray)", of_shape((SIDE, SIDE, 1)), shape=(SIDE, SIDE, 1)),
    "four channels": Kind("four channels", of_shape((SIDE, SIDE, 4)), shape=(SIDE, SIDE, 4)),
    "five channels": Kind("five channels, from arrays", of_shape((SIDE, SIDE, 5)), shape=(SIDE, SIDE, 5)),
    "any size": Kind("(None, None, 3), `--input-size`", any_size, shape=(24, 20, 3)),
    "channels first": Kind("channels first, (N, C, H, W)", channels_first, channels_first=True),
    "turned inside": Kind("channels first inside the model", turned_inside, channels_first=True),
    "preprocess_input": Kind(
        "`preprocess_input` of `mobilenet_v2` in the graph", preprocessed_in_the_graph("mobilenet_v2")
    ),
    "preprocess_input, caffe": Kind("`preprocess_input` of `vgg16` in the graph", preprocessed_in_the_graph("vgg16")),
    "0..1": Kind(
        "trained on x / 255, `--preprocess 0..1`", without_rescaling("0..1"), prepare=lambda images: images / 255.0
    ),
    "imagenet-torch": Kind(
        "trained by torchvision's convention, `--preprocess imagenet-torch`",
        without_rescaling("imagenet-torch"),
        prepare=standardized,
    ),
    # Transformers
    "class token": Kind(
        "vision transformer, class token", transformer("token"), shape=(32, 32, 3), patch_size=8, grid=(1, 4, 4)
    ),
    "mean token": Kind(
        "vision transformer, mean of patches", transformer("mean"), shape=(32, 32, 3), patch_size=8, grid=(0, 4, 4)
    ),
}
