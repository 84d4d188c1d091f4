"""``audit --probe``: what is computed and kept, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_run import quick

GAIN, ENERGY = "symmetric_relevance_gain", "energy_pointing_game"


@pytest.fixture
def probed(evalkit, prepared):
    """A run of nine photos in ``out``, its probes, and their audit in ``audit.json``."""

    def make(folder):
        rng = np.random.default_rng(5)
        lines = ["image,class_index,label,x0,y0,x1,y1"]
        for number in range(9):
            Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(folder / f"photo{number}.png")
            lines.append(f"photo{number}.png,{number % 3},class{number % 3},8,6,30,28")
        (folder / "labels.csv").write_text("\n".join(lines) + "\n")
        metrics = f"{GAIN},{ENERGY},sparseness,max_box_acc_v1"
        done = evalkit(*quick(explainers="gradcam,gradient,uniform,random", metrics=metrics, patch_sizes=None))
        assert done.code == 0, done.err
        done = evalkit("audit", "out", "--probe", "--probe-explainers", "gradient", "--format", "json")
        assert done.code == 0, done.err
        (folder / "audit.json").write_text(done.out)

    return prepared("probed_run", make)


def test_every_metric_that_scores_one_map_is_probed(probed):
    found = json.loads((probed / "audit.json").read_text(), parse_constant=pytest.fail)
    probes = found["probes"]
    assert probes["explainers"] == ["gradient"]
    assert probes["n_images"] == 9
    assert [one["metric"] for one in probes["metrics"]] == [GAIN, ENERGY]
    of_gain = probes["metrics"][0]
    assert list(of_gain["blur"]) == ["4", "8", "16"]
    assert list(of_gain["noise"]) == ["0.2", "0.4", "0.6", "0.8", "1"]
    assert of_gain["slope"]["n_images"] == 9
    assert of_gain["truth"] is None  # photos, not scenes
    assert found["probes_reason"] is None


def test_the_tables_show_the_probes_in_every_format(evalkit, probed):
    for form in ("table", "markdown", "latex", "csv"):
        done = evalkit("audit", "out", "--format", form)
        assert done.code == 0, done.err
        assert form == "csv" or "blur 16" in done.out
    assert "Maps with noise" in evalkit("audit", "out").out


def test_probing_again_computes_nothing(evalkit, probed):
    done = evalkit("audit", "out", "--probe", "--probe-explainers", "gradient", "--format", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == json.loads((probed / "audit.json").read_text())
    assert "9 of 9 images are already in the run folder" in done.err


def test_more_images_continue_the_probes(evalkit, probed):
    done = evalkit("audit", "out", "--probe", "--probe-explainers", "gradient", "--probe-images", "4")
    assert done.code == 0, done.err
    assert "4 of 4 images are already" in done.err


def test_a_run_that_changed_leaves_its_probes_out(evalkit, probed):
    manifest = json.loads((probed / "out" / "manifest.json").read_text())
    manifest["finished"] = "2999-01-01T00:00:00+00:00"
    (probed / "out" / "manifest.json").write_text(json.dumps(manifest))
    found = json.loads(evalkit("audit", "out", "--format", "json").out)
    assert found["probes"] is None
    assert found["probes_reason"] == "the run changed after its probes: add --probe to repeat them"


def test_probing_again_after_a_change_shows_the_probes(evalkit, probed):
    manifest = json.loads((probed / "out" / "manifest.json").read_text())
    manifest["finished"] = "2999-01-01T00:00:00+00:00"
    (probed / "out" / "manifest.json").write_text(json.dumps(manifest))
    done = evalkit("audit", "out", "--probe", "--probe-explainers", "gradient", "--format", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["probes"]["explainers"] == ["gradient"]


def test_probes_of_an_explainer_that_the_run_lacks_now_are_left_out(evalkit, probed):
    metrics = f"{GAIN},{ENERGY}"
    done = evalkit(*quick(explainers="gradcam,uniform,random", metrics=metrics, patch_sizes=None))
    assert done.code == 0, done.err
    found = json.loads(evalkit("audit", "out", "--format", "json").out)
    assert found["probes_reason"] == "the run changed after its probes: add --probe to repeat them"


def test_a_run_of_correct_images_alone_is_probed(evalkit, probed):
    given = quick(explainers="gradcam,gradient", metrics=ENERGY, patch_sizes=None, output="right")
    done = evalkit(*given, "--only-correct", "--region-area", "0.1..0.5")
    assert done.code == 0, done.err
    n_images = json.loads((probed / "right" / "manifest.json").read_text())["data"]["n_images"]
    done = evalkit("audit", "right", "--probe", "--format", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["probes"]["n_images"] == n_images


@pytest.mark.parametrize(("data", "known"), [("scenes", True), ("scenes(shortcut=mark)", False)])
def test_the_truth_is_known_of_scenes_without_a_shortcut(data, known):
    from evalkit.datasets.open import open_image_set
    from evalkit.harness.probing import truth_is_known

    assert truth_is_known(open_image_set(data).limit(5, 0)) is known


def test_a_run_without_its_criterion_is_probed(evalkit, probed):
    done = evalkit(*quick(explainers="gradcam,gradient", metrics=ENERGY, patch_sizes=None))
    assert done.code == 0, done.err
    done = evalkit("audit", "out", "--probe", "--probe-images", "2", "--format", "json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert sorted(found["probes"]["explainers"]) == ["gradcam", "gradient"]
    assert found["advice"].endswith("The run's criterion, symmetric_relevance_gain, is not among its metrics.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--probe-images", "4"], "--probe-explainers and --probe-images need --probe"),
        (["--probe", "--probe-images", "0"], "--probe-images 0 is not allowed; 1 or more"),
        (["--probe", "--probe-explainers", "gradcamm"], "--probe-explainers 'gradcamm' is not in the run"),
    ],
)
def test_wrong_values_are_refused(evalkit, probed, arguments, said):
    done = evalkit("audit", "out", *arguments)
    assert done.code == 2
    assert said in done.err


def test_another_model_is_refused(evalkit, probed, tiny_model):
    import keras

    other = keras.models.clone_model(tiny_model)
    other.save(probed / "tiny.keras")
    done = evalkit("audit", "out", "--probe")
    assert done.code == 2
    assert "is not the one of 'out' any more" in done.err.replace("\n", " ")
