from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evalkit.core.errors import DataError, ImageError
from evalkit.datasets.readers.csv_manifest import read_csv_manifest

Manifest = Callable[[str], Path]
Save = Callable[[str, np.ndarray], Path]


def test_row_becomes_an_entry(manifest: Manifest, save: Save, photo: np.ndarray) -> None:
    file = save("photos/a.png", photo)
    images = read_csv_manifest(manifest("image,class_index,label,x0,y0,x1,y1\nphotos/a.png,3,cat,1,0.5,4,3\n"))
    (entry,) = images.entries
    assert (images.name, images.kind, images.class_names, len(images)) == ("labels.csv", "csv", None, 1)
    assert (entry.id, entry.path, entry.class_index, entry.label) == ("photos/a.png", file, 3, "cat")
    assert (entry.boxes, entry.masks, entry.where) == (((1.0, 0.5, 4.0, 3.0),), (), "labels.csv line 2")
    assert (entry.size_bytes, entry.mtime_ns, entry.problem) == (file.stat().st_size, file.stat().st_mtime_ns, "")


def test_image_has_pixels_box_and_digest(manifest: Manifest, save: Save, photo: np.ndarray) -> None:
    file = save("a.png", photo)
    (image,) = read_csv_manifest(manifest("image,class_index,x0,y0,x1,y1\na.png,3,1,0.5,4,3\n"))
    assert np.array_equal(image.pixels, photo)
    assert (image.class_index, image.label, image.exact, image.pixel_size) == (3, "", False, (1.0, 1.0))
    assert image.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert image.boxes.tolist() == [[1, 0.5, 4, 3]]
    expected = np.zeros((4, 6), bool)
    expected[0:3, 1:4] = True
    assert np.array_equal(image.region, expected)


def test_photo_without_box_or_mask_has_no_region(manifest: Manifest, save: Save, photo: np.ndarray) -> None:
    save("a.png", photo)
    (image,) = read_csv_manifest(manifest("image,label,x0,y0,x1,y1,mask\na.png,cat,,,,,\n"))
    assert image.region is None
    assert image.boxes is None
    assert image.class_index == -1


def test_several_rows_of_an_image_are_several_boxes(manifest: Manifest) -> None:
    rows = ["a.png,cat,0,0,1,1", "b.png,dog,,,,", "./a.png,cat,2,2,3,3", "a.png,cat,0,0,1,1", "a.png,cat,,,,"]
    images = read_csv_manifest(manifest("\n".join(["image,label,x0,y0,x1,y1", *rows])))
    assert [entry.id for entry in images.entries] == ["a.png", "b.png"]
    assert images.entries[0].boxes == ((0, 0, 1, 1), (2, 2, 3, 3))


def test_several_masks_are_united_with_one_box_each(manifest: Manifest, save: Save, photo: np.ndarray) -> None:
    save("a.png", photo)
    first, second = np.zeros((4, 6), np.uint8), np.zeros((4, 6), np.uint8)
    first[0, 0] = 1
    second[2:4, 3] = 255
    save("m/1.png", first)
    save("m/2.png", second)
    (image,) = read_csv_manifest(manifest("image,label,mask\na.png,cat,m/1.png\na.png,cat,m/2.png\n"))
    assert image.exact
    assert image.boxes.tolist() == [[0, 0, 1, 1], [3, 2, 4, 4]]
    assert np.array_equal(image.region, (first + second) > 0)


def test_format_variants_are_read(manifest: Manifest) -> None:
    text = "\ufeffImage , Label,Note,CLASS_INDEX\r\n a b.png , black cat,x,3\r\n\r\n,,,\r\nü/ß.png,dog,,4\r\n"
    found = [(e.id, e.label, e.class_index, e.where) for e in read_csv_manifest(manifest(text)).entries]
    assert found == [("a b.png", "black cat", 3, "labels.csv line 2"), ("ü/ß.png", "dog", 4, "labels.csv line 5")]


def test_quoted_comma_is_part_of_the_name(manifest: Manifest) -> None:
    entries = read_csv_manifest(manifest('image,label,by\n"a,b.png",dog,"two\nlines"\nc.png,cat,me\n')).entries
    found = [(entry.id, entry.label, entry.where) for entry in entries]
    assert found == [("a,b.png", "dog", "labels.csv line 2"), ("c.png", "cat", "labels.csv line 4")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('a.png,"two\nlines"', r"labels.csv line 2: label 'two\nlines' has control characters or line breaks"),
        ("a\x1b[31m.png,cat", r"labels.csv line 2: image 'a\x1b[31m.png' has control characters"),
    ],
)
def test_control_characters_are_refused_and_escaped(manifest: Manifest, row: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_csv_manifest(manifest(f"image,label\n{row}\n"))
    assert message in str(caught.value)


@pytest.mark.parametrize("label", ["عربي", "می\u200cشود", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "a\u200fb"])
def test_letters_of_every_script_are_read(manifest: Manifest, label: str) -> None:
    assert read_csv_manifest(manifest(f"image,label\na.png,{label}\n")).entries[0].label == label


def test_absolute_path_is_kept(manifest: Manifest, save: Save, photo: np.ndarray) -> None:
    file = save("a.png", photo)
    entry = read_csv_manifest(manifest(f"image,label\n{file},cat\n")).entries[0]
    assert (entry.id, entry.path) == (file.as_posix(), file)


def test_paths_do_not_depend_on_the_working_folder(
    manifest: Manifest, save: Save, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    save("a.png", photo)
    path = manifest("image,label,mask\na.png,cat,m.png\n")
    monkeypatch.chdir(tmp_path)
    relative = read_csv_manifest(Path(path.name))
    monkeypatch.chdir("/")
    assert relative.entries == read_csv_manifest(path).entries
    assert relative.entries[0].truth_digest == read_csv_manifest(path).entries[0].truth_digest


def test_missing_photo_is_an_entry_with_a_problem(manifest: Manifest) -> None:
    images = read_csv_manifest(manifest("image,class_index\nnone.png,0\n"))
    assert images.entries[0].problem == "file is missing"
    with pytest.raises(ImageError, match=r"^file is missing$"):
        images.read(images.entries[0])


BOX = "image,class_index,x0,y0,x1,y1\na.png,0,"
WRONG = [
    ("", "labels.csv is empty; write a header line; needed: image, and class_index or label"),
    ("\n\n", "labels.csv is empty"),
    ("image,label\n", "labels.csv has a header but no rows"),
    ("image;label\na.png;0\n", "labels.csv: the columns are separated by semicolons; save it with commas"),
    ("image\tlabel\na.png\t0\n", "separated by tabs"),
    (
        "img,label\n",
        "line 1: the column 'image' is missing (is it 'img'? rename it); needed: image, and class_index or",
    ),
    (
        "path,label\n",
        "line 1: the column 'image' is missing; needed: image, and class_index or label; found: path, label",
    ),
    ("image,class\n", "columns 'class_index' and 'label' are missing (is it 'class'? rename it); needed: image, and"),
    (
        "image,MEL,NV,BCC,AKIEC\n",
        "(if MEL, NV, BCC, ... have a 1 where a class is present, name it in 'label'); needed",
    ),
    ("image,lable\n", "columns 'class_index' and 'label' are missing (is it 'lable'?"),
    ("image,label,label\n", "line 1: the column 'label' is there twice"),
    ("image,label,x0,y0,x1\n", "line 1: the column 'y1' is missing; a box needs x0, y0, x1 and y1, found x0, y0, x1"),
    ("image,label\na.png,cat\na.png\n", "line 3: expected 2 fields, found 1"),
    (
        "image,label\na,b.png,cat\n",
        "line 2: expected 2 fields, found 3; a comma inside a path or label needs double quotes",
    ),
    ("image,label\n,cat\n", "line 2: image is empty"),
    ("image,label\na.png,\n", "line 2: no class (label empty); write a class_index or a label"),
    ("image,class_index,label\na.png,,\n", "line 2: no class (class_index and label empty)"),
    ("image,class_index\na.png,cat\n", "line 2: class_index 'cat' is not a whole number; allowed: 0, 1, 2, ..."),
    ("image,class_index\na.png,1.5\n", "line 2: class_index '1.5' is not a whole number"),
    ("image,class_index\na.png,1_0\n", "line 2: class_index '1_0' is not a whole number"),
    ("image,class_index\na.png,-1\n", "line 2: class_index -1 is negative"),
    (BOX + "1,2,3,\n", "line 2: y1 is empty; a box needs all of x0, y0, x1, y1, or none"),
    (BOX + "1,2,3,four\n", "line 2: y1 'four' is not a number"),
    (BOX + "nan,2,3,4\n", "line 2: x0 'nan' is not finite"),
    (BOX + "1,2,inf,4\n", "line 2: x1 'inf' is not finite"),
    (BOX + "3,2,1,4\n", "line 2: box (3, 2, 1, 4) is inverted or empty; x1 must be greater than x0"),
    (BOX + "1,2,3,2\n", "line 2: box (1, 2, 3, 2) is inverted or empty; y1 must be greater than y0"),
    (BOX + "-1,2,3,4\n", "line 2: box (-1, 2, 3, 4) has negative coordinates"),
    ("image,class_index,label\na.png,0,cat\na.png,1,cat\n", "line 3: 'a.png' has class 1 'cat', but 0 'cat' in"),
    ("image,class_index,label\na.png,0,\na.png,,cat\n", "line 3: 'a.png' has class 'cat', but 0 in labels.csv line 2"),
    ("image,label\na.png,cat\na.png,\n", "line 3: no class (label empty); write a class_index or a label"),
    ("image,label\na.png,cat||dog\n", "line 2: label 'cat||dog' has an empty class; write one class between '|' each"),
    ("image,label\na.png,cat|cat\n", "line 2: label 'cat|cat' lists a class twice"),
    ("image,class_index,label\na.png,0|1,cat\n", "class_index '0|1' and label 'cat' list 2 and 1 classes"),
    (
        "image,class_index,label\na.png,0,cat\na.png,0,\n",
        "line 3: 'a.png' has class 0, but 0 'cat' in labels.csv line 2",
    ),
    ("image,label,x0,y0,x1,y1,mask\na.png,cat,0,0,1,1,m.png\n", "line 2: both a box and a mask"),
    (
        "image,label,x0,y0,x1,y1,mask\na.png,cat,0,0,1,1,\na.png,cat,,,,,m.png\n",
        "line 3: 'a.png' has both boxes and masks",
    ),
    ('image,label\na.png,cat\n"b.png,cat\n', "labels.csv line 3: not CSV (unexpected end of data); check the quotes"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_row_is_refused_with_file_and_line(text: str, message: str, manifest: Manifest) -> None:
    with pytest.raises(DataError) as caught:
        read_csv_manifest(manifest(text))
    assert "labels.csv" in str(caught.value)
    assert message in str(caught.value)


def test_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv does not exist"):
        read_csv_manifest(tmp_path / "none.csv")


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes("image,label\nä.png,cat\n".encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_csv_manifest(path)


BAD_TRUTH = [
    ("x0,y0,x1,y1\na.png,0,2,1,6.5,3", "the photo is 6 x 4, smaller than its box (2, 1, 6.5, 3)"),
    ("x0,y0,x1,y1\na.png,0,2,1,6,5", "the photo is 6 x 4, smaller than its box (2, 1, 6, 5)"),
    ("mask\na.png,0,none.png", "mask: file is missing"),
    ("mask\na.png,0,labels.csv", "mask: cannot be decoded: not a file of the formats"),
    ("mask\na.png,0,empty.png", "mask is empty"),
    ("mask\na.png,0,small.png", "the mask is 2 x 3, the photo 6 x 4 (width x height, upright)"),
]


@pytest.mark.parametrize(("rest", "reason"), BAD_TRUTH, ids=[reason for _, reason in BAD_TRUTH])
def test_region_outside_the_photo_is_the_reason(
    rest: str, reason: str, manifest: Manifest, save: Save, photo: np.ndarray
) -> None:
    save("a.png", photo)
    save("empty.png", np.zeros((4, 6), np.uint8))
    save("small.png", np.ones((3, 2), np.uint8))
    images = read_csv_manifest(manifest(f"image,class_index,{rest}\n"))
    with pytest.raises(ImageError) as caught:
        images.read(images.entries[0])
    assert str(caught.value).startswith(reason)


def test_box_may_touch_the_photos_edges(manifest: Manifest, save: Save, photo: np.ndarray) -> None:
    save("a.png", photo)
    (image,) = read_csv_manifest(manifest("image,class_index,x0,y0,x1,y1\na.png,0,0,0,6,4\n"))
    assert image.region.all()


def test_unread_region_columns_are_noted(manifest: Manifest) -> None:
    images = read_csv_manifest(manifest("image,label,xmin,ymin,xmax,ymax,split\na.png,cat,1,1,2,2,val\n"))
    note = images.notes[0]
    assert note.startswith("labels.csv: no region is read from xmin, ymin, xmax, ymax; boxes are x0, y0")
    (note,) = read_csv_manifest(manifest("image,label,x0,y0,x1,y1,width\na.png,cat,1,1,2,2,6\n")).notes
    assert "no region is read" not in note


def test_windows_paths_quotes_and_numbers_are_read(manifest: Manifest, save: Save, photo: np.ndarray) -> None:
    save("photos/1.png", photo)
    (entry,) = read_csv_manifest(manifest('image, label\n.\\photos\\1.png, "cat"\n')).entries
    assert (entry.problem, entry.label) == ("", "cat")
    with pytest.raises(DataError, match="x1 '1_0' is not a number"):
        read_csv_manifest(manifest("image,label,x0,y0,x1,y1\na.png,cat,0,0,1_0,2\n"))


@pytest.mark.parametrize(
    "text",
    [
        "image,label\na.png,cat | dog\nb.png,cat\n",
        "image,label\na.png,cat\nb.png,cat\na.png,dog\n",
    ],
)
def test_photo_with_several_classes_gives_an_image_for_each(manifest: Manifest, text: str) -> None:
    images = read_csv_manifest(manifest(text))
    found = [("a.png#cat", "cat"), ("a.png#dog", "dog"), ("b.png", "cat")]
    assert sorted((entry.id, entry.label) for entry in images.entries) == found
    note = "labels.csv: 1 photos have several classes; there is one image for each photo and class"
    assert images.notes[0] == note


def test_several_classes_may_be_indices_with_labels(manifest: Manifest) -> None:
    images = read_csv_manifest(manifest("image,class_index,label\na,0|2.0,cat|emu\n"))
    assert [(e.id, e.class_index, e.label) for e in images.entries] == [("a#cat", 0, "cat"), ("a#emu", 2, "emu")]
    images = read_csv_manifest(manifest("image,class_index\na,0|2\n"))
    assert [(e.id, e.class_index) for e in images.entries] == [("a#0", 0), ("a#2", 2)]


def test_each_class_of_a_photo_has_the_boxes_of_its_rows(manifest: Manifest) -> None:
    text = "image,label,x0,y0,x1,y1\na,cat,0,0,1,1\na,dog,1,1,2,2\na,cat,2,2,3,3\n"
    boxes = {entry.id: entry.boxes for entry in read_csv_manifest(manifest(text)).entries}
    assert boxes == {"a#cat": ((0, 0, 1, 1), (2, 2, 3, 3)), "a#dog": ((1, 1, 2, 2),)}


def test_photos_without_a_class_are_left_out_beside_several(manifest: Manifest) -> None:
    images = read_csv_manifest(manifest("image,label\na,cat|dog\nb,\nc,dog\n"))
    assert [entry.id for entry in images.entries] == ["a#cat", "a#dog", "c"]
    assert images.notes[1] == "labels.csv: left out: 1 photos without a class (the first: b)"


@pytest.mark.parametrize("path", ["C:\\\\data\\\\pets\\\\1.png", "/nowhere/pets/1.png", "../pets/1.png"])
def test_path_on_another_machine_is_searched_by_its_name(
    manifest: Manifest, save: Save, photo: np.ndarray, path: str
) -> None:
    file = save("images/1.png", photo)
    images = read_csv_manifest(manifest(f"image,label\n{path},cat\n"))
    assert [(entry.path, entry.problem) for entry in images.entries] == [(file, "")]
    (note,) = images.notes
    assert note.startswith("labels.csv: 1 photos are not where their paths say (the first: labels.csv line 2, ")
    assert note.endswith("); they were found by their file names")


def test_file_name_of_two_paths_elsewhere_is_not_searched(manifest: Manifest, save: Save, photo: np.ndarray) -> None:
    save("1.png", photo)
    images = read_csv_manifest(manifest("image,label\nC:\\cat\\1.png,cat\nC:\\dog\\1.png,dog\n"))
    assert [entry.problem for entry in images.entries] == ["file is missing"] * 2
