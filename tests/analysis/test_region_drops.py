"""Mean drops of the model's score with the region, or everything else, hidden."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.analysis.region_drops import region_drops_of
from evalkit.analysis.statistics.intervals import bounded_intervals
from evalkit.store.image_facts import ImageFactsRow
from tests.builders import image_row


def analysed(*drops, photos=None):
    names = [f"{number}" for number in range(len(drops))]
    rows = [image_row(name, sha256=photos[at] if photos else f"sum{name}") for at, name in enumerate(names)]
    facts = {
        name: ImageFactsRow(name, "key", dict(zip(("drop_inside", "drop_outside"), pair, strict=False)))
        for name, pair in zip(names, drops, strict=True)
        if pair is not None
    }
    return region_drops_of(facts, rows)


def test_means_and_share_by_hand():
    found = analysed((0.5, 0.1), (0.3, 0.4), (0.1, 0.1), (0.7, -0.2))
    assert (found.n_images, found.share_inside_more) == (4, 0.5)  # equal drops: the region does not count more
    assert (found.inside, found.outside) == (pytest.approx(0.4), pytest.approx(0.1))


def test_intervals_are_those_of_bounded_means():
    drops = np.random.default_rng(0).uniform(-0.2, 0.9, (30, 2))
    found = analysed(*drops.tolist())
    inside, outside = bounded_intervals(drops, (-1.0, 1.0))
    assert (found.inside_low, found.inside_high) == pytest.approx((inside.low, inside.high))
    assert (found.outside_low, found.outside_high) == pytest.approx((outside.low, outside.high))
    assert found.inside_low < found.inside < found.inside_high


def test_images_without_drops_do_not_count():
    assert analysed((0.5, 0.1), (), None, (0.3, 0.1)) == analysed((0.5, 0.1), (0.3, 0.1))


@pytest.mark.parametrize("drops", [[], [()], [None, ()]])
def test_none_where_nothing_was_measured(drops):
    assert analysed(*drops) is None


def test_one_image_has_no_interval():
    found = analysed((0.5, 0.1))
    assert (found.inside, found.inside_low, found.ci_reason) == (0.5, None, "one image")


def test_entries_of_one_photo_count_once():
    found = analysed((0.6, 0.0), (0.2, 0.4), (0.5, 0.1), photos=["a", "a", "b"])
    assert (found.n_images, found.share_inside_more) == (2, 1.0)
    assert (found.inside, found.outside) == (pytest.approx(0.45), pytest.approx(0.15))
