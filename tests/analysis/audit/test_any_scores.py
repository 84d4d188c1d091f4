"""Audits of any scores: whatever is missing, equal or extreme, the result is strict JSON and says why."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from evalkit.analysis.audit.results import Audit
from evalkit.analysis.audit.service import audit_scores
from evalkit.metrics.catalog import METRICS
from evalkit.report.tables.audit import render_audit
from tests.builders import manifest, score_table

NAMES = ("gradcam", "cam", "rise", "lime", "uniform", "random", "smooth_noise", "center")
TEXTS = (
    "symmetric_relevance_gain",
    "symmetric_relevance_gain(score=log_odds)",
    "deletion",
    "pointing_game",
    "energy_pointing_game",
    "sparseness",
    "max_box_acc_v1",
)


def audited(values, statistics, facts_of, names=NAMES):
    metrics = [METRICS.build(text) for text in TEXTS]
    texts = [metric.text for metric in metrics]
    table = score_table(values, names, texts, statistics={"max_box_acc_v1": statistics})
    return audit_scores(table, metrics, facts_of(names), seed=0, n_resamples=60)


def checked(audit, facts_of, names=NAMES):
    """Render in every format, and hold what every audit must keep."""
    for form in ("table", "json", "csv", "markdown", "latex"):
        text = render_audit(manifest(facts_of(names), TEXTS), audit, form, width=80, color=False)
        assert "nan" not in text.lower().replace("resonance", "")
        if form == "table":
            assert max(map(len, text.splitlines())) <= 80
    shown = msgspec.to_builtins(audit)
    assert msgspec.convert(json.loads(json.dumps(shown, allow_nan=False)), Audit) == audit
    for one in audit.metrics:
        known = one.reliability
        assert one.reason
        assert (known.split_half is None) == (known.reason is not None)
        if known.split_half is not None:
            assert -1 <= known.low <= known.split_half <= known.high <= 1
        if known.alpha_low is not None:
            assert -1 <= known.alpha_low <= known.alpha <= known.alpha_high <= 1
        for control in one.bias.controls:
            assert (control.low is None) == (control.high is None)
    for pair in audit.agreement:
        assert (pair.tau is None) == (pair.reason is not None)


@pytest.mark.parametrize("seed", range(12))
def test_random_gaps_and_ties(facts_of, seed):
    rng = np.random.default_rng(seed)
    n_images = int(rng.choice([1, 3, 9, 30]))
    values = rng.choice([0.0, 0.25, 1.0], (n_images, len(NAMES), len(TEXTS)))
    values += rng.choice([0, 1]) * rng.random(values.shape) / 10
    values[rng.random(values.shape) < rng.choice([0, 0.1, 0.6])] = np.nan
    values[:, rng.random(len(NAMES)) < 0.2] = np.nan
    values[..., -1] = np.nan
    statistics = rng.choice([0.0, 1.0], (n_images, len(NAMES), 100))
    statistics[rng.random((n_images, len(NAMES))) < 0.2] = np.nan
    checked(audited(values, statistics, facts_of), facts_of)


@pytest.mark.parametrize("scale", [0.0, 1e-15, 1e-9, 1e9, 1e60])
def test_extreme_numbers(facts_of, scale):
    rng = np.random.default_rng(0)
    values = scale * rng.normal(size=(20, len(NAMES), len(TEXTS)))
    values[..., -1] = np.nan
    checked(audited(values, np.full((20, len(NAMES), 100), 1.0), facts_of), facts_of)


@pytest.mark.parametrize("names", [("gradcam",), ("uniform",), ("gradcam", "random"), ("gradcam", "cam", "rise")])
def test_few_columns(facts_of, names):
    rng = np.random.default_rng(0)
    values = rng.random((12, len(names), len(TEXTS)))
    values[..., -1] = np.nan
    statistics = rng.choice([0.0, 1.0], (12, len(names), 100))
    checked(audited(values, statistics, facts_of, names), facts_of, names)


def test_no_images(facts_of):
    values = np.empty((0, len(NAMES), len(TEXTS)))
    audit = audited(values, np.empty((0, len(NAMES), 100)), facts_of)
    checked(audit, facts_of)
    assert {one.reason for one in audit.metrics} == {"it scored no image"}


def test_a_missing_tau_is_explained_below_the_table(facts_of):
    values = np.random.default_rng(0).random((12, len(NAMES), len(TEXTS)))
    values[:, :, 3] = 1.0  # the pointing game: every explainer hits
    values[..., -1] = np.nan
    audit = audited(values, np.ones((12, len(NAMES), 100)), facts_of)
    text = render_audit(manifest(facts_of(NAMES), TEXTS), audit, "table", width=120, color=False)
    assert "No tau (-): fewer than 8 images have scores of both metrics that do not all tie." in text
