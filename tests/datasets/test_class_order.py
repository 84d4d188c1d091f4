from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evalkit.core.errors import DataError
from evalkit.datasets.class_map import ClassMap
from evalkit.datasets.class_order import ClassOrder, orders_of
from evalkit.datasets.classes import Match, match_classes
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.readers.class_folder import read_class_folder
from evalkit.datasets.readers.csv_manifest import read_csv_manifest

Manifest = Callable[[str], Path]
TWELVE = list(map(str, range(12)))
PHOTO = np.zeros((2, 2, 3), np.uint8)


def folders(root: Path, *names: str) -> ImageSet:
    for name in names:
        (root / name).mkdir()
        (root / name / "a.png").write_bytes(b"")
    return read_class_folder(root)


def outputs(match: Match) -> dict[str, int | None]:
    return {entry.label or entry.id: entry.class_index for entry in match.images.entries}


def refusal(images: ImageSet, n_classes: int, order: ClassOrder | None = None) -> str:
    with pytest.raises(DataError) as caught:
        match_classes(images, None, n_classes, require_labels=True, class_order=order)
    return str(caught.value)


@pytest.mark.parametrize("first", [0, 1])
def test_numeric_folders_follow_keras_text_order(tmp_path: Path, first: int) -> None:
    names = [str(number + first) for number in range(12)]
    match = match_classes(folders(tmp_path, *names), None, 12, require_labels=True)
    assert outputs(match) == {name: index for index, name in enumerate(sorted(names))}
    assert match.taken == "sorted"
    assert match.order.startswith("classes sorted as text, as Keras does: ")
    assert "12 folders in sorted order are the model's outputs" in match.notes[0]
    # 1 is the second output as text and the first as a number, and so on.
    numeric = {index: int(name) - first for index, name in enumerate(sorted(names))}
    assert match.others == {"numeric": numeric}  # as indices they would have the same outputs


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ("sorted", {"1": 0, "10": 1, "2": 2, "3": 3}),
        ("numeric", {"1": 0, "2": 1, "3": 2, "10": 3}),
    ],
)
def test_class_order_decides(tmp_path: Path, order: ClassOrder, wanted: dict[str, int]) -> None:
    images = folders(tmp_path, "1", "2", "3", "10")
    match = match_classes(images, None, 4, require_labels=True, class_order=order)
    assert outputs(match) == wanted
    assert match.taken == order
    assert match.notes[0].startswith(f"{tmp_path.name}: --class-order {order}: classes ")


def test_class_order_index_uses_the_folder_number(tmp_path: Path) -> None:
    images = folders(tmp_path, *TWELVE)
    match = match_classes(images, None, 12, require_labels=True, class_order="index")
    assert outputs(match) == {name: int(name) for name in TWELVE}
    from_1 = match_classes(images.with_entries(images.entries[1:]), None, 12, require_labels=True, class_order="index")
    assert outputs(from_1)["11"] == 11


def test_part_of_numeric_folders_are_indices(tmp_path: Path) -> None:
    match = match_classes(folders(tmp_path, "3", "11"), None, 12, require_labels=True)
    assert outputs(match) == {"3": 3, "11": 11}
    assert match.others == {"sorted": {3: 5, 11: 3}, "index-from-1": {3: 2, 11: 10}}  # 0 1 10 11 2 3
    chosen = match_classes(match.images, None, 12, require_labels=True)
    assert chosen.order == "class_index"


def test_numbers_inside_names_have_an_order() -> None:
    possible = orders_of(["c1", "c10", "c2"], 3)
    assert possible == {"sorted": {"c1": 0, "c10": 1, "c2": 2}, "numeric": {"c1": 0, "c2": 1, "c10": 2}}
    assert list(orders_of(["a", "b"], 2)) == ["sorted"]
    assert orders_of(["12", "2"], 12)["sorted"] == {"12": 3, "2": 4}  # 1 10 11 12 2
    assert "sorted" not in orders_of(["02", "3"], 12)
    assert list(orders_of(["01", "1"], 2)) == ["sorted", "numeric", "index", "index-from-1"]
    assert orders_of([], 2) == {}


@pytest.mark.parametrize(
    ("names", "n_classes", "order", "message"),
    [
        (("0", "12"), 12, "index", "--class-order index: '12' is no whole number from 0 to 11"),
        (("0", "12"), 12, "index-from-1", "'0' is no whole number from 1 to 12"),
        (("0", "12"), 12, "sorted", "there are 2 classes, but the model has 12 outputs; give --class-names FILE"),
        (("a1", "b"), 2, "numeric", "'b' has no number in it"),
        (("a1", "b"), 2, "index", "'a1' is no whole number from 0 to 1"),
    ],
)
def test_impossible_order_is_refused(
    tmp_path: Path, names: tuple[str, ...], n_classes: int, order: ClassOrder, message: str
) -> None:
    assert message in refusal(folders(tmp_path, *names), n_classes, order)


def test_order_that_contradicts_names_is_noted(tmp_path: Path) -> None:
    images = folders(tmp_path, "cat", "dog")
    match = match_classes(images, ["dog", "cat"], 2, require_labels=True, class_order="sorted")
    assert outputs(match) == {"cat": 0, "dog": 1}
    assert "2 of them have the names of other outputs, for example 'cat' is the name of output 1" in match.notes[0]


def test_class_map_precedes_the_order(tmp_path: Path) -> None:
    images = folders(tmp_path, "a", "b")
    class_map = ClassMap("map.json", {"a": (1,)})
    match = match_classes(images, None, 2, require_labels=True, class_map=class_map, class_order="sorted")
    assert outputs(match) == {"a": 1, "b": 1}
    assert match.taken is None


def test_indices_that_start_at_1_are_refused_with_a_way_out(manifest: Manifest) -> None:
    images = read_csv_manifest(manifest("image,class_index\na,1\nb,3\n"))
    assert refusal(images, 3) == (
        "labels.csv line 3: class_index 3 is out of range; the model has 3 classes, 0..2; none is 0 and the highest is "
        "3, so they seem to be counted from 1: subtract 1 from each, or give --class-order index-from-1"
    )
    match = match_classes(images, None, 3, require_labels=True, class_order="index-from-1")
    assert [entry.class_index for entry in match.images.entries] == [0, 2]
    assert match.order == "class_index, counted from 1"
    assert match.others == {}


def test_labels_that_start_at_1_are_refused_with_a_way_out(manifest: Manifest) -> None:
    images = read_csv_manifest(manifest("image,label\na,1\nb,3\n"))
    assert "if they are indices counted from 1, give --class-order index-from-1" in refusal(images, 3)
    match = match_classes(images, None, 3, require_labels=True, class_order="index-from-1")
    assert outputs(match) == {"1": 0, "3": 2}


def test_arrays_that_start_at_1_are_refused_with_a_way_out() -> None:
    images = ImageSet.from_arrays([PHOTO] * 2, [1, 2])
    assert "give --class-order index-from-1" in refusal(images, 2)
    match = match_classes(images, None, 2, require_labels=True, class_order="index-from-1")
    assert [image.class_index for image in match.images] == [0, 1]


def test_indices_beyond_every_counting_have_no_hint(manifest: Manifest) -> None:
    images = read_csv_manifest(manifest("image,class_index\na,1\nb,7\n"))
    assert refusal(images, 3).endswith("the model has 3 classes, 0..2")


def test_index_0_contradicts_counting_from_1(manifest: Manifest) -> None:
    images = read_csv_manifest(manifest("image,class_index\na,1\nb,0\n"))
    message = (
        "line 3: class_index 0 is out of range; the model has 3 classes, 1..3; leave --class-order out if they are"
    )
    assert message in refusal(images, 3, "index-from-1")


def test_indices_cannot_be_sorted(manifest: Manifest) -> None:
    images = read_csv_manifest(manifest("image,class_index\na,1\n"))
    assert "--class-order sorted orders labels, but every image has a class index" in refusal(images, 3, "sorted")


def test_indices_without_0_have_another_possible_order(manifest: Manifest) -> None:
    images = read_csv_manifest(manifest("image,class_index\na,1\nb,2\n"))
    assert match_classes(images, None, 3, require_labels=True).others == {"index-from-1": {1: 0, 2: 1}}
    named = read_csv_manifest(manifest("image,class_index,label\na,1,cat\nb,2,emu\n"))
    assert match_classes(named, ["ant", "cat", "emu"], 3, require_labels=True).taken is None


def test_whole_numbers_may_have_a_decimal_point(manifest: Manifest) -> None:
    """As pandas writes whole numbers of a column with gaps."""
    for column in ("class_index", "label"):
        images = read_csv_manifest(manifest(f"image,{column}\na,0.0\nb,3.0\n"))
        match = match_classes(images, None, 4, require_labels=True)
        assert [entry.class_index for entry in match.images.entries] == [0, 3]


@pytest.mark.parametrize("names", [["a", "b", "c", "d", "e"], None])
def test_part_of_the_classes_runs_if_names_or_a_map_say_which(tmp_path: Path, names: list[str] | None) -> None:
    images = folders(tmp_path, "b", "e")
    if names:
        assert outputs(match_classes(images, names, 5, require_labels=True)) == {"b": 1, "e": 4}
    else:
        class_map = ClassMap("map.json", {"b": (1,), "e": (4,)})
        match = match_classes(images, None, 5, require_labels=True, class_map=class_map)
        assert outputs(match) == {"b": 1, "e": 4}
        assert match.order == "by --class-map"
        assert "2 folders are not 5" in refusal(images, 5)


def test_unknown_folders_are_unlabelled_if_no_label_is_needed(tmp_path: Path) -> None:
    images = folders(tmp_path, "cat", "holiday", "zebra")
    match = match_classes(images, ["ant", "cat"], 2, require_labels=False)
    assert outputs(match) == {"cat": 1, "holiday": -1, "zebra": -1}
    assert match.notes[0] == (
        f"{tmp_path.name}: 2 of 3 folders are not matched with outputs of the model, so whether it is right on their "
        "images is not known: 'holiday', 'zebra'"
    )
    ambiguous = match_classes(images, ["cat", "cat"], 2, require_labels=False)
    assert outputs(ambiguous) == {"cat": -1, "holiday": -1, "zebra": -1}


def test_order_of_unlabelled_images_has_no_effect() -> None:
    images = ImageSet.from_arrays([PHOTO], None)
    match = match_classes(images, None, 2, require_labels=False, class_order="sorted")
    assert match.notes == ["arrays: --class-order sorted has no effect: no image has a class"]
    assert match.order == ""


def test_columns_of_a_matrix_must_be_the_outputs() -> None:
    images = ImageSet.from_arrays([PHOTO] * 2, np.eye(2))
    assert "class_indices has 2 columns, one for each class, but the model has 3 outputs" in refusal(images, 3)
    assert [image.class_index for image in match_classes(images, None, 2, require_labels=True).images] == [0, 1]
