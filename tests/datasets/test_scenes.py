"""Scenes: the same everywhere, with one object whose pixels are known exactly."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from evalkit.core.errors import DataError
from evalkit.core.randomness import generator
from evalkit.datasets.classes import match_classes
from evalkit.datasets.geometry import fit
from evalkit.datasets.open import open_image_set
from evalkit.datasets.scenes.scenes import CLASS_NAMES, make_scene, scenes
from evalkit.datasets.scenes.shapes import CLASSES, DISTRACTORS
from evalkit.datasets.scenes.shortcuts import CUE_COLORS, Shortcut, cue_rng, paint_cue

# What the definition makes of (seed 0, index 0 to 2): if it changes, so must the version in scenes.py.
KNOWN = "604445fac39214f85d58e5aec4c7d46a4e8b0a162d586d9992c46d49f7cc0978"


def digest(seed, index, background=0):
    scene = make_scene(seed, index, background)
    return hashlib.sha256(scene.pixels.tobytes() + scene.without_object.tobytes()).hexdigest()


def test_scene_bytes_are_fixed():
    assert hashlib.sha256("".join(digest(0, index) for index in range(3)).encode()).hexdigest() == KNOWN


def test_scene_is_equal_in_another_process():
    code = (
        "import hashlib; from evalkit.datasets.scenes.scenes import make_scene; s = make_scene(3, 11)\n"
        "print(hashlib.sha256(s.pixels.tobytes() + s.without_object.tobytes()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(3, 11)
    assert digest(3, 12) != digest(3, 11) != digest(4, 11)


@pytest.fixture(scope="module")
def twenty():
    return [make_scene(5, index) for index in range(20)]


def test_mask_is_where_scene_and_twin_differ(twenty):
    for scene in twenty:
        np.testing.assert_array_equal(scene.mask, (scene.pixels != scene.without_object).any(axis=2))
        assert scene.pixels.dtype == scene.without_object.dtype == np.uint8
        assert scene.pixels.shape == (224, 224, 3)


def test_object_is_whole_and_covers_2_to_40_percent(twenty):
    for scene in twenty:
        assert 0.015 < scene.mask.mean() < 0.45  # blur widens the mask, a like color thins it
        border = np.ones((224, 224), dtype=bool)
        border[1:-1, 1:-1] = False
        assert not scene.mask[border].any()


def test_ten_scenes_in_a_row_have_all_ten_classes(twenty):
    for start in (0, 10):
        assert sorted(scene.class_index for scene in twenty[start : start + 10]) == list(range(10))


def test_other_background_keeps_the_object():
    one, other = make_scene(0, 4), make_scene(0, 4, background=1)
    assert one.class_index == other.class_index
    both = one.mask & other.mask
    assert both.sum() > 0.9 * max(one.mask.sum(), other.mask.sum())
    inside = np.abs(one.pixels[both].astype(int) - other.pixels[both]).mean()
    outside = ~(one.mask | other.mask)
    assert inside < np.abs(one.pixels[outside].astype(int) - other.pixels[outside]).mean() / 4


def test_shapes_fit_the_circle_and_have_their_area():
    axis = np.linspace(-1.1, 1.1, 1101)
    u, v = np.meshgrid(axis, axis)
    for shape in (*CLASSES, *DISTRACTORS):
        inside = shape.inside(u, v)
        assert inside.sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(shape.area, rel=0.01), shape.name
        assert np.sqrt((u * u + v * v)[inside].max()) <= 1.03, shape.name
    assert list(CLASS_NAMES) == sorted(CLASS_NAMES)


def test_set_reads_scenes_with_exact_regions():
    images = scenes(count=12, seed=5)
    assert len(images) == 12
    assert images.class_names == CLASS_NAMES
    image = images.read(images.entries[7])
    scene = make_scene(5, 7)
    np.testing.assert_array_equal(image.pixels, scene.pixels)
    np.testing.assert_array_equal(image.region, scene.mask)
    assert image.exact
    assert image.label == images.entries[7].label == CLASS_NAMES[scene.class_index]
    x0, y0, x1, y1 = image.boxes[0].astype(int)
    assert scene.mask[y0:y1, x0:x1].sum() == scene.mask.sum()
    assert scene.mask[y0:y1, x0:x1].any(axis=0).all()


def test_scenes_open_by_name_and_match_in_sorted_order():
    images = open_image_set("scenes")
    assert (images.name, images.kind, len(images)) == ("scenes", "scenes", 1000)
    match = match_classes(images, None, 10, require_labels=True)
    assert [entry.class_index for entry in match.images.entries[:20]] == [
        make_scene(0, i).class_index for i in range(20)
    ]
    [note] = match.notes
    assert note == (
        "scenes: the model's class names are unknown, so its 10 classes in sorted order are the model's outputs: "
        "arrow = 0, crescent = 1, cross = 2, disc = 3, heart = 4, ..."
    )
    assert match_classes(images, CLASS_NAMES, 10, require_labels=True).notes == []


def test_model_with_other_classes_is_refused():
    with pytest.raises(DataError, match="are not among the model's 1000 classes"):
        match_classes(
            open_image_set("scenes"), [f"class {number}" for number in range(1000)], 1000, require_labels=True
        )


def test_limits_are_even_over_classes_and_nested():
    images = open_image_set("scenes")
    twenty, forty = ({entry.id for entry in images.limit(count, seed=0).entries} for count in (20, 40))
    assert twenty < forty
    labels = [entry.label for entry in images.limit(20, seed=0).entries]
    assert {labels.count(name) for name in CLASS_NAMES} == {2}


def test_zero_scenes_are_refused():
    with pytest.raises(DataError, match="1 or more"):
        scenes(count=0)


def with_mark(index, strength=0.9, kind="mark"):
    return make_scene(0, index, shortcut=Shortcut(kind, strength))


CUED = "abb46aaa020e1f1fae007359f9371ba8371255dc1dfbb316daeedca8e537350c"


def test_cue_bytes_are_fixed():
    parts = []
    for kind in ("mark", "tint"):
        for index in range(3):
            scene = with_mark(index, kind=kind)
            parts += [scene.pixels.tobytes(), scene.without_object.tobytes()]
    assert hashlib.sha256(b"".join(parts)).hexdigest() == CUED


@pytest.mark.parametrize("kind", ["mark", "tint"])
def test_without_its_cue_a_scene_is_the_plain_one(kind):
    for index in range(12):
        plain, cued = make_scene(0, index), with_mark(index, kind=kind)
        np.testing.assert_array_equal(cued.without_cue, plain.pixels)
        assert cued.class_index == plain.class_index
        outside = ~(cued.cue_mask | cued.mask)
        np.testing.assert_array_equal(cued.pixels[outside], plain.pixels[outside])


@pytest.mark.parametrize("kind", ["mark", "tint"])
def test_cue_never_overlaps_the_object(kind):
    for index in range(30):
        scene = with_mark(index, kind=kind)
        assert scene.cue_mask.any()
        assert not (scene.cue_mask & scene.mask).any()
        if kind == "mark":
            np.testing.assert_array_equal(scene.mask, make_scene(0, index).mask)
            assert 24 * 24 * 0.8 <= scene.cue_mask.sum() <= 30 * 30


def test_a_free_corner_is_left_beside_the_largest_object():
    side, rng = np.arange(224) + 0.5, generator(0, "corner")
    for center in (107, 112, 117):
        disc = (((side - center)[:, None] ** 2 + (side - center)[None] ** 2) <= 103**2).astype(float)
        painted = paint_cue(np.zeros((224, 224, 3)), disc, "mark", 0, rng)
        assert painted.any()
        assert not painted[disc > 0].any()


def test_the_cue_tells_the_class_in_the_documented_share():
    told = [Shortcut("mark").cue_class(cue_rng(0, index, "mark"), index % 10) for index in range(2000)]
    agrees = np.array(told) == np.arange(2000) % 10
    assert agrees.mean() == pytest.approx(0.9, abs=0.02)
    assert np.bincount(np.array(told)[~agrees], minlength=10).min() > 5
    assert [Shortcut("tint", 0.0).cue_class(cue_rng(0, 3, "tint"), k) == k for k in range(10)] == [False] * 10
    assert [Shortcut("tint", 1.0).cue_class(cue_rng(0, 3, "tint"), k) for k in range(10)] == list(range(10))


def test_the_color_of_the_mark_tells_its_class():
    for index in (0, 3, 6):
        scene = with_mark(index)
        rows, columns = np.nonzero(scene.cue_mask)
        middle = scene.pixels[
            int(rows.mean()) - 5 : int(rows.mean()) + 5, int(columns.mean()) - 5 : int(columns.mean()) + 5
        ]
        color = middle.reshape(-1, 3).mean(axis=0)
        likeness = [np.corrcoef(color - color.mean(), np.array(one) - np.mean(one))[0, 1] for one in CUE_COLORS[:8]]
        assert int(np.argmax(likeness)) == scene.cue_class


def test_sets_with_a_shortcut_have_cues_and_other_contents():
    plain, cued, weaker = scenes(3), scenes(3, shortcut="mark"), scenes(3, shortcut="mark", strength=0.5)
    assert (plain.name, cued.name, weaker.name) == (
        "scenes",
        "scenes(shortcut=mark)",
        "scenes(shortcut=mark, strength=0.5)",
    )
    assert {one.kind for one in (plain, cued, weaker)} == {"scenes"}
    assert len({one.entries[0].truth_digest for one in (plain, cued, weaker)}) == 3
    assert [one.entries[0].has_cue for one in (plain, cued)] == [False, True]
    assert next(iter(plain)).cue is None
    image = next(iter(cued))
    scene = with_mark(0)
    np.testing.assert_array_equal(image.cue.mask, scene.cue_mask)
    np.testing.assert_array_equal(image.cue.without, scene.without_cue)
    assert image.cue.label == CLASS_NAMES[scene.cue_class]


def test_the_data_spec_opens_the_set():
    assert open_image_set("scenes(shortcut=tint)").name == "scenes(shortcut=tint)"
    assert open_image_set("scenes( strength=0.25, shortcut=mark )").name == "scenes(shortcut=mark, strength=0.25)"
    assert open_image_set("scenes()").name == open_image_set("scenes(shortcut=none)").name == "scenes"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("scenes(shortcut=frame)", r"shortcut=frame is not allowed: Allowed: mark, tint"),
        ("scenes(shortcut=mark, strength=1.5)", r"strength=1.5 is not allowed; it takes 0 to 1"),
        ("scenes(shortcut=mark, strength=nan)", r"strength=nan is not allowed; it takes 0 to 1"),
        ("scenes(shortcut=mark, strength=true)", r"strength=True is not allowed"),
        ("scenes(strength=0.5)", r"strength=0.5 has no effect without shortcut=mark"),
        ("scenes(shortcut=mark|tint)", r"one value for shortcut is allowed"),
        ("scenes(seed=3)", r"parameter 'seed' is unknown"),
        ("scenes(1)", r"'1' is not key=value; write scenes or scenes\(shortcut=mark\), or ./scenes\(1\) for a folder"),
        ("scenes(shortcut=mark", r"parentheses"),
    ],
)
def test_bad_parameters_are_refused(spec, message):
    with pytest.raises(DataError, match=message) as caught:
        open_image_set(spec)
    assert "\n" not in str(caught.value)


def test_a_cue_is_resized_with_its_image():
    image = next(iter(scenes(1, shortcut="mark")))
    small = fit(image, (56, 112), "squash", channels=1)
    assert small.cue.mask.shape == (56, 112)
    assert small.cue.without.shape == small.cue.without_object.shape == small.pixels.shape == (56, 112, 1)
    np.testing.assert_array_equal(small.cue.mask, image.cue.mask[2::4, 1::2])
    np.testing.assert_array_equal(small.cue.without, fit(make_plain(image), (56, 112), "squash", channels=1).pixels)


def make_plain(image):
    return replace(image, pixels=image.cue.without, cue=None)


def test_a_scene_is_not_changed_by_who_read_it_before():
    images = scenes(3)
    first = images.read(images.entries[1])
    expected = first.pixels.copy()
    first.pixels[:] = 0
    np.testing.assert_array_equal(images.read(images.entries[1]).pixels, expected)
