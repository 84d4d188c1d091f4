"""The reference images of expected gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from evalkit.core.errors import DataError
from evalkit.core.settings import merge
from evalkit.datasets.image_set import ImageSet
from evalkit.explainers.base import Explainer
from evalkit.explainers.catalog import expand
from evalkit.harness.planning.plan import Plan
from evalkit.harness.planning.recipe import ModelRecipe
from evalkit.harness.planning.references import references_text, with_references
from evalkit.models.blackbox import BlackBox
from evalkit.models.classifier import Classifier


@dataclass(frozen=True)
class MeanDifference(Explainer):
    """How far the photo is from the mean of the references."""

    name: ClassVar[str] = "mean_difference"
    uses_references: ClassVar[bool] = True

    def explain(self, classifier, images, targets):
        return np.abs(images - classifier.references.mean(axis=0)).sum(axis=3)

    def forward_passes(self, input_size):
        return 0


def drawn(tiny, images, seed=0, limit=None, explainers=(MeanDifference(),)):
    options = merge({"seed": seed, "limit": limit})
    return with_references(tiny, images, explainers, options, lambda _: None)


@pytest.fixture
def images(photos):
    more = np.concatenate([photos, 255 - photos])
    return ImageSet.from_arrays(more, [0] * len(more))


def test_drawn_from_the_whole_set_whatever_the_limit(tiny, images):
    first, second = drawn(tiny, images), drawn(tiny, images, limit=2)
    assert np.array_equal(first.references, second.references)
    assert len(first.references) == 8
    assert tiny.references is None


def test_order_depends_on_the_seed(tiny, images):
    assert not np.array_equal(drawn(tiny, images).references, drawn(tiny, images, seed=1).references)


def test_at_most_one_hundred(tiny):
    images = ImageSet.from_arrays(np.random.default_rng(0).integers(0, 256, (120, 32, 32, 3), np.uint8), [0] * 120)
    assert len(drawn(tiny, images).references) == 100


def test_not_read_unless_an_explainer_needs_them(tiny, images):
    assert drawn(tiny, images, explainers=()) is tiny


def test_not_read_for_an_explainer_that_the_model_does_not_fit(images):
    box = Classifier(BlackBox(lambda pixels: pixels.mean(axis=(1, 2)) - 128, (32, 32)))
    assert drawn(box, images, explainers=expand("gradients", [], 0)) is box


def test_no_readable_photo(tiny, images, monkeypatch):
    from evalkit.core.errors import ImageError

    def broken(self, entry):
        raise ImageError("broken")

    monkeypatch.setattr(ImageSet, "read", broken)
    with pytest.raises(DataError, match="none of its 8 photos can be read"):
        drawn(tiny, images)


def test_references_are_in_the_signature_and_the_recipe(tiny, images):
    def plan(classifier):
        recipe = ModelRecipe.live(classifier)
        return Plan(images, recipe, [MeanDifference()], [], "label", "squash", steps=4, seed=0, limit=None)

    one, other = plan(drawn(tiny, images)), plan(drawn(tiny, images, seed=1))
    line = one.explainer_lines[MeanDifference().text]
    assert line.endswith(f"|references:{references_text(one.model.references)}")
    assert "references:8(" in line
    assert one.map_keys != other.map_keys
    rebuilt = replace(one.model, _built=None).build()
    assert np.array_equal(rebuilt.references, one.model.references)
