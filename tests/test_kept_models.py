"""The classifiers that stay loaded between commands are those that loading again would give."""

from __future__ import annotations

import shutil

import keras

from tests.kept_models import KeptModels


def test_a_file_is_loaded_again_only_when_it_or_an_option_changes(tiny_file, tiny_model, tmp_path):
    kept, path = KeptModels(), tmp_path / "tiny.keras"
    shutil.copyfile(tiny_file, path)
    first = kept.load_classifier(str(path), preprocess="none")
    assert kept.load_classifier(str(path), preprocess="none") is first
    assert kept.load_classifier(str(path), preprocess="none", batch_size=3) is not first
    assert kept.load_classifier(str(path), preprocess="vgg16").preprocess == "vgg16"
    other = keras.models.clone_model(tiny_model)
    other.set_weights([2 * weight for weight in tiny_model.get_weights()])
    other.save(path)
    assert kept.load_classifier(str(path), preprocess="none").fingerprint != first.fingerprint


def test_a_kept_classifier_starts_as_a_new_one(tiny_file, photos):
    kept = KeptModels()
    first = kept.load_classifier(str(tiny_file), batch_size=8)
    first.logits(photos)
    first.batch_size = 1  # as after running out of memory
    again = kept.load_classifier(str(tiny_file), batch_size=8)
    assert (again.count.forward, again.count.backward, again.batch_size) == (0, 0, 8)


def test_few_classifiers_are_kept(tiny_file):
    kept = KeptModels(limit=1)
    first = kept.load_classifier(str(tiny_file))
    kept.load_classifier(str(tiny_file), batch_size=2)
    assert kept.load_classifier(str(tiny_file)) is not first
