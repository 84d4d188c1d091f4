"""The simulations behind the error rates in docs/statistics.md: each scenario runs, and a missed target is said."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def module(name: str) -> ModuleType:
        return importlib.import_module(name)

    return module


@pytest.fixture
def run(load):
    """A run of eight explainers, six of them occlusion."""
    populations, choices = load("simulation.populations"), load("simulation.choices")
    sweep = choices.sweep_facts()
    others = [sweep[0].__class__(**{**_fields(sweep[0]), "text": f"other{index}", "name": "other", "swept_by": ()})
              for index in range(2)]  # fmt: skip
    values = populations.Smooth("insertion", 8).draw(np.random.default_rng(0), 30)
    return populations.Real("run", "insertion", values, (*sweep, *others), 1.0)


def _fields(facts) -> dict[str, object]:
    return {name: getattr(facts, name) for name in facts.__struct_fields__}


def test_every_scenario_of_calibration_runs(load, run):
    calibration = load("calibration")
    material = calibration.Material([run], [], 8, 0)
    for name, part in calibration.PARTS.items():
        if name == "sets":
            continue
        cells = list(part(material))
        of_run = next(cell for cell in cells if cell.labels["population"] == "run")
        row = of_run.simulate(2, 0, *of_run.arguments)
        assert row["trials"] >= 0, name
        assert {cell.labels["population"] for cell in cells} >= {"run"}


def test_the_scores_of_a_set_have_a_scenario(load):
    sets, set_scores = load("simulation.sets"), load("set_scores")
    cells = list(sets.set_scores_cells([], 0))
    assert {cell.labels["n"] for cell in cells} == set(set_scores.SIZES)
    row = cells[0].simulate(20, 0, *cells[0].arguments)
    assert 0.5 <= row["minimum"] <= 1


def test_every_scenario_of_the_gate_runs(load):
    gate = load("gate")
    for part in gate.PARTS.values():
        cell = next(part())
        assert cell.simulate(2, 0, *cell.arguments)["trials"] >= 0


def test_the_gate_finds_no_regression_in_equal_scores(load):
    checks = load("simulation.checks")
    cell = next(cell for cell in checks.alarms((50,)) if cell.labels["spread"] == 0.05)
    assert cell.simulate(5, 0, *cell.arguments)["fails"] == 0


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"scenario": "coverage", "n": 12, "trials": 400, "minimum": 0.9, "high": 0.93}, "below 92 %"),
        ({"scenario": "family-wise error", "n": 24, "trials": 400, "rate": 0.2, "low": 0.15}, "more than 7 %"),
        ({"scenario": "compare", "n": 24, "trials": 400, "tied beside its interval": 0.3}, "excludes 0"),
        ({"scenario": "patch size", "n": 24, "trials": 400, "wrong": 0.2, "low": 0.15}, "more than 5 %"),
        ({"scenario": "promised numbers of images, patch size", "n": 24, "trials": 99, "kept": 0.5}, "not in 80 %"),
    ],
)
def test_a_missed_target_of_calibration_is_said(load, row, text):
    (line,) = load("calibration").missed([row])
    assert text in line


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"scenario": "every cell is worse", "n": 24, "trials": 400, "fails": 0.2, "low": 0.15}, "more than 5 %"),
        ({"scenario": "promised numbers of images, gate", "n": 24, "trials": 99, "kept": 0.5}, "not in 80 %"),
    ],
)
def test_a_missed_target_of_the_gate_is_said(load, row, text):
    (line,) = load("gate").missed([row])
    assert text in line
