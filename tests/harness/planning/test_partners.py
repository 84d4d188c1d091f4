"""Partners of an image: which are drawn, and what their keys depend on."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from evalkit.datasets.entry import Entry
from evalkit.datasets.image_set import ImageSet
from evalkit.harness.planning.partners import Partners, partners_of
from evalkit.metrics.catalog import METRICS
from tests.builders import image_row

METRIC = [METRICS.build("grid_pointing_game")]


def entry(name, index, photo="", **changes):
    return Entry(name, None, index, f"class{index}", contents=photo or f"pixels of {name}", **changes)


def set_of(entries):
    return ImageSet("made", "csv", entries, reader=lambda one: one)


def draws(entries, wanted=None, seed=0):
    images = set_of(entries)
    return partners_of(images, images.entries if wanted is None else wanted, METRIC, seed).of_image


@pytest.fixture
def entries():
    """Sixty images of six classes."""
    return [entry(f"{number:02d}", number % 6) for number in range(60)]


def test_three_of_three_other_classes(entries):
    for image, draw in draws(entries).items():
        classes = [one.class_index for one in draw.entries]
        assert len(set(classes)) == 3
        assert int(image) % 6 not in classes
        assert draw.reason == ""


def test_neither_order_nor_limit_matters_but_the_seed_does(entries):
    every = draws(entries)
    assert draws(entries[::-1]) == every
    assert draws(entries, wanted=entries[5:7]) == {one.id: every[one.id] for one in entries[5:7]}
    assert draws(entries, seed=1) != every


def test_classes_and_their_images_are_drawn_evenly():
    entries = [entry(f"{number:04d}", number % 6) for number in range(1200)]
    drawn = [one for draw in draws(entries).values() for one in draw.entries]
    by_class = Counter(one.class_index for one in drawn)
    assert all(abs(count - 600) < 90 for count in by_class.values())
    assert max(Counter(one.id for one in drawn).values()) < 15


def test_no_metric_with_partners_draws_nothing(entries):
    images = set_of(entries)
    assert partners_of(images, images.entries, [METRICS.build("deletion")], 0) is None


@pytest.mark.parametrize("n_classes", [1, 2, 3])
def test_too_few_classes(n_classes):
    entries = [entry(f"{number}", number % n_classes) for number in range(9)]
    draw = draws(entries)["0"]
    assert len(draw.entries) == n_classes - 1
    assert draw.reason == f"too few classes: photos of 3 others are needed, the image set has {n_classes - 1}"


@pytest.mark.parametrize("index", [None, -1])
def test_image_without_a_label(entries, index):
    draw = draws([*entries, entry("unlabelled", index)])["unlabelled"]
    assert draw.entries == ()
    assert draw.reason == "the image has no label, so no image is known to be of another class"


def test_images_without_a_label_are_no_partners(entries):
    unlabelled = [entry(f"unlabelled{number}", -1) for number in range(200)]
    assert draws([*entries, *unlabelled], wanted=entries) == draws(entries)


def test_photo_with_several_labels_is_no_partner_of_any_of_them():
    entries = [entry(f"{number}#{index}", index, f"photo{number}") for number in range(8) for index in (0, number + 1)]
    entries += [entry(f"alone{index}", index) for index in (1, 2, 3)]
    drawn = draws(entries)
    # Class 0 is in every photo but three.
    assert {one.id for one in drawn["0#0"].entries} == {"alone1", "alone2", "alone3"}
    for image, draw in drawn.items():
        assert not {one.contents for one in draw.entries} & {f"photo{image.partition('#')[0]}"}


def test_class_of_several_outputs_overlaps_with_each(entries):
    joined = [replace(one, outputs=(0, 7)) for one in entries if one.class_index == 0]
    others = [one for one in entries if one.class_index] + [entry("seven", 7)]
    for draw in draws([*joined, *others], wanted=joined).values():
        assert 7 not in {one.class_index for one in draw.entries}


def test_signature_names_the_classes_drawn_from(entries):
    def text(of):
        return partners_of(set_of(of), of[:1], METRIC, 0).text

    assert text(entries).startswith("60(")
    assert text(entries) == text(entries[::-1])
    assert len({text(entries), text(entries[:-1]), text([entry("00", 5), *entries[1:]])}) == 3


@pytest.fixture
def files(tmp_path):
    """Four photos in files, one of each class."""
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(b"photo%d" % number)
    return tmp_path


def in_files(folder):
    made = []
    for number in range(4):
        path = folder / f"{number}.jpg"
        status = path.stat() if path.exists() else os.stat_result([0] * 10)
        made.append(Entry(path.name, path, number, "", size_bytes=status.st_size, mtime_ns=status.st_mtime_ns))
    return made


def test_digest_changes_with_the_photos_and_classes(files):
    def digests():
        made = in_files(files)
        return [partners_of(set_of(made), made, METRIC, 0).digest(one.id, 3) for one in made]

    before = digests()
    assert digests() == before
    (files / "2.jpg").write_bytes(b"another")
    after = digests()
    assert after[2] == before[2]  # its own photo is in the key of its map
    assert all(after[number] != before[number] for number in (0, 1, 3))
    (files / "2.jpg").unlink()
    gone = digests()
    assert gone[0] not in (before[0], after[0])
    assert "unreadable" in gone[0]


def test_photo_that_the_store_knows_is_not_read(files, monkeypatch):
    made = in_files(files)
    partners = partners_of(set_of(made), made, METRIC, 0)
    rows = [
        image_row(one.id, photo_file=one.file, size_bytes=one.size_bytes, mtime_ns=one.mtime_ns, sha256=f"sum{one.id}")
        for one in made
    ]
    partners.remember(rows)
    monkeypatch.setattr("evalkit.harness.planning.partners.contents_of", None)
    assert "sum1.jpg" in partners.digest("0.jpg", 3)


def test_another_size_or_time_is_read_again(files):
    made = in_files(files)
    stale = [image_row(one.id, photo_file=one.file, size_bytes=1, mtime_ns=one.mtime_ns, sha256="old") for one in made]
    partners = partners_of(set_of(made), made, METRIC, 0)
    partners.remember(stale)
    assert "old" not in partners.digest("0.jpg", 3)


def test_fewer_partners_are_the_first_of_them(entries):
    drawn: Partners = partners_of(set_of(entries), entries, METRIC, 0)
    assert drawn.digest("00", 3).startswith(drawn.digest("00", 2)[:-1])


def test_arrays_with_several_classes_are_one_photo(photos):
    matrix = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 1, 0, 0, 1]])
    images = ImageSet.from_arrays(photos, matrix)
    drawn = partners_of(images, images.entries, METRIC, 0).of_image
    # Class 0 is in photo 0 alone, which shows class 1 too.
    assert {one.id.partition("#")[0] for one in drawn["0#0"].entries} <= {"1", "2", "3"}
    # Class 1 is in photos 0 and 3, so that class 4 has no photo without it.
    assert drawn["0#1"].reason == "too few classes: photos of 3 others are needed, the image set has 2"
