"""``list explainers``: one line for each, and whole entries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest

from evalkit.explainers.base import Explainer
from evalkit.explainers.catalog import DEFAULT_EXPLAINERS, EXPLAINERS, FAMILIES
from evalkit.report.tables.explainer_list import ExplainerEntry, render_explainers


@dataclass(frozen=True)
class Outside(Explainer):
    """An explainer of another package.

    It has ``two`` paragraphs,
    the second of two lines.

    Attributes:
        strength: how strong it is, in a
            sentence of two lines.
    """

    summary: ClassVar[str] = "toy"
    reference: ClassVar[str] = "none"
    strength: int
    power: float = 2.0

    def explain(self, classifier, images, targets):
        return images.mean(axis=-1)

    def forward_passes(self, input_size):
        return 0


def listed(evalkit, monkeypatch, width, *arguments):
    """Print a list on a terminal of some width."""
    monkeypatch.setattr("evalkit.cli.listing.terminal_width", lambda: width)
    done = evalkit("list", *arguments)
    assert done.code == 0, done.err
    return done.out


def entry(name, family="masks", summary="It hides a part of the photo, and another one", cost="1 F"):
    return ExplainerEntry(name, family, cost, summary, (), ("scores",), (family, "all"), False, "none", "m:C", ())


def test_the_families_are_those_of_the_classes():
    for name in EXPLAINERS.names():
        family = EXPLAINERS.get(name).family
        assert name in FAMILIES[family], name
        assert EXPLAINERS.get(name).cost, name


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_every_explainer_has_its_name_whole(evalkit, monkeypatch, width):
    lines = listed(evalkit, monkeypatch, width, "explainers").splitlines()
    starts = {line.split()[0] for line in lines if line.startswith("  ")}
    assert set(EXPLAINERS.names()) <= starts
    assert max(map(len, lines)) <= width
    if width >= 80:
        assert len(lines) <= len(EXPLAINERS.names()) + 12


@pytest.mark.parametrize("name", EXPLAINERS.names())
def test_no_line_of_an_entry_is_too_long(evalkit, monkeypatch, name):
    for width in (60, 80):
        lines = listed(evalkit, monkeypatch, width, "explainers", name).splitlines()
        too_long = [line for line in lines if len(line) > width]
        assert all(len(line.split()) == 1 for line in too_long)  # the name of a class is never broken
        assert not too_long or width == 60


def test_values_of_a_spec_are_shown_with_their_cost(evalkit, monkeypatch):
    arguments = ("explainers", "occlusion(patch_size=24)")
    words = " ".join(listed(evalkit, monkeypatch, 80, *arguments).split())
    assert words.startswith("occlusion(patch_size=24) drop of the score")
    assert "cost 101 forward passes a map of 224 x 224 pixels" in words
    assert "patch_size a whole number; 24 here, default 40: side of the square patch" in words
    assert "sweep" not in words
    (row,) = json.loads(listed(evalkit, monkeypatch, 80, *arguments, "--format", "json"))
    assert row["passes"] == {"forward": 101, "backward": 0, "input_size": [224, 224]}
    assert row["parameters"].startswith("patch_size=24, ")
    (row,) = json.loads(listed(evalkit, monkeypatch, 80, "explainers", "scorecam", "--format", "json"))
    assert row["passes"] is None
    assert "1 F + K F" in row["cost"]


def test_a_sentence_is_cut_after_a_word():
    printed = render_explainers([entry("rise")], ("all",), "table", width=40)
    assert "  rise  1 F  It hides a part of the ...\n" in printed
    printed = render_explainers([entry("rise", summary="Short, and whole")], ("all",), "table", width=40)
    assert "  rise  1 F  Short, and whole\n" in printed
    printed = render_explainers([entry("a_long_name_of_an_explainer")], ("all",), "table", width=40)
    assert "  a_long_name_of_an_explainer  1 F\n" in printed


def test_a_family_without_members_and_a_cost_that_is_not_stated():
    printed = render_explainers([entry("toy", family="other", cost="")], ("all",), "table", width=80)
    assert "masks" not in printed
    assert "  toy  not stated  It hides" in printed


def test_a_set_lists_its_own_explainers(evalkit, monkeypatch):
    rows = json.loads(listed(evalkit, monkeypatch, 80, "explainers", "default", "--format", "json"))
    assert {row["explainer"] for row in rows} == set(DEFAULT_EXPLAINERS)
    assert "gradcam" not in listed(evalkit, monkeypatch, 80, "explainers", "controls")


def test_json_has_everything(evalkit, monkeypatch):
    rows = json.loads(listed(evalkit, monkeypatch, 80, "explainers", "--format", "json"))
    assert [row["explainer"] for row in rows] == EXPLAINERS.names()
    (row,) = (row for row in rows if row["explainer"] == "tf_explain.smoothgrad")
    assert (row["family"], row["cost"], row["needs"]) == ("tf_explain", "5 F + 5 B", ["gradients"])
    assert (row["sets"], row["draws"]) == (["tf_explain", "all"], True)
    assert row["parameters"] == "num_samples=5, noise=1.0, seed=0"
    details = {detail["name"]: detail for detail in row["parameter_details"]}
    assert details["noise"]["type"] == "a number"
    assert details["noise"]["default"] == 1.0
    assert details["noise"]["meaning"].startswith("standard deviation of the noise")


def test_one_explainer_is_printed_whole(evalkit, monkeypatch):
    printed = listed(evalkit, monkeypatch, 80, "explainers", "occlusion")
    assert max(map(len, printed.splitlines())) <= 80
    words = " ".join(printed.split())
    for part in (
        "sets default, masks, all", "needs scores", "patch_size a whole number; default 40: side of the square patch",
        "stride a whole number or patch or half; default patch: the largest step", "section 4.2",
    ):  # fmt: skip
        assert part in words


def test_a_class_outside_evalkit_is_printed_whole(evalkit, monkeypatch):
    words = " ".join(listed(evalkit, monkeypatch, 80, "explainers", f"{__name__}:Outside").split())
    assert "An explainer of another package. It has two paragraphs, the second of two lines." in words
    assert "strength a whole number; required: how strong it is, in a sentence of two lines." in words
    assert "power a number; default 2.0" in words
    assert "cost not stated" in words


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("explainers", "grdcam"), "no explainer or set is called 'grdcam': did you mean 'gradcam'? Allowed: "),
        (("explainers", "Grad-CAM"), "did you mean 'gradcam'? Allowed: "),
        (("explainers", "cams(layer=x)"), "no explainer or set is called 'cams'"),
        (("explainers", "occlusion(patch=3)"), "explainer 'occlusion' has no parameter 'patch'"),
        (("explainers", "occlusion(patch_size=16|24)"), "give one of them"),
    ],
)
def test_a_name_that_does_not_fit_is_refused(evalkit, arguments, sentence):
    done = evalkit("list", *arguments)
    assert done.code == 2
    assert sentence in done.err
