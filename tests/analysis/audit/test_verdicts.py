"""Verdicts on metrics with planted faults, their reasons, and the advice."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from evalkit.analysis.audit.results import Audit, MetricAudit, MetricBias, Reliability
from evalkit.analysis.audit.verdict import advice_of
from evalkit.explainers.controls import Center, Random, SmoothNoise, Uniform
from evalkit.metrics.catalog import METRICS

from .conftest import Planted

NAMES = tuple(f"explainer{at}" for at in range(8))
NAN = float("nan")


def sound(rng, n_images=40):
    """Return scores of a metric without fault: explainers differ, noise is small, controls score chance, 0."""
    scores = {name: rng.normal(0.3 + 0.05 * at, 0.05, n_images) for at, name in enumerate(NAMES)}
    return scores | {name: rng.normal(0, 0.05, n_images) for name in ("random", "smooth_noise", "center")}


def test_a_sound_metric_is_reliable_and_advised(audited, rng):
    audit = audited({"symmetric_relevance_gain": sound(rng)})
    (one,) = audit.metrics
    assert (one.verdict, one.missing, one.equal_share) == ("reliable", (), 0.0)
    assert one.reason.startswith("split-half reliability 1.00 (95 % interval 0.9")
    assert audit.advised == ("symmetric_relevance_gain",)
    assert audit.advice.startswith(
        "Use --criterion symmetric_relevance_gain. The run's criterion, symmetric_relevance_g"
    )


def test_a_metric_that_returns_noise_is_noisy(audited, rng):
    scores = {name: rng.random(40) for name in (*NAMES, "uniform", "random", "smooth_noise", "center")}
    audit = audited({"insertion": scores})
    assert audit.metrics[0].verdict == "noisy"
    assert "lower end below 0.8; the halves" in audit.metrics[0].reason
    assert audit.advised == ()
    assert audit.advice.startswith("No metric of this run that scores single images is reliable here")


def test_a_metric_that_returns_the_maps_area_is_biased(audited, rng):
    """The area of real maps: explainers have blobs of their own size, controls are what they are."""
    rows, columns = np.mgrid[:32, :32]
    photos = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    metric = Planted()

    def area(maps):
        return [metric.score(one, None, ()) for one in maps]

    scores = {}
    for at, name in enumerate(NAMES):
        centers = rng.uniform(10, 22, (40, 2))
        blobs = [np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * (3 + at / 2) ** 2)) for y, x in centers]
        scores[name] = area(blobs)
    targets = [0] * 40
    for name, control in (("uniform", Uniform()), ("random", Random()), ("smooth_noise", SmoothNoise(sigma_px=4))):
        scores[name] = area(control.explain(None, photos, targets))
    scores["center"] = area(Center().explain(None, photos, targets))
    (one,) = audited({metric.text: scores}, {metric.text: metric}).metrics
    assert one.verdict == "biased"
    assert one.reason.startswith(
        "toward pixel noise: on these images random is shown to score better than 8 of 8 explainers"
    )
    assert one.reliability.low > 0.8  # it is repeatable, which alone would pass it


@pytest.mark.parametrize("constant", [0.0, 0.7])
def test_a_constant_metric_is_blind(audited, rng, constant):
    scores = {name: np.full(40, constant) for name in (*NAMES, "uniform", "random", "center")}
    (one,) = audited({"insertion": scores}).metrics
    assert (one.verdict, one.equal_share) == ("blind", 1.0)
    assert one.reason.startswith("to differences between the explainers: they have the same score on 40 of 40 images")


def test_nearly_constant_is_blind_and_half_constant_is_not(audited, rng):
    def verdict(n_equal):
        scores = {name: np.r_[np.ones(n_equal), rng.random(40 - n_equal)] for name in NAMES}
        return audited({"insertion": scores | {"random": rng.random(40)}}).metrics[0].verdict

    assert [verdict(n_equal) for n_equal in (38, 37, 20)] == ["blind", "noisy", "noisy"]


def test_blind_comes_before_biased_and_biased_before_noisy(audited, rng):
    controls = {"smooth_noise": rng.normal(0.6, 0.02, 40), "random": rng.normal(0, 0.02, 40)}
    constant = {name: np.full(40, 0.1) for name in NAMES}
    noise = {name: rng.normal(0.1, 0.1, 40) for name in NAMES}
    metrics = audited({"symmetric_relevance_gain": constant | controls, "insertion": noise | controls}).metrics
    assert [one.verdict for one in metrics] == ["blind", "biased"]


def test_descriptive_metrics_get_numbers_and_no_verdict(audited, rng):
    audit = audited({"sparseness": sound(rng), "symmetric_relevance_gain": sound(rng)})
    one = audit.metrics[0]
    assert (one.verdict, one.criterion) == (None, False)
    assert one.reason == "it describes maps and has no better end: it gets no verdict"
    assert one.reliability.split_half > 0.9
    assert audit.not_compared == {"sparseness": "no end of what they describe is better"}
    assert audit.agreement == ()


def test_the_most_reliable_is_advised_first(audited, rng):
    scores = sound(rng)
    coarser = {name: column + rng.normal(0, 0.2, 40) for name, column in scores.items()}
    audit = audited({"insertion": coarser, "symmetric_relevance_gain": scores, "average_drop": coarser})
    by_low = sorted(audit.metrics, key=lambda one: -one.reliability.low)
    assert audit.advised == tuple(one.metric for one in by_low if one.verdict == "reliable")
    assert audit.advised[0] == "symmetric_relevance_gain"
    assert len(audit.agreement) == 3


def test_a_run_without_controls_says_so_and_is_still_judged(audited, rng):
    scores = {name: column for name, column in sound(rng).items() if name in NAMES}
    audit = audited({"symmetric_relevance_gain": scores})
    (one,) = audit.metrics
    assert one.verdict == "reliable"
    (missing,) = one.missing
    assert missing.startswith("bias: the run has no controls")
    assert f"Not checked: {missing}." in audit.advice


def test_two_explainers_give_bias_and_no_reliability(audited, rng):
    scores = {name: column for name, column in sound(rng).items() if name not in NAMES[2:]}
    (one,) = audited({"symmetric_relevance_gain": scores}).metrics
    assert one.verdict is None
    assert one.reason == ("the reliability is not known: 2 explainers were scored and can be compared; 3 are needed")
    assert len(one.bias.controls) == 3
    assert one.bias.best == "explainer1"


@pytest.mark.parametrize("n_images", [0, 1, 2, 5, 7])
def test_few_images_have_reasons_for_everything(audited, rng, n_images):
    audit = audited({"symmetric_relevance_gain": sound(rng, n_images), "insertion": sound(rng, n_images)})
    for one in audit.metrics:
        assert one.verdict is None
        assert one.reason
        assert one.reliability.reason
    assert all(pair.reason for pair in audit.agreement)
    assert audit.clusters == ()
    msgspec.json.decode(msgspec.json.encode(audit), type=Audit)


def test_a_metric_that_scored_nothing_has_its_reason(audited, rng):
    nothing = {name: np.full(40, NAN) for name in (*NAMES, "random")}
    reasons = {(name, "pointing_game"): {"no region": 30, "misclassified": 10} for name in NAMES}
    audit = audited({"pointing_game": nothing, "symmetric_relevance_gain": sound(rng)}, reasons=reasons)
    one, other = audit.metrics
    assert (one.verdict, one.reason) == (None, "it scored no image: no region")
    assert one.reliability.reason == one.bias.reason == one.reason
    assert (one.equal_share, other.verdict) == (None, "reliable")
    assert audit.agreement[0].reason.startswith("0 images have 3 explainers")


def test_only_controls_are_refused_in_words(audited, rng):
    scores = {name: rng.random(40) for name in ("uniform", "random", "center")}
    audit = audited({"insertion": scores})
    assert audit.explainers == ()
    assert audit.metrics[0].verdict is None
    assert audit.metrics[0].reliability.reason.startswith("0 explainers were scored")
    assert audit.metrics[0].bias.best is None


def test_entries_of_one_photo_count_as_one(audited, rng):
    scores = sound(rng, 20)
    twice = {name: np.repeat(column, 2) for name, column in scores.items()}
    photos = tuple(f"photo{at // 2}" for at in range(40))
    once, of_photos = audited({"insertion": scores}), audited({"insertion": twice}, photos=photos)
    assert of_photos.n_images == 20
    assert of_photos.metrics[0].reliability.split_half == pytest.approx(once.metrics[0].reliability.split_half)


@pytest.mark.parametrize("unit", [1e-9, 1e-6, 1e12])
def test_the_unit_of_a_metric_does_not_matter(audited, rng, unit):
    scores = sound(rng)
    scaled = {name: unit * column for name, column in scores.items()}
    (one,), (other,) = audited({"infidelity": scores}).metrics, audited({"infidelity": scaled}).metrics
    assert other.verdict != "blind"
    assert other.equal_share == 0.0
    assert other.reliability.split_half == pytest.approx(one.reliability.split_half)
    assert other.reliability.alpha == pytest.approx(one.reliability.alpha)


def test_rounding_in_any_unit_is_no_difference(audited, rng):
    scores = {name: 1e6 * (1 + 1e-15 * rng.random(40)) for name in (*NAMES, "random")}
    assert audited({"infidelity": scores}).metrics[0].verdict == "blind"
    scores = {name: 1e-17 * rng.random(40) for name in (*NAMES, "random")}
    assert audited({"symmetric_relevance_gain": scores}).metrics[0].verdict == "blind"


def test_the_seed_alone_decides(audited, rng):
    scores = {"insertion": sound(rng)}
    assert audited(scores) == audited(scores)
    assert audited(scores) != audited(scores, seed=1)


def test_200_images_20_explainers_20_metrics_take_seconds(facts_of, rng):
    """About 3 seconds of one core: processor time, which other processes do not lengthen."""
    from time import process_time

    from evalkit.analysis.audit.service import audit_scores
    from tests.builders import score_table

    names = [*(f"explainer{at}" for at in range(16)), "uniform", "random", "smooth_noise", "center"]
    metrics = [METRICS.build(f"insertion(steps={at + 2})") for at in range(19)] + [METRICS.build("pxap")]
    values = rng.random((200, 20, 20)) + np.linspace(0, 0.3, 20)[:, None]
    statistics = rng.random((200, 20, 512))
    table = score_table(values, names, [metric.text for metric in metrics], statistics={"pxap": statistics})
    start = process_time()
    audit_scores(table, metrics, facts_of(names), seed=0)
    assert process_time() - start < 30


def test_without_any_verdict_nothing_is_called_unreliable():
    nothing = Reliability(0, 0), MetricBias(None, None, None, ())
    one = MetricAudit("insertion", "higher", None, "4 images", True, None, *nothing)
    text = advice_of([one], "insertion")
    assert text.startswith("No metric of this run has a verdict, so no --criterion is advised")
    assert "reliable" not in text
