"""A run in two shards, which several files of tests share."""

from __future__ import annotations

import pytest

SHARDED_RUN = ("run", "--data", "labels.csv", "--model", "tiny.keras", "--explainers", "gradcam,uniform",
       "--metrics", "sparseness,pointing_game", "--criterion", "pointing_game")  # fmt: skip


@pytest.fixture
def shards(prepared, evalkit):
    """A folder with two shards of a run in ``1`` and ``2``, and the whole run in ``whole``."""

    def make(_):
        for name in ("1", "2"):
            assert evalkit(*SHARDED_RUN, "--shard", f"{name}/2", "--output", name).code == 0
        assert evalkit(*SHARDED_RUN, "--output", "whole").code == 0

    return prepared("shards", make)
