"""Images that the baseline scored and the run did not: counted by photo, limited, and described by their means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evalkit.report import render_gate
from evalkit.report.gate.github import workflow_commands
from evalkit.report.gate.junit import render_junit
from evalkit.report.gate.sentences import losses, not_comparable
from tests.analysis.test_gate import held, rows

INSERTION = ("explainer0", "insertion")


def lost(n_images, n_lost, **options):
    """Return the gate of a run that is the baseline's, but for its first images, which are not scored."""
    before = np.linspace(0.1, 0.9, n_images)
    now = np.where(np.arange(n_images) < n_lost, np.nan, before)
    unscored = {INSERTION: {f"{index}.jpg": "misclassified" for index in range(n_lost)}}
    return held(before, now, unscored=unscored, **options)


def entries(n_photos, each, **changes):
    """Return rows of photos with several entries, each of another class."""
    return [
        replace(row, label=f"class {index % each}", **changes)
        for index, row in enumerate(rows(n_photos * each, copies=each))
    ]


@pytest.mark.parametrize(
    ("n_images", "n_lost", "max_lost", "verdict"),
    [
        (20, 4, 0.2, "unchanged"),  # exactly 20 %
        (20, 5, 0.2, "not comparable"),
        (15, 3, 0.2, "unchanged"),
        (100, 29, 0.29, "unchanged"),  # 0.29 * 100 is 28.999999999999996
        (100, 30, 0.29, "not comparable"),
        (20, 0, 0.0, "unchanged"),
        (20, 1, 0.0, "not comparable"),
        (20, 17, 1.0, "unchanged"),
        (20, 20, 1.0, "not comparable"),  # nothing is left
        (5, 5, 0.2, "not comparable"),
    ],
)
def test_share_of_lost_images_decides(n_images, n_lost, max_lost, verdict):
    gate = lost(n_images, n_lost, max_lost=max_lost)
    assert gate.cells[0].verdict == verdict
    assert (gate.cells[0].n_images, gate.cells[0].n_lost) == (n_images - n_lost, n_lost)
    assert gate.exit_code == (3 if verdict == "not comparable" else 0)


def test_default_is_20_percent():
    assert lost(20, 4).exit_code == 0
    assert lost(20, 5).exit_code == 3


def test_one_entry_lost_of_each_photo_loses_no_photo():
    """Ten photos with three entries; the third of each is not scored any more."""
    keys = entries(10, 3)
    before = np.linspace(0.1, 0.9, 30)
    now = np.where(np.arange(30) % 3 == 2, np.nan, before)
    gate = held(before, now, images=keys, keys=keys)
    cell = gate.cells[0]
    assert (cell.verdict, cell.n_images, cell.n_lost, cell.n_lost_entries) == ("unchanged", 10, 0, 10)
    # The means are over the entries that both scored.
    kept = before.reshape(10, 3)[:, :2].mean()
    assert cell.baseline_mean == pytest.approx(kept)
    assert cell.mean == pytest.approx(kept)
    assert cell.change == 0
    assert (gate.n_images, gate.n_baseline_images, gate.n_other_class) == (10, 10, 0)
    assert gate.summary == "Of 1 comparisons on 10 images: 1 unchanged."
    (sentence,) = losses(gate)
    assert sentence == (
        "Up to 10 entries that the baseline scored are not scored now (explainer0, insertion); their photos are "
        "compared by their other entries."
    )


@pytest.mark.parametrize(("n_photos", "verdict"), [(2, "unchanged"), (3, "not comparable")])
def test_a_photo_is_lost_with_all_of_its_entries(n_photos, verdict):
    """Of ten photos with three entries, some are lost whole: two are 20 %."""
    keys = entries(10, 3)
    before = np.linspace(0.1, 0.9, 30)
    now = np.where(np.arange(30) < 3 * n_photos, np.nan, before)
    reasons = {f"{index}.jpg": "misclassified" if index % 3 else "no region" for index in range(9)}
    cell = held(before, now, images=keys, keys=keys, unscored={INSERTION: reasons}).cells[0]
    assert (cell.verdict, cell.n_images, cell.n_lost) == (verdict, 10 - n_photos, n_photos)
    # Two of a photo's three entries are misclassified.
    assert (cell.lost_reason, cell.n_lost_for_reason) == ("misclassified", n_photos)
    assert cell.lost_baseline_mean == pytest.approx(before[: 3 * n_photos].mean())
    assert cell.baseline_mean == pytest.approx(before[3 * n_photos :].mean())


def test_photos_with_more_entries_do_not_weigh_more():
    """One photo has four entries, four photos have one; the large one is lost: one of five."""
    keys = [replace(row, label=str(index)) for index, row in enumerate(rows(8))]
    keys = [replace(row, sha256="same") if index < 4 else row for index, row in enumerate(keys)]
    before = np.array([0.9] * 4 + [0.1, 0.2, 0.3, 0.4])
    now = np.where(np.arange(8) < 4, np.nan, before)
    cell = held(before, now, images=keys, keys=keys).cells[0]
    assert (cell.n_images, cell.n_lost, cell.lost_baseline_mean) == (4, 1, pytest.approx(0.9))
    assert cell.verdict != "not comparable"


def test_entries_that_are_not_in_the_run():
    keys = entries(10, 3)
    before = np.linspace(0.1, 0.9, 30)
    first = [index for index in range(30) if index % 3 == 0]
    gate = held(before, before[first], images=[keys[index] for index in first], keys=keys)
    assert (gate.n_images, gate.n_baseline_images) == (10, 10)
    assert (gate.cells[0].verdict, gate.cells[0].n_lost, gate.cells[0].n_lost_entries) == ("unchanged", 0, 20)
    assert gate.cells[0].mean == pytest.approx(before[first].mean())
    gate = held(before, before[:24], images=keys[:24], keys=keys)
    assert (gate.n_images, gate.n_baseline_images, gate.cells[0].n_lost) == (8, 10, 2)
    assert losses(gate)[0] == "2 of the baseline's 10 images are not in the run."


def test_an_older_baseline_without_photos_takes_them_from_the_run():
    keys = entries(10, 3)
    before = np.linspace(0.1, 0.9, 30)
    now = np.where(np.arange(30) % 3 == 2, np.nan, before)
    given = {"images": keys[:27], "keys": keys}
    with_photos, without = (held(before, now[:27], with_photos=known, **given) for known in (True, False))
    assert (with_photos.n_images, with_photos.n_baseline_images, with_photos.cells[0].n_lost) == (9, 10, 1)
    # The photo that is not in the run has three entries, and nothing says that they are of one photo.
    assert (without.n_images, without.n_baseline_images, without.cells[0].n_lost) == (9, 12, 3)
    assert without.cells[0].n_images == 9


def test_another_class_is_counted_by_photo():
    keys = entries(10, 3)
    before = np.linspace(0.1, 0.9, 30)
    images = [replace(row, target=1) if index < 6 or index % 3 == 0 else row for index, row in enumerate(keys)]
    gate = held(before, before, images=images, keys=keys)
    assert (gate.n_other_class, gate.cells[0].n_lost, gate.cells[0].n_lost_entries) == (2, 2, 8)
    assert gate.cells[0].lost_reason == "the model explains another class"


def test_map_drift_is_counted_by_photo():
    keys = entries(2, 3)
    same, other = "0123456789abcdef", "0123456789abcde0"  # four bits
    gate = held(np.ones(6), np.ones(6), images=keys, keys=keys, hashes=(other, same, same, same, same, same))
    (drift,) = gate.drift
    assert (drift.n_images, drift.n_moved) == (2, 1)
    assert drift.mean_bits == pytest.approx((4 / 3 + 0) / 2)


def test_reason_names_numbers_and_option():
    (sentence,) = not_comparable(lost(20, 5))
    assert sentence == (
        "Not comparable: explainer0, insertion: of 20 images that the baseline scored, 5 are not scored now (most "
        "frequent reason: misclassified, 5); --max-lost 20% accepts at most 4."
    )
    (sentence,) = not_comparable(lost(3, 3, max_lost=1.0))
    assert sentence == (
        "Not comparable: explainer0, insertion: of 3 images that the baseline scored, none is scored now (most "
        "frequent reason: misclassified, 3)."
    )


def test_cells_with_the_same_loss_are_one_sentence():
    before = np.linspace(0.1, 0.9, 60).reshape(20, 3)
    now = np.where(np.arange(20)[:, None] < 5, np.nan, before)
    (sentence,) = not_comparable(held(before, now))
    assert sentence.startswith("Not comparable: explainer0, insertion and 2 more: of 20 images")


def test_a_regression_elsewhere_outranks_the_loss():
    before = np.linspace(0.4, 0.9, 80).reshape(40, 2)
    now = before - [0.0, 0.3]
    now[:20, 0] = np.nan
    gate = held(before, now)
    assert [cell.verdict for cell in gate.cells] == ["not comparable", "regressed"]
    assert gate.exit_code == 1


def test_means_on_lost_and_compared_images_are_everywhere():
    """The lost images are those with the lowest scores: what is left is easier."""
    for n_lost in (4, 5):
        gate = lost(20, n_lost)
        low, high = np.linspace(0.1, 0.9, 20)[:n_lost].mean(), np.linspace(0.1, 0.9, 20)[n_lost:].mean()
        said = f"the baseline's mean is {low:.3f} on these and {high:.3f} on the compared"
        advice = "Make a baseline and a run with --target predicted to see the means over all images."
        shown = render_gate(gate, "table", width=80, color=False)
        for text in (render_junit(gate), workflow_commands(gate), " ".join(shown.split())):
            assert said in text
            assert advice in text
        table = render_gate(gate, "markdown", width=80, color=False)
        assert "insertion: lost images" in table
        assert f"| explainer0 | {n_lost} of 20 | {low:.3f} | {high:.3f} |" in table


def test_nothing_is_said_of_losses_without_any():
    gate = lost(20, 0)
    assert losses(gate) == []
    assert "lost" not in render_gate(gate, "table", width=80, color=False)


def test_means_of_the_predicted_class_are_over_all_images():
    """On five of 20 images the model now predicts another class, and explains that one worse."""
    before = np.linspace(0.4, 0.9, 20)
    now = before - 0.3 * (np.arange(20) < 5)
    images = [replace(row, target=3) if index < 5 else row for index, row in enumerate(rows(20))]
    gate = held(before, now, images=images, target="predicted")
    cell = gate.cells[0]
    assert (cell.verdict, gate.exit_code, gate.target) == ("not comparable", 3, "predicted")
    assert (cell.n_images, cell.n_lost, cell.n_any_class) == (15, 5, 20)
    assert cell.any_class_baseline_mean == pytest.approx(before.mean())
    assert cell.any_class_mean == pytest.approx(now.mean())
    assert cell.mean == pytest.approx(before[5:].mean())
    means = f"{before.mean():.3f} before and {now.mean():.3f} now on 20 images"
    assert f"with the predicted class of each run, {means}" in losses(gate)[1]
    assert not any("--target predicted" in line for line in losses(gate))
    table = render_gate(gate, "table", width=80, color=False)
    assert "now: all" in table
    assert max(map(len, table.splitlines())) <= 80
