"""Map files: their paths, what is in them, and the sums that find a damaged one."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.store.files import sha256_of
from evalkit.store.maps import image_file, load_map, map_path, npy_bytes, remove_file, save_map, save_maps
from evalkit.store.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path):
    opened = RunFolder.write(tmp_path / "run")
    yield opened
    opened.close()


def test_maps_are_checked_by_their_sum(tmp_path):
    path = map_path("occlusion(patch_size=40)", "a/ü b.jpg")
    digest = save_map(tmp_path, path, np.arange(6.0).reshape(2, 3)).sha256
    np.testing.assert_array_equal(load_map(tmp_path, path, digest, ""), np.arange(6, dtype=np.float32).reshape(2, 3))
    data = bytearray((tmp_path / path).read_bytes())
    data[-1] ^= 1
    (tmp_path / path).write_bytes(data)
    assert load_map(tmp_path, path, digest, "") is None
    (tmp_path / path).unlink()
    assert load_map(tmp_path, path, digest, "") is None


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


TEXTS = ("gradcam(layer=vgg16/block5_conv3)", "occlusion(patch_size=16, stride=8)", "maps(/abs/é)")


@pytest.fixture
def several(rng):
    """Three maps: noise, which is stored, and patches, which are compressed."""
    noise = rng.random((2, 64, 64)).astype(np.float32)
    return dict(zip(TEXTS, [*noise, np.kron(noise[0, :8, :8], np.ones((8, 8), np.float32))], strict=True))


def saved(root, maps):
    contents = {text: npy_bytes(one) for text, one in maps.items()}
    path = image_file("cat.jpg")
    return path, {text: sha256_of(data) for text, data in contents.items()}, save_maps(root, path, contents)


def test_maps_of_an_image_are_in_one_file_that_numpy_opens(tmp_path, several):
    path, sums, size = saved(tmp_path, several)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [tmp_path / path]
    assert (tmp_path / path).stat().st_size == size < 2.2 * 64 * 64 * 4
    with np.load(tmp_path / path) as opened:
        assert set(opened) == set(several)
    for text, one in several.items():
        found = load_map(tmp_path, path, sums[text], text)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, one)
        assert load_map(tmp_path, path, "0" * 64, text) is None
    assert load_map(tmp_path, path, sums[TEXTS[0]], "another") is None
    before = (tmp_path / path).read_bytes()
    saved(tmp_path, several)
    assert (tmp_path / path).read_bytes() == before


def test_a_flipped_bit_never_gives_another_map(tmp_path, several, rng):
    path, sums, size = saved(tmp_path, several)
    whole = (tmp_path / path).read_bytes()
    lost = 0
    for place in rng.integers(size, size=300):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        (tmp_path / path).write_bytes(damaged)
        for text, one in several.items():
            found = load_map(tmp_path, path, sums[text], text)
            lost += found is None
            assert found is None or np.array_equal(found, one)
    assert lost > 200  # what does not matter is dates and the like
    for cut in rng.integers(size, size=30):
        (tmp_path / path).write_bytes(whole[:cut])
        assert all(load_map(tmp_path, path, sums[text], text) is None for text in several)


def test_maps_in_float16_are_for_pictures(tmp_path, several):
    text, one = next(iter(several.items()))
    path = image_file("cat.jpg")
    save_maps(tmp_path, path, {text: npy_bytes(one.astype(np.float16))})
    found = load_map(tmp_path, path, sha256_of(npy_bytes(one)), text)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, one, atol=1e-3)
    assert load_map(tmp_path, path, sha256_of(npy_bytes(one)), text, exact=True) is None


def test_further_files_of_an_image_have_further_names():
    used = []
    for ending in ("", "-2", "-3"):
        used.append(image_file("a", used))
        assert used[-1].endswith(f"{ending}.npz")
    assert image_file("a", used[1:]) == used[0]


def test_only_map_files_in_their_place_are_removed(tmp_path):
    run, others = tmp_path / "run", tmp_path / "others"
    names = ("maps/a-01234567.npz", "maps/a-01234567-2.npz", "maps/gradcam/a-01234567.npy")
    kept = ("maps/a.npz", "a-01234567.npz", "maps/x/y/a-01234567.npz")
    for root, files in ((run, names + kept), (others, ("a-01234567.npz",))):
        for name in files:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("x")
    (run / "maps" / "link").symlink_to(others)
    for name in (*names, *kept, "maps/link/a-01234567.npz", "../others/a-01234567.npz", "maps/gone-01234567.npz"):
        remove_file(run, name)
    assert not any((run / name).exists() for name in names)
    assert all((run / name).exists() for name in kept)
    assert (others / "a-01234567.npz").exists()
