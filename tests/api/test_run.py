"""The way in from Python, on a tiny model and images in memory."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import evalkit
from evalkit.core.errors import ConfigError, ModelError, StoreError

QUICK = {"patch_sizes": [8, 16], "metrics": ["deletion", "symmetric_relevance_gain", "pxap"], "progress": False}


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(5)
    regions = np.zeros((6, 32, 32), dtype=bool)
    regions[:, 4:20, 6:24] = True
    pixels = rng.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    return evalkit.ImageSet.from_arrays(pixels, [0, 1, 2, 0, 1, 2], regions)


@pytest.fixture(scope="module")
def run(tiny_model, images, tmp_path_factory):
    return evalkit.evaluate(
        tiny_model,
        images,
        explainers=["gradcam", "occlusion", "random"],
        strides=["patch", "half"],
        target="predicted",
        output=tmp_path_factory.mktemp("runs") / "run",
        **QUICK,
    )


def test_a_run_has_a_leaderboard_a_choice_and_every_score(run):
    texts = [one.text for one in run.manifest.explainers]
    assert texts == [
        "gradcam",
        "occlusion(patch_size=8)",
        "occlusion(patch_size=8, stride=4)",
        "occlusion(patch_size=16)",
        "occlusion(patch_size=16, stride=8)",
        "random",
    ]
    board = run.leaderboard()
    assert [(cell.explainer, cell.metric) for cell in board[:6]] == [(text, "deletion") for text in texts]
    ranks = [cell.rank for cell in run.leaderboard("deletion")]
    assert ranks == sorted(ranks)
    scores = run.scores()
    assert scores.values.shape == (6, 6, 3)
    assert board[0].mean == pytest.approx(np.nanmean(scores.values[:, 0, 0]))
    assert scores.statistics["pxap"].shape == (6, 6, 512)
    assert [(row.patch_size, row.stride) for row in run.patch_sweep()] == [(8, 4), (8, 8), (16, 8), (16, 16)]
    np.testing.assert_allclose(scores.object_shares, 16 * 18 / 32**2)


def test_best_patch_size_by_another_metric_and_margin(run):
    own = run.best_patch_size()
    assert (own.criterion, own.margin) == ("symmetric_relevance_gain", 0.02)
    other = run.best_patch_size("deletion", margin=0.5)
    assert (other.criterion, other.margin) == ("deletion", 0.5)
    assert run.best_patch_size() == own
    with pytest.raises(ConfigError, match="'pxap' scores all images together, not each"):
        run.best_patch_size("pxap")
    with pytest.raises(ConfigError, match="--margin 0 is not allowed"):
        run.best_patch_size(margin=0)


@pytest.fixture(scope="module")
def layers(tiny_model, images, tmp_path_factory):
    return evalkit.evaluate(
        tiny_model, images, explainers=["gradcam(layer=conv_a)", "gradcam(layer=conv_b)", "gradcam", "random"],
        target="predicted", output=tmp_path_factory.mktemp("layers") / "run", **QUICK,
    )  # fmt: skip


def test_the_layers_of_an_explainer_are_a_sweep_with_a_choice(layers):
    (sweep,) = layers.parameter_sweeps()
    assert (sweep.explainer, sweep.parameters) == ("gradcam", ("layer",))
    # The run has gradcam of the default layer too, which is conv_b.
    assert [row.parameters["layer"] for row in sweep.rows] == ["conv_a", "conv_b"]
    own = layers.best_parameters()["gradcam"]
    assert (own.criterion, own.margin, own.n_images, own.decided) == ("symmetric_relevance_gain", 0.02, 6, False)
    assert own.reason.startswith(f"Undecided on 6 images: layer={own.parameters['layer']} has the best mean")
    other = layers.best_parameters("deletion", margin=0.5)["gradcam"]
    assert (other.criterion, other.margin) == ("deletion", 0.5)
    assert layers.best_parameters()["gradcam"] == own
    with pytest.raises(ConfigError, match="'pxap' scores all images together, not each"):
        layers.best_parameters("pxap")
    assert layers.best_patch_size() is None
    assert "Layer of gradcam" in str(layers)


def test_sweeps_are_in_the_report_and_the_figures(layers, images, tmp_path):
    page = layers.report(tmp_path / "report.html", images).read_text(encoding="utf-8")
    assert '<section id="parameters-1"' in page
    assert 'href="#parameters-1"' in page
    assert layers.best_parameters()["gradcam"].reason in page
    assert "sweep_gradcam.png" in [path.name for path in layers.figures(tmp_path / "figures")]


def test_a_run_of_an_older_version_has_its_sweeps_too(layers, tmp_path):
    folder = shutil.copytree(layers.path, tmp_path / "older")
    (folder / "analysis.json").unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    added = ("backward_passes", "mean_passes", "family", "notes", "repeatability", "n_repeated")
    for facts in manifest["explainers"]:
        for name in added:
            facts.pop(name, None)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    older = evalkit.open_run(folder)
    assert older.best_parameters()["gradcam"].explainer == layers.best_parameters()["gradcam"].explainer
    assert {row.passes for row in older.parameter_sweeps()[0].rows} == {1}


def test_a_run_shows_itself(run):
    assert str(run).startswith("6 images of arrays; tiny, ")
    assert str(run).endswith("More:  print(run.render(everything=True)), run.report()\n")
    assert "Faithfulness" in run.render(everything=True)
    assert repr(run).endswith("6 images, 6 explainers, 3 metrics)")
    page = run._repr_html_()
    assert "6 images of arrays" in page
    assert "occlusion(patch_size=16, stride=8)" in page
    assert run.render("json").startswith("{")


def test_a_run_becomes_data_frames(run):
    scores = run.scores()
    found = run.to_pandas()
    assert len(found) == 6 * 6 * 2  # pxap scores the whole set
    assert found["image"].cat.categories.tolist() == list(scores.image_ids)
    chosen = found[(found["explainer"] == "occlusion(patch_size=16)") & (found["metric"] == "deletion")]
    np.testing.assert_array_equal(chosen["value"], scores.values[:, 3, 0])
    assert chosen["reason"].isna().tolist() == [not text for text in np.isnan(scores.values[:, 3, 0])]
    boards = run.leaderboard().to_pandas()
    assert set(boards["metric"]) == {"deletion", "symmetric_relevance_gain", "pxap"}
    sizes = run.patch_sweep().to_pandas()
    assert sizes[["patch_size", "stride"]].to_numpy().tolist() == [[8, 4], [8, 8], [16, 8], [16, 16]]
    assert sizes["pxap"].notna().all()
    with pytest.raises(ConfigError, match="metric 'deletoin' has no leaderboard in this run; did you mean 'deletion'"):
        run.leaderboard("deletoin")


def test_tables_print_and_show(run, layers):
    assert repr(run.leaderboard("deletion")).startswith("Leaderboard by deletion")
    assert repr(run.patch_sweep()).startswith("Patch size of occlusion")
    (sweep,) = layers.parameter_sweeps()
    assert repr(sweep).startswith("Layer of gradcam")
    assert "conv_a" in sweep._repr_html_()
    assert sweep.to_pandas()["layer"].tolist() == ["conv_a", "conv_b"]


def test_a_run_is_found_again_and_gone_on_with(run, tiny_model, images):
    again = evalkit.open_run(str(run.path))
    assert again.results == run.results
    # Of the same model: nothing is computed, so the time of the scores stays.
    before = (run.path / "results.sqlite").stat().st_size
    more = evalkit.evaluate(
        tiny_model, images, explainers="gradcam", target="predicted", output=run.path, criterion="deletion", **QUICK
    )
    assert (run.path / "results.sqlite").stat().st_size == before
    assert [one.text for one in more.manifest.explainers] == ["gradcam"]
    assert more.manifest.settings.criterion == "deletion"


def test_without_an_output_nothing_stays(tiny_model, images, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run = evalkit.evaluate(tiny_model, images, explainers="center", limit=2, **QUICK)
    path = run.path
    assert path.is_dir()
    assert run.results.n_images == 2
    assert run.best_patch_size() is None
    del run
    assert not path.exists()


def test_evaluate_refuses_bad_input_before_computing(tiny_model, images, tmp_path):
    import keras

    bare = keras.Sequential([keras.layers.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(ModelError, match="does not say how its input is preprocessed"):
        evalkit.evaluate(bare, images)
    with pytest.raises(ModelError, match="model is int; a Keras model, or a function of images"):
        evalkit.evaluate(3, images)
    with pytest.raises(ConfigError, match="--criterion 'insertion' is not among"):
        evalkit.evaluate(tiny_model, images, criterion="insertion", output=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()
    with pytest.raises(StoreError, match="is not a run folder"):
        evalkit.open_run(tmp_path)


def test_import_and_open_run_need_no_tensorflow(run):
    code = (
        "import sys, evalkit; assert 'rich' not in sys.modules;"
        f"print(len(evalkit.open_run({str(run.path)!r}).leaderboard())); assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = evalkit.nothing


def test_a_run_draws_itself(run, images, tmp_path):
    assert run.report(tmp_path / "page.html", images).read_text(encoding="utf-8").startswith("<!doctype html>")
    names = {path.name for path in run.figures(tmp_path / "plots")}
    assert "curves_gradcam.png" in names


def test_maps_made_elsewhere_are_scored_beside_the_explainers(tiny_model, images, tmp_path):
    (tmp_path / "mine").mkdir()
    for place in range(6):
        np.save(tmp_path / "mine" / f"{place}.npy", np.eye(32))
    run = evalkit.evaluate(tiny_model, images, explainers="uniform", maps=[tmp_path / "mine"], **QUICK)
    assert [one.text for one in run.manifest.explainers] == ["maps(mine)", "uniform"]
    assert run.leaderboard("pxap")[0].n_scored > 0
