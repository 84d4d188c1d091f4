"""``list metrics``: a line a metric, and whole entries."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from evalkit.metrics.catalog import CUE_METRICS, DEFAULT_METRICS, METRICS
from evalkit.metrics.requests import Cost, Explain
from evalkit.metrics.requirements import passes_of, requirements_of, unscored_reasons
from evalkit.metrics.spec import Metric, MetricSpec

GOLDEN = Path(__file__).resolve().parent.parent / "golden"


@dataclass(frozen=True)
class Outside(Metric):
    """A metric of another package."""

    spec: ClassVar[MetricSpec] = MetricSpec(
        name="outside",
        version=3,
        direction="lower",
        bounds=(-np.inf, 0.0),
        family="other",
        summary="a sentence that is far too long for the line of the list, so that it is cut",
        reference="none",
    )
    strength: int

    def score(self, saliency_map, case, answers):
        return 0.0


@dataclass(frozen=True)
class Failing(Outside):
    """A metric with defects."""

    strength: int = 1
    names: tuple[str, ...] = field(default_factory=tuple)

    def unscored_reason(self, case):
        raise ZeroDivisionError

    def cost(self):
        raise ZeroDivisionError


@dataclass(frozen=True)
class Stages(Outside):
    """A metric that requests fewer maps than it may."""

    strength: int = 1

    def cost(self):
        return Cost(maps=5)

    def requests(self, saliency_map, case):
        return [Explain()]


@pytest.fixture
def listed(evalkit, monkeypatch):
    """Print a list on a terminal of some width."""

    def call(width, *arguments):
        monkeypatch.setattr("evalkit.cli.listing.terminal_width", lambda: width)
        done = evalkit("list", *arguments)
        assert done.code == 0, done.err
        return done.out

    return call


def entry(listed, name):
    (row,) = json.loads(listed(80, "metrics", name, "--format", "json"))
    return row


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("list-metrics", ["metrics"]), ("list-metrics-deletion", ["metrics", "deletion(steps=14)"])],
)
def test_screens_are_those_that_were_read(listed, name, arguments):
    assert listed(80, *arguments) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_every_metric_has_its_name_whole(listed, width):
    lines = listed(width, "metrics").splitlines()
    names = [line.split()[0] for line in lines if line.startswith("  ") and not line.startswith("   ")]
    assert set(METRICS.names()) <= set(names)
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_every_metric_has_one_line_with_a_whole_sentence(listed, width):
    lines = listed(width, "metrics").splitlines()
    assert len(lines) == len(METRICS.names()) + 8
    assert not [line for line in lines if line.endswith("...")]


@pytest.mark.parametrize("name", METRICS.names())
@pytest.mark.parametrize("width", [60, 80])
def test_no_line_of_an_entry_is_too_long(listed, name, width):
    lines = listed(width, "metrics", name).splitlines()
    assert lines[0] == name
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [20, 70])
def test_a_reference_to_a_class_is_never_broken(listed, width):
    assert f"{__name__}:Outside" in listed(width, "metrics", f"{__name__}:Outside").split()


def test_an_entry_has_everything(listed):
    words = " ".join(listed(80, "metrics", "grid_pointing_game").split())
    for part in (
        "family localization", "sets all", "better higher", "range 0 to 1", "chance 0.25", "column grid",
        "cost 1 other map of the explainer for each map, 3 forward passes an image", "images of other classes",
        "not scored misclassified (unless --target predicted); no images of other classes are known;",
        "random draws random numbers, by --seed", "criterion can be --criterion", "version 1", "reference Rao et al.",
        "class evalkit.metrics.grid:GridPointingGame", "confidence a number; default 0.5: the lowest score of its own",
    ):  # fmt: skip
        assert part in words


def test_parameters_of_a_spec_are_shown(listed):
    row = entry(listed, "deletion(steps=14, score=log_odds)")
    assert row["metric"] == "deletion(steps=14, score=log_odds)"
    assert row["parameters"] == "steps=14, ties=levels, score=log_odds, substrate=mean"
    assert row["range"] == [None, None]
    assert row["cost"] == {
        "forward_passes_per_map": 14, "forward_passes_per_image": 1, "maps_per_map": 0, "is_upper_bound": True,
    }  # fmt: skip
    details = {detail["name"]: detail for detail in row["parameter_details"]}
    assert (details["steps"]["value"], details["steps"]["default"], details["steps"]["is_set"]) == (14, 28, True)
    assert (details["ties"]["value"], details["ties"]["is_set"]) == ("levels", False)
    assert "in log-odds" in row["what it is"]


def test_json_has_numbers_and_nulls(listed):
    rows = {row["metric"]: row for row in json.loads(listed(80, "metrics", "--format", "json"))}
    assert list(rows) == METRICS.names()
    assert rows["max_sensitivity"]["range"] == [0.0, None]
    assert rows["pixel_auc"]["chance"] == 0.5
    assert rows["pointing_game"]["chance"] == "uniform"
    assert rows["deletion"]["chance"] is None
    assert (rows["deletion"]["better"], rows["sparseness"]["better"]) == ("lower", None)
    assert rows["max_box_acc_v1"]["parameter_details"][0]["default"] is None
    assert {name for name, row in rows.items() if "default" in row["sets"]} == {*DEFAULT_METRICS, *CUE_METRICS}
    assert {name for name, row in rows.items() if row["sets_only_with_cues"]} == set(CUE_METRICS)
    assert {name for name, row in rows.items() if row["gated"]} == {
        name for name in METRICS.names() if METRICS.get(name).spec.gated
    }


@pytest.mark.parametrize("form", ["csv", "markdown", "latex"])
def test_other_formats_have_a_line_a_metric(listed, form):
    printed = listed(80, "metrics", "--format", form)
    assert sum("Petsiuk" in line for line in printed.splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("deletion", "up to 28 forward passes a map, 1 more an image"),
        ("symmetric_relevance_gain", "up to 56 forward passes a map, 1 more an image"),
        ("road", "18 forward passes a map, 1 more an image"),
        ("average_drop", "1 forward pass a map"),
        ("mu_fidelity", "200 forward passes an image"),
        ("mprt", "up to 24 other maps of the explainer for each map"),
        ("random_logit", "1 other map of the explainer for each map"),
        ("sparseness", "no forward pass beside the map's"),
    ],
)
def test_cost_is_counted_from_the_requests(listed, name, passes):
    assert f" cost {passes} needs " in " ".join(listed(200, "metrics", name).split())


@pytest.mark.parametrize("word", ["default", "all", "faithfulness", "shortcut"])
def test_a_set_or_a_family_lists_its_own_metrics(listed, word):
    names = {row["metric"] for row in json.loads(listed(80, "metrics", word, "--format", "json"))}
    expected = {"default": set(DEFAULT_METRICS), "all": set(METRICS.names())}
    assert names == expected.get(word, {name for name in METRICS.names() if METRICS.get(name).spec.family == word})


def test_requirements_are_seen_on_incomplete_images():
    assert requirements_of(METRICS.build("pxap")) == ("exact region",)
    assert requirements_of(METRICS.build("pointing_game")) == ("region",)
    assert requirements_of(METRICS.build("deletion")) == ("scores", "right model")
    assert requirements_of(METRICS.build("grid_pointing_game")) == ("maps", "right model", "images of other classes")
    assert unscored_reasons(METRICS.build("sparseness")) == ()
    assert unscored_reasons(METRICS.build("random_logit"))[0] == "the model has no other class"


def test_a_metric_of_another_package_is_listed(listed, monkeypatch):
    monkeypatch.setattr(METRICS, "_targets", dict(METRICS._targets))
    METRICS.register("zzz_outside", f"{__name__}:Outside")
    METRICS.register("zzz_failing", f"{__name__}:Failing")
    METRICS.register("zzz_stages", f"{__name__}:Stages")
    assert "  zzz_outside      ↓  -inf..0  a sentence that is far too long for the line ...\n" in listed(80, "metrics")
    row = entry(listed, "zzz_outside")
    assert (row["sets"], row["cost"], row["parameters"], row["needs"]) == (["all"], None, "strength", ["unknown"])
    assert (row["class"], row["version"]) == (f"{__name__}:Outside", 3)
    assert entry(listed, "zzz_outside(strength=2)")["parameters"] == "strength=2"
    assert entry(listed, "zzz_failing")["needs"] == ["unknown"]
    words = " ".join(listed(80, "metrics", "zzz_failing").split())
    assert "cost unknown needs unknown: the metric fails on a small test image" in words
    assert passes_of(Stages()).is_upper_bound


def test_a_class_that_cannot_be_imported_is_left_out(evalkit, monkeypatch):
    monkeypatch.setattr(METRICS, "_targets", {**METRICS._targets, "broken": "no_such_module:Metric"})
    done = evalkit("list", "metrics")
    assert done.code == 0
    assert "deletion" in done.out
    assert "broken" not in done.out
    assert "evalkit: left out of the list: metric 'broken'" in done.err
    assert evalkit("list", "metrics", "broken").code == 2


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("deltion", "list metrics: no metric or set is called 'deltion': did you mean 'deletion'? Allowed: "),
        ("Pointing-Game", "did you mean 'pointing_game'?"),
        ("deletion(stps=3)", "metric 'deletion' has no parameter 'stps': did you mean 'steps'?"),
        ("deletion(steps=0)", "deletion: steps=0 is not allowed; 1 to 10000"),
        ("deletion(steps=14|28)", "steps=14|28 names several values where one is expected"),
        ("deletion(steps=14", "the parentheses do not match"),
        ("max_box_acc_v1(threshold_from=none.json)", "none.json"),
        ("", "no metric or set is called ''"),
    ],
)
def test_what_is_no_metric_is_refused(evalkit, name, sentence):
    done = evalkit("list", "metrics", name)
    assert done.code == 2
    assert sentence in done.err
    assert done.err.count("\n") == 1
