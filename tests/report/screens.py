"""Made-up runs whose first screens are kept as golden files."""

from __future__ import annotations

import numpy as np

from evalkit.analysis.leaderboard import analyse
from evalkit.metrics.catalog import DEFAULT_METRICS, METRICS
from tests.builders import explainer_facts, manifest, score_table, statistics_size

LONG = "mine:" + "ExplainerWithAVeryLongName" * 2 + "(a=1)"
assert len(LONG) >= 60

DEFAULT = (
    "gradcam", *(f"occlusion(patch_size={size})" for size in (16, 24, 32, 40, 56)), "tf_explain.gradcam",
    "tf_explain.occlusion(patch_size=40)", "uniform", "random", "center", "edges",
)  # fmt: skip
CONTROLS = {"uniform", "random", "center", "edges"}


def facts(text, n_images):
    """Return the facts of an explainer; occlusion is swept by its patch size."""
    name, _, inside = text.partition("(")
    changes = {"control": text in CONTROLS, "seconds": 0.05 * n_images, "n_maps": n_images, "name": name}
    if name == "occlusion":
        size = int(inside.rstrip(")").partition("=")[2])
        positions = (224 // size) ** 2
        changes |= {
            "parameters": {"patch_size": size, "stride": size}, "positions": positions,
            "forward_passes": positions + 1, "swept_by": ("patch_size", "stride"),
        }  # fmt: skip
    return explainer_facts(text, **changes)


def run(explainers=DEFAULT, metrics=DEFAULT_METRICS, *, n_images=24, spread=0.05, unscored=(), data=None, **changes):
    """Return manifest and results of made-up scores: explainers differ evenly, the first is best, controls are worst.

    Args:
        explainers: their texts.
        metrics: their texts.
        n_images: number of images.
        spread: standard deviation of a score about its explainer's mean.
        unscored: pairs of metric and reason: not scored on any image.
        data: fields of ``DataFacts``.
        **changes: fields of the manifest.
    """
    rng = np.random.default_rng(3)
    built = [METRICS.build(text) for text in metrics]
    known = [facts(text, n_images) for text in explainers]
    shape = (n_images, len(known), len(built))
    values = np.linspace(0.8, 0.3, len(known))[None, :, None] + rng.normal(0, spread, shape)
    statistics, reasons = {}, {}
    for index, metric in enumerate(built):
        if metric.spec.direction == "lower":
            values[..., index] = 1 - values[..., index]
        if metric.set_level:
            statistics[metric.text] = rng.integers(0, 2, (*shape[:2], statistics_size(metric))).astype(float)
            values[..., index] = np.nan
    for text, reason in unscored:
        values[..., list(metrics).index(text)] = np.nan
        statistics = {name: made for name, made in statistics.items() if name != text}
        for one in explainers:
            reasons[one, text] = {reason: n_images}
    table = score_table(np.clip(values, 0, 1), explainers, metrics, statistics=statistics, reasons=reasons)
    right = n_images - n_images // 12
    described = manifest(
        known, metrics, model={"accuracy": right / n_images, "n_right": right},
        data={"name": "photos", "n_images": n_images, **(data or {})}, seconds=63.2, **changes,
    )  # fmt: skip
    return described, analyse(table, built, known, seed=0, n_resamples=300, n_test_resamples=300)


REGION_METRICS = [
    "pointing_game", "energy_pointing_game", "relevance_mass_accuracy", "relevance_rank_accuracy", "max_box_acc_v1",
    "max_box_acc_v2", "pxap",
]  # fmt: skip

CASES = {
    "default": run,
    "long-names": lambda: run((LONG, "gradcam", "uniform"), ("deletion", "insertion")),
    "many": lambda: run((*(f"mine:Explainer{index:02}" for index in range(26)), *sorted(CONTROLS))),
    "one-image": lambda: run(n_images=1),
    "no-regions": lambda: run(unscored=[(text, "no region") for text in REGION_METRICS]),
    "undecided": lambda: run(spread=0.5, n_images=12),
    "unscored": lambda: run(
        ("gradcam", "uniform"), ("deletion",), unscored=[("deletion", "misclassified")],
        data={"n_unreadable": 2, "notes": ("In 3 of 24 images the mask was thresholded at half of white.",)},
    ),
    "no-controls": lambda: run(("gradcam", "cam"), ("deletion(steps=14)", "deletion(steps=7)", "sparseness")),
    "descriptive": lambda: run(("gradcam", "uniform"), ("sparseness",)),
}  # fmt: skip
