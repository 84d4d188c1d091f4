"""One photo through the harness: what is scored, what is not and why, what it costs in memory."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import ClassVar

import keras
import numpy as np
import pytest
from rich.console import Console

from evalkit.core.settings import merge
from evalkit.datasets.image_set import ImageSet
from evalkit.explainers.base import Explainer
from evalkit.explainers.catalog import expand
from evalkit.harness.engine.driver import compute
from evalkit.harness.engine.jobs import Job
from evalkit.harness.engine.worker import Worker
from evalkit.harness.planning.plan import Plan
from evalkit.harness.planning.prepare import prepare
from evalkit.harness.planning.recipe import ModelRecipe
from evalkit.metrics.catalog import DEFAULT_METRICS, METRICS
from evalkit.models.classifier import Classifier
from evalkit.store.run_folder import RunFolder

FADING = ("average_drop", "increase_in_confidence")  # outside the default set


@dataclass(frozen=True)
class Fake(Explainer):
    """Returns what it is told to, or raises it."""

    name: ClassVar[str] = "fake"
    answer: ClassVar[object] = None

    def explain(self, classifier, images, targets):
        if isinstance(self.answer, Exception):
            raise self.answer
        return np.stack([self.answer] * len(images))

    def forward_passes(self, input_size):
        return 0


def fake(answer):
    return type("Fake", (Fake,), {"answer": answer, "name": "fake"})()


@pytest.fixture
def make_plan(tiny, photos):
    """A plan over the four random photos, the model's own choice as label, a square region in each."""

    def make(explainers, metrics=DEFAULT_METRICS, target="label", labels=None, regions=True):
        region = np.zeros((32, 32), dtype=bool)
        region[8:20, 10:24] = True
        found = tiny.probabilities(photos).argmax(axis=1) if labels is None else labels
        images = ImageSet.from_arrays(photos, found, regions=[region if regions else None] * 4)
        built = [METRICS.build(text, steps=4) for text in metrics]
        return Plan(images, ModelRecipe.live(tiny), explainers, built, target, "squash", steps=4, seed=0, limit=None)

    return make


def outcome_of(plan, number=0):
    entry = plan.images.entries[number]
    cells = tuple((explainer.text, tuple(metric.text for metric in plan.metrics)) for explainer in plan.explainers)
    return Worker(plan.work).do(Job(entry, cells))


def cells_of(plan, number=0):
    return {(cell.explainer, cell.metric): cell for cell in outcome_of(plan, number).cells}


def test_every_metric_scores_every_map_with_an_exact_region(make_plan):
    plan = make_plan(expand("gradcam, cam, occlusion(patch_size=8), uniform, random, center, edges", [], 0))
    cells = cells_of(plan)
    assert len(cells) == len(plan.explainers) * len(plan.metrics)
    reasons = {key: cell.reason for key, cell in cells.items() if cell.reason}
    # Neither has a ReLU: on an untrained network they can be negative everywhere.
    assert {key[0] for key in reasons} <= {"cam", "occlusion(patch_size=8)"}
    assert set(reasons.values()) <= {"the map is positive nowhere"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (np.full((32, 32), np.nan), "the map has NaN or infinite values"),
        (np.ones((16, 16)), "the map is 16 x 16, the photo 32 x 32"),
        (ValueError("no luck\nat all"), "fake failed: ValueError: no luck"),
        (RuntimeError(), "fake failed: RuntimeError"),
    ],
)
def test_a_map_that_cannot_be_used_costs_its_own_cells(make_plan, answer, reason):
    plan = make_plan([fake(answer), *expand("center", [], 0)])
    cells = cells_of(plan)
    assert {cell.reason for key, cell in cells.items() if key[0] != "center"} == {reason}
    assert {cell.reason for key, cell in cells.items() if key[0] == "center"} == {None}


def test_a_varying_map_that_is_positive_nowhere_has_no_mass(make_plan, rng):
    plan = make_plan([fake(-1 - rng.random((32, 32)))])
    reasons = {key[1]: cell.reason for key, cell in cells_of(plan).items() if cell.reason}
    assert reasons == dict.fromkeys(["energy_pointing_game", "relevance_mass_accuracy"], "the map is positive nowhere")


def test_a_constant_map_shows_nothing_and_says_so(make_plan):
    metrics = (*FADING, "deletion")
    cells = cells_of(make_plan([fake(np.zeros((32, 32))), *expand("center", [], 0)], metrics))
    dead = {key[1]: cell for key, cell in cells.items() if key[0] != "center"}
    assert {name: cell.reason for name, cell in dead.items()} == {
        "average_drop": "the map is constant", "increase_in_confidence": "the map is constant", "deletion": None,
    }  # fmt: skip
    assert not any(cell.failed for cell in dead.values())
    assert {cell.reason for key, cell in cells.items() if key[0] == "center"} == {None}


def test_misclassified_photos_are_not_asked_about_but_localized(make_plan, tiny, photos):
    wrong = (tiny.probabilities(photos).argmax(axis=1) + 1) % 3
    cells = cells_of(make_plan(expand("center", [], 0), (*DEFAULT_METRICS, *FADING), labels=wrong))
    not_scored = {key[1] for key, cell in cells.items() if cell.reason == "misclassified"}
    assert not_scored == {
        "deletion", "insertion", "symmetric_relevance_gain", "average_drop", "increase_in_confidence",
    }  # fmt: skip
    assert cells["center", "pointing_game"].reason is None


def test_region_is_not_scored_for_another_predicted_class(make_plan, tiny, photos):
    wrong = (tiny.probabilities(photos).argmax(axis=1) + 1) % 3
    cells = cells_of(make_plan(expand("center", [], 0), labels=wrong, target="predicted"))
    assert cells["center", "deletion"].value is not None
    assert cells["center", "pointing_game"].reason == "the class explained is not the region's"


def test_without_region_or_with_boxes_only_the_reason_is_said(make_plan, tiny, photos):
    cells = cells_of(make_plan(expand("center", [], 0), regions=False))
    assert cells["center", "max_box_acc_v1"].reason == "no region"
    plan = make_plan(expand("center", [], 0))
    boxed = ImageSet.from_arrays(photos, tiny.probabilities(photos).argmax(axis=1), boxes=[(8, 8, 24, 20)] * 4)
    reasons = {key[1]: cell.reason for key, cell in cells_of(replace(plan, images=boxed)).items() if cell.reason}
    assert reasons == dict.fromkeys(["relevance_mass_accuracy", "pxap"], "only boxes, no exact mask")


def test_uniform_scores_exactly_the_region_share(make_plan):
    share = 12 * 14 / 32**2
    cells = cells_of(make_plan(expand("uniform", [], 0)))
    for metric in ("energy_pointing_game", "relevance_mass_accuracy", "relevance_rank_accuracy"):
        assert cells["uniform", metric].value == pytest.approx(share, abs=1e-12)
    assert cells["uniform", "symmetric_relevance_gain"].value == 0.0
    assert cells["uniform", "sparseness"].value == 0.0
    statistics = cells["uniform", "pxap"].statistics
    assert METRICS.build("pxap").aggregate(statistics) == pytest.approx(share, abs=1e-12)


def test_deletion_and_insertion_of_a_linear_model_by_hand():
    """Four pixels, logit = sum of red / 100; the curves can be worked out by hand."""
    kernel = np.zeros((12, 2), dtype=np.float32)
    kernel[0::3, 1] = 0.01
    model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.set_weights([kernel, np.zeros(2, dtype=np.float32)])
    classifier = Classifier(model)
    photo = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    photo[0, ..., 0] = [[200, 100], [50, 250]]
    images = ImageSet.from_arrays(photo, [1])
    saliency = np.array([[3.0, 2.0], [1.0, 4.0]])  # from most to least relevant: 250, 200, 100, 50
    metrics = [METRICS.build(text, steps=4) for text in ("deletion", "insertion", "symmetric_relevance_gain")]
    plan = Plan(
        images, ModelRecipe.live(classifier), [fake(saliency)], metrics, "label", "squash", steps=4, seed=0, limit=None
    )
    found = {key[1]: cell.value for key, cell in cells_of(plan).items()}

    def sigmoid(red):
        return 1 / (1 + np.exp(-red / 100))

    mean = 123.68
    # Deletion: 600 of red in all; each step swaps 250, 200, 100, 50 for the mean color's red.
    down = [600, 350 + mean, 150 + 2 * mean, 50 + 3 * mean, 4 * mean]
    area = np.trapezoid([sigmoid(red) for red in down], dx=0.25)
    assert found["deletion"] == pytest.approx(area, abs=1e-6)
    up = [4 * mean, 250 + 3 * mean, 450 + 2 * mean, 550 + mean, 600]
    gain = np.trapezoid([sigmoid(red) for red in up], dx=0.25) - area
    assert found["symmetric_relevance_gain"] == pytest.approx(gain, abs=1e-6)
    # Insertion starts from RISE's blur: on 2 x 2 pixels every pixel sees all four, the rest is the mean color.
    from evalkit.models.inference.perturbation import rise_kernel

    weights = rise_kernel()
    red = photo[0, ..., 0].astype(float)
    blur = np.array(
        [
            [
                mean + sum(weights[5 + r - row, 5 + c - column] * (red[r, c] - mean) for r in (0, 1) for c in (0, 1))
                for column in (0, 1)
            ]
            for row in (0, 1)
        ]
    )
    shown, curve = blur.copy(), [sigmoid(blur.sum())]
    for place in [(1, 1), (0, 0), (0, 1), (1, 0)]:
        shown[place] = red[place]
        curve.append(sigmoid(shown.sum()))
    assert found["insertion"] == pytest.approx(np.trapezoid(curve, dx=0.25), abs=1e-6)


def test_scores_do_not_depend_on_the_order_of_the_photos(tiny, photos, tmp_path):
    tables = []
    for number, order in enumerate(([0, 1, 2, 3], [3, 1, 0, 2])):
        images = ImageSet.from_arrays(photos[order], [0] * 4, ids=[str(one) for one in order])
        explainers = expand("gradcam, random, occlusion(patch_size=8)", [], 0)
        metrics = [METRICS.build(text, steps=3) for text in ("deletion", "sparseness")]
        plan = Plan(
            images, ModelRecipe.live(tiny), explainers, metrics, "predicted", "squash", steps=3, seed=0, limit=None
        )
        folder = RunFolder.write(tmp_path / str(number))
        compute(plan, folder, Console(file=io.StringIO()))
        table = folder.database.table([one.text for one in explainers], [one.text for one in metrics])
        tables.append({image_id: table.values[row] for row, image_id in enumerate(table.image_ids)})
        folder.close()
    for image_id, values in tables[0].items():
        np.testing.assert_array_equal(values, tables[1][image_id])


def test_prepare_says_what_is_missing():
    for given, message in [({"model": "my.keras"}, "--data is missing"), ({"data": "x"}, "--model is missing")]:
        with pytest.raises(ValueError, match=message):
            prepare(merge(given), print)


MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
from rich.console import Console
import keras
from evalkit.datasets.image_set import ImageSet
from evalkit.explainers.catalog import expand
from evalkit.harness.planning.plan import Plan
from evalkit.harness.planning.recipe import ModelRecipe
from evalkit.harness.engine.driver import compute
from evalkit.metrics.catalog import DEFAULT_METRICS, METRICS
from evalkit.models.classifier import Classifier
from evalkit.store.run_folder import RunFolder
count = int(sys.argv[1])
side = 96
keras.utils.set_random_seed(1)
model = keras.Sequential([keras.Input((side, side, 3)), keras.layers.Conv2D(8, 3, activation="relu"),
                          keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")])
root = Path(sys.argv[2])
import PIL.Image
rng = np.random.default_rng(0)
(root / "photos").mkdir()
for number in range(count):
    PIL.Image.fromarray(rng.integers(0, 256, (600, 800, 3), dtype=np.uint8)).save(root / "photos" / f"{number}.png")
from evalkit.datasets.open import open_image_set
from evalkit.datasets.classes import match_classes
images = match_classes(open_image_set(root / "photos"), None, 3, require_labels=False).images
explainers = expand("gradcam, occlusion(patch_size=16), random, center", [], 0)
plan = Plan(images, ModelRecipe.live(Classifier(model)), explainers,
            [METRICS.build(text, steps=6) for text in DEFAULT_METRICS], "predicted", "squash", 6, 0, None)
folder = RunFolder.write(root / "run")
compute(plan, folder, Console(stderr=True))
folder.close()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_the_number_of_photos(tmp_path):
    peaks = {}
    for count in (10, 40):
        (tmp_path / str(count)).mkdir()
        command = [sys.executable, "-c", MEMORY, str(count), str(tmp_path / str(count))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[count] = int(done.stdout)
    assert peaks[40] < 1.1 * peaks[10], peaks


def test_only_localization_leaves_out_ignored_pixels(make_plan, tiny, photos):
    region, ignore = np.zeros((2, 32, 32), dtype=bool)
    region[8:20, 10:24] = ignore[20:, :] = True
    names = tiny.probabilities(photos).argmax(axis=1)
    plan = make_plan(expand("uniform", [], 0), labels=names)
    whole = cells_of(plan)
    ignoring = ImageSet.from_arrays(photos, names, regions=[region] * 4, ignores=[ignore] * 4)
    left = cells_of(replace(plan, images=ignoring))
    for metric in ("energy_pointing_game", "relevance_mass_accuracy", "relevance_rank_accuracy"):
        assert whole["uniform", metric].value == pytest.approx(region.mean())
        assert left["uniform", metric].value == pytest.approx(region.sum() / (32 * 20))
    assert left["uniform", "pxap"].statistics.sum() == 32 * 20
    changed = {key for key, cell in left.items() if cell.value != whole[key].value}
    assert changed == {
        ("uniform", metric)
        for metric in (
            "pointing_game", "energy_pointing_game", "relevance_mass_accuracy", "relevance_rank_accuracy",
        )
    }  # fmt: skip


def test_several_outputs_are_scored_by_summed_probability(make_plan, tiny, photos):
    first = tiny.probabilities(photos).argmax(axis=1)
    other = (first + 1) % 3
    plan = make_plan(expand("center", [], 0), metrics=["deletion", "average_drop"], labels=other)
    outputs = tuple(sorted((int(first[0]), int(other[0]))))
    entries = [replace(entry, class_index=outputs[0], outputs=outputs) for entry in plan.images.entries[:1]]
    plan = replace(plan, images=plan.images.with_entries(entries))
    result = outcome_of(plan)
    assert result.targets == outputs
    assert result.clean_score == tiny.probabilities(photos[:1])[0][list(outputs)].sum()
    assert [cell.reason for cell in result.cells] == [None, None]  # the first choice is one of the two
    assert plan.target_text.startswith("label(")
    assert f"|target:{plan.target_text}" in plan.metric_lines[plan.metrics[0].text]
    assert replace(plan, target="predicted").target_text == "predicted"
