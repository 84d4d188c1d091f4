from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from evalkit.core.errors import ConfigError, DataError
from evalkit.datasets.open import open_image_set
from evalkit.datasets.readers.catalog import BUILT_IN, ENTRY_POINTS, READERS, ReaderRegistry, all_readers, reader_names

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs" / "datasets.md"


def test_csv_and_class_folder_are_recognized(
    tmp_path: Path, save: Callable[[str, np.ndarray], Path], photo: np.ndarray
) -> None:
    save("cat/a.png", photo)
    table = tmp_path / "Labels.CSV"
    table.write_text("image,class_index\ncat/a.png,0\n")
    assert open_image_set(str(table)).kind == "csv"
    assert open_image_set(tmp_path).kind == "folder"


LAYOUTS = {
    "folder": ("", {"cat/a.png": ""}),
    "masks": ("", {"images/cat/a.png": "", "masks/cat/a.png": ""}),
    "csv": ("x.csv", {"x.csv": "image,label\na.png,cat\n"}),
    "pets": (
        "",
        {"images/Bengal_1.jpg": "", "annotations/trimaps/Bengal_1.png": "", "annotations/list.txt": "Bengal_1 6 1 2\n"},
    ),
    "boxes": ("x.csv", {"x.csv": "patientId,x,y,width,height,Target\na,1,1,2,2,1\n"}),
    "labelme": (
        "",
        {
            "a.jpg": "",
            "a.json": '{"shapes": [{"label": "cat", "points": [[0, 0], [1, 1]], "shape_type": "rectangle"}]}',
        },
    ),
    "yolo": ("", {"images/a.jpg": "", "labels/a.txt": "0 0.5 0.5 0.2 0.2\n"}),
    "coco": (
        "x.JSON",
        {
            "x.JSON": '{"images": [{"id": 1, "file_name": "a"}], "categories": [{"id": 1, "name": "cat"}], '
            '"annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}]}'
        },
    ),
    "voc": (
        "",
        {
            "Annotations/a.xml": "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
            "<xmax>2</xmax><ymax>2</ymax></bndbox></object></annotation>"
        },
    ),
    "imagenet": ("x.csv", {"x.csv": "\ufeffImageId, PredictionString\r\na,n02123045 1 1 2 2\r\n"}),
}


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("kind", reader_names())
def test_every_format_is_recognized_and_can_be_forced(tmp_path: Path, kind: str, forced: bool) -> None:
    name, files = LAYOUTS[kind]
    for file, text in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8", newline="")
    images = open_image_set(tmp_path / name, kind if forced else None)
    assert (images.kind, len(images)) == (kind, 1)


def test_wrong_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("image,label\na.png,cat\n")
    for kind in reader_names():
        if kind != "csv":
            with pytest.raises(DataError):
                open_image_set(tmp_path / "x.csv", kind)
    with pytest.raises(ConfigError, match="--data-format 'foldr' is unknown: did you mean 'folder'"):
        open_image_set(tmp_path, "foldr")


def test_list_and_documentation_name_every_format() -> None:
    text = DOCUMENTATION.read_text(encoding="utf-8")
    assert [reader.option for reader in all_readers() if reader.option] == list(reader_names())
    assert all(f"| `{name}` |" in text for name in reader_names())
    assert all(reader.example.count("\n") == 1 for reader in all_readers())


def test_dot_is_named_by_its_folder(
    tmp_path: Path, save: Callable[[str, np.ndarray], Path], photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    save("pets/cat/a.png", photo)
    monkeypatch.chdir(tmp_path / "pets")
    assert open_image_set(".").name == "pets"


def test_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labels.csv").write_text("image,class_index\na.png,0\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_image_set("~/labels.csv").name == "labels.csv"


def test_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--data '.*none' does not exist; name a CSV manifest, or a folder"):
        open_image_set(tmp_path / "none")


def test_unknown_file_type_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("x")
    with pytest.raises(
        DataError,
        match=r"labels\.txt' has no format that is recognized; name one of `list datasets` \(FOLDER, FOLDER or LIST",
    ):
        open_image_set(tmp_path / "labels.txt")


def test_readers_import_nothing_slow() -> None:
    modules = "open, classes, geometry, arrays, readers.catalog"
    slow = "{'PIL', 'pycocotools', 'defusedxml', 'tensorflow', 'scipy', 'cv2', 'skimage'}"
    imports = "; ".join(f"import evalkit.datasets.{module}" for module in modules.split(", "))
    code = f"{imports}; evalkit.datasets.readers.catalog.all_readers(); import sys"
    code += f"; print(sorted({slow} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize("kind", ["csv", "imagenet", "folder", "masks"])
def test_forced_format_refuses_the_wrong_kind_of_path(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "x.csv"
    file.write_text("image,label\na.png,cat\n")
    wrong, found, wanted = (file, "file", "folder") if kind in ("folder", "masks") else (tmp_path, "folder", "file")
    with pytest.raises(DataError, match=f"is a {found}; --data-format {kind} takes a {wanted}; name one"):
        open_image_set(wrong, kind)


@pytest.mark.parametrize("kind", ["csv", "imagenet"])
def test_message_about_a_wrong_file_is_short(tmp_path: Path, kind: str) -> None:
    (tmp_path / "x.json").write_text("{" + ",".join(f'"key{number}": "\x1b[2J{"long" * 99}"' for number in range(999)))
    with pytest.raises(DataError) as caught:
        open_image_set(tmp_path / "x.json", kind)
    assert len(str(caught.value)) < 1000
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (("train/cat/1.jpg", "val/dog/1.jpg"), "name one of them, for example {}/val, or its annotations"),
        (("Images/1.jpg", "Masks/1.png"), "its folders Images, Masks have names of parts of a set"),
        (("images/1.jpg", "labels/1.txt", "data.csv"), "for example {}/images, or its list, {}/data.csv"),
        (("ILSVRC/Data/1.jpg", "LOC_val_solution.csv"), "or its list, {}/LOC_val_solution.csv"),
        (("data/1.jpg", "labels.json"), "or its list, {}/labels.json"),
    ],
)
def test_parts_of_a_set_are_refused_as_classes(tmp_path: Path, files: tuple[str, ...], named: str) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    with pytest.raises(DataError) as caught:
        open_image_set(tmp_path)
    assert named.replace("{}", str(tmp_path)) in str(caught.value)
    assert open_image_set(tmp_path, "folder").kind == "folder"


def touch(folder: Path, *files: str) -> None:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("")


@pytest.mark.parametrize("name", ["test", "images", "train"])
def test_part_name_among_classes_is_a_class_and_said(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "cat/1.jpg", f"{name}/1.jpg")
    images = open_image_set(tmp_path)
    assert images.class_names == ("cat", name)
    assert images.notes[0].endswith(f"'{name}' is taken as a class, although it has the name of a part of a set")


@pytest.mark.parametrize("files", [("trimaps/1.png",), ("Masks/cat/1.png",), ("train/cat/2.jpg", "train/dog/1.jpg")])
def test_parts_beside_classes_are_refused(tmp_path: Path, files: tuple[str, ...]) -> None:
    touch(tmp_path, "cat/1.jpg", *files)
    folder = files[0].split("/")[0]
    with pytest.raises(
        DataError, match=f"its folders {folder} have names of parts of a set, not of classes, beside cat"
    ):
        open_image_set(tmp_path)
    assert folder in (open_image_set(tmp_path, "folder").class_names or ())


@pytest.mark.parametrize("file", ["xmls/1.xml", "annotations/1.mat", "labels/1.txt"])
def test_annotations_without_photos_are_no_class(tmp_path: Path, file: str) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/1.jpg", "empty/.hidden", file)
    images = open_image_set(tmp_path, "folder")
    assert images.class_names == ("cat", "dog", "empty")
    assert "has no photos and the name of annotations; it is not a class" in images.notes[0]


@pytest.mark.parametrize(
    "names", [("training_set", "test_set"), ("seg_train", "seg_test"), ("Train", "VAL2017"), ("fold_1", "fold_2")]
)
def test_splits_by_other_names_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    touch(tmp_path, f"{names[0]}/cat/1.jpg", f"{names[1]}/cat/1.jpg", "__MACOSX/cat/._1.jpg", ".cache/1.jpg")
    with pytest.raises(DataError, match="have names of parts of a set, not of classes; name one of them, for example "):
        open_image_set(tmp_path)


def test_folder_in_a_folder_of_its_name_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "pets/Pets/cat/1.jpg", "pets/Pets/dog/1.jpg", "pets/__MACOSX/Pets/._x")
    with pytest.raises(
        DataError, match=r"its only folder 'Pets' has its own name, as archives leave it; name .*/Pets;"
    ):
        open_image_set(tmp_path / "pets")
    assert open_image_set(tmp_path / "pets" / "Pets").class_names == ("cat", "dog")
    assert open_image_set(tmp_path / "pets", "folder").class_names == ("Pets",)


def test_annotations_of_a_set_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "annotations/1.xml")
    with pytest.raises(DataError) as caught:
        open_image_set(tmp_path)
    assert f"for example {tmp_path}/images, or its annotations, {tmp_path}/annotations;" in str(caught.value)


def test_masks_beside_loose_photos_are_explained(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "masks/1.png")
    with pytest.raises(
        DataError, match="annotations in masks; masks are read from masks/ if their photos are in images/"
    ):
        open_image_set(tmp_path, "folder")


def test_annotations_beside_loose_photos_are_said(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "annotations/1.txt")
    images = open_image_set(tmp_path)
    assert [entry.label for entry in images.entries] == [""]
    assert images.notes[0].endswith("the folder 'annotations' is beside the photos and not read")


def test_single_class_of_several_folders_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "PetImages/cat/1.jpg", "PetImages/dog/1.jpg")
    (note,) = open_image_set(tmp_path).notes
    assert "'PetImages' is the only class; if its folders (cat, dog) are the classes, name " in note


def test_files_of_other_systems_are_skipped(tmp_path: Path) -> None:
    for file in (
        "cat/1.jpg",
        "cat/._1.jpg",
        "cat/@eaDir/1.jpg",
        "__MACOSX/cat/1.jpg",
        "annotations/._x.json",
        "._x.xml",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    assert [entry.id for entry in open_image_set(tmp_path).entries] == ["cat/1.jpg"]


def test_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.json")
    with pytest.raises(DataError, match="is neither a file nor a folder"):
        open_image_set(tmp_path / "x.json")


def test_imagenet_csv_is_recognized_by_both_columns(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('"ImageId","PredictionString"\na,n02123045 1 1 2 2\n')
    assert open_image_set(tmp_path / "x.csv").kind == "imagenet"
    (tmp_path / "x.csv").write_text("ImageId,label\na,cat\n")
    with pytest.raises(DataError, match="the column 'image' is missing"):
        open_image_set(tmp_path / "x.csv")


def test_coco_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is a folder without annotations/\*\.json or \*\.coco\.json; name the file"):
        open_image_set(tmp_path, "coco")


READER_MODULE = """
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.readers.base import Reader

def read(path):
    return ImageSet(path.name, "words", [], print)

READER = Reader("words", "FILE.words", "words", "a\\nb", "file", read, lambda path: path.suffix == ".words")
BROKEN = 1
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReaderRegistry:
    """The built-in readers, and a module with one of our own on the path."""
    (tmp_path / "words_reader.py").write_text(READER_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "words_reader", raising=False)
    registry = ReaderRegistry({name: f"{type(READERS).__module__}:X" for name in ("folder", "csv")})
    monkeypatch.setattr("evalkit.datasets.open.READERS", registry)
    return registry


def test_registered_reader_opens_its_format(tmp_path: Path, registry: ReaderRegistry) -> None:
    registry.register("words", "words_reader:READER")
    (tmp_path / "x.words").write_text("")
    assert registry.names() == ("folder", "csv", "words")
    assert open_image_set(tmp_path / "x.words", "words").kind == "words"
    with pytest.raises(DataError, match="is a folder; --data-format words takes a file"):
        open_image_set(tmp_path, "words")


def test_registered_reader_is_recognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "words_reader.py").write_text(READER_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(READERS, "_targets", {**READERS._targets, "words": "words_reader:READER"})
    (tmp_path / "x.words").write_text("")
    assert open_image_set(tmp_path / "x.words").kind == "words"
    assert "words" in reader_names()


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("csv", "words_reader:READER", "reader 'csv' exists already"),
        ("words", "words_reader", "target 'words_reader' is not allowed; write module:RECORD"),
    ],
)
def test_registering_refuses(registry: ReaderRegistry, name: str, target: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        registry.register(name, target)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("words_reader:BROKEN", "words_reader:BROKEN is not a Reader named 'x'"),
        ("words_reader:READER", "words_reader:READER is not a Reader named 'x'"),
        ("words_reader:NONE", "reader 'x': module 'words_reader' has no 'NONE'"),
        ("no_such_module:READER", "module 'no_such_module' cannot be imported: No module named 'no_such_module'"),
    ],
)
def test_broken_reader_is_named(registry: ReaderRegistry, target: str, message: str) -> None:
    registry.register("x", target)
    with pytest.raises(ConfigError, match=message):
        registry.get("x")


def test_entry_points_add_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = [EntryPoint("words", "m:R", ENTRY_POINTS), EntryPoint("csv", "m:R", ENTRY_POINTS)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: installed if group == ENTRY_POINTS else [])
    registry = ReaderRegistry({"csv": "here:CSV"}, ENTRY_POINTS)
    assert registry.names() == ("csv", "words")
    assert registry._all_targets["csv"] == "here:CSV"


def test_catalog_names_are_those_of_the_records() -> None:
    assert [reader.name for reader in all_readers()] == [*BUILT_IN.names(), *READERS.names()]
