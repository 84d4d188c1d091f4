"""The patch-size sweep from the command line: strides, criterion, margin."""

from __future__ import annotations

import json

import pytest

RUN = ("run", "--model", "tiny.keras", "--data", "labels.csv", "--target", "predicted", "--output", "run")
SWEEP = (*RUN, "--explainers", "occlusion,random", "--metrics", "deletion,symmetric_relevance_gain,pxap")


def test_sizes_and_strides_are_a_grid(evalkit, workplace):
    done = evalkit(*SWEEP, "--patch-sizes", "8,16", "--strides", "half,12,16", "--format", "json")
    assert done.code == 0, done.err
    assert "left out: patch_size=8 with a stride of 12, which would leave pixels uncovered" in done.err
    found = json.loads(done.out)
    assert [(row["patch_size"], row["stride"]) for row in found["patch_sweep"]] == [(8, 4), (16, 8), (16, 12), (16, 16)]
    assert found["at_equal_stride"] == []
    assert [one["object_size"] for one in found["by_object_size"]] == ["small", "medium", "large"]
    assert sum(one["n_images"] for one in found["by_object_size"]) == 6
    assert all(one["best_patch_size"] is None for one in found["by_object_size"])


def test_one_stride_compares_sizes_at_equal_stride(evalkit, workplace):
    done = evalkit(*SWEEP, "--patch-sizes", "8,16", "--strides", "8", "--format", "json")
    assert [row["stride"] for row in json.loads(done.out)["patch_sweep"]] == [8, 8]


def test_settings_that_differ_in_fill_are_all_named(evalkit, workplace):
    done = evalkit(
        *RUN, "--explainers", "occlusion(fill=black),occlusion(fill=mean)", "--patch-sizes", "8,16", "--format", "json"
    )
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert [(row["patch_size"], row["variant"]) for row in found["patch_sweep"]] == [
        (8, {"fill": "black"}), (8, {"fill": "mean"}), (16, {"fill": "black"}), (16, {"fill": "mean"}),
    ]  # fmt: skip
    choice = found["best_patch_size"]
    row = next(row for row in found["patch_sweep"] if row["explainer"] == choice["explainer"])
    assert choice["variant"] == row["variant"]
    named = f"patch_size={choice['patch_size']}, stride={choice['stride']}, fill={choice['variant']['fill']}"
    assert named in choice["reason"]
    other = json.loads(evalkit("show", "run", "--criterion", "deletion", "--format", "json").out)["best_patch_size"]
    assert f"stride={other['stride']}, fill={other['variant']['fill']}" in other["reason"]
    out = evalkit("show", "run").out
    assert "Patch size and fill of occlusion" in out
    assert [line.split(" | ")[2] for line in evalkit("show", "run", "--format", "markdown").out.splitlines()
            if line.startswith(("| 8 |", "| 16 |", "| = ", "| \\> "))][:4] == ["black", "mean"] * 2  # fmt: skip


def test_criterion_and_margin_can_change_without_computing_anew(evalkit, workplace):
    first = evalkit(*SWEEP, "--patch-sizes", "8,16", "--format", "json")
    assert json.loads(first.out)["best_patch_size"]["criterion"] == "symmetric_relevance_gain"
    made = {path: path.stat().st_mtime_ns for path in (workplace / "run" / "maps").rglob("*.npz")}
    again = evalkit(*SWEEP, "--patch-sizes", "8,16", "--criterion", "deletion", "--margin", "0.4", "--format", "json")
    found = json.loads(again.out)["best_patch_size"]
    assert (found["criterion"], found["margin"]) == ("deletion", 0.4)
    assert made == {path: path.stat().st_mtime_ns for path in (workplace / "run" / "maps").rglob("*.npz")}
    # The run keeps what it was last asked; show may ask otherwise, and changes nothing.
    kept = (workplace / "run" / "analysis.json").read_bytes()
    shown = evalkit("show", "run", "--criterion", "symmetric_relevance_gain", "--format", "json")
    assert json.loads(shown.out)["best_patch_size"]["criterion"] == "symmetric_relevance_gain"
    assert json.loads(evalkit("show", "run", "--format", "json").out)["best_patch_size"] == found
    assert (workplace / "run" / "analysis.json").read_bytes() == kept


def test_the_deciding_metric_leads_the_table(evalkit, workplace):
    out = evalkit(*SWEEP, "--patch-sizes", "8,16", "--criterion", "deletion").out
    table = out[out.index("Patch size of occlusion") :]
    assert "> " in table
    assert "[" in table
    markdown = evalkit("show", "run", "--format", "markdown").out
    header = next(line for line in markdown.splitlines() if line.startswith("| patch"))
    assert header.index("deletion") < header.index("symmetric")


def test_without_the_deciding_metric_it_says_so(evalkit, workplace):
    options = (*RUN, "--explainers", "occlusion", "--patch-sizes", "8,16", "--metrics", "sparseness")
    out = evalkit(*options).out
    assert "no patch size is recommended: the criterion symmetric_relevance_gain is not among" in " ".join(out.split())
    assert json.loads(evalkit("show", "run", "--format", "json").out)["best_patch_size"] is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--strides", "quarter"), "--strides 'quarter' is not allowed; write patch, half, or pixels of at least 1"),
        (("--strides", "0"), "--strides '0' is not allowed"),
        (("--strides", ","), "--strides is empty"),
        (("--strides", "20", "--patch-sizes", "8,16"), "--strides 20: larger than every patch size (8, 16)"),
        (("--criterion", "insertion"), "--criterion 'insertion' is not among this run's metrics"),
        (("--criterion", "pxap"), "--criterion 'pxap' scores all images together, not each"),
        (("--margin", "0"), "--margin 0 is not allowed; it must be above 0"),
        (("--margin", "nan"), "--margin nan is not allowed"),
    ],
)
def test_bad_sweep_options_are_refused_before_computing(evalkit, workplace, options, said):
    done = evalkit(*SWEEP, *options)
    assert done.code == 2
    assert said in done.err
    assert not (workplace / "run").exists()


@pytest.mark.parametrize(
    ("explainers", "unused"),
    [
        ("gradcam", ["--patch-sizes", "--strides"]),
        ("occlusion(patch_size=8),uniform", ["--patch-sizes", "--strides"]),
        ("occlusion(stride=4)", ["--strides"]),
        ("occlusion,occlusion(patch_size=9)", []),
    ],
)
def test_options_of_the_sweep_that_mean_nothing_are_said(evalkit, workplace, explainers, unused):
    done = evalkit(*RUN, "--explainers", explainers, "--patch-sizes", "8,16", "--strides", "8")
    assert done.code == 0, done.err
    said = [option for option in ("--patch-sizes", "--strides") if f"{option} has no effect" in done.err]
    assert said == unused
