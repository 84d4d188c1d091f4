"""MaxBoxAcc and PxAP, worked by hand."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from evalkit.metrics import contours
from evalkit.metrics.boxes import MaxBoxAccV1, MaxBoxAccV2, PxAP, intersection_over_union
from evalkit.metrics.case import Case, Region
from evalkit.metrics.contours import THRESHOLDS, boxes_at
from evalkit.metrics.thresholds import NO_THRESHOLD


def truth_of(size, *boxes):
    region = np.zeros(size, dtype=bool)
    for x0, y0, x1, y1 in boxes:
        region[y0:y1, x0:x1] = True
    return Region(region, np.array(boxes, dtype=np.float64), exact=True)


def blob(size, *boxes, values=None):
    saliency_map = np.zeros(size)
    for (x0, y0, x1, y1), value in zip(boxes, values or [1.0] * len(boxes), strict=True):
        saliency_map[y0:y1, x0:x1] = value
    return saliency_map


def test_intersection_over_union_counts_both_ends():
    found = intersection_over_union(
        np.array([[0.0, 0, 3, 3]]), np.array([[0.0, 0, 3, 3], [2.0, 2, 5, 5], [4.0, 4, 5, 5]])
    )
    np.testing.assert_allclose(found, [[1.0, 4 / 28, 0.0]])


def test_a_contours_box_ends_one_pixel_late_and_inside_the_image():
    [box] = next(boxes_at(blob((10, 12), (2, 3, 5, 7)), largest_only=True))
    assert box.tolist() == [2, 3, 5, 7]
    [box] = next(boxes_at(blob((10, 12), (8, 6, 12, 10)), largest_only=True))
    assert box.tolist() == [8, 6, 11, 9]


def test_v1_looks_at_the_largest_contour_and_v2_at_all():
    size, near, far = (32, 32), (2, 2, 8, 8), (14, 14, 30, 30)
    saliency_map, truth = blob(size, near, far), truth_of(size, near)
    assert MaxBoxAccV1().score_region(saliency_map, truth).tolist() == [0.0] * 100
    assert MaxBoxAccV2().score_region(saliency_map, truth).tolist() == [1.0] * 300


def test_the_threshold_is_chosen_over_the_whole_set():
    # Two photos, each right at its own thresholds only: the best common threshold is right for one.
    metric, size, box = MaxBoxAccV1(), (40, 40), (4, 4, 14, 14)
    wide = blob(size, (4, 4, 38, 38), box, values=[0.5, 1.0])  # right above one half
    faint = blob(size, box, (10, 10, 12, 12), values=[0.5, 1.0])  # right up to one half
    statistics = np.array([metric.score_region(one, truth_of(size, box)) for one in (wide, faint)])
    assert statistics.max(axis=1).tolist() == [1.0, 1.0]
    assert float(metric.aggregate(statistics.mean(axis=0))) == 0.5


def test_v2_is_the_mean_of_the_best_at_three_overlaps():
    # The box found has 11 x 11 of the 11 x 21 that the truth counts: an overlap of 0.52, right for 0.3 and 0.5.
    statistics = MaxBoxAccV2().score_region(blob((40, 40), (4, 4, 14, 14)), truth_of((40, 40), (4, 4, 14, 24)))
    assert float(MaxBoxAccV2().aggregate(statistics)) == pytest.approx(2 / 3)


def test_a_constant_map_has_the_whole_image_as_its_box():
    for value in (0.0, 5.0):
        boxes = list(boxes_at(np.full((8, 8), value), largest_only=False))
        assert len(boxes) == len(THRESHOLDS)
        assert all(one.tolist() == [[0, 0, 7, 7]] for one in boxes)
    assert MaxBoxAccV1().score_region(np.ones((8, 8)), truth_of((8, 8), (0, 0, 8, 8))).min() == 1.0


def test_pxap_by_hand():
    region = np.array([[True, False, True, False]])
    truth = Region(region, np.array([[0.0, 0, 3, 1]]), exact=True)
    metric = PxAP()
    # From the highest down: hit (precision 1, recall 1/2), miss, hit (precision 2/3, recall 1), miss.
    found = metric.aggregate(metric.score_region(np.array([[4.0, 3.0, 2.0, 0.0]]), truth))
    assert float(found) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert float(metric.aggregate(metric.score_region(region.astype(float), truth))) == 1.0
    # A constant map cannot order anything: the object's share of the pixels.
    assert float(metric.aggregate(metric.score_region(np.ones((1, 4)), truth))) == 0.5


def test_pxap_pools_the_pixels_of_all_images():
    metric = PxAP()
    first = Region(np.array([[True, False]]), np.array([[0.0, 0, 1, 1]]), exact=True)
    statistics = np.array(
        [metric.score_region(np.array([[1.0, 0.0]]), first), metric.score_region(np.array([[0.0, 1.0]]), first)]
    )
    # At 255: one hit, one miss; at 0 all four: 1/2 of recall at precision 1/2, then again.
    assert float(metric.aggregate(statistics.mean(axis=0))) == 0.5
    assert np.isnan(float(metric.aggregate(np.zeros(512))))


@pytest.mark.parametrize("grain_px", [1, 2, 3, 5])
def test_leaving_out_specks_changes_no_statistic(grain_px, monkeypatch):
    """Noise of several grains and densities, boxes of several sizes: with and without following every contour."""
    rng, shortened = np.random.default_rng(grain_px), 0
    for power in (0.3, 1.0, 4.0):
        coarse = rng.random((60 // grain_px, 60 // grain_px)) ** power
        saliency_map = coarse.repeat(grain_px, axis=0).repeat(grain_px, axis=1)
        saliency_map[20:40, 10:35] += rng.choice([0.0, 0.3, 1.0])
        for x0, y0, x1, y1 in [(10, 20, 35, 40), (0, 0, 60, 60), (30, 30, 34, 33), (5, 5, 25, 45)]:
            truth = truth_of(saliency_map.shape, (x0, y0, x1, y1))
            for metric in (MaxBoxAccV1(), MaxBoxAccV2()):
                with monkeypatch.context() as patched:
                    patched.setattr(contours, "_SPECKLED", 0)
                    found = metric.score_region(saliency_map, truth)
                    shortened += sum(
                        len(few) < len(all_)
                        for few, all_ in zip(
                            boxes_at(saliency_map, largest_only=False, least_area=200.0),
                            boxes_at(saliency_map, largest_only=False),
                            strict=True,
                        )
                    )
                    patched.setattr(contours, "_SPECKLED", np.inf)
                    contours._boxes_of.cache_clear()
                    expected = metric.score_region(saliency_map, truth)
                    contours._boxes_of.cache_clear()
                np.testing.assert_array_equal(found, expected)
    assert shortened > 50


def test_a_small_contour_of_larger_area_is_kept():
    """The line has the larger box, the block the most area: V1 must look at the block, whose box is too small."""
    saliency_map = np.zeros((40, 40))
    np.fill_diagonal(saliency_map[:30, :30], 1.0)
    saliency_map[34:39, 2:7] = 1.0
    truth = truth_of((40, 40), (0, 0, 30, 30))
    assert MaxBoxAccV2().score_region(saliency_map, truth).tolist() == [1.0] * 300
    assert MaxBoxAccV1().score_region(saliency_map, truth).tolist() == [0.0] * 100
    mask = (saliency_map > 0).astype(np.uint8)
    for speckled in (0, np.inf):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(contours, "_SPECKLED", speckled)
            assert len(contours._contours(mask, 200.0)) == 2


def test_ignored_pixels_change_neither_boxes_nor_scale():
    size, crowd, near = (32, 32), (14, 14, 30, 30), (2, 2, 8, 8)
    saliency_map = blob(size, crowd, near, values=[9.0, 1.0])
    plain = truth_of(size, near)
    truth = Region(plain.mask, plain.boxes, exact=True, ignore=blob(size, crowd) > 0)
    # The crowd is the largest contour; without it the object is found at every threshold, as if it were not there.
    assert MaxBoxAccV1().score_region(saliency_map, plain).tolist() == [0.0] * 100
    for metric in (MaxBoxAccV1(), MaxBoxAccV2()):
        found = metric.score_region(saliency_map, truth)
        assert found.min() == 1.0
        np.testing.assert_array_equal(found, metric.score_region(blob(size, near), plain))


def test_a_map_constant_on_counted_pixels_boxes_them():
    ignore = np.zeros((8, 10), dtype=bool)
    ignore[:, 6:] = True
    ignore[:2] = True
    boxes = list(boxes_at(np.where(ignore, 3.0, 1.0), largest_only=True, ignore=ignore))
    assert len(boxes) == len(THRESHOLDS)
    assert all(one.tolist() == [[0, 2, 6, 7]] for one in boxes)


def test_pxap_leaves_ignored_pixels_out():
    region = np.array([[True, False, True, False, False]])
    ignore = np.array([[False, True, False, False, True]])
    truth = Region(region, np.array([[0.0, 0, 3, 1]]), exact=True, ignore=ignore)
    statistics = PxAP().score_region(np.array([[4.0, 3.0, 2.0, 0.0, 99.0]]), truth)
    # 4, 2 and 0 are left: hit, hit, miss. The 99 does not press the others into the lowest bins.
    assert statistics.sum() == 3.0
    assert statistics[255] == 1.0
    assert float(PxAP().aggregate(statistics)) == 1.0


def test_the_chosen_threshold_is_the_middle_one_of_the_best():
    shares = np.zeros(100)
    shares[[20, 30, 31]] = 0.75
    assert MaxBoxAccV1().chosen_thresholds(shares) == (0.3,)
    three = np.concatenate([np.eye(100)[5], np.ones(100), np.eye(100)[99]])
    assert MaxBoxAccV2().chosen_thresholds(three) == (0.05, 0.5, 0.99)
    assert PxAP().chosen_thresholds(np.ones(512)) == ()


def test_given_thresholds_score_each_image_by_itself(tmp_path):
    """The overlaps are 1/4, then 1 above half of the maximum: right at every overlap only there."""
    file = tmp_path / "thresholds.json"
    found = {"max_box_acc_v1": {"cam": [0.6]}, "max_box_acc_v2": {"cam": [0.2, 0.6, 0.2]}}
    header = {"schema_version": 1, "run": "calibration", "model": "m", "data": "d", "thresholds": found}
    file.write_text(json.dumps(header))
    saliency_map = blob((40, 40), (0, 0, 39, 39), (10, 10, 29, 29), values=[0.5, 1.0])
    truth = truth_of((40, 40), (10, 10, 29, 29))
    case = Case("image", np.zeros((40, 40, 3), np.uint8), (0,), np.ones(1), 1.0, region=truth, explainer="cam")
    v1, v2 = (metric(threshold_from=str(file)) for metric in (MaxBoxAccV1, MaxBoxAccV2))
    v1, v2 = (pickle.loads(pickle.dumps((metric, metric.signature)))[0] for metric in (v1, v2))  # noqa: S301
    file.unlink()  # a worker elsewhere has the thresholds without the file
    assert (v1.score(saliency_map, case, ()), v2.score(saliency_map, case, ())) == (1.0, pytest.approx(1 / 3))
    assert (v1.set_level, v1.spec.binary, v2.set_level, v2.spec.binary) == (False, True, False, False)
    assert v1.unscored_reason(replace(case, explainer="gradcam")) == NO_THRESHOLD
    assert v1.unscored_reason(replace(case, explainer="gradcam", region=None)) == "no region"


def test_the_signature_holds_the_files_digest_not_its_path(tmp_path):
    assert MaxBoxAccV2().signature == "max_box_acc_v2|v:2"
    lines = []
    for name, threshold in (("a", 0.1), ("b", 0.1), ("c", 0.2)):
        header = {"schema_version": 1, "run": "r", "model": "m", "data": "d"}
        (tmp_path / name).write_text(json.dumps(header | {"thresholds": {"max_box_acc_v1": {"cam": [threshold]}}}))
        lines.append(MaxBoxAccV1(threshold_from=str(tmp_path / name)).signature)
    assert lines[0] == lines[1] != lines[2]
    assert lines[0].startswith("max_box_acc_v1|v:2|threshold_from:")
