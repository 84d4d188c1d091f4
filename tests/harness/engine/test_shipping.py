"""A run's recipe on another machine: every kind of model gives the same logits there, or is refused in words."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from evalkit.core.errors import ConfigError, ModelError
from evalkit.datasets.image_set import ImageSet
from evalkit.harness.engine import shipping
from evalkit.harness.engine.shipping import FileModel, KerasModel, Pickler, packed
from evalkit.harness.engine.worker_facts import WorkerFacts, differences, facts_here, require_same_versions
from evalkit.harness.planning.recipe import LiveModel, ModelRecipe, NamedModel, WorkRecipe
from evalkit.models.blackbox import BlackBox
from evalkit.models.classifier import Classifier

cloudpickle = pytest.importorskip("ray.cloudpickle")
PICKLER = Pickler(cloudpickle.dumps, cloudpickle.register_pickle_by_value, cloudpickle.unregister_pickle_by_value)
ELSEWHERE = """
import pickle, sys
recipe = pickle.load(sys.stdin.buffer)
pickle.dump(recipe.model.build().probe_logits, sys.stdout.buffer)
"""


def recipe_of(classifier, source=None, images=None):
    model = ModelRecipe.of(classifier, source or LiveModel.of(classifier))
    return WorkRecipe(model, images, (), (), "label", "squash", 0)


def logits_elsewhere(data, folder):
    """Return the probe logits of a packed recipe's model in a process of another folder."""
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], input=data, capture_output=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr.decode()[-600:]
    return pickle.loads(done.stdout)  # noqa: S301


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_pickled_classifier_is_the_same(tiny, precision, photos):
    classifier = tiny.in_precision(precision).with_mean_color((1.0, 2.0, 3.0)).with_references(photos)
    again = pickle.loads(pickle.dumps(classifier))  # noqa: S301
    assert np.array_equal(again.probe_logits, classifier.probe_logits)
    assert np.array_equal(again.references, classifier.references)
    for name in ("fingerprint", "precision", "mean_color", "target_layer", "preprocess", "input_size", "name", "head"):
        assert getattr(again, name) == getattr(classifier, name), name


def test_a_used_classifier_can_be_pickled(tiny, photos):
    tiny.features, tiny.composed, tiny.input_gradients  # noqa: B018
    again = pickle.loads(pickle.dumps(tiny))  # noqa: S301
    assert np.array_equal(again.logits(photos), tiny.logits(photos))


@pytest.mark.parametrize("registered", ["@keras.saving.register_keras_serializable('own')", ""])
def test_a_layer_of_a_script_comes_along(tmp_path, monkeypatch, registered):
    for name in ("own_layers", "own_helpers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "own_layers.py").write_text(
        "import keras\n"
        "from own_helpers import FACTOR\n"
        f"{registered}\n"
        "class Scaled(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return x * FACTOR\n"
    )
    (tmp_path / "own_helpers.py").write_text("FACTOR = 0.5\n")
    monkeypatch.syspath_prepend(tmp_path)
    from own_layers import Scaled

    inputs = keras.Input((8, 8, 3))
    features = keras.layers.GlobalAveragePooling2D()(Scaled()(keras.layers.Rescaling(1 / 255)(inputs)))
    classifier = Classifier(keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(features)))
    (tmp_path / "empty").mkdir()
    data = packed(recipe_of(classifier), PICKLER, read_here=True)
    assert np.array_equal(logits_elsewhere(data, tmp_path / "empty"), classifier.probe_logits)


def test_a_lambda_layer_comes_along(tmp_path):
    inputs = keras.Input((8, 8, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Lambda(lambda x: x / 255.0)(inputs))
    classifier = Classifier(keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(features)))
    data = packed(recipe_of(classifier), PICKLER, read_here=True)
    assert np.allclose(logits_elsewhere(data, tmp_path), classifier.probe_logits, atol=1e-6)


def test_a_function_comes_along(tmp_path):
    weights = np.arange(6, dtype=np.float64).reshape(3, 2)
    box = BlackBox(lambda images: (images.mean(axis=(1, 2)) - 100) @ weights, input_size=8)
    classifier = Classifier(box)
    data = packed(recipe_of(classifier), PICKLER, read_here=True)
    assert np.array_equal(logits_elsewhere(data, tmp_path), classifier.probe_logits)


def test_a_file_comes_along(tmp_path, tiny_model, monkeypatch):
    """The path of a model's file is not needed elsewhere, nor that of its weights and class names."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    monkeypatch.chdir(here)
    tiny_model.save(here / "tiny.keras")
    (here / "names.txt").write_text("a\nb\nc\n")
    named = NamedModel("tiny.keras", {"class_names": "names.txt"})
    sent = pickle.loads(pickle.dumps(FileModel.of(named)))  # noqa: S301
    monkeypatch.chdir(there)
    classifier = sent.load(4)
    assert (classifier.name, classifier.class_names, classifier.batch_size) == ("tiny.keras", ("a", "b", "c"), 4)


def test_another_model_is_refused(tiny):
    recipe = replace(ModelRecipe.of(tiny, LiveModel.of(tiny)), _built=None, probes=tiny.probe_logits + 0.5)
    with pytest.raises(ModelError, match=r"is another one after it was sent: its logits .* differ by up to 0.5 from"):
        recipe.build()


def test_small_differences_of_another_processor_are_accepted(tiny):
    recipe = ModelRecipe.of(tiny, LiveModel.of(tiny))
    near = replace(recipe, _built=None, probes=tiny.probe_logits + 1e-6, fingerprint="as planned")
    assert near.build().fingerprint == "as planned"


class Unsaved(keras.layers.Layer):
    """A layer that Keras cannot save."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def call(self, x):
        return x[..., : self.size]

    def get_config(self):
        raise NotImplementedError("no configuration")


def test_a_model_that_cannot_be_saved_is_refused():
    inputs = keras.Input((8, 8, 3))
    features = keras.layers.GlobalAveragePooling2D()(Unsaved(2)(keras.layers.Rescaling(1 / 255)(inputs)))
    classifier = Classifier(keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(features)))
    with pytest.raises(ModelError, match=r"cannot be sent to workers: Keras cannot save it .*use --engine local"):
        packed(recipe_of(classifier), PICKLER, read_here=True)


def test_a_layer_that_is_missing_there_is_refused(tiny):
    sent = KerasModel.of(tiny)
    with pytest.raises(ModelError, match=r"model 'tiny' cannot be loaded on a worker .*register its classes with"):
        replace(sent, data=b"no archive").load(None)


def test_images_in_memory_stay_here(tiny, photos):
    """Photos that are sent one by one are not sent with the recipe as well."""
    images = ImageSet.from_arrays(np.repeat(photos, 50, axis=0), [0] * 200).source
    sent, whole = (len(packed(recipe_of(tiny, images=images), PICKLER, read_here=read)) for read in (True, False))
    assert whole - sent > 200 * 32 * 32 * 3


def test_what_cannot_be_pickled_is_named(tiny):
    recipe = replace(recipe_of(tiny), explainers=((one for one in ()),))
    with pytest.raises(ModelError, match=r"the run cannot be sent to workers: .* cannot be pickled .*--engine local"):
        packed(recipe, PICKLER, read_here=True)


def test_modules_of_packages_are_not_taken_along():
    installed = shipping._installed()
    assert not any(shipping._is_own(module, installed) for module in (np, keras, pickle, shipping))
    assert shipping._is_own(sys.modules[__name__], installed)


def test_a_package_beside_the_environment_is_not_taken_along(tmp_path, monkeypatch, tiny):
    """Packages may be installed in any folder of the path, and a module may stand under a second name."""
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "__init__.py").write_text("")
    info = tmp_path / "beside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: beside\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("beside\n")
    (tmp_path / "own_module.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    import beside
    import own_module

    monkeypatch.setitem(sys.modules, "another_name", own_module)
    taken = []
    packed(recipe_of(tiny), replace(PICKLER, take_along=taken.append, forget=lambda _: None), read_here=True)
    assert taken.count(own_module) == 1
    assert beside not in taken


def test_other_versions_are_refused():
    here = WorkerFacts("here", {"python": "3.11.7", "evalkit": "0.2.0", "tensorflow": "2.21.0"})
    require_same_versions(here, replace(here, host="there", versions={**here.versions, "python": "3.11.9"}))
    message = "the worker on 'there' has evalkit 0.1.0, this process 0.2.0; install evalkit-saliency 0.2.0 there"
    with pytest.raises(ConfigError, match=message):
        require_same_versions(here, replace(here, host="there", versions={**here.versions, "evalkit": "0.1.0"}))
    with pytest.raises(ConfigError, match="has tensorflow none"):
        require_same_versions(here, WorkerFacts("there", {"python": "3.11.7", "evalkit": "0.2.0"}))


def test_other_processors_are_said_once():
    here = replace(facts_here(), processor=("avx2", "fma"))
    there = replace(here, host="there", processor=("avx2", "fma", "avx512f"))
    assert differences(here, [here, here]) == []
    (sentence,) = differences(here, [here, there, there])
    assert sentence.startswith("the processor of 'there' has avx2, fma, avx512f, this one avx2, fma: scores")
