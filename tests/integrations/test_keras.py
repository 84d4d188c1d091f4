"""The callback: scores of the model as it is, logs that Keras' own callbacks can use, and a training left as it was."""

from __future__ import annotations

import csv
import gc
import math
import random
import re
import subprocess
import sys
import warnings
import weakref
from contextlib import contextmanager
from pathlib import Path

import keras
import msgspec
import numpy as np
import pytest
import tensorflow as tf

import evalkit
from evalkit.analysis.service import baseline_of
from evalkit.core.errors import ConfigError, DataError, MissingPackageError, NotComparableError, StoreError
from evalkit.integrations.keras import ExplanationQuality
from evalkit.integrations.left_alone import left_alone
from evalkit.integrations.quality import Quality
from evalkit.models.classifier import Classifier
from evalkit.store.baseline import read_baseline, write_baseline

ROOT = Path(__file__).resolve().parents[2]
GAIN = "symmetric_relevance_gain(steps=2)"
NAME = f"explanation/{GAIN}/gradcam"
QUICK = {"metrics": GAIN, "target": "predicted", "verbose": 0}


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(3)
    labels = np.arange(12) % 3
    pixels = rng.integers(0, 60, (12, 32, 32, 3), dtype=np.uint8)
    for number, label in enumerate(labels):
        pixels[number, 8:24, 8:24, label] += 150
    return pixels, labels


@pytest.fixture(scope="module")
def images(arrays):
    regions = np.zeros((12, 32, 32), dtype=bool)
    regions[:, 8:24, 8:24] = True
    return evalkit.ImageSet.from_arrays(*arrays, regions)


def small(end="softmax", **options):
    layers = [
        keras.layers.Input((32, 32, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Dropout(0.2),
        keras.layers.Conv2D(6, 3, padding="same", activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3, activation=end, dtype="float32"),
    ]
    return compiled(keras.Sequential(layers, **options), from_logits=end != "softmax")


def compiled(model, *, from_logits=False):
    model.compile(keras.optimizers.Adam(0.02), keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits))
    return model


def trained(model, arrays, callbacks, epochs=1, **options):
    return model.fit(*arrays, epochs=epochs, batch_size=4, verbose=0, callbacks=callbacks, **options).history


class Given:
    """A scorer that returns what it is given, one after another; an error is raised."""

    plan = None

    def __init__(self, *given):
        self.given = list(given)

    def check(self, model):
        pass

    def score(self, model):
        now = self.given.pop(0)
        if isinstance(now, BaseException):
            raise now
        return now if isinstance(now, Quality) else Quality({(GAIN, "gradcam"): now}, {(GAIN, "gradcam"): 4}, 4)

    def forget(self):
        pass


@pytest.fixture
def epochs_of(images, tiny_model):
    """Call callbacks as ``fit`` does, with these scores, and return the logs of each epoch."""

    def run(*given, others=(), first=0, count=None, **options):
        quality = ExplanationQuality(images, **QUICK, **options)
        quality._scorer = Given(*given)
        found = []
        last = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: found.append(dict(logs)))
        listed = keras.callbacks.CallbackList([quality, *others, last], model=tiny_model)
        tiny_model.stop_training = False
        listed.on_train_begin()
        for epoch in range(first, first + (count or len(given))):
            listed.on_epoch_end(epoch, {"loss": 1.0})
            if tiny_model.stop_training:
                break
        listed.on_train_end()
        return found

    return run


# The scores


@pytest.mark.parametrize(
    ("explainers", "metrics"),
    [
        (["gradcam", "occlusion(patch_size=16)"], [GAIN, "pxap"]),
        pytest.param(
            ["cam", "integrated_gradients(steps=2)", "tf_explain.gradcam", "scorecam"],
            [GAIN, "mprt(layers=output)"],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["windows", "copies"],
)
def test_scores_are_those_of_a_fresh_model_with_the_same_weights(arrays, images, explainers, metrics):
    """Windows, gradients, copies of weights and set-level scores: nothing of an earlier epoch is left in them."""
    keras.utils.set_random_seed(1)
    model, weights = small(), []
    options = {"explainers": explainers, "metrics": metrics, "target": "predicted", "limit": 4}
    quality = ExplanationQuality(images, **options, verbose=0)
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: weights.append(model.get_weights()))
    history = trained(model, arrays, [quality, keep], epochs=3)
    fresh = small()
    fresh.set_weights(weights[2])
    run = evalkit.evaluate(fresh, images, **options, precision="float32", progress=False)
    found = {cell: of_cell.mean for cell, of_cell in board(run).items()}
    assert found.keys() == quality.results[2].quality.means.keys()
    for (metric, explainer), mean in found.items():
        if mean is not None:
            assert history[f"explanation/{metric}/{explainer}"][2] == pytest.approx(mean, abs=1e-6)
    gains = [row.quality.means[GAIN, explainers[0]] for row in quality.results]
    assert len(set(gains)) == 3


@contextmanager
def warned():
    """Collect the sentences that a user is warned with."""
    sentences = []
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        yield sentences
    sentences += [str(one.message) for one in found]


def board(run):
    """Return every cell of a run, those of mprt included, which is not on the leaderboard."""
    return {(cell.metric, cell.explainer): cell for cell in (*run.leaderboard(), *run.results.sanity)}


def nested():
    backbone = keras.Sequential(
        [keras.layers.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, activation="relu")], name="backbone"
    )
    backbone.trainable = False
    inputs = keras.Input((32, 32, 3))
    features = backbone(keras.layers.Rescaling(1 / 255)(inputs), training=False)
    outputs = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(features))
    return compiled(keras.Model(inputs, outputs), from_logits=True)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.pool, self.dense = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")

    def call(self, images):
        return self.dense(self.pool(images) / 255.0)


def in_policy(policy):
    keras.config.set_dtype_policy(policy)
    try:
        return small()
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("make", "explainer"),
    [
        pytest.param(lambda: small("linear"), "gradcam", marks=pytest.mark.slow),
        (nested, "gradcam"),
        pytest.param(lambda: in_policy("mixed_bfloat16"), "gradcam", marks=pytest.mark.slow),
        pytest.param(lambda: in_policy("mixed_float16"), "gradcam", marks=pytest.mark.slow),
        (lambda: compiled(Subclassed()), "occlusion(patch_size=16)"),
    ],
    ids=["logits", "nested", "mixed_bfloat16", "mixed_float16", "subclassed"],
)
def test_kinds_of_models_are_scored_as_evaluate_does(arrays, images, make, explainer):
    keras.utils.set_random_seed(2)
    model = make()
    preprocess = {"preprocess": "none", "input_size": 32} if isinstance(model, Subclassed) else {}
    quality = ExplanationQuality(images, explainer, **QUICK, **preprocess, limit=4)
    history = trained(model, arrays, [quality], epochs=2, validation_split=0.25)
    run = evalkit.evaluate(
        model, images, explainers=explainer, metrics=GAIN, target="predicted", precision="float32", limit=4,
        progress=False, **preprocess,
    )  # fmt: skip
    (cell,) = run.leaderboard()
    assert history[f"explanation/{GAIN}/{explainer}"][-1] == pytest.approx(cell.mean, abs=1e-6)
    assert len(history["val_loss"]) == 2


def test_a_changed_attribute_of_a_layer_is_seen(arrays, images):
    """What was compiled holds such attributes, so a classifier that was kept would be out of date."""

    @keras.saving.register_keras_serializable("tests")
    class Times(keras.layers.Layer):
        factor = 1.0

        def call(self, inputs):
            return inputs * self.factor

    times = Times()
    layers = [keras.layers.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(3, 3), times]
    model = compiled(keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Softmax()]))
    quality = ExplanationQuality(images, **QUICK, limit=3)
    quality.set_model(model)
    scores = []
    for factor in (1.0, 1.0, 5.0):
        times.factor = factor
        logs = {}
        quality.on_epoch_end(len(scores), logs)
        scores.append(logs[NAME])
    assert scores[0] == scores[1] != scores[2]


def test_nothing_is_compiled_again_or_kept_after_training(arrays, images):
    model = small()
    quality = ExplanationQuality(images, ["gradcam", "occlusion(patch_size=16)"], **QUICK, limit=3)
    seen = []

    def look(epoch, logs):
        classifier = quality._scorer.plan.classifier
        seen.append((id(classifier), classifier.source._outputs.experimental_get_tracing_count()))

    keeper = keras.callbacks.LambdaCallback(on_epoch_end=look)
    made = []
    original = Classifier.__init__
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            Classifier, "__init__", lambda self, *a, **k: (made.append(weakref.ref(self)), original(self, *a, **k))[1]
        )
        trained(model, arrays, [quality, keeper], epochs=4)
    assert len({one for one, _ in seen}) == 1
    assert [count for _, count in seen[1:]] == [seen[1][1]] * 3
    assert len(made) == 2  # one to look at the model before training, one for all epochs
    gc.collect()
    assert [reference() for reference in made] == [None, None]


def test_tf32_is_on_in_every_scoring_and_afterwards_as_it_was(arrays, images, monkeypatch):
    allowed, scored = [True], []
    monkeypatch.setattr(tf.config.experimental, "tensor_float_32_execution_enabled", lambda: allowed[-1])
    monkeypatch.setattr(tf.config.experimental, "enable_tensor_float_32_execution", allowed.append)
    for place in ("models.devices", "integrations.left_alone"):
        monkeypatch.setattr(f"evalkit.{place}.gpu_names", lambda: ["gpu"])
    logits = Classifier.logits

    def look(classifier, *given, **options):
        scored.append(allowed[-1])
        return logits(classifier, *given, **options)

    monkeypatch.setattr(Classifier, "logits", look)
    for precision, expected in (("tf32", {True}), ("float32", {False})):
        between = []
        keeper = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_, seen=between: seen.append(allowed[-1]))
        quality = ExplanationQuality(images, ["gradcam"], **QUICK, limit=2, precision=precision)
        scored.clear()
        trained(small(), arrays, [quality, keeper], epochs=3)
        assert between == [True] * 3
        assert len(scored) >= 3
        assert set(scored) == expected


def test_training_is_traced_as_often_as_without(arrays, images):
    class Counts(keras.layers.Layer):
        traced = 0

        def call(self, inputs, training=False):
            Counts.traced += bool(training)
            return inputs

    def times(callbacks):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((32, 32, 3))
        outputs = keras.layers.Conv2D(3, 3)(Counts()(keras.layers.Rescaling(1 / 255)(inputs)))
        outputs = keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(outputs))
        model = compiled(keras.Model(inputs, outputs))
        Counts.traced = 0
        trained(model, arrays, callbacks, epochs=3)
        return Counts.traced

    assert times([ExplanationQuality(images, **QUICK, limit=2)]) == times([])


# The logs


def test_scored_after_the_first_and_every_other_epoch(epochs_of, tmp_path):
    logger = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    logs = epochs_of(0.1, 0.2, 0.3, others=[logger], every=2, count=5)
    assert [NAME in of_epoch for of_epoch in logs] == [True, True, False, True, False]
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [row[NAME] for row in rows] == ["0.1", "0.2", "NA", "0.3", "NA"]
    assert NAME in epochs_of(0.1, every=4, first=6)[0]  # initial_epoch=6


@pytest.mark.filterwarnings("ignore:Early stopping conditioned on metric")
def test_patience_counts_scored_epochs_only(epochs_of):
    stop = keras.callbacks.EarlyStopping(NAME, mode="max", patience=2)
    logs = epochs_of(0.5, 0.4, 0.6, 0.5, 0.4, others=[stop], every=3, count=12)
    assert len(logs) == 12  # scored after 1, 3, 6, 9 and 12
    assert stop.best == 0.6
    assert stop.stopped_epoch == 11


@pytest.mark.filterwarnings("ignore:Early stopping conditioned on metric")
@pytest.mark.filterwarnings("ignore:Can save best model only with")
def test_undefined_scores_before_the_first_are_left_out(epochs_of, tmp_path):
    """As a first value NaN would be the best for ever, and training would stop although the scores rise."""
    stop = keras.callbacks.EarlyStopping(NAME, mode="max", patience=2)
    save = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", NAME, mode="max", save_best_only=True)
    logs = epochs_of(math.nan, math.nan, math.nan, 0.1, math.nan, 0.2, others=[stop, save])
    assert [NAME in of_epoch for of_epoch in logs] == [False, False, False, True, True, True]
    assert math.isnan(logs[4][NAME])
    assert stop.best == save.best == 0.2
    assert (tmp_path / "best.keras").is_file()


def test_a_callback_listed_before_is_named_once(epochs_of, images, tiny_model, tmp_path):
    quality = ExplanationQuality(images, **QUICK)
    quality._scorer = Given()
    stop = keras.callbacks.EarlyStopping(NAME, mode="max")
    other = keras.callbacks.EarlyStopping("loss")
    late = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    listed = keras.callbacks.CallbackList([other, stop, quality, late], add_history=True, model=tiny_model)
    with pytest.warns(UserWarning, match="^EarlyStopping will not see the scores") as warned:
        listed.on_train_begin()
    listed.on_train_end()
    assert len(warned) == 1


# Failures


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (DataError("labels.csv: none of its 3 photos can be read"), "none of its 3 photos"),
        (MemoryError(), "MemoryError"),
        (tf.errors.ResourceExhaustedError(None, None, "out of memory"), "ResourceExhaustedError: out of memory"),
    ],
)
def test_failures_are_one_warning_and_add_nothing(epochs_of, error, sentence):
    with pytest.warns(UserWarning, match=f"^explanations are not scored: .*{sentence}") as warned:
        logs = epochs_of(error, error, 0.5)
    assert len(warned) == 1
    assert [len(of_epoch) for of_epoch in logs] == [1, 1, 3]


def test_ctrl_c_passes_through(epochs_of):
    with pytest.raises(KeyboardInterrupt):
        epochs_of(KeyboardInterrupt())


def test_a_model_that_cannot_be_explained_is_trained(arrays, images):
    layers = [keras.layers.Input((32, 32, 3)), keras.layers.Conv2D(3, 3), keras.layers.GlobalAveragePooling2D()]
    model = compiled(keras.Sequential([*layers, keras.layers.Softmax()]))
    with pytest.warns(UserWarning, match="does not say how its input is preprocessed") as warned:
        history = trained(model, arrays, [ExplanationQuality(images, **QUICK)], epochs=2)
    assert len(warned) == 1
    assert list(history) == ["loss"]


def test_an_explainer_that_fails_is_named(arrays, images):
    class Broken(evalkit_explainer()):
        name, version = "broken", 1

        def forward_passes(self, classifier):
            return 1

        def explain(self, classifier, images, targets):
            raise ValueError("no map today")

    quality = ExplanationQuality(images, [Broken(), "gradcam"], **QUICK, limit=3)
    with warned() as sentences:
        history = trained(small(), arrays, [quality])
    (sentence,) = sentences
    assert re.match("failed: .*Broken on 3 photos .*no map today", sentence)
    assert [name for name in history if name.startswith("explanation/")] == [NAME, "explanation/scored"]
    assert history["explanation/scored"] == [0.5]


def evalkit_explainer():
    from evalkit.explainers.base import Explainer

    return Explainer


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"every": 0}, ConfigError, "every=0 is not allowed; give a whole number of epochs, 1 or more"),
        ({"every": 1.5}, ConfigError, "every=1.5 is not allowed"),
        ({"metrics": "insertoin"}, ConfigError, "did you mean 'insertion'"),
        ({"explainers": "grad_cam_9"}, ConfigError, "grad_cam_9"),
        ({"limit": 0}, ConfigError, "--limit"),
        ({"preprocess": "vgg99"}, Exception, "vgg99"),
        ({"tolerance": "0.1"}, ConfigError, "tolerance='0.1' needs a baseline"),
        ({"baseline": "missing.json"}, StoreError, "cannot be read"),
        ({"pictures": 2}, ConfigError, "pictures=2 and log_dir=None belong together"),
        ({"pictures": -1}, ConfigError, "pictures=-1 is not allowed"),
        ({"evry": 2}, TypeError, "did you mean 'every'"),
    ],
)
def test_wrong_options_are_refused_at_once(images, options, error, sentence):
    with pytest.raises(error, match=sentence.replace("(", r"\(")):
        ExplanationQuality(images, **options)


def test_data_that_do_not_exist_are_refused_at_once():
    with pytest.raises(DataError, match="does not exist"):
        ExplanationQuality("no/such/folder")


# What is left alone


def test_random_numbers_names_and_variables_are_left_alone():
    keras.utils.set_random_seed(11)
    tf.random.get_global_generator().reset_from_seed(5)
    model = small()

    def draw():
        generator = tf.random.get_global_generator()
        draws = (
            random.random(),
            float(np.random.random()),  # noqa: NPY002
            float(tf.random.uniform(())),
            float(generator.uniform(())),
            float(keras.random.uniform(())),
            keras.layers.Dense(1).name,
        )
        model(np.zeros((1, 32, 32, 3)), training=True)  # moves the seed of Dropout
        return draws

    def states():
        return [keras.ops.convert_to_numpy(variable) for variable in model.variables]

    before = states()
    with left_alone(model):
        drawn = draw()
        model.layers[-1].kernel.assign_add(model.layers[-1].kernel * 0 + 1)
    for first, second in zip(before, states(), strict=True):
        np.testing.assert_array_equal(first, second)
    with left_alone(model):
        assert draw() == drawn


IDENTICAL = """
import sys, keras, numpy as np, tensorflow as tf
from evalkit.integrations.keras import ExplanationQuality
from evalkit import ImageSet
tf.config.experimental.enable_op_determinism()
pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
labels = np.arange(24) % 3
images = ImageSet.from_arrays(pixels[:4], labels[:4])

def weights(callbacks):
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    model = keras.Sequential([
        keras.layers.Input((32, 32, 3)), keras.layers.RandomFlip(), keras.layers.RandomRotation(0.1),
        keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.BatchNormalization(), keras.layers.Dropout(0.3), keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3, activation="softmax", activity_regularizer="l2"),
    ])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(pixels, labels, epochs=3, batch_size=5, verbose=0, callbacks=callbacks, validation_split=0.2)
    return [keras.ops.convert_to_numpy(variable) for variable in [*model.variables, *model.optimizer.variables]]

quality = ExplanationQuality(
    images, ["gradcam", "smoothgrad(samples=2)", "rise(masks=8)", "lime(samples=20, segments=6)"],
    ["symmetric_relevance_gain(steps=2)", "max_sensitivity(samples=1)", "mprt(layers=output)"], verbose=0,
    target="predicted",
)
plain, watched = weights([]), weights([quality])
assert len(quality.results) == 3 and len(plain) == len(watched)
assert all(first.tobytes() == second.tobytes() for first, second in zip(plain, watched)), "not the same"
print("identical", len(plain))
"""


def test_weights_are_identical_with_and_without_it():
    done = subprocess.run([sys.executable, "-c", IDENTICAL], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("identical")


MIRRORED = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from evalkit import ImageSet, evaluate
from evalkit.integrations.keras import ExplanationQuality
pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
labels = np.arange(8) % 2
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = keras.Sequential([
        keras.layers.Input((16, 16, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.BatchNormalization(), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, "softmax"),
    ])
    model.compile("adam", "sparse_categorical_crossentropy")
options = {"metrics": "symmetric_relevance_gain(steps=2)", "target": "predicted"}
quality = ExplanationQuality((pixels, labels), **options, verbose=0)
history = model.fit(pixels, labels, epochs=2, batch_size=4, verbose=0, callbacks=[quality]).history
again = keras.models.clone_model(model)
again.set_weights(model.get_weights())
run = evaluate(again, (pixels, labels), explainers="gradcam", **options, precision="float32", progress=False)
found, expected = history["explanation/symmetric_relevance_gain(steps=2)/gradcam"][-1], run.leaderboard()[0].mean
assert abs(found - expected) < 1e-6, (found, expected)
print("same")
"""


@pytest.mark.slow
def test_a_mirrored_model_is_scored_on_one_device():
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:evalkit", "-c", MIRRORED],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "same\n"


# The gate


@pytest.fixture(scope="module")
def gated(arrays, images, tmp_path_factory):
    """A model and its baseline file."""
    keras.utils.set_random_seed(4)
    model = small()
    trained(model, arrays, [], epochs=20)
    folder = tmp_path_factory.mktemp("gate")
    evalkit.evaluate(
        model, images, explainers="gradcam", metrics=[GAIN, "energy_pointing_game"], target="predicted",
        precision="float32", output=folder / "run", progress=False,
    )  # fmt: skip
    write_baseline(folder / "baseline.json", baseline_of(folder / "run"))
    return model, folder / "baseline.json"


def test_the_verdict_of_the_gate_is_in_the_logs(arrays, images, gated, capsys):
    model, file = gated
    model.optimizer.learning_rate = 0.0
    quality = ExplanationQuality(images, baseline=file, target="predicted")
    history = trained(model, arrays, [quality])
    assert history["explanation/regressed"] == [0.0]
    assert history["explanation/not_comparable"] == [0.0]
    assert set(quality.results[0].quality.means) == {(GAIN, "gradcam"), ("energy_pointing_game", "gradcam")}
    assert f"\nEpoch 1: against '{file}': Of 2 comparisons on 12 images: 2 unchanged.\n" in capsys.readouterr().out


def test_worse_explanations_are_counted(arrays, images, gated, tmp_path, capsys):
    model, file = gated
    model.optimizer.learning_rate = 0.0
    before = read_baseline(file)
    more = np.linspace(0.4, 0.6, len(before.images))
    better = {"gradcam": {GAIN: tuple(map(float, more + before.scores["gradcam"][GAIN]))}}
    changed = msgspec.structs.replace(before, metrics={GAIN: before.metrics[GAIN]}, scores=better)
    write_baseline(tmp_path / "better.json", changed)
    quality = ExplanationQuality(images, baseline=tmp_path / "better.json", target="predicted")
    history = trained(model, arrays, [quality])
    assert history["explanation/regressed"] == [1.0]
    assert "Of 1 comparisons on 12 images: 1 regressed." in capsys.readouterr().out


def test_another_target_is_refused_at_once(images, gated):
    with pytest.raises(NotComparableError, match="run with --target predicted"):
        ExplanationQuality(images, baseline=gated[1])


def test_images_that_are_not_of_the_baseline_keep_their_scores(arrays, gated):
    pixels, labels = arrays
    model, file = gated
    others = evalkit.ImageSet.from_arrays(255 - pixels[:4], labels[:4])
    quality = ExplanationQuality(others, baseline=file, metrics=GAIN, target="predicted", verbose=0)
    with warned() as sentences:
        history = trained(model, arrays, [quality])
    (sentence,) = sentences
    assert re.match("the scores are not compared with .*: none of the baseline's 12 images", sentence)
    assert math.isfinite(history[NAME][0])
    assert "explanation/regressed" not in history


# Pictures


def test_pictures_need_tensorboard(images, tmp_path, monkeypatch):
    monkeypatch.setattr("evalkit.integrations.overlays.find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match="python -m pip install tensorboard"):
        ExplanationQuality(images, pictures=2, log_dir=tmp_path)


def test_pictures_are_written_for_tensorboard(arrays, images, tmp_path):
    pytest.importorskip("tensorboard", reason="pictures are written by TensorBoard")
    quality = ExplanationQuality(images, **QUICK, limit=3, pictures=2, log_dir=tmp_path)
    trained(small(), arrays, [quality], epochs=2)
    (file,) = (tmp_path / "explanations").iterdir()
    events = [tf.compat.v1.Event.FromString(bytes(raw.numpy())) for raw in tf.data.TFRecordDataset(str(file))]
    values = [(event.step, value) for event in events for value in event.summary.value]
    assert [(step, value.tag.rpartition("/")[0]) for step, value in values] == [
        (0, "explanation/gradcam"), (0, "explanation/gradcam"), (1, "explanation/gradcam"), (1, "explanation/gradcam")
    ]  # fmt: skip
    width, height, png = values[0][1].tensor.string_val[:3]
    assert (int(width), int(height)) == (240, 240)
    assert tf.io.decode_png(png).shape == (240, 240, 3)
