"""Shards on the command line: what is said of one, and what it may not be used for."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import SHARDED_RUN

WORDS = "shard 2 of 2 (3 of 6 images)"


def test_a_shard_has_its_own_default_folder(evalkit, shards):
    done = evalkit(*SHARDED_RUN, "--shard", "2/3", "--all")
    (folder,) = (shards / "runs").iterdir()
    assert folder.name.startswith("labels-tiny-")
    assert folder.name.endswith("-shard-2-of-3")
    assert f"run folder: runs/{folder.name}" in done.err
    assert "shard 2/3: 2 of 6 images" in done.err


@pytest.mark.parametrize(
    "arguments",
    ["show 2", "show 2 --all", "show 2 --format markdown", "show 2 --format latex", "audit 2", "compare 2 whole"],
)
def test_what_is_shown_of_a_shard_says_so(evalkit, shards, arguments):
    done = evalkit(*arguments.split())
    assert done.code == 0, done.err
    assert WORDS in " ".join(done.out.replace("%", "").split())


def test_a_report_of_a_shard_says_so_and_repeats_it(evalkit, shards):
    assert evalkit("report", "2").code == 0
    page = (shards / "2" / "report.html").read_text()
    assert WORDS in page
    assert "--shard 2/2" in page


def test_the_document_of_a_shard_names_it(evalkit, shards):
    document = json.loads(evalkit("show", "2", "--format", "json").out)
    assert document["settings"]["shard"] == "2/2"
    assert document["data"]["whole"]["n_images"] == 6
    assert json.loads(evalkit("audit", "2", "--format", "json").out)["shard"] == "2/2"
    assert json.loads(evalkit("show", "whole", "--format", "json").out)["settings"]["shard"] == ""


@pytest.mark.parametrize(
    ("arguments", "code", "purpose"),
    [
        (("show", "2", "--cite"), 2, "a citation"),
        (("baseline", "2", "--output", "b.json"), 2, "a baseline"),
        (("check", "2", "--baseline", "whole.json"), 3, "a comparison with a baseline"),
        (("thresholds", "2", "--output", "t.json"), 2, "a choice of thresholds"),
        (("audit", "2", "--probe"), 2, "--probe"),
    ],
)
def test_a_shard_cannot_stand_for_the_whole_set(evalkit, shards, arguments, code, purpose):
    evalkit("baseline", "whole", "--metrics", "pointing_game", "--output", "whole.json")
    done = evalkit(*arguments)
    assert (done.code, done.out) == (code, "")
    assert f"the run is {WORDS} and cannot stand for the whole set: {purpose} needs all of it" in done.err
    assert "python -m evalkit merge RUN RUN ... --output DIR" in done.err
    assert not (shards / "b.json").exists()


def test_a_shard_is_not_compared_with_a_baseline_when_it_is_computed(evalkit, shards):
    evalkit("baseline", "whole", "--metrics", "pointing_game", "--output", "whole.json")
    done = evalkit(*SHARDED_RUN, "--shard", "1/2", "--baseline", "whole.json", "--output", "new")
    assert done.code == 2
    assert "--baseline compares the whole set, and --shard computes a part of it" in done.err
    assert not (shards / "new").exists()


@pytest.mark.parametrize("written", ["0/4", "5/4", "a", "1/0", "1", "1/2/3", "-1/2", "1.5/2", "", "٢/٣"])
def test_a_shard_that_cannot_be_is_refused(evalkit, written):
    done = evalkit("run", f"--shard={written}")
    assert done.code == 2
    assert f"--shard '{written}' is not allowed; write the shard's number, from 1, and how many there are" in done.err


def test_more_shards_than_images_are_refused(evalkit, shards):
    done = evalkit(*SHARDED_RUN, "--shard", "7/8", "--output", "new")
    assert done.code == 2
    assert "--shard 7/8: 'labels.csv' has 6 images, so this shard is empty; use at most 6 shards" in done.err
    assert not (shards / "new").exists()


def test_a_folder_keeps_its_shard(evalkit, shards):
    done = evalkit(*SHARDED_RUN, "--shard", "1/2", "--output", "2")
    assert done.code == 2
    assert f"--output '2' holds {WORDS}; give shard 1/2 a folder of its own, or delete" in done.err
    done = evalkit(*SHARDED_RUN, "--shard", "1/2", "--output", "whole")
    assert "--output 'whole' holds a run of 6 images without --shard" in done.err
    assert evalkit(*SHARDED_RUN, "--shard", "1/2", "--output", "2", "--fresh").code == 0
    assert "shard 1 of 2" in evalkit("show", "2").out
