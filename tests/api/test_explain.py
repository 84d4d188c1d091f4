"""``evalkit.explain`` and ``evalkit.save``: two lines, a picture."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import evalkit
from evalkit.core.errors import ConfigError, DataError, ModelError
from tests.builders import stored_maps


def test_two_lines_make_a_picture(tiny_model, photos, tmp_path):
    made = evalkit.explain(tiny_model, photos[0], "occlusion(patch_size=8)")
    saved = evalkit.save(made, tmp_path / "pictures", "cat")
    assert [path.name for path in saved] == ["cat.png", "cat.npy"]
    np.testing.assert_array_equal(np.load(saved.values), made.saliency_map)
    assert (made.saliency_map.shape, made.saliency_map.dtype) == ((32, 32), np.float32)
    assert (made.class_index, made.chosen) == (made.top[0].class_index, True)
    assert made.probability == made.top[0].probability


def test_the_map_is_the_one_that_a_run_makes(tiny_model, photos, tmp_path):
    made = evalkit.explain(tiny_model, photos[0], "occlusion(patch_size=8)", class_index=1)
    images = evalkit.ImageSet.from_arrays(photos[:1], [1])
    run = evalkit.evaluate(
        tiny_model, images, explainers="occlusion(patch_size=8)", metrics="sparseness", precision="float32",
        output=tmp_path / "run", progress=False,
    )  # fmt: skip
    (kept,) = (run.path / "maps").iterdir()
    np.testing.assert_array_equal(stored_maps(kept)["occlusion(patch_size=8)"], made.saliency_map)
    (written,) = run.save_maps(tmp_path / "written")
    np.testing.assert_array_equal(np.load(written), made.saliency_map)


def test_several_photos_of_any_size_give_one_explanation_each(tiny_model, photos):
    made = evalkit.explain(tiny_model, [photos[0], np.zeros((50, 20, 3), np.uint8)], geometry="center-crop")
    assert [one.image for one in made] == ["image 0", "image 1"]
    assert [one.saliency_map.shape for one in made] == [(32, 32)] * 2


def test_save_draws_an_array_with_and_without_its_photo(photos, tmp_path):
    own = np.eye(8)
    alone = evalkit.save(own, tmp_path, "alone")
    over = evalkit.save(own, tmp_path, "over", photo=photos[0])
    assert alone.picture.stat().st_size < over.picture.stat().st_size
    assert np.load(alone.values).dtype == np.float32
    plain = evalkit.save([[1, 0], [0, 1e-200]], tmp_path, "plain")
    assert np.load(plain.values).tolist() == [[1, 0], [0, 0]]
    small = evalkit.save(own * 1e-200, tmp_path, "small")
    assert np.array_equal(np.load(small.values), own)


def test_what_cannot_be_done_is_said(tiny_model, photos, tmp_path):
    with pytest.raises(DataError, match=r"image is float64 with values from .* multiply by 255"):
        evalkit.explain(tiny_model, photos[0] / 255)
    with pytest.raises(DataError, match=r"IMAGE 'none\.png': file is missing"):
        evalkit.explain(tiny_model, "none.png")
    with pytest.raises(ModelError, match="a Keras model, or a function of images"):
        evalkit.explain(object(), photos[0])
    with pytest.raises(ConfigError, match="name 'a/b' is not allowed"):
        evalkit.save(np.eye(3), tmp_path, "a/b")
    with pytest.raises(DataError, match=r"the map is float64 \(3,\)"):
        evalkit.save(np.ones(3), tmp_path, "a")
    with pytest.raises(DataError, match="the map is no array"):
        evalkit.save([[1.0, 2.0], [3.0]], tmp_path, "a")
    with pytest.raises(DataError, match=r"the map is object \(\)"):
        evalkit.save(None, tmp_path, "a")
    for photo in (photos[0] / 255, photos[0] - 128.0, photos):
        with pytest.raises(DataError, match=r"^photo: .* give"):
            evalkit.save(np.eye(3), tmp_path, "a", photo=photo)
    assert not list(tmp_path.iterdir())


def test_explain_takes_an_array_and_one_explainer(tiny_model, photos):
    made = evalkit.explain(tiny_model, Image.fromarray(photos[0]), "gradcam")
    assert np.array_equal(made.saliency_map, evalkit.explain(tiny_model, photos[0], "gradcam").saliency_map)
    for odd in (None, b"cat.jpg", 3):
        with pytest.raises(DataError, match=f"image is {type(odd).__name__}; a file, a Pillow image, or an array"):
            evalkit.explain(tiny_model, odd)
    for several in ("gradcam,uniform", ["gradcam"], ""):
        with pytest.raises(ConfigError, match="is not one spec; write for example 'gradcam'"):
            evalkit.explain(tiny_model, photos[0], several)


def test_saving_needs_no_tensorflow(tmp_path):
    code = (
        f"import sys, numpy, evalkit; evalkit.save(numpy.eye(4), {str(tmp_path)!r}, 'a');"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_large_residual_is_said_of_a_single_photo_too(tiny_model, photos):
    exact, coarse = (
        evalkit.explain(tiny_model, photos[0], spec, class_index=1)
        for spec in ("gradient", "integrated_gradients(steps=2, baseline=black)")
    )
    assert exact.notes == ()
    (note,) = coarse.notes
    assert note.startswith("the attributions do not add up to the change of the logit within 5 % on 1 of 1 images")
