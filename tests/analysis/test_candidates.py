"""Names of the candidates of a choice: everything in which they differ, and nothing else."""

from __future__ import annotations

import pytest

from evalkit.analysis.choice.candidates import candidate_name, is_candidate, size_and_stride, variant_text, variants_of


def names(candidates):
    variants = variants_of(candidates)
    return [candidate_name(*size_and_stride(one), variants[one.text]) for one in candidates]


def test_only_size_and_stride_are_named_if_nothing_else_differs(facts):
    candidates = [facts("occlusion", 16, fill="mean"), facts("occlusion", 32, stride=16, fill="mean")]
    assert names(candidates) == ["patch_size=16, stride=16", "patch_size=32, stride=16"]


def test_every_other_parameter_that_differs_is_named(facts):
    candidates = [
        facts("occlusion", 16, fill="black", seed=0, blurred=False),
        facts("occlusion", 16, fill="mean", seed=0, blurred=False),
        facts("occlusion", 32, fill="mean", seed=0, blurred=True),
    ]
    assert names(candidates) == [
        "patch_size=16, stride=16, fill=black, blurred=False",
        "patch_size=16, stride=16, fill=mean, blurred=False",
        "patch_size=32, stride=32, fill=mean, blurred=True",
    ]


def test_explainers_of_another_class_are_named_by_their_class(facts):
    candidates = [
        facts("occlusion", 16, fill="black"),
        facts("occlusion", 16, fill="mean"),
        facts("mine:Occlusion", 16, strength=1),
        facts("mine:Occlusion", 16, strength=True),
    ]
    assert names(candidates) == [
        "occlusion(patch_size=16, stride=16, fill=black)",
        "occlusion(patch_size=16, stride=16, fill=mean)",
        "mine:Occlusion(patch_size=16, stride=16, strength=1)",
        "mine:Occlusion(patch_size=16, stride=16, strength=True)",
    ]
    # What only one class has, and never changes, is said by the name of the class.
    assert names([candidates[0], candidates[2]]) == [
        "occlusion(patch_size=16, stride=16)",
        "mine:Occlusion(patch_size=16, stride=16)",
    ]


def test_variant_as_text_has_no_name_of_the_class():
    assert variant_text({"name": "occlusion", "fill": "mean", "seed": 1}) == "fill=mean, seed=1"
    assert variant_text({"name": "occlusion"}) == ""


@pytest.mark.parametrize(("stride", "takes_part"), [(16, True), ("patch", False)])
def test_a_stride_in_words_cannot_be_swept(facts, stride, takes_part):
    assert is_candidate(facts("mine:Occlusion", 16, stride=stride)) == takes_part
