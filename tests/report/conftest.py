"""A run of eight explainers and every metric, made up, with names that each format has to escape."""

from __future__ import annotations

import numpy as np
import pytest

import evalkit as package
from evalkit.analysis.leaderboard import analyse
from evalkit.metrics.catalog import DEFAULT_METRICS, METRICS
from tests.builders import explainer_facts, score_table, statistics_size
from tests.builders import manifest as build_manifest

N_IMAGES = 24
TRICKY = "pictures/a|b_<i>&50%$#^~\\{}.jpg"


def explainer(text, *, passes=1, control=False, **parameters):
    return explainer_facts(
        text, parameters=parameters, control=control, positions=passes - 1 or None, forward_passes=passes,
        seconds=12.5, n_maps=N_IMAGES,
    )  # fmt: skip


EXPLAINERS = (
    explainer("gradcam"),
    explainer("occlusion(patch_size=16)", passes=197, patch_size=16, stride=16, fill="black"),
    explainer("occlusion(patch_size=56, stride=28, fill=blur)", passes=50, patch_size=56, stride=28, fill="blur"),
    explainer("tf_explain.occlusion(patch_size=40)", passes=36, patch_size=40),
    explainer("uniform", control=True),
    explainer("random", control=True),
)


@pytest.fixture(scope="session")
def manifest():
    return made_up(EXPLAINERS)


@pytest.fixture(scope="session")
def results(manifest):
    return scored(manifest)


def made_up(explainers, metrics=DEFAULT_METRICS):
    """Describe a run of these explainers."""
    return build_manifest(
        explainers,
        metrics,
        model={"accuracy": 0.875, "n_right": 21, "median_clean_score": 0.9, "saturated_share": 0.2},
        data={
            "n_images": 25, "n_unreadable": 1, "n_regions": 20, "fingerprint": "d" * 64,
            "unreadable": ((TRICKY, "it cannot be decoded"),),
        },
        settings={"limit": 25},
    )  # fmt: skip


def scored(manifest, object_shares=None):
    """Make up scores, the first explainer's the highest, and analyse them."""
    explainers = manifest.explainers
    rng = np.random.default_rng(2)
    metrics = [METRICS.build(text) for text in manifest.metrics]
    shape = (N_IMAGES, len(explainers), len(metrics))
    values = rng.random((N_IMAGES, 1, 1)) * 0.1 + np.linspace(0.8, 0.2, len(explainers))[None, :, None]
    values = np.broadcast_to(values, shape) + rng.normal(0, 0.05, shape)
    statistics, reasons = {}, {}
    for index, metric in enumerate(metrics):
        if metric.set_level:
            shape = (N_IMAGES, len(explainers), statistics_size(metric))
            statistics[metric.text] = rng.integers(0, 2, shape).astype(float)
            values[..., index] = np.nan
        elif metric.spec.binary:
            values[..., index] = values[..., index] > 0.5
    unscored = manifest.metrics.index("relevance_mass_accuracy")
    values[..., unscored] = np.nan
    for one in explainers:
        reasons[one.text, "relevance_mass_accuracy"] = {"only boxes, no exact mask": N_IMAGES}
    table = score_table(
        values,
        [one.text for one in explainers],
        manifest.metrics,
        statistics=statistics,
        reasons=reasons,
        object_shares=object_shares,
    )
    return analyse(table, metrics, explainers, seed=0, n_resamples=300, n_test_resamples=300)


NAMES = ['<script>alert("x")</script>', 'it\'s "quoted" & <b>bold</b>', "🐟 emoji", "שלום עולם", "{{ 7*7 }} {% raw %}"]
PAGE_EXPLAINERS = ["gradcam", "occlusion(patch_size=8)", "occlusion(patch_size=16)", "uniform", "random"]


@pytest.fixture(scope="session")
def images():
    rng = np.random.default_rng(8)
    regions = np.zeros((10, 32, 32), bool)
    for place in range(10):
        regions[place, 4 : 8 + 2 * place, 6 : 10 + 2 * place] = True
    pixels = rng.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    names = [f"{NAMES[place % 5]} {place}" for place in range(10)]
    return package.ImageSet.from_arrays(
        pixels, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0], regions, class_names=NAMES[:3], ids=names, name=NAMES[0]
    )


@pytest.fixture(scope="session")
def tricky_run(tiny_model, images, tmp_path_factory):
    return package.evaluate(
        tiny_model, images, explainers=PAGE_EXPLAINERS, class_names=NAMES[:3], steps=4, target="predicted",
        progress=False,
        output=tmp_path_factory.mktemp("page") / "run",
    )  # fmt: skip


@pytest.fixture(scope="session")
def written(tricky_run, images):
    return tricky_run.report(images=images)
