"""How metrics score changed maps, from planted scores."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from evalkit.analysis.audit.probes import probes_of
from evalkit.metrics.catalog import METRICS

DOSES = (0.2, 0.4, 0.6, 0.8, 1.0)
CHANGES = [("blur", 4.0), ("blur", 8.0), ("blur", 16.0), ("coarsen", 7.0), ("sharpen", 4.0)] + [
    ("noise", dose) for dose in DOSES
]
IDS = [f"image-{number:02d}" for number in range(20)]
METRIC = METRICS.build("symmetric_relevance_gain")


def run_of(explainers, ids, values, metric=METRIC, photos=None):
    """A finished run: explainers by (text, name, parameters), and scores (n, E) of one metric."""
    facts = [SimpleNamespace(text=text, name=name, parameters=parameters) for text, name, parameters in explainers]
    table = SimpleNamespace(
        image_ids=ids,
        explainers=[one.text for one in facts],
        metrics=[metric.text],
        values=values[..., None],
        photos=photos,
    )
    manifest = SimpleNamespace(explainers=facts, metrics=[metric.text], settings=SimpleNamespace(seed=0))
    return SimpleNamespace(table=table, manifest=manifest)


def probed(own, effect, *, known=None, metric=METRIC, ids=IDS, photos=None):
    """The probes of a run whose explainer scores ``own`` (n,), and ``own + effect(change, dose)`` on changed maps."""
    run = run_of([("gradcam", "gradcam", {})], IDS, own[:, None], metric)
    explainers, columns = [], []
    for change, dose in CHANGES:
        explainers.append((f"d{change}{dose}", "degraded", {"of": "gradcam", "change": change, "dose": dose}))
        columns.append(own + effect(change, dose))
    for dose in (0.0, *DOSES) if known else ():
        explainers.append((f"k{dose}", "known", {"dose": dose}))
        columns.append(np.full(len(own), known(dose)))
    rows = [IDS.index(image_id) for image_id in ids]
    probes = probes_of(run, run_of(explainers, ids, np.stack(columns, axis=1)[rows], metric, photos), [metric])
    assert probes.explainers == ("gradcam",)
    assert probes.n_images == len(set(photos or ids))
    return probes.metrics[0]


@pytest.fixture
def own(rng):
    return rng.uniform(0.3, 0.6, len(IDS))


def test_effects_are_paired_differences(own):
    found = probed(own, lambda change, dose: 0.01 * dose if change == "blur" else -0.3 * dose)
    assert found.blur["16"].mean == pytest.approx(0.16)
    assert found.blur["16"].ci_low == pytest.approx(0.16)
    assert found.coarsen.mean == pytest.approx(-2.1)
    assert found.slope.mean == pytest.approx(-0.3)
    assert found.slope.n_images == 20
    assert found.monotone_share == 1.0
    assert found.truth is None


def test_a_lower_score_is_better_where_the_metric_says_so(own):
    found = probed(own, lambda _change, dose: 0.3 * dose, metric=METRICS.build("deletion"))
    assert found.slope.mean == pytest.approx(-0.3)
    assert found.monotone_share == 1.0


def test_a_metric_that_sees_no_noise_has_a_slope_of_about_0(own, rng):
    found = probed(own, lambda _change, _dose: rng.normal(0, 0.1, len(IDS)))
    assert found.slope.ci_low < 0 < found.slope.ci_high
    assert found.monotone_share == 0.0


def test_rounding_is_no_change(own):
    found = probed(own, lambda _change, _dose: 1e-17)
    assert (found.blur["4"].mean, found.blur["4"].ci_low, found.slope.mean) == (0.0, 0.0, 0.0)
    found = probed(own, lambda _change, dose: 1e-12 * dose)
    assert (found.slope.ci_low, found.slope.ci_high) == (0.0, 0.0)


def test_images_are_matched_by_name(own):
    shuffled = list(reversed(IDS[:12]))
    found = probed(own, lambda _change, dose: -dose, ids=shuffled)
    assert found.noise["0.2"].mean == pytest.approx(-0.2)
    assert found.noise["0.2"].n_images == 12


def test_unscored_cells_are_left_out_and_few_images_have_no_interval(own):
    missing = own.copy()
    missing[3:] = np.nan
    found = probed(missing, lambda _change, dose: -dose)
    assert found.slope.mean is None
    assert found.slope.reason == "fewer than 8 images"
    assert found.slope.n_images == 3
    assert found.monotone_share is None


def test_entries_of_one_photo_count_as_one_image(own):
    photos = ["first"] * 11 + [f"photo{number}" for number in range(9)]
    found = probed(own, lambda _change, dose: np.repeat([dose, -dose], [11, 9]), photos=photos)
    assert found.slope.n_images == 10
    assert found.slope.mean == pytest.approx((1 - 9) / 10)
    assert found.monotone_share == pytest.approx(0.9)


def test_the_truth_counts_photos(own):
    photos = ["first"] * 13 + [f"photo{number}" for number in range(7)]
    found = probed(own, lambda *_: 0.0, known=lambda dose: 1 - dose, photos=photos)
    assert found.truth.n_images == 8
    assert found.truth.mean == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("known", "tau"), [(lambda dose: 1 - dose, 1.0), (lambda dose: dose, -1.0), (lambda _: 3.0, 0.0)]
)
def test_truth_is_the_order_of_known_maps(own, known, tau):
    assert probed(own, lambda *_: 0.0, known=known).truth.mean == pytest.approx(tau)
