"""Curve metrics on log-odds: by hand, against slow twins, where the softmax is saturated, and the passes they share."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from evalkit.core.errors import ConfigError
from evalkit.datasets.image import LabelledImage
from evalkit.explainers.controls import Uniform
from evalkit.harness.engine.answers import Answers
from evalkit.harness.planning.cache_keys import metric_line
from evalkit.metrics.case import Case
from evalkit.metrics.catalog import METRICS, find_criterion
from evalkit.metrics.facts import facts_of_metric, metric_of_facts
from evalkit.metrics.perturbation import Deletion, Insertion, SymmetricRelevanceGain
from evalkit.metrics.requests import Perturbation
from evalkit.models.heads import Head
from evalkit.models.inference.perturbation import PhotoScores
from evalkit.models.probabilities import log_odds, softmax

from . import log_odds_twin

MEAN = (123.68, 116.779, 103.939)
CURVES = ("deletion", "insertion", "symmetric_relevance_gain")
WEIGHTS = np.array([[8.0, 4.0], [2.0, 1.0]])
ORDER = np.array([[4.0, 3.0], [2.0, 1.0]])


def build(name, steps=4, **parameters):
    given = "".join(f", {key}={value}" for key, value in {"score": "log_odds", **parameters}.items())
    return METRICS.build(f"{name}(steps={steps}{given})")


class Linear:
    """Stands in for a classifier; the logits are sums of red values with these weights (C, H, W), plus a bias (C,)."""

    def __init__(self, weights, bias=0.0):
        self.weights, self.bias = np.asarray(weights, float), bias
        self.composed, self.passes = self, 0
        self.head = Head("softmax", len(self.weights))

    def of(self, image):
        return (self.weights * np.asarray(image, float)[..., 0]).sum(axis=(1, 2)) + self.bias

    def logits(self, canvases, ranks, rows, tick):
        def made(number):
            start, end, rank, cut = rows[number]
            return np.where((ranks[rank] < cut)[..., None], canvases[end], canvases[start])

        return self.logits_from(len(rows), made)

    def logits_from(self, count, make):
        self.passes += count
        return np.array([self.of(make(number)) for number in range(count)]).reshape(count, len(self.weights))


def two_classes(weights=WEIGHTS, bias=0.0):
    """Return a model whose log-odds of class 0 are the weighted sum of (red - mean red), plus the bias."""
    return Linear([weights, np.zeros_like(weights)], np.array([bias - MEAN[0] * weights.sum(), 0.0]))


def photo(size=(2, 2)):
    """Return a photo that is 1 redder than the mean color."""
    return np.broadcast_to(np.float32(MEAN) + np.float32([1, 0, 0]), (*size, 3)).astype(np.float32)


def score(metric, model, saliency_map, pixels, target=(0,)):
    engine = PhotoScores(model, pixels, target, model.of(pixels))
    clean = softmax(model.of(pixels))
    case = Case("photo", pixels, target, clean, float(clean[list(target)].sum()))
    return metric.score(saliency_map, case, engine.scores(metric.requests(saliency_map, case)))


def trapezoid(*scores):
    return (sum(scores) - (scores[0] + scores[-1]) / 2) / (len(scores) - 1)


def test_curves_on_paper():
    removed, shown = (15.0, 7.0, 3.0, 1.0, 0.0), (0.0, 8.0, 12.0, 14.0, 15.0)
    found = score(build("deletion"), two_classes(), ORDER, photo())
    assert found == pytest.approx(trapezoid(*removed), rel=1e-4)  # float32 pixels
    gain = score(build("symmetric_relevance_gain"), two_classes(), ORDER, photo())
    assert gain == pytest.approx(trapezoid(*shown) - trapezoid(*removed), rel=1e-4)


@pytest.mark.parametrize("name", CURVES)
def test_a_constant_in_the_logit_moves_areas_and_not_the_gain(name):
    below, above = (score(build(name), two_classes(bias=bias), ORDER, photo()) for bias in (-3.0, 20.0))
    moved = 0.0 if name == "symmetric_relevance_gain" else 23.0
    assert above - below == pytest.approx(moved, abs=1e-6)


def test_log_odds_of_a_saturated_model_do_not_vanish():
    # p is 1 - 1e-12 and more along both curves, so that the softmax gain is nothing but its last digits.
    model = two_classes(bias=27.7)
    softmax_gain, log_gain = (
        score(build("symmetric_relevance_gain", score=kind), model, ORDER, photo()) for kind in ("softmax", "log_odds")
    )
    assert 0 <= softmax_gain < 1e-12
    assert log_gain == pytest.approx(trapezoid(0, 8, 12, 14, 15) - trapezoid(15, 7, 3, 1, 0), rel=1e-4)
    # Beyond what 1 - p can hold at all.
    assert score(build("symmetric_relevance_gain"), two_classes(bias=5000.0), ORDER, photo()) == pytest.approx(
        log_gain, rel=1e-6
    )


def test_constant_map_has_no_gain_and_a_reversed_map_the_opposite():
    gain, model = build("symmetric_relevance_gain"), two_classes(bias=3.0)
    assert score(gain, model, np.full((2, 2), 7.0), photo()) == 0.0
    assert score(gain, model, -ORDER, photo()) == pytest.approx(-score(gain, model, ORDER, photo()), rel=1e-9)


@pytest.mark.parametrize("target", [(1,), (0, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_curves_equal_their_slow_twins(seed, target):
    rng = np.random.default_rng(seed)
    size = (5, 6)
    pixels = rng.uniform(0, 255, (*size, 3)).astype(np.float32)
    model = Linear(rng.normal(size=(4, *size)) / 20, rng.normal(size=4) * 30)
    saliency_map = np.round(rng.normal(size=size), 1)
    blur = PhotoScores(model, pixels, target, model.of(pixels)).canvas("blur")
    mean = np.float32(MEAN).tolist()
    for steps in (3, 28):
        expected = {
            "deletion": log_odds_twin.deletion(model.of, target, pixels, saliency_map, mean, steps),
            "insertion": log_odds_twin.insertion(model.of, target, pixels, saliency_map, blur, steps),
            "symmetric_relevance_gain": log_odds_twin.gain(model.of, target, pixels, saliency_map, mean, steps),
        }
        for name, value in expected.items():
            found = score(build(name, steps), model, saliency_map, pixels, target)
            assert found == pytest.approx(value, rel=1e-9, abs=1e-9)


def test_log_odds_without_cancellation():
    assert log_odds(np.array([40.0, 0.0, 0.0]), 0) == pytest.approx(40 - np.log(2), rel=1e-15)
    assert log_odds(np.array([-800.0, 0.0]), 0) == -800.0
    assert log_odds(np.array([[1.0, 2.0, 3.0]]), (0, 2)) == pytest.approx(np.log((np.e + np.e**3) / np.e**2), rel=1e-14)
    assert log_odds(np.array([1.0, 2.0]), (0, 1)) == np.inf
    assert log_odds(np.array([1.0, -np.inf]), 0) == np.inf
    assert log_odds(np.array([-np.inf, 1.0]), 0) == -np.inf
    assert np.isnan(log_odds(np.array([np.nan, 1.0]), 0))


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_infinite_log_odds_are_not_scored(name, bad):
    class Broken(Linear):
        def of(self, image):
            logits = super().of(image)
            return logits if np.ptp(image[..., 0]) == 0 else np.array([logits[0], bad])  # images inside the curves

    metric, model = build(name), two_classes()
    broken = Broken(model.weights, model.bias)
    assert np.isnan(score(metric, broken, ORDER, photo()))
    assert metric.spec.nan_reason == "the log-odds of the class are not finite on a perturbed image"
    curve = np.array([[0.0, 0.5, 1.0], [1.0, np.inf, 0.0]])
    assert metric.curve([curve, curve]) is None


@pytest.mark.parametrize("name", CURVES)
def test_a_class_of_every_output_is_not_scored(name):
    case = Case("photo", photo(), (0, 1), np.array([0.5, 0.5]), 1.0)
    reason = "the class is every output of the model, so its log-odds are infinite"
    assert build(name).unscored_reason(case) == reason
    assert build(name, score="softmax").unscored_reason(case) is None
    assert build(name).unscored_reason(replace(case, target=(0,))) is None
    assert build(name).unscored_reason(replace(case, misclassified=True)) == "misclassified"


def test_both_scores_share_every_pass(tiny, photos, rng):
    saliency_map = rng.normal(size=(32, 32)).astype(np.float32)
    logits = tiny.logits(photos[:1])
    clean = softmax(logits)[0]
    case = Case("photo", photos[0], (1,), clean, float(clean[1]))

    def passes(kinds):
        ticked = []
        engine = Answers(tiny, LabelledImage("photo", photos[0], 1, ""), (1,), logits[0], ticked.append)
        metrics = [build(name, 6, score=kind) for name in CURVES for kind in kinds]
        before = tiny.passes
        requests = [(Uniform(), request) for metric in metrics for request in metric.requests(saliency_map, case)]
        answers = iter(engine.answer(requests))
        found = {
            metric.text: metric.score(saliency_map, case, [next(answers) for _ in metric.requests(saliency_map, case)])
            for metric in metrics
        }
        return tiny.passes - before, sum(ticked), found

    # Five images inside each of three curves; deletion's is one of the gain's. The ends: mean color and blur.
    both, ticked, found = passes(("softmax", "log_odds"))
    assert (both, ticked) == (3 * 5 + 2, 3 * 5)
    for kinds in (("softmax",), ("log_odds",)):
        alone, ticked_alone, found_alone = passes(kinds)
        assert (alone, ticked_alone) == (both, ticked)
        assert found_alone == {text: found[text] for text in found_alone}


def test_second_variant_costs_a_run_no_pass(run_photos, tiny, photos):
    found = tiny.probabilities(photos).argmax(axis=1)
    softmax_only, both = (
        run_photos("gradcam,random", metrics, labels=found)
        for metrics in ("insertion", "insertion,insertion(score=log_odds)")
    )
    assert [one.forward_passes for one in both] == [one.forward_passes for one in softmax_only]
    for first, second in zip(softmax_only, both, strict=True):
        values = {(cell.explainer, cell.metric): cell.value for cell in second.cells}
        assert {(cell.explainer, cell.metric): cell.value for cell in first.cells}.items() <= values.items()
        assert all(value is not None for value in values.values())
        curve_of = {(cell.explainer, cell.metric): cell.curve for cell in second.cells}
        odds = curve_of["gradcam", "insertion(score=log_odds)"][1]
        np.testing.assert_allclose(curve_of["gradcam", "insertion"][1], 1 / (1 + np.exp(-odds)), rtol=1e-9)


def test_answers_of_both_scores_are_one_curve():
    model, rank = two_classes(), np.arange(4).reshape(2, 2)
    pixels = photo()
    kinds = ("softmax", "log_odds", "softmax")
    requests = [Perturbation("image", "mean", rank, np.array([0, 1, 3, 4]), kind) for kind in kinds]
    first, second, third = PhotoScores(model, pixels, 0, model.of(pixels)).scores(requests)
    assert model.passes == 3
    np.testing.assert_array_equal(first, third)
    np.testing.assert_allclose(first[1], 1 / (1 + np.exp(-second[1])), rtol=1e-12)


def test_default_keeps_text_signature_and_key():
    for name in CURVES:
        assert METRICS.build(f"{name}(score=softmax)") == METRICS.build(name)
        assert METRICS.build(f"{name}(score=softmax)").text == name
    short = f"deletion|v:{Deletion.version}|substrate:mean|steps:28|ties:levels"
    assert Deletion().signature == short
    assert metric_line(Deletion(), "label", 0) == f"{short}|score:softmax|target:label"


def test_log_odds_have_text_signature_and_range_of_their_own():
    metric = METRICS.build("deletion(score=log_odds)", steps=14)
    assert (metric.text, metric) == ("deletion(score=log_odds)", Deletion(14, score_kind="log_odds"))
    line = f"deletion|v:{Deletion.version}|substrate:mean|steps:14|ties:levels|score:log_odds|target:label"
    assert metric_line(metric, "label", 0) == line
    for kind in (Deletion, Insertion, SymmetricRelevanceGain):
        unbounded = kind(score_kind="log_odds")
        assert unbounded.spec.bounds == (-np.inf, np.inf)
        assert kind().spec.bounds == kind.spec.bounds
        assert pickle.loads(pickle.dumps(unbounded)).spec == unbounded.spec  # noqa: S301 - our own
        facts = facts_of_metric(unbounded)
        assert (facts.bounds, facts.parameters["score"]) == ((None, None), "log_odds")
        assert facts.summary.endswith(", in log-odds")
        assert (facts.curve_value, facts_of_metric(kind()).curve_value) == ("log-odds", "score")
        assert metric_of_facts(facts, 28) == unbounded


def test_a_metric_of_log_odds_only_signs_them():
    class Only(Insertion):
        @property
        def score_kind(self):
            return "log_odds"

        @classmethod
        def parameter_fields(cls):
            return {name: one for name, one in super().parameter_fields().items() if name != "score"}

        def __init__(self):
            pass

    assert metric_line(Only(), "label", 0).endswith("|score:log_odds|target:label")


def test_an_unknown_score_is_refused():
    with pytest.raises(ConfigError, match="score=logit is not allowed; it takes softmax or log_odds"):
        METRICS.build("deletion(score=logit)")
    with pytest.raises(ConfigError, match="score=logit is not allowed; it takes softmax or log_odds"):
        Insertion(score_kind="logit")
    with pytest.raises(ConfigError, match="has no parameter 'score_kind'"):
        METRICS.build("deletion(score_kind=log_odds)")


def test_log_odds_can_be_the_criterion():
    metrics = [build(name, 28) for name in CURVES] + [METRICS.build("symmetric_relevance_gain")]
    assert find_criterion("symmetric_relevance_gain(score=log_odds)", metrics) is metrics[2]
    assert find_criterion("symmetric_relevance_gain", metrics) is metrics[3]
