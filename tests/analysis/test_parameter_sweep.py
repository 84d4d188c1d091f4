"""The sweep of any explainer's parameters: which are swept, rows, choices, why there is none."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from evalkit.analysis.leaderboard import analyse
from evalkit.metrics.catalog import METRICS
from tests.builders import explainer_facts, score_table

LAYERS = ("block3_conv3", "block4_conv3", "block5_conv3")


def cam(layer, name="gradcam", **changes):
    text = name if layer is None else f"{name}(layer={layer})"
    return explainer_facts(text, parameters={"layer": layer}, backward_passes=1, seconds=2.0, n_maps=4, **changes)


def rise(masks, *, tolerance=0.0, **changes):
    changes = {"forward_passes": masks, **changes}
    return explainer_facts(
        f"rise(masks={masks})", parameters={"masks": masks, "probability": 0.5, "tolerance": tolerance}, **changes
    )


def occlusion(size, *, fill="black", name="occlusion"):
    parameters = {"patch_size": size, "stride": size, "fill": fill}
    return explainer_facts(
        f"{name}(patch_size={size}, fill={fill})", parameters=parameters, forward_passes=(64 // size) ** 2,
        positions=(64 // size) ** 2,
    )  # fmt: skip


@pytest.fixture
def analysed(rng):
    """Analyse a run of explainers; each is worse than the one before it by a step."""

    def call(explainers, *, n_images=40, step=0.1, values=None, metric="insertion", **options):
        if values is None:
            base = rng.normal(0.5, 0.02, n_images)
            noise = rng.normal(0, 0.005, (len(explainers), n_images))
            values = np.stack([base - step * place for place in range(len(explainers))], axis=1) + noise.T
        table = score_table(np.asarray(values)[..., None], [one.text for one in explainers], [metric])
        return analyse(
            table, [METRICS.build(metric)], explainers, seed=0, n_resamples=500, n_test_resamples=100,
            criterion=options.pop("criterion", metric), **options,
        )  # fmt: skip

    return call


def test_the_variants_of_an_explainer_are_a_sweep_with_rows_and_a_choice(analysed):
    found = analysed([cam(layer) for layer in LAYERS])
    (sweep,) = found.parameter_sweeps
    assert (sweep.explainer, sweep.parameters, sweep.reason, sweep.not_compared) == ("gradcam", ("layer",), None, ())
    assert [row.parameters for row in sweep.rows] == [{"layer": layer} for layer in LAYERS]
    assert [(row.explainer, row.passes, row.seconds_per_image) for row in sweep.rows] == [
        (f"gradcam(layer={layer})", 3, 0.5) for layer in LAYERS
    ]
    cell = found.leaderboard[1]
    score = sweep.rows[1].metrics["insertion"]
    assert (score.mean, score.ci_low, score.ci_high, score.n_scored, score.rank) == (
        cell.mean, cell.ci_low, cell.ci_high, 40, 2,
    )  # fmt: skip
    choice = found.best_parameters["gradcam"]
    assert (choice.parameters, choice.explainer) == ({"layer": LAYERS[0]}, f"gradcam(layer={LAYERS[0]})")
    assert (choice.decided, choice.tied_with, choice.n_images, choice.n_wanted) == (True, (), 40, None)
    assert (choice.criterion, choice.margin) == ("insertion", 0.02)
    assert choice.reason == f"layer={LAYERS[0]} has significantly the best insertion of these settings, on 40 images."
    assert found.patch_sweep == ()
    assert found.best_patch_size is found.best_patch_size_reason is None


def test_the_default_is_a_variant_like_others(analysed):
    found = analysed([cam(None), cam(LAYERS[0])])
    assert found.best_parameters["gradcam"].parameters == {"layer": None}
    assert found.best_parameters["gradcam"].reason.startswith("layer=default has significantly the best")


def test_equal_variants_are_one(analysed):
    default = msgspec.structs.replace(cam(LAYERS[0]), text="gradcam")  # the layer that is the default, not named
    (sweep,) = analysed([default, *map(cam, LAYERS)]).parameter_sweeps
    assert [row.explainer for row in sweep.rows] == ["gradcam", *(f"gradcam(layer={layer})" for layer in LAYERS[1:])]
    assert analysed([default, cam(LAYERS[0])]).parameter_sweeps == ()


def test_the_cheapest_is_chosen_by_the_mean_of_the_passes_used(analysed):
    explainers = [
        rise(4000, tolerance=0.01, mean_passes=(400.25, 0.0)), rise(500),
        explainer_facts("rise(masks=1000)", parameters={"masks": 1000, "probability": 0.5, "tolerance": 0.0},
                        forward_passes=1000),
    ]  # fmt: skip
    found = analysed(explainers, n_images=240, step=0.0)
    (sweep,) = found.parameter_sweeps
    assert sweep.parameters == ("masks", "tolerance")
    assert [row.passes for row in sweep.rows] == [400.2, 500, 1000]
    choice = found.best_parameters["rise"]
    assert (choice.decided, choice.parameters) == (True, {"masks": 4000, "tolerance": 0.01})


def test_parameters_that_are_equal_in_all_variants_are_not_shown(analysed):
    found = analysed([rise(500), rise(4000)])
    assert found.parameter_sweeps[0].parameters == ("masks",)
    assert found.best_parameters["rise"].parameters == {"masks": 500}


@pytest.mark.parametrize(
    "explainers",
    [
        [cam(None), occlusion(16), rise(500)],
        [explainer_facts(f"random(seed={seed})", parameters={"seed": seed}, control=True) for seed in (0, 1)],
        [
            explainer_facts(f"maps({folder})", parameters={"folder": folder}, origin="precomputed")
            for folder in ("a", "b")
        ],
        [explainer_facts("mine:Cam", parameters={"layer": "a"}), explainer_facts("mine:Other", parameters={})],
    ],
)
def test_single_variants_controls_and_maps_from_files_are_not_swept(analysed, explainers):
    found = analysed(explainers)
    assert (found.parameter_sweeps, found.best_parameters) == ((), {})


def test_occlusion_has_the_choice_of_the_patch_sizes(analysed):
    found = analysed([cam(LAYERS[0]), cam(LAYERS[1]), occlusion(16), occlusion(32), occlusion(32, fill="mean")])
    assert [sweep.explainer for sweep in found.parameter_sweeps] == ["gradcam", "occlusion"]
    assert list(found.best_parameters) == ["gradcam", "occlusion"]
    sizes, choice = found.best_patch_size, found.best_parameters["occlusion"]
    assert choice.parameters == {"patch_size": 16, "stride": 16, "fill": "black"}
    same = ("reason", "explainer", "decided", "tied_with", "chosen_share", "criterion", "margin", "n_images")
    assert [getattr(choice, name) for name in same] == [getattr(sizes, name) for name in same]
    assert found.parameter_sweeps[1].parameters == ("patch_size", "stride", "fill")


def test_two_classes_in_the_patch_sweep_have_choices_of_their_own(analysed):
    mine = [occlusion(size, name="mine:Occlusion") for size in (16, 32)]
    found = analysed([*mine, occlusion(16), occlusion(32)])
    assert found.best_patch_size.explainer == "mine:Occlusion(patch_size=16, fill=black)"
    assert {name: choice.explainer for name, choice in found.best_parameters.items()} == {
        "mine:Occlusion": "mine:Occlusion(patch_size=16, fill=black)",
        "occlusion": "occlusion(patch_size=16, fill=black)",
    }
    assert found.best_parameters["occlusion"].reason.startswith("patch_size=16, stride=16 has significantly")


def test_a_variant_without_scores_is_left_out_and_named(analysed, rng):
    values = rng.normal([0.5, 0.7, 0.6], 0.01, (40, 3))
    values[:, 0] = np.nan
    found = analysed([cam(layer) for layer in LAYERS], values=values)
    assert found.parameter_sweeps[0].not_compared == (f"gradcam(layer={LAYERS[0]})",)
    assert found.best_parameters["gradcam"].parameters == {"layer": LAYERS[1]}
    assert found.best_parameters["gradcam"].n_images == 40


def test_why_there_is_no_choice(analysed, rng):
    explainers = [cam(layer) for layer in LAYERS[:2]]
    values = rng.normal(0.5, 0.01, (40, 2))
    values[:, 0] = np.nan
    found = analysed(explainers, values=values)
    assert found.best_parameters == {"gradcam": None}
    assert found.parameter_sweeps[0].reason == "fewer than two settings were scored by insertion"
    values = rng.normal(0.5, 0.01, (40, 2))
    values[:20, 0], values[19:, 1] = np.nan, np.nan
    reason = analysed(explainers, values=values).parameter_sweeps[0].reason
    assert reason == "fewer than two images were scored by insertion for every setting"
    reason = analysed(explainers, criterion="deletion").parameter_sweeps[0].reason
    assert reason == "the criterion deletion is not among the run's metrics"


def test_few_images_leave_the_layer_undecided_with_the_number_wanted(analysed, rng):
    noise = rng.normal(0, 0.1, (30, 2))
    values = noise - noise.mean(axis=0) + np.array([0.51, 0.5])
    choice = analysed([cam(LAYERS[0]), cam(LAYERS[1])], values=values).best_parameters["gradcam"]
    assert (choice.decided, choice.parameters) == (False, {"layer": LAYERS[0]})
    assert choice.tied_with == (f"gradcam(layer={LAYERS[1]})",)
    assert choice.reason == (
        f"Undecided on 30 images: layer={LAYERS[0]} has the best mean insertion; every setting needs 3 passes, and "
        f"layer={LAYERS[1]} may be better by 0.02; about {choice.n_wanted:,} images would decide."
    )
