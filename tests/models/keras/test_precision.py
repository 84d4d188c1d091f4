"""Models in bfloat16, float16 and TF32: used if asked for, or if a copy agrees with float32 and is faster."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from evalkit.api.evaluate import run_plan
from evalkit.core.errors import ConfigError, ModelError
from evalkit.core.settings import merge
from evalkit.explainers.occlusion import Occlusion
from evalkit.harness.planning import precision as module
from evalkit.harness.planning.precision import default_run
from evalkit.harness.planning.prepare import prepare
from evalkit.models.classifier import Classifier
from evalkit.models.keras import precision
from evalkit.models.keras.agreement import Agreement, agreement
from evalkit.models.keras.precision import has_bfloat16_units, in_half
from evalkit.models.runner import PassCount


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx512f amx_bf16", True), ("fpu avx512_bf16 x", True), ("fpu avx512f amx_bf16x", False), ("", False)],
)
def test_units_are_found_by_the_processors_flags(flags, expected, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(f"processor: 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(precision, "Path", lambda _: tmp_path / "cpuinfo")
    assert has_bfloat16_units.__wrapped__() is expected
    monkeypatch.setattr(precision, "Path", lambda _: tmp_path / "gone")
    assert has_bfloat16_units.__wrapped__() is False


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_the_copy_uses_16_bits_for_all_but_the_scores(tiny_model, photos, half):
    before = [weight.copy() for weight in tiny_model.get_weights()]
    exact, fast = Classifier(tiny_model), Classifier(tiny_model, precision=half)
    assert (exact.precision, fast.precision) == ("float32", half)
    dtypes = {layer.name: layer.compute_dtype for layer in fast.graph.computed.layers}
    assert dtypes["conv_a"] == dtypes["conv_b"] == half
    assert dtypes["predictions"] == "float32"
    assert tiny_model.compute_dtype == "float32"
    for first, second in zip(before, tiny_model.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
    logits = exact.logits(photos), fast.logits(photos)
    assert logits[1].dtype == np.float64
    np.testing.assert_allclose(*logits, atol=0.02)
    assert (logits[0] != logits[1]).any()
    assert exact.fingerprint == fast.fingerprint
    assert fast.target_layer == exact.target_layer
    rebuilt = pickle.loads(pickle.dumps(fast))  # noqa: S301 - our own
    assert rebuilt.precision == half
    np.testing.assert_array_equal(rebuilt.logits(photos), logits[1])


def test_compositions_and_occlusions_of_a_copy_in_float16_are_close(tiny_model, photos):
    exact, fast = Classifier(tiny_model), Classifier(tiny_model, precision="float16")
    ranks = np.broadcast_to(np.arange(32 * 32).reshape(32, 32), (2, 32, 32)).astype(np.int32)
    rows = np.array([[0, 1, 0, 300], [0, 1, 1, 700]], dtype=np.int32)
    found = [one.composed.logits(photos.astype(np.float32), ranks, rows) for one in (exact, fast)]
    np.testing.assert_allclose(*found, atol=5e-3)
    maps = [Occlusion(patch_size=8).explain(one, photos[:1], [1]) for one in (exact, fast)]
    np.testing.assert_allclose(*maps, atol=5e-3)


def test_features_and_gradients_of_the_copy_are_close(tiny_model, photos):
    exact, fast = Classifier(tiny_model), Classifier(tiny_model, precision="bfloat16")
    (features, gradients), found = (
        one.features.activations_and_gradients(photos, [0, 1, 2, 0], "conv_b") for one in (exact, fast)
    )
    assert {one.dtype for one in found} == {np.dtype(np.float32)}
    assert np.abs(features - found[0]).max() < 0.03 * features.max()
    # Rounding may let another pixel win a pooling window, but not change a channel's sum much.
    sums, close = gradients.sum(axis=(1, 2)), found[1].sum(axis=(1, 2))
    assert np.abs(sums - close).max() < 0.03 * np.abs(sums).max()


def test_a_layer_that_cannot_be_copied_is_said():
    class Odd(keras.layers.Layer):
        def __init__(self, needed):
            super().__init__()

        def call(self, tensor):
            return tensor

    images = keras.Input((8, 8, 3))
    model = keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(Odd(1)(images))))
    with pytest.raises(ModelError, match=r"cannot be copied to bfloat16.*--precision float32"):
        in_half(model, [model.layers[-1]], "bfloat16")


def test_agreement_of_a_model_with_itself_and_with_another(tiny_model, photos):
    exact = Classifier(tiny_model)
    same = agreement(exact, exact, photos[:2])
    assert same == Agreement(2, 0.0, pytest.approx(1.0), True)
    assert same.close_enough
    other = keras.models.clone_model(tiny_model)
    apart = agreement(exact, Classifier(other), photos)
    assert not apart.close_enough
    assert "allowed" in str(apart)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Agreement(1, 0.019, 0.95, True), True),
        (Agreement(1, 0.02, 1.0, True), False),
        (Agreement(1, 0.0, 0.949, True), False),
        (Agreement(1, 0.0, 1.0, False), False),
    ],
)
def test_what_is_close_enough(seen, expected):
    assert seen.close_enough is expected


@pytest.fixture
def prepared(tmp_path, tiny_model, photos, monkeypatch):
    """Prepare a run on four photos; returns the plan and what was said."""
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    tiny_model.save("tiny.keras")
    for number, photo in enumerate(photos):
        Image.fromarray(photo).save(f"{number}.png")
    (tmp_path / "labels.csv").write_text("image,class_index\n" + "".join(f"{number}.png,0\n" for number in range(4)))

    def call(choice, units, close=True, gain=2.0, **others):
        said = []
        monkeypatch.setattr(module, "has_bfloat16_units", lambda: units)
        monkeypatch.setattr(module, "agreement", lambda *_: Agreement(3, 0.0 if close else 0.5, 1.0, True))
        monkeypatch.setattr(module, "times_as_fast", lambda *_: gain)
        options = {"data": "labels.csv", "model": "tiny.keras", "precision": choice, "explainers": "random", **others}
        plan = prepare(merge(options), said.append)
        return plan, [sentence for sentence in said if "images looked at" not in sentence]

    return call


@pytest.mark.parametrize(
    ("choice", "units", "close", "expected", "sentence"),
    [
        ("auto", True, True, "bfloat16", ""),
        ("auto", False, True, "float32", ""),
        (
            "auto",
            True,
            False,
            "float32",
            "float32 is used: on 3 of these photos bfloat16 gives the same predicted class",
        ),
        ("float32", True, True, "float32", ""),
        ("bfloat16", True, False, "bfloat16", ""),
        ("bfloat16", False, True, "bfloat16", "no bfloat16 units"),
        ("float16", True, True, "float16", "float16 is for GPUs: without one it will be slow"),
    ],
)
def test_which_precision_is_taken_and_what_is_said(prepared, choice, units, close, expected, sentence):
    plan, said = prepared(choice, units, close)
    assert plan.classifier.precision == expected
    assert f"precision:{expected}" in plan.subject
    assert sentence in " ".join(said)
    assert bool(sentence) == bool(said)


@pytest.fixture
def tf32(monkeypatch):
    """Write down how TF32 is switched."""
    done = []
    monkeypatch.setattr(tf.config.experimental, "enable_tensor_float_32_execution", done.append)
    return done


def test_tf32_is_on_only_where_it_is_asked_for(prepared, tf32, monkeypatch):
    monkeypatch.setattr(module, "require_tf32", lambda *_: None)  # as with a GPU
    plan, _ = prepared("float32", units=False)
    assert (plan.classifier.precision, tf32) == ("float32", [])
    plan, said = prepared("tf32", units=False)
    assert (plan.classifier.precision, said) == ("tf32", [])
    assert "precision:tf32" in plan.subject
    assert set(tf32) == {True}
    again = pickle.loads(pickle.dumps(plan.classifier))  # noqa: S301
    assert again.precision == plan.work.model.build().precision == "tf32"
    assert again.fingerprint == plan.classifier.fingerprint


def test_tf32_without_a_gpu_is_refused_where_it_would_compute(prepared, tf32):
    with pytest.raises(
        ConfigError, match=r"--precision tf32 is for NVIDIA GPUs.* finds no GPU here; use float32 or auto"
    ):
        prepared("tf32", units=False)
    assert tf32 == []
    assert prepared("tf32", units=False, engine="ray")[0].classifier.precision == "tf32"  # its workers may have GPUs


@pytest.mark.parametrize(("before", "expected"), [("tf32", "tf32"), ("float32", "float32"), ("own", "auto")])
def test_a_resumed_run_keeps_its_precision(monkeypatch, before, expected):
    earlier = SimpleNamespace(model=SimpleNamespace(precision=before, fingerprint="f"))
    monkeypatch.setattr(module.RunFolder, "manifest_at", lambda _: earlier)
    options = SimpleNamespace(precision="auto", output="out", fresh=False)
    assert module._kept(options, SimpleNamespace(fingerprint="f")) == expected


def test_a_score_that_is_no_number_is_never_close_enough(tiny_model, photos, monkeypatch):
    """Wherever among the photos it comes."""
    exact, fast = Classifier(tiny_model), Classifier(tiny_model)
    original = fast.probabilities
    monkeypatch.setattr(
        fast, "probabilities", lambda images: original(images) * (np.nan if (images[0] == photos[1]).all() else 1)
    )
    for order in (photos[:2], photos[1::-1]):
        assert not agreement(exact, fast, list(order)).close_enough


def test_the_head_stays_float32_and_operators_are_copied():
    images = keras.Input((8, 8, 3))
    features = keras.layers.Conv2D(4, 3, activation="relu", name="early")(images / 255.0)
    scores = keras.layers.Dense(3, name="scores")(keras.layers.GlobalAveragePooling2D()(features))
    model = keras.Model(images, keras.layers.Softmax()(keras.layers.Rescaling(2.0, name="temperature")(scores)))
    fast = Classifier(model, precision="bfloat16")
    dtypes = {
        layer.name: layer.compute_dtype for layer in fast.graph.computed.layers if isinstance(layer, keras.layers.Layer)
    }
    assert (dtypes["early"], dtypes["scores"], dtypes["temperature"]) == ("bfloat16", "float32", "float32")
    photo = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(fast.logits(photo), Classifier(model).logits(photo), atol=0.05)


def test_layers_of_another_dtype_keep_it(tiny_model):
    images = keras.Input((8, 8, 3))
    tensor = keras.layers.Conv2D(4, 3, dtype="float64", name="double")(images)
    tensor = keras.layers.Conv2D(4, 3, name="single")(tensor)
    model = keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(tensor)))
    dtypes = {layer.name: layer.compute_dtype for layer in in_half(model, [model.layers[-1]], "bfloat16").layers}
    assert (dtypes["double"], dtypes["single"]) == ("float64", "bfloat16")


@pytest.mark.parametrize(("gain", "expected"), [(1.2, "bfloat16"), (1.19, "float32"), (0.71, "float32")])
def test_auto_takes_bfloat16_only_where_it_is_faster(prepared, gain, expected):
    plan, said = prepared("auto", units=True, gain=gain)
    assert plan.classifier.precision == expected
    refusal = (
        f"float32 is used: bfloat16 is {gain:.2f} times as fast for model 'tiny.keras' (used from 1.2 times); "
        "--precision bfloat16 uses it anyway"
    )
    assert said == ([] if expected == "bfloat16" else [refusal])
    assert prepared("bfloat16", units=True, gain=gain)[0].classifier.precision == "bfloat16"


class _Runner:
    """A model whose passes take given seconds on a clock of their own."""

    def __init__(self, clock, seconds):
        self.clock, self.seconds, self.batch_size, self.count = clock, iter(seconds), 32, PassCount()
        self.batches = []

    def logits(self, batch):
        self.batches.append(batch.shape)
        self.count.forward += len(batch)
        self.clock[0] += next(self.seconds)


def test_speed_is_the_median_of_passes_after_the_first(photos):
    clock = [0.0]
    exact, fast = _Runner(clock, [90, 6, 3, 2]), _Runner(clock, [1, 2, 50, 1])
    assert module.times_as_fast(exact, fast, photos[:3], lambda: clock[0]) == 1.5
    assert exact.batches == fast.batches == [(8, 32, 32, 3)] * 4
    assert exact.count == fast.count == PassCount()


def test_a_repeated_command_resumes_in_the_precision_that_it_began_in(prepared):
    """Whatever the speeds are this time."""
    options = {"data": "labels.csv", "model": "tiny.keras", "explainers": "random", "metrics": "sparseness"}
    first, path = default_run(prepared("auto", units=True, gain=1.21, **options)[0], merge(options))
    assert first.classifier.precision == "bfloat16"
    slow = prepared("auto", units=True, gain=1.19, **options)[0]
    assert default_run(slow, merge(options))[1] != path  # nothing was computed yet
    run_plan(first, path, fresh=False, console=Console(quiet=True))
    again, same = default_run(slow, merge(options))
    assert (again.classifier.precision, same) == ("bfloat16", path)
    assert default_run(slow, merge({**options, "precision": "float32"}))[1] != path
    assert default_run(slow, merge({**options, "fresh": True}))[1] != path
    resumed = prepared("auto", units=True, gain=0.5, output=str(path), **options)[0]
    assert resumed.classifier.precision == "bfloat16"
    assert pickle.loads(pickle.dumps(resumed.work)).model.build().precision == "bfloat16"  # noqa: S301 - own data
