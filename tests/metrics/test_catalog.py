"""The metric that decides is found by its text or its name."""

from __future__ import annotations

import pytest

from evalkit.core.errors import ConfigError
from evalkit.metrics.catalog import CUE_METRICS, DEFAULT_METRICS, METRICS, build_metrics, find_criterion, find_metric


def built(*texts):
    return [METRICS.build(text) for text in texts]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("insertion", "insertion"),
        ("deletion(steps=56, ties=raster)", "deletion(steps=56, ties=raster)"),
        ("deletion(steps=56,ties=raster)", "deletion(steps=56, ties=raster)"),
        (" deletion( steps = 56, ties=raster )", "deletion(steps=56, ties=raster)"),
        ("deletion", "deletion(steps=56, ties=raster)"),
    ],
)
def test_a_criterion_is_named_by_its_text_or_its_name(given, found):
    metrics = built("pxap", "deletion(steps=56, ties=raster)", "insertion", "sparseness")
    criterion = find_criterion(given, metrics)
    assert criterion.text == found
    assert any(criterion is metric for metric in metrics)


def test_of_two_with_one_name_the_text_says_which():
    metrics = built("deletion", "deletion(steps=56)")
    for metric in metrics:
        assert find_criterion(metric.text, metrics) is metric
    assert find_criterion("deletion(steps=14)", built("deletion(steps=56)", "deletion(steps=14)")).steps == 14


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("insertoin", "'insertoin' is not among this run's metrics; did you mean 'insertion'"),
        ("deletion(steps=14)", r"--criterion 'deletion\(steps=14\)' is not among this run's metrics"),
        ("pxap", "'pxap' scores all images together, not each, so it cannot decide; Allowed: deletion, insertion$"),
        ("sparseness", "'sparseness' describes maps .* so it cannot decide; Allowed: deletion, insertion$"),
        ("max_box_acc_v1", "'max_box_acc_v1' is not among this run's metrics; Allowed: deletion, insertion$"),
        ("", "--criterion '' is not among"),
    ],
)
def test_a_criterion_without_scores_per_image_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        find_criterion(given, built("pxap", "deletion", "insertion", "sparseness"))


@pytest.mark.parametrize("texts", [(), ("pxap", "max_box_acc_v1"), ("pxap", "sparseness")])
def test_without_a_score_an_image_there_is_no_criterion(texts):
    with pytest.raises(ConfigError, match="add a metric that can, for example symmetric_relevance_gain"):
        find_criterion("pxap", built(*texts))


def test_the_text_goes_before_the_name():
    metrics = built("deletion(steps=56)", "deletion")
    assert find_criterion("deletion", metrics) is metrics[1]


def test_descriptive_metric_is_no_criterion():
    with pytest.raises(ConfigError, match="--criterion 'sparseness' describes maps"):
        find_criterion("sparseness", built("pxap", "deletion", "sparseness"))


def test_default_set_is_written_down():
    assert set(DEFAULT_METRICS) <= set(METRICS.names())
    assert [metric.text for metric in build_metrics(None)] == list(DEFAULT_METRICS)
    assert [metric.text for metric in build_metrics("all")] == [
        one for one in METRICS.names() if one not in CUE_METRICS
    ]
    assert [metric.text for metric in build_metrics("default,mprt")] == [*DEFAULT_METRICS, "mprt"]
    assert build_metrics("pxap, default")[0].text == "pxap"
    assert len(build_metrics("pxap, default")) == len(DEFAULT_METRICS)


def test_a_metric_listed_twice_is_refused():
    with pytest.raises(ConfigError, match="--metrics: deletion is listed twice; remove one"):
        build_metrics("deletion, pxap, deletion")


def test_metric_objects_are_taken_as_they_are():
    metric = METRICS.build("deletion(steps=3)")
    assert build_metrics([metric, "pxap"])[0] is metric
    with pytest.raises(ConfigError, match="is int; a metric is a spec such as 'deletion', or an object"):
        build_metrics([3])


@pytest.mark.parametrize("name", METRICS.names())
def test_every_parameter_can_be_written_in_a_spec(name):
    metric = METRICS.build(name)
    written = ", ".join(f"{key}={value}" for key, value in metric.parameters().items())
    assert METRICS.build(f"{name}({written})").signature == metric.signature


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("sparseness", "describes maps and has no better end, so nothing is worse by it; Allowed: deletion"),
        ("pxap", "scores all images together, not each, so it cannot be compared image by image; Allowed: deletion"),
        ("delation", "is not among this run's metrics; did you mean 'deletion'"),
    ],
)
def test_a_baseline_takes_what_scores_images_and_has_a_better_end(given, reason):
    metrics = built("deletion", "sparseness", "pxap")
    assert find_metric("deletion", metrics, "--metrics") is metrics[0]
    with pytest.raises(ConfigError) as refused:
        find_metric(given, metrics, "--metrics")
    assert str(refused.value).lower().startswith(f"--metrics '{given}' {reason}".lower())
