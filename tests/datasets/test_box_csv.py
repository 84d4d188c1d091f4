"""CSV files of boxes by position and size: the files of RSNA, NIH and VinDr, units by name, rows that are wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evalkit.core.errors import DataError
from evalkit.datasets.class_map import ClassMap
from evalkit.datasets.classes import match_classes
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.open import open_image_set

Save = Callable[[str, np.ndarray], Path]
Manifest = Callable[[str], Path]
PIXELS = "labels.csv: boxes are read from x, y, width, height: the upper left corner, width and height, in pixels"


def ids(images: ImageSet) -> list[str]:
    return [entry.id for entry in images.entries]


def test_rsna_is_read(manifest: Manifest, save: Save, photo: np.ndarray) -> None:
    for name in ("a", "b"):
        save(f"images/{name}.png", photo)
    rows = "a,1.0,1.0,2.0,1.0,1.0\na,4,0,2,4,1\nb,,,,,0\n"
    images = open_image_set(manifest(f"patientId,x,y,width,height,Target\n{rows}"))
    assert (images.kind, ids(images)) == ("boxes", ["a#1", "b#0"])
    matched = match_classes(images, None, 2, require_labels=True)
    assert [entry.class_index for entry in matched.images.entries] == [1, 0]
    assert matched.notes == ["labels.csv: its labels are taken as class indices"]
    assert images.notes == (PIXELS,)
    sick, healthy = images
    assert sick.boxes.tolist() == [[1, 1, 3, 2], [4, 0, 6, 4]]
    assert (int(sick.region.sum()), sick.exact, healthy.region) == (10, False, None)


def test_target_is_no_output_of_a_model_with_others(manifest: Manifest, save: Save, photo: np.ndarray) -> None:
    for name in ("a", "b"):
        save(f"{name}.png", photo)
    images = open_image_set(manifest("patientId,x,y,width,height,Target\na,1,1,2,2,1\nb,,,,,0\n"))
    names = ["Atelectasis", "Cardiomegaly", "Effusion", "Pneumonia"]
    for known in (names, None):
        with pytest.raises(DataError, match=r"2 .*labels .*'0', '1'|'1', '0'.*--class-map"):
            match_classes(images, known, 4, require_labels=True)
    given = ClassMap("map.json", {"1": ("Pneumonia",), "0": ()})
    matched = match_classes(images, names, 4, require_labels=True, class_map=given)
    assert [(entry.id, entry.class_index) for entry in matched.images.entries] == [("a#1", 3)]


def test_photos_are_those_of_the_split_in_the_name(tmp_path: Path, save: Save, photo: np.ndarray) -> None:
    for folder in ("train", "val", "test"):
        save(f"{folder}/1.png", photo)
    for stem, folder in (("test", "test"), ("val", "val"), ("train_boxes", "train"), ("boxes", "train")):
        (tmp_path / f"{stem}.csv").write_text("image,label,x,y,width,height\n1.png,cat,1,1,2,2\n")
        images = open_image_set(tmp_path / f"{stem}.csv")
        assert images.entries[0].path == tmp_path / folder / "1.png"
        assert f"the photos are those in '{tmp_path / folder}'" in " ".join(images.notes)


def test_beside_w_and_h_width_and_height_are_the_photos(manifest: Manifest, save: Save, photo: np.ndarray) -> None:
    save("a.png", photo)
    (image,) = open_image_set(manifest("image,label,x,y,w,h,width,height\na.png,cat,0,0,2,3,6,4\n"))
    assert image.boxes.tolist() == [[0, 0, 2, 3]]


@pytest.mark.parametrize(
    "header", ["Image Index,Finding Label,Bbox [x,y,w,h],,,", 'Image Index,Finding Label,"Bbox [x, y, w, h]",,,']
)
def test_nih_is_read(manifest: Manifest, save: Save, photo: np.ndarray, header: str) -> None:
    save("images_001/images/00013118_008.png", photo)
    save("images_002/images/00014716_007.png", photo)
    rows = "00013118_008.png,Atelectasis,1.9,1.4,2.0,2.0,,,\n00014716_007.png,Mass,0,0,6,4,,,\n"
    images = open_image_set(manifest(f"{header}\n{rows}"))
    assert ids(images) == ["00013118_008.png#Atelectasis", "00014716_007.png#Mass"]
    assert [entry.problem for entry in images.entries] == ["", ""]
    assert np.array_equal(np.argwhere(next(iter(images)).region), [[1, 2], [1, 3], [2, 2], [2, 3]])
    names = ["Mass", "Atelectasis"]
    assert [entry.class_index for entry in match_classes(images, names, 2, require_labels=True).images.entries] == [
        1,
        0,
    ]


FORMS = {
    "VinDr": ("image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max", "a,Mass,5,R1,1,1,3,3"),
    "corner": ("image,label,x,y,w,h", "a.png,Mass,1,1,2,2"),
    "other order": ("h,w,y,x,Label,IMAGE", "2,2,1,1,Mass,a.png"),
    "center": ("image,label,cx,cy,width,height", "a.png,Mass,2,2,2,2"),
    "corner in fractions": ("image,label,x_norm,y_norm,w_norm,h_norm", "a,Mass,0.166667,0.25,0.333333,0.5"),
    "center in fractions": ("image,label,cx_norm,cy_norm,width_norm,height_norm", "a,Mass,0.333333,0.5,0.333333,0.5"),
    "corners in fractions": (
        "filename,class,x_min_norm,y_min_norm,x_max_norm,y_max_norm",
        "a,Mass,0.166667,.25,0.5,.75",
    ),
}


@pytest.mark.parametrize(("header", "row"), FORMS.values(), ids=FORMS)
def test_names_of_columns_say_what_a_box_is(
    manifest: Manifest, save: Save, photo: np.ndarray, header: str, row: str
) -> None:
    save("a.png", photo)
    images = open_image_set(manifest(f"{header}\n{row}\n"))
    assert (images.kind, [entry.label for entry in images.entries]) == ("boxes", ["Mass"])
    assert ("in fractions" in images.notes[0]) == ("_norm" in header)
    assert np.array_equal(np.argwhere(next(iter(images)).region), [[1, 1], [1, 2], [2, 1], [2, 2]])


@pytest.mark.parametrize(
    ("header", "kind"),
    [("image,label", "csv"), ("image,label,x0,y0,x1,y1", "csv"), ("image,label,mask,x,y,w,h", "csv")],
)
def test_manifests_stay_manifests(manifest: Manifest, header: str, kind: str) -> None:
    row = "a.png,cat" + ",,,,"[: header.count(",") - 1] + ("," if "mask" in header else "")
    assert open_image_set(manifest(f"{header}\n{row}\n")).kind == kind


def test_pixels_that_look_like_fractions_are_refused(manifest: Manifest) -> None:
    with pytest.raises(DataError) as caught:
        open_image_set(manifest("image,label,x,y,w,h\na,cat,0.1,0.1,0.5,0.5\n"))
    assert "say pixels, but all coordinates lie in 0..1; if they are fractions of the photo, rename them" in str(
        caught.value
    )
    assert "to x_norm, y_norm, w_norm, h_norm" in str(caught.value)


REASONS = {
    "image,label,x,y,w,h\na,cat,1,1,-2,2": "box (1, 1, -1, 3) has no area",
    "image,label,x,y,w,h\na,cat,1,1,nan,2": "box (1, 1, nan, 3) is not four finite numbers",
    "image,label,x,y,w,h\na,cat,1,1,inf,2": "box (1, 1, inf, 3) is not four finite numbers",
    "image,label,x,y,w,h\na,cat,-5,1,9,2": "box (-5, 1, 4, 3) reaches outside the photo",
    "image,label,x_norm,y_norm,w_norm,h_norm\na,cat,1,1,9,2": "box (1, 1, 10, 3), in fractions, reaches outside",
}


@pytest.mark.parametrize(("text", "reason"), REASONS.items())
def test_box_that_cannot_be_used_is_the_reason(
    manifest: Manifest, save: Save, photo: np.ndarray, text: str, reason: str
) -> None:
    save("a.png", photo)
    first, second = open_image_set(manifest(f"{text}\na,dog,{'0,0,1,1' if 'norm' in text else '0,0,2,2'}\n")).entries
    assert first.problem.startswith(f"labels.csv line 2: {reason}")
    assert second.problem == ""


RSNA = "patientId,x,y,width,height,Target\n"
WRONG = {
    "number": (f"{RSNA}a,1,1,two,2,1", "labels.csv line 2: box (1, 1, two, 2) is not four numbers; needed: a photo"),
    "part of a box": (
        f"{RSNA}a,1,1,,2,1",
        "line 2: a box needs all of x, y, width, height, or none; found (1, 1, , 2)",
    ),
    "target": (f"{RSNA}a,1,1,2,2,2", "line 2: Target is '2'; allowed: 1 (with a box) and 0 (without)"),
    "target with a box": (f"{RSNA}a,1,1,2,2,0", "line 2: Target is 0, but there is a box; write Target 1, or leave"),
    "fields": (f"{RSNA}a,1,1", "line 2: expected 6 fields or more, found 3; needed: a photo"),
    "no rows": (RSNA, "labels.csv has a header but no rows; write one row per box"),
    "photo": (f"{RSNA},1,1,2,2,1", "line 2: the photo's file name is ''; give a path below the photos' folder"),
    "class": ("image,label,x,y,w,h\na,,1,1,2,2", "line 2: the class '' is not allowed; write the name of the class"),
    "quotes": (f'{RSNA}"a,1,1,2,2,1', "labels.csv line 2: not CSV (unexpected end of data); check the quotes"),
    "long field": (f"{RSNA}{'9' * 10**7},1,1,2,2,1", "not CSV (field larger than field limit (131072))"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_wrong_row_is_refused_with_its_line(manifest: Manifest, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        open_image_set(manifest(text))
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("header", ["image,label,x,y,width", "image,label,x,x,y,w,h", "x,y,w,h,label", "a;b", ""])
def test_wrong_header_is_refused(manifest: Manifest, header: str) -> None:
    with pytest.raises(DataError, match=r"labels\.csv"):
        open_image_set(manifest(f"{header}\n1,2,3\n" if header else ""), "boxes")


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(RSNA.encode() + "ä,1,1,2,2,1".encode("latin-1"))
    with pytest.raises(DataError, match=r"x\.csv is not UTF-8 text"):
        open_image_set(tmp_path / "x.csv")


def test_dicom_is_said_in_words(manifest: Manifest, save: Save, photo: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "stage_2_train_images").mkdir()
    (tmp_path / "stage_2_train_images" / "a.dcm").write_bytes(b"")
    path = manifest(f"{RSNA}a,1,1,2,2,1\nb,,,,,0\n")
    with pytest.raises(
        DataError, match=r"its photos are DICOM files \('.*a\.dcm'\), which are not read; save them as PNG"
    ):
        open_image_set(path)
    save("images/b.png", photo)
    assert "1 photos are DICOM files" in open_image_set(path).notes[-1]


def test_photos_elsewhere_are_searched_by_their_names(manifest: Manifest, save: Save, photo: np.ndarray) -> None:
    save("images/a.png", photo)
    images = open_image_set(manifest(f"{RSNA}/data/rsna/a.png,1,1,2,2,1\n"))
    assert images.entries[0].problem == ""
    assert "1 photos are named by a path that is not below their folder" in images.notes[1]


def test_photos_of_one_file_name_are_not_taken_for_one(manifest: Manifest, save: Save, photo: np.ndarray) -> None:
    save("1.png", photo)
    rows = "/mnt/a/1.png,cat,1,1,2,2\n/mnt/b/1.png,cat,3,1,2,2\n"
    with pytest.raises(DataError, match=r"line 3: '/mnt/b/1\.png' and '/mnt/a/1\.png' of .* have the same file name"):
        open_image_set(manifest(f"image,label,x,y,width,height\n{rows}"))


def test_a_photo_is_not_split_in_two(manifest: Manifest, save: Save, photo: np.ndarray) -> None:
    save("1.png", photo)
    with pytest.raises(DataError, match="name the same photo and class"):
        open_image_set(manifest("image,label,x,y,width,height\n1,cat,1,1,2,2\n1.png,cat,3,1,2,2\n"))


def test_a_class_index_is_not_dropped(manifest: Manifest, save: Save, photo: np.ndarray) -> None:
    save("1.png", photo)
    images = open_image_set(manifest("image,label,class_index,x,y,width,height\n1.png,cat,7,1,1,2,2\n"))
    assert (images.kind, [entry.class_index for entry in images.entries]) == ("csv", [7])
