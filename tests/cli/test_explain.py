"""``explain``: pictures and numbers of a photo, and what is said of bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from evalkit.explainers.cam import GradCam


def explain(call, *arguments):
    return call("explain", *arguments, "--model", "tiny.keras")


def test_a_picture_and_the_raw_map_are_saved_under_the_name(evalkit, workplace):
    done = explain(evalkit, "photo0.png", "--explainer", "gradcam", "--output", "out", "--name", "mine")
    assert done.code == 0, done.err
    assert sorted(path.name for path in (workplace / "out").iterdir()) == ["mine.npy", "mine.png"]
    values = np.load(workplace / "out" / "mine.npy")
    assert (values.shape, values.dtype) == ((32, 32), np.float32)
    with Image.open(workplace / "out" / "mine.png") as picture:
        assert picture.format == "PNG"
    assert "photo0.png: the model's first choices are class" in done.out
    assert "out/mine.png" in done.err


def test_several_photos_and_explainers_have_names_of_their_own(evalkit, workplace):
    (workplace / "b").mkdir()
    (workplace / "b" / "photo0.png").write_bytes((workplace / "photo0.png").read_bytes())
    done = explain(
        evalkit, "photo0.png", "b/photo0.png", "photo1.png", "--explainer", "gradcam, occlusion(patch_size=8)",
        "--name", "set", "--class", "2", "--format", "json",
    )  # fmt: skip
    assert done.code == 0, done.err
    made = json.loads(done.out)["explanations"]
    assert {path.stem for path in (workplace / "explanations").glob("*.png")} == {
        "set_photo0_gradcam", "set_photo0_gradcam-2", "set_photo1_gradcam", "set_photo0_occlusion_patch_size=8",
        "set_photo0_occlusion_patch_size=8-2", "set_photo1_occlusion_patch_size=8",
    }  # fmt: skip
    assert {(one["class_index"], one["chosen"]) for one in made} == {(2, False)}
    assert all(sum(top["probability"] for top in one["top"]) == pytest.approx(1.0) for one in made)


def test_the_maximum_is_given_in_the_photos_own_pixels(evalkit, workplace):
    # A photo of 40 x 48 in a model of 32 x 32.
    done = explain(evalkit, "photo2.png", "--explainer", "occlusion(patch_size=4)", "--format", "json")
    (made,) = json.loads(done.out)["explanations"]
    values = np.load(made["values"])
    row, column = (int(made["maximum"][1] * 32 / 40), int(made["maximum"][0] * 32 / 48))
    assert values[row, column] == values.max()
    with Image.open(made["picture"]) as picture:
        assert picture.height == 480 * 40 // 48 + 68 + 38
    done = explain(evalkit, "photo2.png", "--explainer", "uniform", "--format", "json")
    (made,) = json.loads(done.out)["explanations"]
    assert (made["maximum"], made["note"]) == (None, "constant: 1 everywhere")


def test_what_an_explainer_says_of_its_map_is_its_note(evalkit, workplace):
    done = explain(evalkit, "photo2.png", "--explainer", "integrated_gradients(steps=2, baseline=black)")
    assert "do not add up to the change of the logit within 5 %" in " ".join(done.out.split())


@pytest.mark.parametrize("form", ["table", "csv", "markdown", "latex"])
def test_every_format_holds_the_result(evalkit, workplace, form):
    done = explain(evalkit, "photo0.png", "--format", form)
    assert done.code == 0, done.err
    assert "gradcam" in done.out


def test_classes_have_names(evalkit, workplace):
    (workplace / "names.txt").write_text("cat\ndog\nbird\n")
    named = ["--class-names", "names.txt", "--format", "json"]
    (made,) = json.loads(explain(evalkit, "photo0.png", "--class", "dog", *named).out)["explanations"]
    assert (made["class_index"], made["class_name"]) == (1, "dog")
    (made,) = json.loads(explain(evalkit, "photo0.png", "--class", "2", *named).out)["explanations"]
    assert made["class_name"] == "bird"
    wrong = explain(evalkit, "photo0.png", "--class", "dgo", *named)
    assert (wrong.code, "did you mean 'dog'? Allowed: cat, dog, bird, or 0 to 2" in wrong.err) == (2, True)


def test_an_embedded_scene_is_a_photo_too(evalkit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = evalkit("explain", "scene-00003", "--format", "json")
    (made,) = json.loads(done.out)["explanations"]
    assert (made["class_name"], made["explainer"]) == ("heart", "gradcam")
    assert made["probability"] > 0.9


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "IMAGE is missing; name a photo"),
        (["nothing.png"], "IMAGE 'nothing.png': file is missing; name a photo"),
        (["labels.csv"], "IMAGE 'labels.csv': cannot be decoded"),
        (["scene-99999"], "IMAGE 'scene-99999' does not exist; the embedded scenes are scene-00000 to scene-00999"),
        (["photo0.png", "--class", "7"], "--class '7' is unknown to model 'tiny.keras'"),
        (["photo0.png", "--explainer", "gradcma"], "unknown explainer 'gradcma': did you mean 'gradcam'?"),
        (["photo0.png", "--explainer", ""], "--explainer is empty; name one of"),
        (["photo0.png", "--explainer", "occlusion(patch_size=99)"], "patch_size=99 is larger than the model's input"),
        (["photo0.png", "--name", "a/b"], "--name 'a/b' is not allowed"),
        (["photo0.png", "--output", "labels.csv"], "--output 'labels.csv' is a file"),
        (["photo0.png", "--geometry", "stretch"], "stretch"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(evalkit, workplace, arguments, said):
    before = sorted(workplace.iterdir())
    done = explain(evalkit, *arguments)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert sorted(workplace.iterdir()) == before


def test_the_classes_of_a_model_with_few_are_listed(evalkit, workplace):
    done = evalkit("explain", "scene-00003", "--class", "nope")
    assert done.code == 2
    assert (
        "Allowed: arrow, crescent, cross, disc, heart, hourglass, ring, square, star, triangle, or 0 to 9" in done.err
    )


def test_a_model_is_needed_for_a_photo(evalkit, workplace):
    done = evalkit("explain", "photo0.png")
    assert (done.code, "--model is missing" in done.err) == (2, True)


def test_photos_of_one_name_are_told_apart_by_their_paths(evalkit, workplace):
    (workplace / "b").mkdir()
    (workplace / "photo1.png").rename(workplace / "b" / "photo0.png")
    done = explain(evalkit, "photo0.png", "b/photo0.png", "photo2.png", "--format", "json")
    assert [one["image"] for one in json.loads(done.out)["explanations"]] == [
        "photo0.png",
        "b/photo0.png",
        "photo2.png",
    ]
    done = explain(evalkit, "photo0.png", "b/photo0.png")
    for name in ("photo0.png", "b/photo0.png"):
        assert f"{name}: the model's first choices are class" in done.out.replace("\n", " ")


def test_an_explainer_that_fails_on_one_photo_costs_that_map(evalkit, workplace, monkeypatch):
    whole, calls = GradCam.explain_with_facts, []

    def failing(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("odd photo")
        return whole(*arguments)

    monkeypatch.setattr(GradCam, "explain_with_facts", failing)
    done = explain(evalkit, "photo0.png", "photo1.png", "photo2.png", "--format", "json")
    assert done.code == 2
    assert "gradcam failed on 'photo1.png': ValueError: odd photo; the other 2 maps are saved" in done.err
    assert [one["image"] for one in json.loads(done.out)["explanations"]] == ["photo0.png", "photo2.png"]
    assert {path.name for path in (workplace / "explanations").glob("*.png")} == {
        "photo0_gradcam.png", "photo2_gradcam.png",
    }  # fmt: skip


def test_control_characters_of_a_name_do_not_reach_the_terminal(evalkit, workplace):
    (workplace / "photo0.png").rename(workplace / "a\x1b[31m\nb.png")
    done = explain(evalkit, "a\x1b[31m\nb.png")
    assert done.code == 0, done.err
    assert "\x1b" not in done.out + done.err
    assert "a\\x1b[31m\\nb.png: the model's first choices" in done.out.replace("\n", " ")
