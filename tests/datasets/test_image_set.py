from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from evalkit.core.errors import ConfigError, DataError, ImageError
from evalkit.datasets.image import LabelledImage
from evalkit.datasets.image_set import Entry, ImageSet
from evalkit.datasets.readers.csv_manifest import read_csv_manifest


def no_reader(entry: Entry) -> LabelledImage:
    raise ImageError(f"no pixels for {entry.label}")


def set_of(**counts: int) -> ImageSet:
    entries = [Entry(f"{label}/{i}", None, None, label) for label, count in counts.items() for i in range(count)]
    return ImageSet("set", "folder", entries, no_reader)


def drawn(images: ImageSet, count: int, seed: int = 0) -> set[str]:
    return {entry.id for entry in images.limit(count, seed).entries}


def test_limit_draws_evenly_over_the_classes() -> None:
    images = set_of(a=100, b=10, c=2)
    for count, expected in (
        (3, {"a": 1, "b": 1, "c": 1}),
        (12, {"a": 5, "b": 5, "c": 2}),
        (22, {"a": 10, "b": 10, "c": 2}),
    ):
        assert Counter(entry.label for entry in images.limit(count, seed=1).entries) == expected


def test_limits_are_nested() -> None:
    images = set_of(a=9, b=5, c=2, d=1)
    draws = [drawn(images, count) for count in range(1, 18)]
    assert [len(draw) for draw in draws] == list(range(1, 18))
    assert all(small < large for small, large in pairwise(draws))


def test_limit_keeps_the_sets_order() -> None:
    images = set_of(b=20, a=20)
    order = [entry.id for entry in images.entries]
    limited = [entry.id for entry in images.limit(15, seed=3).entries]
    assert limited == [name for name in order if name in set(limited)]


def test_limit_depends_on_ids_and_seed_only() -> None:
    images = set_of(a=30, b=30)
    assert drawn(images.with_entries(reversed(images.entries)), 10) == drawn(images, 10)
    assert drawn(images, 10) == drawn(images, 10)
    assert drawn(images, 10, seed=1) != drawn(images, 10, seed=0)


def test_limit_is_equal_before_and_after_matching() -> None:
    images = set_of(a=30, b=30)
    with_indices = images.with_entries(replace(entry, class_index="ba".index(entry.label)) for entry in images.entries)
    assert drawn(with_indices, 11) == drawn(images, 11)


def test_limit_uses_class_indices_without_labels() -> None:
    entries = [Entry(str(i), None, i % 2, "") for i in range(20)]
    limited = ImageSet("set", "csv", entries, no_reader).limit(6, seed=0)
    assert Counter(entry.class_index for entry in limited.entries) == {0: 3, 1: 3}


def test_limit_draws_unlabelled_images_too() -> None:
    entries = [Entry(str(i), None, None, "") for i in range(20)]
    assert len(ImageSet("set", "folder", entries, no_reader).limit(7, seed=0)) == 7


@pytest.mark.parametrize("count", [6, 7, 1000])
def test_limit_above_the_size_returns_everything(count: int) -> None:
    images = set_of(a=3, b=3)
    assert images.limit(count, seed=0).entries == images.entries


@pytest.mark.parametrize("count", [0, -3])
def test_limit_below_one_is_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=f"--limit {count} is not allowed; it takes 1 or more images"):
        set_of(a=3).limit(count, seed=0)


def test_iterating_names_the_unreadable_image() -> None:
    with pytest.raises(ImageError, match=r"^a/0: no pixels for a$"):
        list(set_of(a=1))


def test_known_problem_is_the_reason() -> None:
    with pytest.raises(ImageError, match=r"^file is missing$"):
        set_of(a=1).read(Entry("a", None, 0, "", problem="file is missing"))


def test_equal_ids_are_refused() -> None:
    with pytest.raises(DataError, match="set: several images have the id 'a'; make ids unique"):
        ImageSet("set", "csv", [Entry("a", None, 0, ""), Entry("a", None, 1, "")], no_reader)


def test_images_are_read_one_by_one(photo: np.ndarray) -> None:
    read: list[str] = []

    def reader(entry: Entry) -> LabelledImage:
        read.append(entry.id)
        return LabelledImage(entry.id, photo, 0, "")

    images = ImageSet("set", "csv", [Entry("a", None, 0, ""), Entry("b", None, 0, "")], reader)
    assert next(iter(images)).id == "a"
    assert read == ["a"]


BASE = Entry("a", Path("a.png"), 1, "cat", boxes=((0, 0, 1, 1),))


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, class_index=2),
        replace(BASE, class_index=None),
        replace(BASE, label="dog"),
        replace(BASE, boxes=()),
        replace(BASE, boxes=((0, 0, 1, 2),)),
        replace(BASE, masks=(Path("m.png"),)),
        replace(BASE, contents="ab"),
    ],
)
def test_truth_digest_changes_with_class_and_region(other: Entry) -> None:
    assert other.truth_digest != BASE.truth_digest


def test_truth_digest_is_independent_of_the_photo() -> None:
    other = replace(BASE, id="b", path=None, size_bytes=9, mtime_ns=9, where="x", boxes=((0.0, 0.0, 1.0, 1.0),))
    assert other.truth_digest == BASE.truth_digest
    assert len(BASE.truth_digest) == 64


def test_truth_digest_changes_with_a_mask_file(tmp_path: Path) -> None:
    mask = tmp_path / "m.png"
    entry = replace(BASE, masks=(mask,))
    missing = entry.truth_digest
    mask.write_bytes(b"12")
    first = entry.truth_digest
    mask.write_bytes(b"123")
    assert len({missing, first, entry.truth_digest}) == 3


def test_truth_digest_is_independent_of_the_manifest(tmp_path: Path, manifest: Callable[[str], Path]) -> None:
    text = "image,class_index,mask\na.png,0,m.png\n"
    other = tmp_path / "other.csv"
    other.write_text(text)
    first, second = read_csv_manifest(manifest(text)), read_csv_manifest(other)
    assert first.entries[0].truth_digest == second.entries[0].truth_digest


def test_draw_is_lazy_even_and_nested(photo: np.ndarray) -> None:
    images = ImageSet.from_arrays([photo] * 60, [number % 3 for number in range(60)])
    for count in (1, 10, 20, 60, 99):
        assert images.draw(count, 5, lambda _: True).entries == images.limit(count, 5).entries
    looked_at: list[str] = []

    def wanted(entry: Entry) -> bool:
        looked_at.append(entry.id)
        return int(entry.id) % 2 == 0

    twenty, ten = images.draw(20, 5, wanted), images.draw(10, 5, lambda entry: int(entry.id) % 2 == 0)
    assert len(looked_at) < 55
    assert {entry.id for entry in ten.entries} < {entry.id for entry in twenty.entries}
    assert sorted(Counter(entry.class_index for entry in twenty.entries).values()) == [6, 7, 7]
    assert len(images.draw(None, 5, wanted)) == 30
