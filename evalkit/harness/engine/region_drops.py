"""How far the model looks at the object: the drop of its score when the region, or everything else, is hidden.

It is measured once an image, whatever the number of maps: localization says little where the model looks elsewhere.
"""

from __future__ import annotations

import numpy as np

from evalkit.harness.engine.answers import Answers
from evalkit.metrics.case import Case
from evalkit.metrics.requests import Masked
from evalkit.store.image_facts import DROP_INSIDE, DROP_OUTSIDE

__all__ = ["region_drops"]


def region_drops(case: Case, answers: Answers, *, is_right: bool) -> dict[str, float]:
    """Return the drops of the target's score by name; empty where they are not defined.

    Args:
        case: the image and its region: the exact mask if there is one, else the union of its boxes.
        answers: the engine, which scores two images with the mean color in the region and outside it.
        is_right: whether the model is right on the image.
    """
    region = case.region
    if region is None or case.not_finite or not is_right:
        return {}
    outside = ~region.mask if region.ignore is None else ~(region.mask | region.ignore)
    if not outside.any():
        return {}
    (hidden,) = answers.scores([Masked(np.stack([region.mask, outside]))])
    drops = case.clean_score - hidden
    return dict(zip((DROP_INSIDE, DROP_OUTSIDE), drops.tolist(), strict=True)) if np.isfinite(drops).all() else {}
