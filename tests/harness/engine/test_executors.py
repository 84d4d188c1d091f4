"""What Ray is told of tokens before it is imported."""

from __future__ import annotations

import os
import subprocess

import pytest

from evalkit.core.engine_options import EngineOptions
from evalkit.harness.engine.executors import prepare_ray


@pytest.fixture
def mode_for(tmp_path, monkeypatch):
    """Return a function: the mode that Ray is given for a cluster that answers, or not, who has no token."""
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path), "PATH": os.environ["PATH"]})

    def mode(*, token=True, answers=True, address="head:6379", given=None):
        asked = []

        def run(command, env, **_):
            asked.append((command, env["RAY_AUTH_MODE"]))
            if answers is None:
                raise subprocess.TimeoutExpired(command, 1)
            return subprocess.CompletedProcess(command, 0 if answers else 1)

        monkeypatch.setattr(subprocess, "run", run)
        if token:
            (tmp_path / ".ray").mkdir()
            (tmp_path / ".ray" / "auth_token").write_text("0" * 64)
        if given:
            os.environ["RAY_AUTH_MODE"] = given
        prepare_ray(EngineOptions(engine="ray", ray_address=address))
        return os.environ.get("RAY_AUTH_MODE"), asked

    return mode


@pytest.mark.parametrize(("answers", "expected"), [(True, "disabled"), (False, "token"), (None, "token")])
def test_the_token_is_offered_to_clusters_that_demand_one(mode_for, answers, expected):
    mode, ((command, without),) = mode_for(answers=answers)
    assert (mode, without) == (expected, "disabled")
    assert command[-2:] == ["--address", "head:6379"]


def test_auto_is_the_cluster_that_ray_finds(mode_for):
    assert mode_for(address="auto")[1][0][0][-1] == "health-check"


@pytest.mark.parametrize("options", [{"token": False}, {"address": None}, {"given": "token"}, {"given": "disabled"}])
def test_nothing_is_asked_or_changed_otherwise(mode_for, options):
    assert mode_for(**options) == (options.get("given"), [])


def test_only_a_named_cluster_is_joined(monkeypatch):
    """Without an address ``ray.init`` joins a cluster that runs on this machine, and refuses to be told its size."""
    ray = pytest.importorskip("ray")
    from evalkit.harness.engine import ray_cluster

    given = []
    monkeypatch.setattr(ray, "init", lambda **options: given.append(options))
    ray_cluster._connect(None, 2, 100)
    ray_cluster._connect("auto", 2, 100)
    here, cluster = given
    assert (here["address"], here["num_cpus"]) == ("local", 2)
    assert cluster["address"] == "auto"
    assert not {"num_cpus", "object_store_memory"} & {*cluster}
