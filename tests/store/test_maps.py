"""Map files: their paths, and the sum that finds a damaged one."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.store.maps import load_map, map_path, save_map
from evalkit.store.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path):
    opened = RunFolder.write(tmp_path / "run")
    yield opened
    opened.close()


def test_maps_are_checked_by_their_sum(tmp_path):
    path = map_path("occlusion(patch_size=40)", "a/ü b.jpg")
    digest = save_map(tmp_path, path, np.arange(6.0).reshape(2, 3)).sha256
    np.testing.assert_array_equal(load_map(tmp_path, path, digest), np.arange(6, dtype=np.float32).reshape(2, 3))
    data = bytearray((tmp_path / path).read_bytes())
    data[-1] ^= 1
    (tmp_path / path).write_bytes(data)
    assert load_map(tmp_path, path, digest) is None
    (tmp_path / path).unlink()
    assert load_map(tmp_path, path, digest) is None


@pytest.mark.parametrize("image_id", ["../../etc/passwd", "/abs", "a" * 300, "", "..", "a\0b", "x/y"])
def test_map_paths_stay_inside_and_differ(image_id):
    path = map_path("random", image_id)
    assert path.startswith("maps/random/")
    assert path.count("/") == 2
    assert ".." not in path.split("/")
    assert map_path("random", image_id + "!") != path
    assert len(path) < 150


def test_similar_explainers_have_separate_folders():
    texts = ("maps(m a b)", "maps(m_a_b)", "maps(m a+b)", "a, b", "a,_b ", "é" * 90, "é" * 91)
    folders = {map_path(text, "a.jpg").split("/")[1] for text in texts}
    assert len(folders) == len(texts)
    assert map_path("occlusion(patch_size=16, stride=8)", "a").split("/")[1] == "occlusion(patch_size=16,_stride=8)"
