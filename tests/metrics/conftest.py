"""A stand-in for the engine: shows a plan's compositions to any function of an image."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.metrics.spec import Blend


@pytest.fixture
def ask():
    """Score one map by a perturbation metric against ``model(image) -> score``."""

    def score(metric, model, image, saliency_map, *, mean, blur=None):
        canvases = {"image": image, "mean": np.broadcast_to(np.asarray(mean, float), image.shape), "blur": blur}
        plan = metric.plan(saliency_map)
        answers = []
        for one in plan:
            start, end = canvases[one.start], canvases[one.end]
            if isinstance(one, Blend):
                weight = one.weight[..., None]
                shown = [weight * start + (1 - weight) * end]
            else:
                shown = [np.where((one.rank < cut)[..., None], end, start) for cut in one.cuts]
            answers.append(np.array([model(each) for each in shown]))
        return metric.integrate(plan, answers, model(image))

    return score
