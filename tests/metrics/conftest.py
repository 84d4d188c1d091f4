"""A stand-in for the engine: answers a metric's requests by any function of an image."""

from __future__ import annotations

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
