"""A run of eight explainers and every metric, made up, with names that each format has to escape."""

from __future__ import annotations

import numpy as np
import pytest

import evalkit as package
from evalkit.analysis.leaderboard import analyse
from evalkit.metrics.catalog import DEFAULT_METRICS, METRICS
from evalkit.metrics.spec import DatasetMetric
from evalkit.store.manifest import DataFacts, ExplainerFacts, Manifest, ModelFacts, Settings, Signatures
from evalkit.store.scores import ScoreTable

N_IMAGES = 24
TRICKY = "pictures/a|b_<i>&50%$#^~\\{}.jpg"


def explainer(text, *, passes=1, control=False, **parameters):
    return ExplainerFacts(
        text, text.partition("(")[0], parameters, control, passes - 1 or None, passes, "full pass", 12.5, N_IMAGES
    )


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


def made_up(explainers):
    """Describe a run of these explainers."""
    texts = DEFAULT_METRICS
    return Manifest(
        schema_version=1,
        signature=Signatures(
            run="run|target:label|geometry:squash|n:24",
            metrics={text: f"{text}|v:1|steps:28" for text in texts},
            explainers={one.text: f"{one.text}|v:1" for one in explainers},
        ),
        model=ModelFacts(
            "vgg16.keras", "f" * 64, "vgg16", (224, 224), 10, "block5_conv3", "float32", 0.875, 21, 0.9, 0.2
        ),
        data=DataFacts("labels.csv", "csv", 25, 1, 20, "d" * 64, ((TRICKY, "it cannot be decoded"),)),
        settings=Settings("label", "squash", 28, 0, 16, 25),
        explainers=tuple(explainers),
        metrics=tuple(texts),
        versions={"evalkit": "0.1.0"},
        created="2026-11-23T00:00:00Z",
        finished="2026-11-23T00:10:00Z",
    )


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
        if isinstance(metric, DatasetMetric):
            size = {"max_box_acc_v1": 100, "max_box_acc_v2": 300, "pxap": 512}[metric.name]
            statistics[metric.text] = rng.integers(0, 2, (N_IMAGES, len(explainers), size)).astype(float)
            values[..., index] = np.nan
        elif metric.spec.binary:
            values[..., index] = values[..., index] > 0.5
    unscored = manifest.metrics.index("relevance_mass_accuracy")
    values[..., unscored] = np.nan
    for one in explainers:
        reasons[one.text, "relevance_mass_accuracy"] = {"only boxes, no exact mask": N_IMAGES}
    table = ScoreTable(
        tuple(f"{number}.jpg" for number in range(N_IMAGES)),
        tuple(one.text for one in explainers),
        manifest.metrics,
        values,
        statistics,
        reasons,
        object_shares,
    )
    return analyse(table, metrics, explainers, seed=0, n_resamples=300, n_flips=300)


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
