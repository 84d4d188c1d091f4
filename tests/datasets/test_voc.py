from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evalkit.core.errors import DataError, ImageError
from evalkit.datasets.open import open_image_set
from evalkit.datasets.readers.voc import read_voc

Save = Callable[[str, np.ndarray], Path]
Write = Callable[..., Path]


def thing(name: str, *box: object, more: str = "") -> str:
    edges = "".join(
        f"<{edge}>{value}</{edge}>" for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return f"<object><name>{name}</name>{more}<bndbox>{edges}</bndbox></object>"


def annotation(*objects: str, filename: str = "a.png", size: tuple[int, int] | None = (6, 4)) -> str:
    said = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation><filename>{filename}</filename>{said}{''.join(objects)}</annotation>"


@pytest.fixture
def write(tmp_path: Path, save: Save) -> Write:
    """Write VOC/Annotations/<name>.xml beside VOC/JPEGImages/a.png of 6 x 4."""

    def make(text: str, name: str = "a.xml") -> Path:
        save("VOC/JPEGImages/a.png", np.zeros((4, 6, 3), np.uint8))
        path = tmp_path / "VOC" / "Annotations" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
        return tmp_path / "VOC"

    return make


def test_boxes_count_from_one_with_both_ends(write: Write) -> None:
    images = open_image_set(write(annotation(thing("cat", 1, 1, 6, 4), thing("dog", 2, 3, 2, 3))))
    assert (images.name, images.kind, images.class_names) == ("VOC", "voc", ("cat", "dog"))
    assert [(entry.id, entry.label, entry.boxes) for entry in images.entries] == [
        ("a.png#cat", "cat", ((0, 0, 6, 4),)),
        ("a.png#dog", "dog", ((1, 2, 2, 3),)),
    ]
    cat, dog = images
    assert cat.region.all()
    assert np.argwhere(dog.region).tolist() == [[2, 1]]


def test_difficult_objects_are_not_in_the_region(write: Write) -> None:
    hard = "<difficult>1</difficult>"
    images = read_voc(
        write(
            annotation(
                thing("cat", 1, 1, 2, 2, more="<difficult>0</difficult>"),
                thing("cat", 2, 2, 4, 4, more=hard),
                thing("dog", 5, 1, 6, 2, more=hard),
            )
        )
    )
    (cat,) = images
    assert np.argwhere(cat.region).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert np.argwhere(cat.ignore).tolist() == [[1, 2], [1, 3], [2, 1], [2, 2], [2, 3], [3, 1], [3, 2], [3, 3]]
    (note,) = images.notes
    assert note == ("VOC: left out: 1 classes that have only difficult objects in a photo (the first: a.xml, dog)")


def test_imagenet_layout_is_read(tmp_path: Path, save: Save) -> None:
    photo = save("ILSVRC/Data/CLS-LOC/train/n01440764/n01440764_10040.png", np.zeros((4, 6, 3), np.uint8))
    photo = photo.rename(photo.with_suffix(".JPEG"))
    folder = tmp_path / "ILSVRC" / "Annotations" / "CLS-LOC" / "train"
    (folder / "n01440764").mkdir(parents=True)
    text = annotation(thing("n01440764", 1, 1, 3, 3), filename="%s")
    (folder / "n01440764" / "n01440764_10040.xml").write_text(text)
    images = read_voc(folder)
    assert [(entry.path, entry.label, entry.problem) for entry in images.entries] == [(photo, "n01440764", "")]
    assert len(list(images)) == 1


def test_single_file_and_flat_folder_are_read(tmp_path: Path, save: Save) -> None:
    save("b.png", np.zeros((4, 6, 3), np.uint8))
    path = tmp_path / "b.xml"
    path.write_bytes(
        b"\xef\xbb\xbf" + annotation(thing("cat", 1, 1, 3, 3), filename="b.jpg").replace("><", ">\r\n<").encode()
    )
    assert [image.id for image in open_image_set(path)] == ["b.jpg#cat"]
    assert [image.id for image in open_image_set(tmp_path)] == ["b.jpg#cat"]


BOMB = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]><annotation><filename>&y;</filename></annotation>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>'
WRONG_FILES = [
    (BOMB, "a.xml: a document type, entities or external references are not allowed"),
    (OUTSIDE, "a.xml: a document type, entities or external references are not allowed"),
    ("", "a.xml is not well-formed XML"),
    ("<annotation><object></annotation>", "a.xml is not well-formed XML: mismatched tag: line 1"),
    ("<?xml version='1.0' encoding='none'?><annotation/>", "a.xml is not well-formed XML"),
    ("<html/>", "a.xml: the root element is <html>"),
    (annotation(thing("", 1, 1, 2, 2)), "a.xml object 1: name '' is not allowed"),
    (annotation(), "none of its 1 XML files names an object"),
]


@pytest.mark.parametrize(("text", "message"), WRONG_FILES, ids=range(len(WRONG_FILES)))
def test_unusable_file_is_refused_by_name(write: Write, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_voc(write(text))
    assert message in str(caught.value)


@pytest.mark.parametrize("filename", ["C:\\me\\a.png", "D:/x/a.png", "/home/me/a.png", "../../a.png", "..\\a.png"])
def test_path_on_another_machine_is_searched_by_its_name(write: Write, filename: str) -> None:
    write(annotation(thing("dog", 1, 1, 2, 2), filename="a.png"), "b.xml")
    images = read_voc(write(annotation(thing("cat", 1, 1, 2, 2), filename=filename)))
    assert [entry.problem for entry in images.entries] == ["", ""]
    assert {entry.path.name for entry in images.entries} == {"a.png"}
    (note,) = images.notes
    assert note.startswith("VOC: 1 photos are named by a path that is not below their folder (the first: a.xml, '")


def test_unknown_path_on_another_machine_is_one_files_problem(write: Write, tmp_path: Path) -> None:
    write(annotation(thing("dog", 1, 1, 2, 2), filename="a.png"), "b.xml")
    images = read_voc(write(annotation(thing("cat", 1, 1, 2, 2), filename="/etc/passwd"), "c.xml"))
    assert [entry.problem for entry in images.entries] == ["", "file is missing"]
    assert all(entry.path.is_relative_to(tmp_path) for entry in images.entries)


WRONG_BOXES = [
    (("nan", 1, 2, 2), "a.xml object 1: box (nan, 0, 2, 2) is not four finite numbers"),
    ((3, 1, 2, 2), "a.xml object 1: box (2, 0, 2, 2) has no area"),
    ((1, 1, 9, 2), "a.xml object 1: box (0, 0, 9, 2) reaches outside the photo of 6 x 4"),
    (("one", 1, 2, 2), "a.xml object 1: bndbox (one, 1, 2, 2) is not xmin, ymin, xmax, ymax in pixels"),
    (("", 1, 2, 2), "is not xmin, ymin, xmax, ymax in pixels"),
]


@pytest.mark.parametrize(("box", "message"), WRONG_BOXES)
def test_unusable_box_is_its_entrys_problem(write: Write, box: tuple[object, ...], message: str) -> None:
    images = read_voc(write(annotation(thing("cat", *box), thing("dog", 1, 1, 2, 2))))
    assert message in images.entries[0].problem
    assert images.read(images.entries[1]).region.sum() == 4


def test_box_from_zero_is_clipped(write: Write) -> None:
    assert read_voc(write(annotation(thing("cat", 0, 0, 3, 3)))).entries[0].boxes == ((0, 0, 3, 3),)


def test_wrong_size_is_a_problem_and_zeros_are_ignored(write: Write) -> None:
    images = read_voc(write(annotation(thing("cat", 1, 1, 3, 3), size=(7, 4))))
    with pytest.raises(ImageError, match=r"the photo is 6 x 4 .* its annotation says 7 x 4"):
        images.read(images.entries[0])
    assert len(list(read_voc(write(annotation(thing("cat", 1, 1, 3, 3), size=(0, 0)))))) == 1


def test_two_files_of_one_photo_are_refused(write: Write) -> None:
    write(annotation(thing("cat", 1, 1, 3, 3)))
    path = write(annotation(thing("cat", 1, 1, 3, 3)), name="b.xml")
    with pytest.raises(DataError, match=r"b\.xml and a\.xml name the same photo and class"):
        read_voc(path)


def test_folder_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(DataError, match="has no XML file"):
        open_image_set(tmp_path)


def test_box_is_clipped_if_the_size_is_unknown(write: Write) -> None:
    images = read_voc(write(annotation(thing("cat", 0, 1, 7, 5), size=None)))
    (cat,) = images
    assert cat.boxes.tolist() == [[0, 0, 6, 4]]
    images = read_voc(write(annotation(thing("cat", 1, 1, 8, 4), size=None)))
    with pytest.raises(ImageError, match=r"box .* reaches outside the photo of 6 x 4"):
        images.read(images.entries[0])
    images = read_voc(write(annotation(thing("cat", 7, 1, 7, 4), size=None)))
    with pytest.raises(ImageError, match="has no area inside the photo"):
        images.read(images.entries[0])


def test_ambiguous_photo_name_is_a_problem(write: Write, save: Save) -> None:
    folder = write(annotation(thing("cat", 1, 1, 2, 2), filename="a"))
    save("VOC/JPEGImages/a.jpg", np.zeros((4, 6, 3), np.uint8))
    images = read_voc(folder)
    with pytest.raises(
        ImageError, match=r"'a.jpg' and 'a.png' have the name of this photo; keep one, or write the extension"
    ):
        images.read(images.entries[0])
    (cat,) = read_voc(write(annotation(thing("cat", 1, 1, 2, 2), filename="a.png")))
    assert cat.region.sum() == 4


def test_filename_of_another_photo_is_a_problem(write: Write, save: Save) -> None:
    folder = write(annotation(thing("cat", 1, 1, 2, 2), filename="a.png"), name="b.xml")
    save("VOC/JPEGImages/b.png", np.zeros((4, 6, 3), np.uint8))
    images = read_voc(folder)
    with pytest.raises(ImageError, match=r"its filename is 'a.png', but 'b.png' has its name; both exist, keep one"):
        images.read(images.entries[0])


def test_filename_shared_by_all_files_is_ignored(write: Write, save: Save) -> None:
    for name in ("b", "c"):
        save(f"VOC/JPEGImages/{name}.png", np.zeros((4, 6, 3), np.uint8))
        folder = write(annotation(thing("cat", 1, 1, 2, 2), filename="%s"), name=f"{name}.xml")
    assert [(image.id, image.region.sum()) for image in read_voc(folder)] == [("b#cat", 4), ("c#cat", 4)]


@pytest.mark.parametrize("hard", ["1", "true", "True", "1.0"])
def test_every_spelling_of_difficult_is_read(write: Write, hard: str) -> None:
    objects = thing("cat", 1, 1, 2, 2), thing("cat", 3, 3, 4, 4, more=f"<difficult>{hard}</difficult>")
    (cat,) = read_voc(write(annotation(*objects)))
    assert cat.region.sum() == cat.ignore.sum() == 4


def test_missing_photos_are_noted_with_the_folder(write: Write) -> None:
    images = read_voc(write(annotation(thing("cat", 1, 1, 2, 2), filename="gone.png"), name="gone.xml"))
    note = images.notes[-1]
    assert note.startswith("VOC: 1 of 1 photos are missing; searched below '")
    assert "VOC': JPEGImages, Data, images, image, Images, Annotations, Annotations/JPEGImages" in note


@pytest.mark.parametrize("data", ["annotations/xmls", "."])
def test_photos_beside_annotations_xmls_are_found(tmp_path: Path, save: Save, data: str) -> None:
    """The layout of Oxford-IIIT Pet."""
    save("images/a.png", np.zeros((4, 6, 3), np.uint8))
    save("annotations/trimaps/a.png", np.zeros((4, 6), np.uint8))
    (tmp_path / "annotations" / "xmls").mkdir()
    (tmp_path / "annotations" / "xmls" / "a.xml").write_text(annotation(thing("cat", 1, 1, 3, 2)))
    if data == ".":
        with pytest.raises(DataError, match=r"its annotations, .*annotations/xmls; --data-format folder"):
            open_image_set(tmp_path)
        with pytest.raises(DataError, match=r"not of classes; name its annotations, .*annotations/xmls; --data-format"):
            open_image_set(tmp_path / "annotations")
        return
    (entry,) = open_image_set(tmp_path / data).entries
    assert (entry.path, entry.problem) == (tmp_path / "images" / "a.png", "")
