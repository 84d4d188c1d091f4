"""How far the model looks at the objects of a run's images, from the stored drops of its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evalkit.analysis.results import RegionDrops
from evalkit.analysis.statistics.intervals import bounded_intervals
from evalkit.store.image_facts import DROP_INSIDE, DROP_OUTSIDE, ImageFactsRow
from evalkit.store.rows import ImageRow
from evalkit.store.scores import first_rows, mean_of_units

__all__ = ["region_drops_of"]

_BOUNDS = (-1.0, 1.0)


def region_drops_of(facts: Mapping[str, ImageFactsRow], images: Sequence[ImageRow]) -> RegionDrops | None:
    """Return the mean drops; None if they are known of no image. Entries of one photo count as one, by their mean.

    Args:
        facts: the facts of images, by id.
        images: the images of the run.
    """
    measured = [row for row in images if row.image_id in facts and facts[row.image_id].values]
    if not measured:
        return None
    drops = np.array([[facts[row.image_id].values[name] for name in (DROP_INSIDE, DROP_OUTSIDE)] for row in measured])
    _, unit = first_rows([row.sha256 for row in measured])
    drops = mean_of_units(drops, unit)
    inside, outside = bounded_intervals(drops, _BOUNDS)
    means = drops.mean(axis=0).tolist()
    return RegionDrops(
        n_images=len(drops),
        inside=means[0],
        inside_low=inside.low,
        inside_high=inside.high,
        outside=means[1],
        outside_low=outside.low,
        outside_high=outside.high,
        share_inside_more=float((drops[:, 0] > drops[:, 1]).mean()),
        ci_reason=inside.reason,
    )
