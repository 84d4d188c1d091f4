from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evalkit.datasets.open import open_image_set
from evalkit.errors import DataError


def test_a_csv_file_is_a_manifest_and_a_folder_a_class_folder(
    tmp_path: Path, save: Callable[[str, np.ndarray], Path], photo: np.ndarray
) -> None:
    save("cat/a.png", photo)
    table = tmp_path / "Labels.CSV"
    table.write_text("image,class_index\ncat/a.png,0\n")
    assert open_image_set(str(table)).kind == "csv"
    assert open_image_set(tmp_path).kind == "folder"


def test_the_folder_with_a_dot_is_named(
    tmp_path: Path, save: Callable[[str, np.ndarray], Path], photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    save("pets/cat/a.png", photo)
    monkeypatch.chdir(tmp_path / "pets")
    assert open_image_set(".").name == "pets"


def test_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labels.csv").write_text("image,class_index\na.png,0\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_image_set("~/labels.csv").name == "labels.csv"


def test_what_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--data '.*none' does not exist; name a CSV manifest, or a folder"):
        open_image_set(tmp_path / "none")


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("x")
    with pytest.raises(DataError, match=r"labels\.txt' is neither a folder nor a \.csv file"):
        open_image_set(tmp_path / "labels.txt")


def test_importing_the_readers_imports_nothing_slow() -> None:
    modules = "open, csv_manifest, class_folder, classes, geometry, arrays"
    slow = "{'PIL', 'tensorflow', 'scipy', 'cv2', 'skimage'}"
    code = f"import sys; from evalkit.datasets import {modules}; print(sorted({slow} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
