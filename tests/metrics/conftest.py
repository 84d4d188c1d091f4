"""A stand-in for the engine: answers a metric's requests by any function of an image."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from evalkit.metrics.case import Case


@pytest.fixture
def ask():
    """Score one map by a perturbation metric against ``model(image) -> score``."""

    def score(metric, model, image, saliency_map, *, mean, blur=None):
        canvases = {"image": image, "mean": np.broadcast_to(np.asarray(mean, float), image.shape), "blur": blur}
        clean = model(image)
        case = Case("image", image, (0,), np.array([clean]), clean)
        answers = []
        for request in metric.requests(saliency_map, case):
            start, end = canvases[request.start], canvases[request.end]
            if request.kind == "blend":
                weight = request.weight[..., None]
                answers.append(np.array([model(weight * start + (1 - weight) * end)]))
            else:
                images = [np.where((request.rank < cut)[..., None], end, start) for cut in request.cuts]
                answers.append(np.stack([request.fractions, [model(each) for each in images]]))
        return metric.score(saliency_map, case, answers)

    return score


@pytest.fixture
def run_photos(tiny, photos):
    """Score photos by the real engine; one outcome a photo, in their order."""
    from evalkit.datasets.image_set import ImageSet
    from evalkit.explainers.catalog import expand
    from evalkit.harness.engine.jobs import Job
    from evalkit.harness.engine.worker import Worker
    from evalkit.harness.planning.plan import Plan
    from evalkit.harness.planning.recipe import ModelRecipe
    from evalkit.metrics.catalog import build_metrics

    def run(explainers, metrics, *, classifier=tiny, pixels=photos, labels=None, seed=0, outputs=(), ids=None):
        labels = [0] * len(pixels) if labels is None else labels
        images = ImageSet.from_arrays(pixels, labels, ids=ids)
        if outputs:
            images = images.with_entries([replace(entry, outputs=outputs) for entry in images.entries])
        explainers = expand(explainers, [], seed)
        metrics = build_metrics(metrics)
        plan = Plan(
            images, ModelRecipe.live(classifier), explainers, metrics, "label", "squash", steps=4, seed=seed, limit=None
        )
        cells = tuple((explainer.text, tuple(metric.text for metric in metrics)) for explainer in explainers)
        worker = Worker(plan.work)
        return [worker.do(Job(entry, cells)) for entry in plan.images.entries]

    return run


@pytest.fixture
def score_photos(run_photos):
    """The scores of ``run_photos``: one dictionary a photo, (explainer, metric) to value, or to the reason.

    An explainer of a test is found by its class's name.
    """

    def score(*arguments, **options):
        return [
            {
                (cell.explainer.rpartition(":")[2], cell.metric): cell.value if cell.reason is None else cell.reason
                for cell in outcome.cells
            }
            for outcome in run_photos(*arguments, **options)
        ]

    return score


@pytest.fixture
def counting():
    """A classifier that counts its true passes, forward and backward, by a layer of its own in ``counting.counts``."""
    import keras
    import tensorflow as tf

    from evalkit.models.classifier import Classifier

    counts = {name: tf.Variable(0, trainable=False, dtype=tf.int32) for name in ("forward", "backward")}

    class CountingDropout(keras.layers.Layer):  # a layer that is no feature map is recognized by its name
        def call(self, tensor):
            @tf.custom_gradient
            def counted(given):
                counts["forward"].assign_add(tf.shape(given)[0])

                def backward(gradient):
                    counts["backward"].assign_add(tf.shape(gradient)[0])
                    return gradient

                return tf.identity(given), backward

            return counted(tensor)

    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.layers.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1.0),
            keras.layers.Conv2D(6, 3, activation="relu"),
            CountingDropout(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    classifier = Classifier(model, batch_size=8)
    for count in counts.values():
        count.assign(0)
    return SimpleNamespace(classifier=classifier, counts=counts)
