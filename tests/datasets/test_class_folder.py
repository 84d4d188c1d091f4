from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evalkit.core.errors import DataError, ImageError
from evalkit.datasets.readers.class_folder import read_class_folder

Save = Callable[[str, np.ndarray], Path]


def ids(path: Path) -> list[str]:
    return [entry.id for entry in read_class_folder(path).entries]


def test_folders_are_classes_in_sorted_order(tmp_path: Path, save: Save, photo: np.ndarray) -> None:
    for name in ("dog/2.png", "dog/10.png", "Cat/x.PNG", "ant/deep/er/y.png"):
        save(name, photo)
    images = read_class_folder(tmp_path)
    assert [(entry.id, entry.label) for entry in images.entries] == [
        ("Cat/x.PNG", "Cat"),
        ("ant/deep/er/y.png", "ant"),
        ("dog/10.png", "dog"),
        ("dog/2.png", "dog"),
    ]
    assert images.class_names == ("Cat", "ant", "dog")
    assert (images.name, images.kind) == (tmp_path.name, "folder")
    assert {entry.class_index for entry in images.entries} == {None}


def test_an_image_is_read_from_its_folder(tmp_path: Path, save: Save, photo: np.ndarray) -> None:
    file = save("dog/2.png", photo)
    images = read_class_folder(tmp_path)
    (image,) = images
    assert np.array_equal(image.pixels, photo)
    assert (image.id, image.label, image.class_index, image.region) == ("dog/2.png", "dog", -1, None)
    assert images.entries[0].size_bytes == file.stat().st_size
    assert images.entries[0].mtime_ns == file.stat().st_mtime_ns


@pytest.mark.parametrize("extension", ["jpg", "JPEG", "png", "bmp", "gif", "Tif", "tiff", "webp"])
def test_every_extension_is_read_in_any_case(extension: str, tmp_path: Path, save: Save, photo: np.ndarray) -> None:
    save(f"cat/a.{extension}", photo)
    assert ids(tmp_path) == [f"cat/a.{extension}"]


def test_hidden_and_other_files_are_skipped(tmp_path: Path, save: Save, photo: np.ndarray) -> None:
    for name in ("cat/a.png", "cat/.b.png", ".git/c.png", "cat/.cache/d.png"):
        save(name, photo)
    (tmp_path / "cat/notes.txt").write_text("x")
    (tmp_path / "README.md").write_text("x")
    assert ids(tmp_path) == ["cat/a.png"]
    assert read_class_folder(tmp_path).class_names == ("cat",)


def test_empty_class_folder_is_a_class(tmp_path: Path, save: Save, photo: np.ndarray) -> None:
    save("dog/a.png", photo)
    (tmp_path / "cat").mkdir()
    assert read_class_folder(tmp_path).class_names == ("cat", "dog")


def test_names_with_spaces_and_accents_are_read(tmp_path: Path, save: Save, photo: np.ndarray) -> None:
    save("große Katze/mein Bild (1) 猫.png", photo)
    (image,) = read_class_folder(tmp_path)
    assert (image.id, image.label) == ("große Katze/mein Bild (1) 猫.png", "große Katze")


def test_flat_folder_has_no_labels(tmp_path: Path, save: Save, photo: np.ndarray) -> None:
    save("b.png", photo)
    save("a.png", photo)
    (tmp_path / "annotations").mkdir()
    images = read_class_folder(tmp_path)
    assert [(entry.id, entry.label, entry.class_index) for entry in images.entries] == [
        ("a.png", "", None),
        ("b.png", "", None),
    ]
    assert images.class_names is None


def test_link_loops_are_visited_once(tmp_path: Path, save: Save, photo: np.ndarray) -> None:
    save("set/cat/a.png", photo)
    save("set/dog/b.png", photo)
    root = tmp_path / "set"
    (root / "cat/itself").symlink_to(root / "cat")
    (root / "cat/up").symlink_to(root)
    (root / "cat/far up").symlink_to("/")
    (root / "dog/knot").symlink_to(root / "dog/knot")
    (root / "round").symlink_to(root)
    assert ids(root) == ["cat/a.png", "dog/b.png"]


def test_linked_class_folders_and_photos_are_followed(tmp_path: Path, save: Save, photo: np.ndarray) -> None:
    save("elsewhere/a.png", photo)
    (tmp_path / "set/dog").mkdir(parents=True)
    (tmp_path / "set/cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/dog/b.png").symlink_to(tmp_path / "elsewhere/a.png")
    assert ids(tmp_path / "set") == ["cat/a.png", "dog/b.png"]
    assert len([image.pixels for image in read_class_folder(tmp_path / "set")]) == 2


def test_unreadable_photo_is_an_entry_with_a_problem(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/broken link.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "cat/knot.png").symlink_to(tmp_path / "cat/knot.png")
    os.mkfifo(tmp_path / "cat/pipe.png")
    (tmp_path / "cat/text.png").write_text("x")
    images = read_class_folder(tmp_path)
    reasons = {}
    for entry in images.entries:
        with pytest.raises(ImageError) as caught:
            images.read(entry)
        reasons[entry.id] = str(caught.value)
    assert reasons == {
        "cat/broken link.png": "file is missing",
        "cat/knot.png": "cannot be read: Too many levels of symbolic links",
        "cat/pipe.png": "not a file",
        "cat/text.png": "cannot be decoded: not a file of the formats BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP",
    }


def test_photo_removed_after_planning_is_missing(tmp_path: Path, save: Save, photo: np.ndarray) -> None:
    file = save("cat/a.png", photo)
    images = read_class_folder(tmp_path)
    file.unlink()
    with pytest.raises(ImageError, match=r"^file is missing$"):
        images.read(images.entries[0])


def test_planning_reads_no_photo(
    tmp_path: Path, save: Save, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    save("cat/a.png", photo)
    monkeypatch.delattr(Path, "read_bytes")
    assert len(read_class_folder(tmp_path).limit(1, seed=0)) == 1


@pytest.mark.parametrize("inside", ["", "cat/notes.txt"])
def test_folder_without_photos_is_refused(inside: str, tmp_path: Path) -> None:
    if inside:
        (tmp_path / inside).parent.mkdir()
        (tmp_path / inside).write_text("x")
    with pytest.raises(DataError, match=r"has no photos \(\.jpg, .*\); expected <class>/<image>, or images in it"):
        read_class_folder(tmp_path)


def test_loose_photos_beside_class_folders_are_refused(tmp_path: Path, save: Save, photo: np.ndarray) -> None:
    save("cat/a.png", photo)
    save("loose.png", photo)
    with pytest.raises(DataError, match=r"in itself \('loose\.png'\) and in class folders \('cat'\)"):
        read_class_folder(tmp_path)


def test_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    try:
        (tmp_path / "cat" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    except OSError:
        pytest.skip("the file system takes only UTF-8 names")
    with pytest.raises(DataError, match=r"'cat/\\udcff\.png' in .*: the name is not valid UTF-8"):
        read_class_folder(tmp_path)


def test_control_characters_in_names_are_escaped(tmp_path: Path, save: Callable[[str, np.ndarray], Path]) -> None:
    save("c\x1b[31mat/a\nb.png", np.zeros((4, 6, 3), np.uint8))
    images = read_class_folder(tmp_path)
    assert [(entry.id, entry.label) for entry in images.entries] == [("c\\x1b[31mat/a\\nb.png", "c\\x1b[31mat")]
    assert images.read(images.entries[0]).pixels.shape == (4, 6, 3)


def test_jpeg_extensions_are_read_and_other_formats_counted(tmp_path: Path) -> None:
    for name in ("1.jfif", "2.JPE", "3.heic", "4.avif", "5.txt"):
        (tmp_path / "cat").mkdir(exist_ok=True)
        (tmp_path / "cat" / name).write_text("")
    images = read_class_folder(tmp_path)
    assert [entry.id for entry in images.entries] == ["cat/1.jfif", "cat/2.JPE"]
    (note,) = images.notes
    assert "left out: 2 image files of other formats (.heic, " in note


def test_csv_beside_flat_photos_is_noted(tmp_path: Path, save: Save, photo: np.ndarray) -> None:
    save("1.png", photo)
    (tmp_path / "labels.csv").write_text("image,label\n")
    (note,) = read_class_folder(tmp_path).notes
    assert note.endswith("'labels.csv' is beside the photos and not read; name it as the data to use it")
