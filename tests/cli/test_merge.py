"""``merge`` on the command line."""

from __future__ import annotations

import subprocess
import sys

from tests.cli.conftest import SHARDED_RUN


def test_shards_are_merged_and_the_run_is_continued(evalkit, shards):
    done = evalkit("merge", "2", "1", "--output", "all")
    assert (done.code, done.out) == (0, "all\n"), done.err
    assert done.err == "2 shards, 6 images; python -m evalkit show all\n"
    again = evalkit(*SHARDED_RUN, "--output", "all")
    assert "6 of 6 images are already in the run folder" in again.err
    scores = [evalkit("show", name, "--per-image", "--format", "csv").out for name in ("all", "whole")]
    assert scores[0] == scores[1]
    assert "shard" not in evalkit("show", "all", "--all").out
    # The run's own default folder takes the merged run, so that the plain command finds it.
    assert evalkit("merge", "1", "2", "--output", "whole").code == 0


def test_merging_needs_all_shards_and_a_folder(evalkit, shards):
    assert "of the 2 shards of '1', 2/2 is missing" in evalkit("merge", "1", "--output", "all").err
    assert "parameter --output requires an argument" in evalkit("merge", "1", "2").err
    done = evalkit("merge", "1", "whole", "--output", "all")
    assert done.code == 2
    assert done.err.startswith("evalkit: 'whole' is no shard: it was computed without --shard")
    assert not (shards / "all").exists()


def test_merging_imports_no_tensorflow(shards):
    code = (
        "import sys; from evalkit.cli.app import main\n"
        "try:\n    main(['merge', '1', '2', '--output', 'all'])\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'tensorflow', 'keras', 'cv2', 'matplotlib'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=shards)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "all\n"
