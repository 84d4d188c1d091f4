"""Runs and shards for several files of tests."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from evalkit.models.classifier import Classifier
from tests.harness.shards import SETS, Runs


@pytest.fixture(scope="session")
def runs_of(tmp_path_factory, tiny_model):
    """Return the runs of a set, by its name."""
    kept, classifier = {}, Classifier(tiny_model, batch_size=8, class_names=("a", "b", "c"))

    def of(name):
        if name not in kept:
            make, changes = SETS[name]
            data = tmp_path_factory.mktemp(name)
            given = {**make(data, np.random.default_rng(5)), **changes}
            kept[name] = Runs(tmp_path_factory.mktemp("runs"), classifier, given, given.pop("images", None))
        return kept[name]

    return of


@pytest.fixture
def parts(runs_of, tmp_path):
    """Copies of the two shards of the class folders, to be damaged."""
    copies = []
    for path in runs_of("folders").shards(2):
        copies.append(tmp_path / path.name)
        shutil.copytree(path, copies[-1])
    return copies
