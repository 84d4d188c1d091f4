from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evalkit.core.errors import DataError
from evalkit.datasets.classes import match_classes
from evalkit.datasets.image_set import ImageSet, Labels
from evalkit.datasets.open import open_image_set
from evalkit.datasets.readers.class_folder import read_class_folder
from evalkit.datasets.readers.csv_manifest import read_csv_manifest

Folders = Callable[..., ImageSet]
Manifest = Callable[[str], Path]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    def make(*names: str, empty: Sequence[str] = ()) -> ImageSet:
        for name in (*names, *empty):
            (tmp_path / name).mkdir()
        for name in names:
            (tmp_path / name / "a.png").write_bytes(b"")
        return read_class_folder(tmp_path)

    return make


def matched(
    images: ImageSet, names: Sequence[str] | None, n_classes: int | None = None
) -> tuple[dict[str, int | None], list[str]]:
    count = len(names or ()) if n_classes is None else n_classes
    match = match_classes(images, names, count, require_labels=True)
    return {entry.label or entry.id: entry.class_index for entry in match.images.entries}, match.notes


def refusal(images: ImageSet, names: Sequence[str] | None, n_classes: int, *, require_labels: bool = True) -> str:
    with pytest.raises(DataError) as caught:
        match_classes(images, names, n_classes, require_labels=require_labels)
    return str(caught.value)


def test_folders_are_matched_by_name(folders: Folders) -> None:
    assert matched(folders("cat", "dog"), ["dog", "emu", "cat"]) == ({"cat": 2, "dog": 0}, [])


def test_case_separators_and_accent_encoding_are_ignored(folders: Folders) -> None:
    images = folders("Tabby Cat", "great-white-shark", "E\u0301mu")
    assert matched(images, ["tabby_cat", "great_white_shark", "\u00e9mu"])[0] == {
        "Tabby Cat": 0,
        "great-white-shark": 1,
        "E\u0301mu": 2,
    }


def test_exact_name_precedes_a_similar_one(folders: Folders) -> None:
    assert matched(folders("cat"), ["Cat", "cat"]) == ({"cat": 1}, [])


def test_label_of_two_classes_is_refused(folders: Folders) -> None:
    message = refusal(folders("crane"), ["crane", "dog", "crane"], 3)
    assert "the label 'crane' is the name of classes 0, 2; use a CSV manifest with class_index" in message


def test_folders_are_sorted_if_no_name_matches(folders: Folders, tmp_path: Path) -> None:
    indices, notes = matched(folders("n02", "n01"), ["dog", "cat"])
    assert indices == {"n01": 0, "n02": 1}
    why = f"{tmp_path.name}: none of its classes is one of the model's"
    assert notes == [f"{why}, so its 2 folders in sorted order are the model's outputs: n01 = 0, n02 = 1"]


def test_folders_are_sorted_if_names_are_unknown(folders: Folders) -> None:
    indices, notes = matched(folders(*"gfedcb", empty="a"), None, n_classes=7)
    assert indices == {"b": 1, "c": 2, "d": 3, "e": 4, "f": 5, "g": 6}
    assert "the model's class names are unknown, so its 7 folders" in notes[0]
    assert notes[0].endswith("a = 0, b = 1, c = 2, d = 3, e = 4, ...")


def test_sorted_order_is_kept_under_a_limit(folders: Folders) -> None:
    images = folders("a", "b", "c")
    limited = images.limit(1, seed=0)
    assert matched(limited, None, n_classes=3)[0] == {
        label: index
        for label, index in matched(images, None, n_classes=3)[0].items()
        if label == limited.entries[0].label
    }


def test_folders_without_images_are_matched_too(folders: Folders) -> None:
    images = folders("cat", "xyz")
    alone = images.with_entries(entry for entry in images.entries if entry.label == "xyz")
    assert "1 of 1 folders are not among the model's 2 classes: 'xyz'" in refusal(alone, ["dog", "cat"], 2)


def test_wrong_number_of_folders_is_refused(folders: Folders) -> None:
    message = refusal(folders("a", "b"), None, 3)
    assert (
        "the model's class names are unknown, so folders cannot be matched, and 2 folders are not 3: 'a', 'b'"
        in message
    )
    assert "--class-names FILE" in message


def test_unmatched_folders_are_refused_with_nearest_names(folders: Folders) -> None:
    message = refusal(folders("cat", "golden_retriver"), ["cat", "golden retriever"], 2)
    assert "1 of 2 folders are not among the model's 2 classes" in message
    assert "'golden_retriver' (did you mean 'golden retriever'?)" in message


def test_the_first_five_unmatched_folders_are_named(folders: Folders) -> None:
    message = refusal(folders("cat", *"1234567"), ["cat", "dog"], 2)
    assert "7 of 8 folders are not" in message
    assert "'1', '2', '3', '4', '5' and 2 more" in message


def test_csv_labels_are_matched_and_class_indices_kept(manifest: Manifest) -> None:
    images = read_csv_manifest(manifest("image,class_index,label\na,,Dog\nb,2,\nc,0,cat\n"))
    match = match_classes(images, ["cat", "dog", "emu"], 3, require_labels=True)
    assert [entry.class_index for entry in match.images.entries] == [1, 2, 0]
    assert match.notes == []
    assert match.images.name == "labels.csv"


def test_csv_labels_are_never_sorted(manifest: Manifest) -> None:
    images = read_csv_manifest(manifest("image,label\na,x\nb,y\n"))
    assert "2 of 2 labels are not among the model's 2 classes (the first: labels.csv line 2): 'x', 'y'" in refusal(
        images, ["cat", "dog"], 2
    )
    assert "the model's class names are unknown, so labels cannot be matched: 'x', 'y'" in refusal(images, None, 2)


def test_index_out_of_range_is_refused_with_its_line(manifest: Manifest) -> None:
    images = read_csv_manifest(manifest("image,class_index\na,0\nb,2\n"))
    expected = "labels.csv line 3: class_index 2 is out of range; the model has 2 classes, 0..1"
    assert refusal(images, None, 2) == expected
    assert refusal(images, None, 2, require_labels=False) == expected


def test_labels_contradicting_their_index_are_noted(manifest: Manifest) -> None:
    images = read_csv_manifest(manifest("image,class_index,label\na,0,cat\nb,1,cat\nc,1,my cat\n"))
    match = match_classes(images, ["cat", "dog"], 2, require_labels=True)
    assert [entry.class_index for entry in match.images.entries] == [0, 1, 1]
    first = "labels.csv line 3: 'cat' is class 0 of the model, class_index says 1"
    assert match.notes == [
        f"labels.csv: 1 of 3 labels name another class than their class_index, which is used ({first})"
    ]


def test_unlabelled_images_are_refused_if_labels_are_needed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    message = refusal(read_class_folder(tmp_path), ["cat"], 1)
    assert "1 of 1 images have no label (the first: image 'a.png')" in message
    assert "--target predicted" in message


def test_unlabelled_images_get_minus_one_otherwise(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    match = match_classes(read_class_folder(tmp_path), ["cat"], 1, require_labels=False)
    assert [entry.class_index for entry in match.images.entries] == [-1]
    assert match.notes == []


def test_matching_returns_a_new_set(photo: np.ndarray, manifest: Manifest) -> None:
    images = ImageSet.from_arrays([photo], [1])
    before = images.entries
    match = match_classes(images, None, 2, require_labels=True)
    assert images.entries is before
    assert [image.class_index for image in match.images] == [1]


def test_wordnet_ids_are_matched(folders: Folders) -> None:
    images = folders("n02012849", "n03126707")
    match = match_classes(
        images, ["crane", "dog", "crane"], 3, require_labels=True, class_ids=["n02012849", "n02084071", "n03126707"]
    )
    assert [entry.class_index for entry in match.images.entries] == [0, 2]
    assert match.notes == []


def test_unknown_wordnet_ids_get_a_hint(folders: Folders) -> None:
    assert "LOC_synset_mapping.txt name WordNet ids" in refusal(folders("n02012849"), ["crane", "dog"], 2)


def test_whole_number_labels_are_indices(folders: Folders) -> None:
    indices, notes = matched(folders("0", "2", "11"), None, n_classes=12)
    assert indices == {"0": 0, "2": 2, "11": 11}
    assert notes[0].endswith("its labels are taken as class indices")
    assert "labels cannot be matched" in refusal(folders_of_csv("0", "12"), None, 12)


def folders_of_csv(*labels: str) -> ImageSet:
    photo = np.zeros((2, 2, 3), np.uint8)
    images = ImageSet.from_arrays([photo] * len(labels), None)
    entries = [replace(entry, label=label) for entry, label in zip(images.entries, labels, strict=True)]
    return images.with_entries(entries)


def annotated(*labels: str) -> ImageSet:
    images = folders_of_csv(*labels)
    return ImageSet("val.json", "coco", images.entries, images.reader, labels=Labels(partial=True))


def test_annotated_classes_without_output_are_left_out() -> None:
    images = annotated("dog", "person", "cat")
    match = match_classes(images, ["cat", "dog"], 2, require_labels=True)
    assert [entry.class_index for entry in match.images.entries] == [1, 0]
    assert (
        "val.json: 1 of 3 classes have no output of the model; left out, with 1 of 3 images: 'person'" in match.notes[0]
    )
    assert "2 of 2 labels are not among" in refusal(annotated("a", "b"), ["cat"], 1)


def test_two_images_of_one_photo_and_output_are_said(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.csv").write_text("image,label,x,y,width,height\na.png,Dog,0,0,2,2\na.png,dog,4,4,2,2\n")
    notes = match_classes(open_image_set(tmp_path / "b.csv"), ["cat", "dog"], 2, require_labels=True).notes
    assert "1 photos are several images of one output (the first: 'a.png#Dog' and 'a.png#dog')" in " ".join(notes)
