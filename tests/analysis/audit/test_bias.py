"""What controls score against chance: which chance, sign, interval, share of the lead, and what is missing."""

from __future__ import annotations

import numpy as np
import pytest

NAN = float("nan")


@pytest.fixture
def explainers(rng):
    """Scores of three explainers on 60 images, 0.3 above 0.5."""
    return {name: 0.8 + rng.normal(0, 0.03, 60) for name in ("gradcam", "cam", "rise")}


def controls_of(audit, metric=0):
    return {one.control: one for one in audit.metrics[metric].bias.controls}


def test_chance_of_the_gain_is_zero(audited, rng):
    scores = {name: rng.normal(mean, 0.05, 60) for name, mean in (("gradcam", 0.4), ("cam", 0.2), ("rise", 0.3))}
    scores |= {"random": rng.normal(0, 0.05, 60), "center": rng.normal(0.1, 0.05, 60)}
    bias = audited({"symmetric_relevance_gain": scores}).metrics[0].bias
    assert (bias.chance, bias.best, bias.reason) == (0.0, "gradcam", None)
    assert bias.lead == pytest.approx(scores["gradcam"].mean())
    found = {one.control: one for one in bias.controls}
    assert set(found) == {"random", "center"}
    for name, one in found.items():
        assert one.over_chance == pytest.approx(scores[name].mean())
        assert one.low < one.over_chance < one.high
        assert one.lead_share == pytest.approx(one.over_chance / bias.lead)
        assert one.n_images == 60
    assert (found["random"].limit, found["center"].limit) == (0.25, 0.5)


def test_chance_of_localization_is_the_constant_map_on_each_image(audited, explainers, rng):
    share = rng.uniform(0.1, 0.5, 60)  # of the region
    scores = {**explainers, "uniform": share, "random": share + rng.normal(0, 0.01, 60)}
    bias = audited({"energy_pointing_game": scores}).metrics[0].bias
    assert bias.chance == "uniform"
    (found,) = bias.controls
    assert found.control == "random"
    assert found.over_chance == pytest.approx((scores["random"] - share).mean())
    assert found.high - found.low < 0.1  # paired: the shares of the regions do not count
    assert bias.lead == pytest.approx(max((scores[name] - share).mean() for name in explainers))


def test_chance_is_pixel_noise_elsewhere_and_lower_may_be_better(audited, rng):
    scores = {name: rng.normal(mean, 0.02, 60) for name, mean in (("gradcam", 0.2), ("cam", 0.3), ("rise", 0.3))}
    scores |= {"random": rng.normal(0.5, 0.02, 60), "smooth_noise": rng.normal(0.35, 0.02, 60)}
    audit = audited({"deletion": scores})
    bias = audit.metrics[0].bias
    assert (bias.chance, bias.best) == ("random", "gradcam")
    found = controls_of(audit)["smooth_noise"]
    assert found.over_chance == pytest.approx((scores["random"] - scores["smooth_noise"]).mean())
    assert 0.1 < found.low < found.over_chance < found.high
    assert found.rewarded
    assert audit.metrics[0].verdict == "biased"
    assert audit.metrics[0].reason.startswith(
        "toward smooth maps: on these images smooth_noise exceeds chance (random) by"
    )
    assert "of the lead of the best explainer, gradcam (limit: 25 %)" in audit.metrics[0].reason


@pytest.mark.parametrize(("share", "center", "smooth"), [(0.1, False, False), (0.4, False, True), (0.8, True, True)])
def test_the_limit_depends_on_what_the_control_may_see(audited, rng, share, center, smooth):
    scores = {name: rng.normal(0.5, 0.02, 80) for name in ("gradcam", "cam", "rise")}
    scores |= {name: rng.normal(0.5 * share, 0.02, 80) for name in ("center", "smooth_noise")}
    found = controls_of(audited({"symmetric_relevance_gain": scores}))
    assert (found["center"].rewarded, found["smooth_noise"].rewarded) == (center, smooth)


def test_a_control_above_chance_where_no_explainer_is(audited, rng):
    scores = {name: rng.normal(-0.2, 0.05, 60) for name in ("gradcam", "cam", "rise")}
    scores["smooth_noise"] = rng.normal(0.3, 0.05, 60)
    one = audited({"symmetric_relevance_gain": scores}).metrics[0]
    assert one.verdict == "biased"
    assert one.bias.lead < 0
    assert one.bias.controls[0].lead_share is None
    assert "and no explainer exceeds chance" in one.reason


def test_what_cannot_be_compared_is_said(audited, explainers, rng):
    def bias(metric, *controls):
        scores = {**explainers, **{name: rng.normal(0.5, 0.05, 60) for name in controls}}
        return audited({metric: scores}).metrics[0].bias

    assert bias("deletion").reason.startswith("the run has no controls; repeat the run's command")
    assert bias("deletion", "center").reason.startswith(
        "the control random, which stands for chance, is not in the run;"
    )
    assert bias("deletion", "random").reason.startswith("the run has no other control than the one that stands for")
    without = bias("pointing_game", "random", "center")
    assert without.reason == "the control uniform, whose score is chance, is not in the run: random stands for it"
    assert without.chance == "random"
    assert [one.control for one in without.controls] == ["center"]
    lacking = bias("pointing_game", "center")
    assert lacking.reason.startswith("the control uniform, whose score is chance, is not in the run; repeat")
    assert (lacking.chance, lacking.controls) == (None, ())


def test_few_shared_images_have_no_interval_and_a_reason(audited, explainers, rng):
    scores = {**explainers, "random": rng.random(60), "center": np.r_[rng.random(5), np.full(55, NAN)]}
    bias = audited({"deletion": scores}).metrics[0].bias
    assert bias.reason == "fewer than 8 images have the scores of a control and of chance"
    (found,) = bias.controls
    assert (found.over_chance, found.low, found.n_images, found.rewarded) == (None, None, 5, False)


def test_scores_of_a_set_are_compared_too(audited, facts_of, rng):
    from evalkit.analysis.audit.service import audit_scores
    from evalkit.metrics.catalog import METRICS
    from tests.builders import score_table

    names = ["gradcam", "cam", "rise", "uniform", "random", "center"]
    hits = rng.random((40, 6, 1)) < np.array([0.9, 0.8, 0.7, 0.2, 0.2, 0.8])[:, None]
    statistics = np.broadcast_to(hits, (40, 6, 100)).astype(float)
    metric = METRICS.build("max_box_acc_v1")
    table = score_table(np.full((40, 6, 1), NAN), names, [metric.text], statistics={metric.text: statistics})
    (one,) = audit_scores(table, [metric], facts_of(names), seed=0, n_resamples=400).metrics
    assert one.bias.chance == "random"
    found = {control.control: control for control in one.bias.controls}
    wanted = hits[:, 5, 0].mean() - hits[:, 4, 0].mean()
    assert found["center"].over_chance == pytest.approx(wanted)
    assert found["center"].low < wanted < found["center"].high
    assert not one.criterion


def test_noise_above_most_explainers_is_a_bias_unless_chance_is_known(audited, rng):
    scores = {f"explainer{at}": rng.normal(0.2 + 0.1 * at, 0.02, 60) for at in range(4)}
    scores |= {name: rng.normal(0.45, 0.02, 60) for name in ("random", "center")} | {"uniform": np.full(60, 0.45)}
    audit = audited({"insertion": scores, "energy_pointing_game": scores})
    insertion, energy = audit.metrics
    assert insertion.bias.below_noise == ("explainer0", "explainer1", "explainer2")
    assert insertion.verdict == "biased"
    assert insertion.reason == (
        "toward pixel noise: on these images random is shown to score better than 3 of 4 explainers (limit: 50 %)"
    )
    # Below the constant map, which is chance by definition, are bad explainers.
    assert (energy.bias.below_noise, energy.verdict) == ((), "reliable")


@pytest.mark.parametrize(
    ("metric", "share"),
    [
        ("energy_pointing_game", 12 / 64),
        ("relevance_mass_accuracy", 12 / 64),
        ("relevance_rank_accuracy", 12 / 64),
        ("pixel_average_precision", 12 / 64),
        ("pointing_game(tolerance_px=0.5)", 12 / 64),
    ],
)
def test_the_constant_map_scores_the_share_of_the_region(metric, share):
    """By hand: 3 x 4 of 8 x 8 pixels. This is what stands for chance."""
    from evalkit.metrics.case import Region
    from evalkit.metrics.catalog import METRICS

    mask = np.zeros((8, 8), dtype=bool)
    mask[2:5, 3:7] = True
    region = Region(mask, np.array([[3.0, 2.0, 7.0, 5.0]]), exact=True)
    assert METRICS.build(metric).spec.chance == "uniform"
    assert METRICS.build(metric).score_region(np.ones((8, 8)), region) == pytest.approx(share)
