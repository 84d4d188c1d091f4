"""What is stored of a map besides its values: passes, facts, repeatability."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from rich.console import Console

from evalkit.core.errors import NotScored
from evalkit.core.randomness import generator
from evalkit.datasets.image_set import ImageSet
from evalkit.explainers.base import Explainer, MapFacts, Passes
from evalkit.explainers.catalog import expand
from evalkit.harness.engine.driver import compute
from evalkit.harness.engine.jobs import Job
from evalkit.harness.engine.local import LocalExecutor
from evalkit.harness.planning.plan import Plan
from evalkit.harness.planning.recipe import ModelRecipe
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.randomization import rank_correlation
from evalkit.store.run_folder import RunFolder

PHOTOS = 23


@dataclass(frozen=True)
class Drawn(Explainer):
    """A ramp plus noise; its passes and a fact depend on the image."""

    name: ClassVar[str] = "drawn"
    draws: ClassVar[bool] = True
    noise: float = 100.0
    seed: int = 0

    def explain(self, classifier, images, targets):
        return self.explain_with_facts(classifier, images, targets)[0]

    def explain_with_facts(self, classifier, images, targets):
        ramp = np.arange(32.0 * 32).reshape(32, 32)
        maps = [ramp + self.noise * generator(self.seed, image.tobytes(), "drawn").random((32, 32)) for image in images]
        facts = [MapFacts(Passes(int(image[0, 0, 0]), 2), {"corner": float(image[0, 0, 0])}) for image in images]
        return np.stack(maps), facts

    def sentences(self, facts):
        return [f"the largest corner is {max(fact['corner'] for fact in facts):g}"]

    def forward_passes(self, input_size):
        return 255


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 256, (PHOTOS, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def run(tiny, pixels, tmp_path):
    def compute_run(explainers, count=PHOTOS, metrics=("sparseness",), chosen=None):
        images = ImageSet.from_arrays(pixels[:count], [0] * count)
        if chosen is not None:
            images = images.with_entries(images.entries[index] for index in chosen)
        built = [METRICS.build(name) for name in metrics]
        recipe = ModelRecipe.live(tiny)
        plan = Plan(images, recipe, explainers, built, "predicted", "squash", steps=4, seed=0, limit=None)
        folder = RunFolder.write(tmp_path / "run")
        manifest = compute(plan, folder, Console(file=io.StringIO()))
        facts = folder.database.map_facts.of_run()
        folder.close()
        return manifest, facts

    return compute_run


def test_passes_are_means_and_sentences_are_kept(run, pixels):
    manifest, _ = run([Drawn()])
    facts = manifest.explainers[0]
    assert facts.forward_passes == 255
    assert facts.mean_passes == (pytest.approx(pixels[:, 0, 0, 0].mean()), 2.0)
    assert facts.notes == (f"the largest corner is {pixels[:, 0, 0, 0].max()}",)


def test_repeatability_on_the_first_twenty_images(run, pixels):
    manifest, facts = run([Drawn(), Drawn(noise=10_000.0), *expand("random, center", [], 0)])
    alike, noisy, control, center = manifest.explainers
    assert alike.n_repeated == noisy.n_repeated == 20
    assert alike.repeatability > 0.95 > noisy.repeatability
    assert (control.repeatability, center.repeatability) == (None, None)
    assert sum("repeatability" in row.values for row in facts[alike.text]) == 20
    first = [Drawn(seed=seed).explain(None, pixels[:1], [0])[0] for seed in (0, 1_000_003)]
    assert facts[alike.text][0].values["repeatability"] == pytest.approx(rank_correlation(*first), abs=1e-6)


def test_second_run_computes_nothing_again(run):
    first, facts = run([Drawn()])
    second, same = run([Drawn()])
    assert (second.finished, same) == (first.finished, facts)


def test_repeatability_is_added_for_images_that_become_the_first(run):
    run([Drawn()], count=5)
    manifest, _ = run([Drawn()])
    assert manifest.explainers[0].n_repeated == 20


def test_repeatability_does_not_depend_on_the_images_of_an_earlier_run(run, pixels, tmp_path):
    fresh, _ = run([Drawn()])
    (tmp_path / "run").rename(tmp_path / "fresh")
    run([Drawn()], chosen=range(3, PHOTOS))
    again, _ = run([Drawn()])
    assert again.explainers[0].n_repeated == 20
    assert again.explainers[0].repeatability == fresh.explainers[0].repeatability


def test_new_metric_keeps_facts_of_stored_maps(run):
    _, facts = run([Drawn()])
    manifest, same = run([Drawn()], metrics=("sparseness", "deletion"))
    assert same == facts
    assert manifest.explainers[0].n_repeated == 20


def test_other_seed_replaces_facts(run):
    run([Drawn()])
    manifest, facts = run([replace(Drawn(), seed=5)])
    assert len(facts[manifest.explainers[0].text]) == PHOTOS
    assert manifest.explainers[0].n_repeated == 20


def test_repeatability_of_a_photo_that_only_the_worker_sees_to_be_changed(tiny, pixels):
    images = ImageSet.from_arrays(pixels[:1], [0])
    metrics = [METRICS.build("sparseness")]
    plan = Plan(images, ModelRecipe.live(tiny), [Drawn()], metrics, "predicted", "squash", 4, 0, None)
    (text,) = (explainer.text for explainer in plan.explainers)
    jobs = [Job(images.entries[0], (), sha256="of another photo", repeated=repeated) for repeated in (True, False)]
    measured, other = LocalExecutor(plan.work).outcomes(jobs, lambda *_: None)
    maps = [Drawn(seed=seed).explain(None, pixels[:1], [0])[0] for seed in (0, 1_000_003)]
    assert measured.changed
    assert measured.repeatability == {text: pytest.approx(rank_correlation(*maps), abs=1e-6)}
    assert other.repeatability == {}


@dataclass(frozen=True)
class RefusesOtherSeeds(Drawn):
    """No map with another seed than 0."""

    name: ClassVar[str] = "refuses"

    def explain_with_facts(self, classifier, images, targets):
        if self.seed:
            raise NotScored("too few samples")
        return super().explain_with_facts(classifier, images, targets)


def test_a_refused_repetition_is_not_tried_again(run):
    first, _ = run([RefusesOtherSeeds()], count=3)
    second, facts = run([RefusesOtherSeeds()], count=3)
    assert second.forward_passes == first.forward_passes
    assert (second.explainers[0].repeatability, second.explainers[0].n_repeated) == (None, 0)
    assert [row.values["repeatability"] for row in facts[second.explainers[0].text]] == [None] * 3


def test_images_whose_residual_is_undefined_are_counted(tiny, tmp_path):
    pixels = np.zeros((3, 32, 32, 3), dtype=np.uint8)  # the baseline itself
    pixels[2] = np.random.default_rng(1).integers(0, 256, (32, 32, 3))
    explainers = expand("integrated_gradients(baseline=black, steps=40)", [], 0)
    images = ImageSet.from_arrays(pixels, [0] * 3)
    plan = Plan(
        images, ModelRecipe.live(tiny), explainers, [METRICS.build("sparseness")], "predicted", "squash", 4, 0, None
    )
    folder = RunFolder.write(tmp_path / "run")
    (facts,) = compute(plan, folder, Console(file=io.StringIO())).explainers
    folder.close()
    assert "whether the attributions add up is undefined on 2 of 3 images" in facts.notes[-1]
