"""What sanity checks by re-initialized weights say: curves by hand, thresholds, sentences, and what a run keeps."""

from __future__ import annotations

import numpy as np
import pytest

import evalkit
from evalkit.analysis.results import LeaderboardCell
from evalkit.analysis.sanity import mean_cascade, sanity_result
from evalkit.datasets.image_set import ImageSet
from evalkit.store.run_folder import RunFolder

NAN = float("nan")


def curve(layers, own, last, constant=None):
    constant = [0.0] * len(layers) if constant is None else constant
    return np.array([[*layers] * 3, [*own, *last, *constant]], dtype=float)


def said(facts, own, last, *, layers=(1, 2, 3), mean=0.25, control=False, metric="mprt", constant=None, name="gradcam"):
    cascade = mean_cascade([curve(layers, own, last, constant)], ["a"]) if own else None
    cell = LeaderboardCell(name, metric, "lower", mean, None, None, None, 1, 0, None, ())
    return sanity_result(cell, facts(name, control=control), metric.partition("(")[0], cascade)


def test_mean_cascade_by_hand():
    one, two = curve((1, 2), [0.5, 0.25], [0.75, 1]), curve((1, 2), [1.0, 0.75], [0.25, 1], [0.5, 0])
    cascade = mean_cascade([one, two], ["a", "b"])
    assert (cascade.layers, cascade.n_images) == ((1, 2), 2)
    np.testing.assert_allclose([cascade.with_own, cascade.with_last, cascade.constant],
                               [[0.75, 0.5], [0.5, 1], [0.25, 0]])  # fmt: skip
    of_two_photos = mean_cascade([one, two, two], ["a", "b", "b"])  # entries of one photo count as one
    np.testing.assert_allclose(of_two_photos.with_own, cascade.with_own)
    assert of_two_photos.n_images == 2


def test_what_an_image_does_not_tell_is_left_out_of_the_mean():
    one, two = curve((1, 2), [0.5, NAN], [NAN, NAN], [0, 1]), curve((1, 2), [0.7, 0.1], [0.2, 1])
    cascade = mean_cascade([one, two], ["a", "b"])
    np.testing.assert_allclose([cascade.with_own, cascade.with_last, cascade.constant],
                               [[0.6, 0.1], [0.2, 1], [0, 0.5]])  # fmt: skip


@pytest.mark.parametrize(
    ("own", "last", "expected"),
    [
        ([0.8, 0.4, 0.1], [0.2, 0.5, 1.0], 0),  # the last layer matters
        ([0.8, 0.4, 0.1], [0.2, 0.9, 1.0], 1),
        ([0.8, 0.4, 0.1], [0.95, 0.9, 1.0], 2),
        ([0.8, 0.4, 0.1], [0.95, 0.89, 1.0], 0),  # a later stage differs, so an earlier one says nothing
        ([0.99, 0.98, 0.97], [0.98, 0.99, 1.0], 3),  # the map itself is that of the last stage
        ([0.8, 0.4, NAN], [NAN, NAN, NAN], None),
        ([0.8, 0.4, 0.1], [NAN, 0.95, 1.0], 1),
    ],
)
def test_insensitive_layers_by_hand(own, last, expected, facts):
    assert said(facts, own, last).insensitive_to_last == expected


@pytest.mark.parametrize(
    ("own", "expected"), [([0.4, 0.6, 0.1], 1), ([0.5, 0.5, 0.5], None), ([0.9, 0.49, 0.1], 2), ([NAN, 0.6, 0.4], 3)]
)
def test_changed_after_by_hand(own, expected, facts):
    assert said(facts, own, [0, 0, 1]).changed_after == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"own": [0.8, 0.4, 0.1], "last": [0.2, 0.95, 1.0]},
            (
                "mprt, gradcam: insensitive to the last layer's weights, of 3 (correlation 0.95 of the maps "
                "before and "
                "after, those below re-initialized); correlation with the model's own map falls below 0.5 after "
                "2 of 3 layers, mean "
                "over the stages 0.250, 1 image."
            ),
        ),
        (
            {"own": [0.9, 0.8, 0.7], "last": [0.2, 0.3, 1.0], "layers": (2, 5, 8), "constant": [0, 0, 0.75]},
            (
                "mprt, gradcam: sensitive to the last 3 layers' weights, of 8 (correlation 0.30 of the maps "
                "before and "
                "after, those below re-initialized); correlation with the model's own map never falls below "
                "0.5, mean over the "
                "stages 0.250, 1 image; 25 % of the changed models' maps are constant and left out."
            ),
        ),
        (
            {"own": [1.0, 1.0, 1.0], "last": [1.0, 1.0, 1.0], "mean": 1.0},
            (
                "mprt, gradcam: insensitive to all 3 layers' weights: its map shows nothing that the model has "
                "learned; "
                "correlation with the model's own map never falls below 0.5, mean over the stages 1.000, 1 "
                "image."
            ),
        ),
        (
            {"own": [1.0, 1.0, 1.0], "last": [1.0, 1.0, 1.0], "mean": 1.0, "control": True, "name": "edges"},
            "mprt, edges (control): insensitive to all 3 layers' weights, by construction.",
        ),
        (
            {"own": [], "last": [], "mean": None, "control": True, "name": "uniform"},
            "mprt, uniform (control): insensitive to all layers' weights, by construction.",
        ),
        ({"own": [NAN] * 3, "last": [NAN] * 3, "mean": None}, "mprt, gradcam: scored on no image."),
        (
            {"own": [0.4, 0.3, NAN], "last": [NAN] * 3, "mean": None},
            (
                "mprt, gradcam: whether the last layer's weights matter, of 3, is not known: too many maps are "
                "constant; correlation "
                "with the model's own map falls below 0.5 after 1 of 3 layers, 1 image."
            ),
        ),
        (
            {"own": [], "last": [], "metric": "mprt(layers=output)"},
            (
                "mprt(layers=output), gradcam: rank correlation with the map after the output layer is "
                "re-initialized "
                "0.250, 1 image."
            ),
        ),
        (
            {"own": [], "last": [], "metric": "emprt"},
            (
                "emprt, gradcam: the map's entropy rises when all layers are re-initialized, relative change "
                "0.250, 1 image."
            ),
        ),
        (
            {"own": [], "last": [], "metric": "emprt", "mean": -0.5},
            (
                "emprt, gradcam: the map's entropy falls when all layers are re-initialized, relative change "
                "-0.500, 1 image."
            ),
        ),
        (
            {"own": [], "last": [], "metric": "emprt", "mean": 0.0, "control": True, "name": "edges"},
            "emprt, edges (control): insensitive to all layers' weights, by construction.",
        ),
    ],
)
def test_sentences(given, expected, facts):
    assert said(facts, given.pop("own"), given.pop("last"), **given).sentence == expected


@pytest.fixture(scope="module")
def run(tiny_model, tmp_path_factory):
    photos = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    return evalkit.evaluate(
        tiny_model, ImageSet.from_arrays(photos, [0, 1, 2]), explainers="gradient,edges", steps=4, target="predicted",
        metrics="deletion,mprt,emprt,mprt(layers=output)", output=tmp_path_factory.mktemp("run") / "out",
        progress=False,
    )  # fmt: skip


def test_a_run_keeps_curves_and_says_them_without_a_column(run):
    assert {cell.metric for cell in run.results.leaderboard} == {"deletion"}
    assert {family.metric for family in run.results.families} == {"deletion"}
    assert [(one.metric, one.explainer, one.control) for one in run.results.sanity] == [
        (metric, explainer, explainer == "edges")
        for metric in ("mprt", "emprt", "mprt(layers=output)")
        for explainer in ("gradient", "edges")
    ]
    gradient, edges, *_ = run.results.sanity
    assert gradient.layers == edges.layers == (1, 2, 3)
    assert edges.insensitive_to_last == 3
    assert edges.correlation == pytest.approx((1.0, 1.0, 1.0))
    folder = RunFolder.read(run.path)
    stored = folder.database.curves("gradient", "mprt")
    folder.close()
    assert len(stored) == 3
    own = np.mean([points[1, :3] for points in stored.values()], axis=0)
    np.testing.assert_allclose(gradient.correlation, own, atol=1e-12)
    # The score is the mean of the kept curve, image by image.
    assert gradient.mean == pytest.approx(own.mean(), abs=1e-12)


def test_sanity_checks_are_no_criterion(tiny_model):
    from evalkit.core.errors import ConfigError

    photos = ImageSet.from_arrays(np.zeros((2, 32, 32, 3), np.uint8), [0, 1])
    with pytest.raises(ConfigError, match="describes maps and has no better end"):
        evalkit.evaluate(tiny_model, photos, explainers="edges", metrics="deletion,emprt", criterion="emprt")
