"""``score``: maps made by anyone, under the same rules as ours."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3

import numpy as np
import pytest
from PIL import Image

from evalkit.core.errors import ConfigError
from evalkit.explainers.precomputed import precomputed_maps
from evalkit.metrics.catalog import DEFAULT_METRICS
from evalkit.report.rerun import rerun_command
from evalkit.store.run_folder import RunFolder
from tests.builders import stored_maps

COMMON = ["--data", "labels.csv", "--model", "tiny.keras", "--target", "predicted", "--steps", "4"]


def cells(folder, explainer):
    connection = sqlite3.connect(folder / "results.sqlite")
    rows = connection.execute(
        "SELECT image_id, metric, value, reason, hex(statistics) FROM scores WHERE explainer = ? ORDER BY 1, 2",
        (explainer,),
    ).fetchall()
    connection.close()
    return rows


def means(printed, explainer):
    found = json.loads(printed)["leaderboard"]
    return {cell["metric"]: cell["mean"] for cell in found if cell["explainer"] == explainer}


@pytest.fixture
def maps(workplace, rng):
    """A folder of one map of noise for each of the six photos."""
    (workplace / "mine").mkdir()
    for number in range(6):
        np.save(workplace / "mine" / f"photo{number}.npy", rng.random((32, 32)))
    return workplace / "mine"


@pytest.mark.parametrize("explainer", ["gradcam", "occlusion(patch_size=8)"])
def test_maps_of_a_run_score_exactly_the_same(evalkit, workplace, explainer):
    done = evalkit("run", *COMMON, "--explainers", f"{explainer},uniform", "--output", "ours")
    assert done.code == 0, done.err
    assert evalkit("report", "ours", "--maps", "written").out.endswith("written: 12 maps\n")
    done = evalkit("score", f"written/{explainer}", *COMMON, "--explainers", "uniform", "--output", "theirs")
    assert done.code == 0, done.err
    first, again = cells(workplace / "ours", explainer), cells(workplace / "theirs", f"maps({explainer})")
    assert len(first) == 6 * len(DEFAULT_METRICS)
    assert again == first
    assert "not scored" not in done.err


def test_maps_join_a_run_without_recomputing_it(evalkit, workplace, maps):
    evalkit("run", *COMMON, "--explainers", "gradcam,uniform", "--output", "out")
    before = cells(workplace / "out", "gradcam")
    done = evalkit("score", "mine", *COMMON, "--explainers", "gradcam,uniform", "--output", "out", "--format", "json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert [one["explainer"] for one in found["cost"]] == ["maps(mine)", "gradcam", "uniform"]
    assert found["cost"][0]["method"] == "made elsewhere"
    assert cells(workplace / "out", "gradcam") == before
    # What is made of it works on.
    assert evalkit("report", "out").code == 0
    page = (workplace / "out" / "report.html").read_text(encoding="utf-8")
    assert "maps<wbr>(mine)" in page
    assert "python -m evalkit score" in page
    assert evalkit("show", "out").code == 0


def test_a_changed_map_is_scored_anew(evalkit, workplace, maps, rng):
    arguments = ["score", "mine", *COMMON, "--explainers", "uniform", "--output", "out", "--metrics", "sparseness"]
    evalkit(*arguments)
    first = cells(workplace / "out", "maps(mine)")
    evalkit(*arguments)
    assert cells(workplace / "out", "maps(mine)") == first
    np.save(maps / "photo3.npy", rng.random((32, 32)) ** 3)
    evalkit(*arguments)
    changed = [one != two for one, two in zip(first, cells(workplace / "out", "maps(mine)"), strict=True)]
    assert changed == [number == 3 for number in range(6)]


def test_any_resolution_is_brought_to_the_models_bilinearly(evalkit, workplace, maps):
    (workplace / "large").mkdir()
    ramp = np.linspace(0, 1, 32)[None] * np.linspace(1, 2, 32)[:, None]
    for number in range(6):
        np.save(maps / f"photo{number}.npy", ramp)
        # Every pixel twice, four and a half times ...: the same ramp after bilinear reduction.
        np.save(workplace / "large" / f"photo{number}.npy", np.kron(ramp, np.ones((2, 2))).astype(np.float16)[None])
    done = evalkit(
        "score", "mine", "large", *COMMON, "--explainers", "uniform", "--output", "out", "--format", "json",
        "--metrics", "sparseness,relevance_rank_accuracy,pointing_game",
    )  # fmt: skip
    assert done.code == 0, done.err
    own, large = means(done.out, "maps(mine)"), means(done.out, "maps(large)")
    assert large == pytest.approx(own, abs=0.02)
    kept = sorted((workplace / "out" / "maps").glob("*.npz"))
    assert stored_maps(kept[0])["maps(large)"].shape == (32, 32)


@pytest.mark.parametrize("bits", [8, 16])
def test_gray_png_counts_as_its_numbers(evalkit, workplace, maps, rng, bits):
    (workplace / "png").mkdir()
    for number in range(6):
        values = rng.integers(0, 2**bits, (32, 32)).astype(np.uint8 if bits == 8 else np.uint16)
        Image.fromarray(values).save(workplace / "png" / f"photo{number}.png")
        np.save(maps / f"photo{number}.npy", values.astype(np.float32))
    done = evalkit(
        "score", "png", "mine", *COMMON, "--explainers", "uniform", "--output", "out", "--format", "json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert means(done.out, "maps(png)") == means(done.out, "maps(mine)")
    assert means(done.out, "maps(png)")["deletion"] is not None


def test_what_is_missing_or_broken_is_listed_and_not_scored(evalkit, workplace, maps):
    (maps / "photo0.npy").unlink()
    np.save(maps / "photo1.npy", np.full((32, 32), np.nan))
    np.save(maps / "photo2.npy", np.zeros((4, 32, 32)))
    np.save(maps / "photo3.npy", np.array([["a"]]))
    (maps / "photo4.npy").write_bytes(b"nothing")
    np.save(maps / "stranger.npy", np.ones((2, 2)))
    done = evalkit(
        "score", "mine", *COMMON, "--explainers", "uniform", "--output", "out", "--format", "json", "--metrics",
        "sparseness",
    )  # fmt: skip
    assert done.code == 0, done.err
    for line in (
        "1 not scored, no map was given: photo0.png",
        "1 not scored, the map has NaN or infinite values: photo1.png",
        "1 not scored, the map file has shape (4, 32, 32); (height, width) is needed: photo2.png",
        "1 not scored, the map file holds <U1; numbers are needed: photo3.png",
        "1 not scored, the map file is no NumPy array of numbers: photo4.png",
        "1 not scored, no image has this name: stranger.npy",
    ):
        assert f"maps(mine): {line}" in done.err
    reasons = {one["reason"] for one in json.loads(done.out)["unscored"] if one["explainer"] == "maps(mine)"}
    assert len(reasons) == 5
    assert means(done.out, "maps(mine)")["sparseness"] is not None


def test_a_color_picture_is_no_map(evalkit, workplace, maps):
    shutil.copy(workplace / "photo0.png", maps / "photo0.png")
    (maps / "photo0.npy").unlink()
    done = evalkit("score", "mine", *COMMON, "--explainers", "uniform", "--output", "out", "--metrics", "sparseness")
    assert "the map file is a color picture; a gray one, or the numbers as .npy, is needed: photo0.png" in done.err


def test_images_of_one_name_in_two_folders_need_the_folder(evalkit, workplace, tiny_model, rng):
    for name in ("a", "b", "c"):
        (workplace / "photos" / name).mkdir(parents=True)
        (workplace / "maps" / name).mkdir(parents=True)
        shutil.copy(workplace / "photo0.png", workplace / "photos" / name / "1.png")
        np.save(workplace / "maps" / name / "1.npy", np.full((4, 4), float(ord(name))))
    options = ["--data", "photos", "--model", "tiny.keras", "--explainers", "uniform", "--metrics", "sparseness"]
    done = evalkit("score", "maps", *options, "--output", "out")
    assert done.code == 0, done.err
    kept = {stored_maps(path)["maps(maps)"].flat[0] for path in (workplace / "out" / "maps").glob("*.npz")}
    assert kept == {97.0, 98.0, 99.0}
    shutil.move(workplace / "maps" / "a" / "1.npy", workplace / "maps" / "1.npy")
    assert "1 not scored, no map was given: a/1.png" in evalkit("score", "maps", *options, "--output", "out").err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "MAPS_DIR is missing"),
        (["nowhere"], "MAPS_DIR 'nowhere' is not a folder"),
        (["empty"], "none of its 0 .npy and .png files has the name of an image; the first image's map would be"),
        (["mine", "x/mine"], "two folders have the name 'mine'"),
        (["mine", "--explainers", "nothing"], "unknown explainer 'nothing'"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_computed(evalkit, workplace, maps, arguments, said):
    (workplace / "empty").mkdir()
    (workplace / "x" / "mine").mkdir(parents=True)
    done = evalkit("score", *arguments, *COMMON, "--output", "out")
    assert (done.code, said in done.err) == (2, True), done.err
    assert not (workplace / "out").exists()


def test_two_maps_of_one_image_are_refused(evalkit, workplace, maps):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(maps / "photo0.png")
    done = evalkit("score", "mine", *COMMON, "--output", "out")
    assert (done.code, "'photo0.npy' and 'photo0.png' are both maps of image 'photo0.png'" in done.err) == (2, True)


def test_score_takes_the_options_of_run_and_can_be_repeated(evalkit, workplace):
    options = ("--data", "labels.csv", "--data-format", "csv", "--model", "tiny.keras", "--target", "predicted")
    few = ("--explainers", "center", "--metrics", "energy_pointing_game", "--region-area", "0.01..0.9")
    assert evalkit("run", *options, *few, "--output", "out").code == 0
    assert evalkit("report", "out", "--maps", "written").code == 0
    assert evalkit("score", "written/center", *options, *few, "--output", "scored", "--fail-on-error").code == 0
    assert evalkit("baseline", "scored", "--output", "b.json", "--metrics", "energy_pointing_game").code == 0
    folder = RunFolder.read(workplace / "scored")
    command, _ = rerun_command(folder.read_manifest())
    folder.close()
    again = evalkit(*shlex.split(command)[3:], "--output", "again", "--baseline", "b.json")
    assert again.code == 0, again.err
    assert "1 unchanged" in again.err


@pytest.mark.parametrize(
    "ids", [("cat.jpg", "cat.png"), ("1.jpg#dog", "1.jpg#cat"), ("img.1", "img.2"), ("d/1.a", "d/1.b")]
)
def test_one_map_is_never_two_images(tmp_path, ids):
    stem = ids[0].rpartition(".")[0]
    path = tmp_path / f"{stem}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ones((4, 4)))
    with pytest.raises(ConfigError, match="has the name of an image"):
        precomputed_maps([tmp_path], ids)
    np.save(tmp_path / f"{ids[0]}.npy", np.ones((4, 4)))
    assert list(precomputed_maps([tmp_path], ids)[0].files) == [ids[0]]


def test_numbers_beyond_float32_keep_their_order(evalkit, workplace, maps, rng):
    values = {number: rng.random((32, 32)) for number in range(6)}
    for folder, scale in (("plain", 1.0), ("tiny", 1e-200), ("huge", 1e200)):
        (workplace / folder).mkdir()
        for number, one in values.items():
            np.save(workplace / folder / f"photo{number}.npy", one / one.max() * scale)
    done = evalkit("score", "plain", "tiny", "huge", *COMMON, "--explainers", "uniform", "--format", "json")
    assert done.code == 0, done.err
    assert "overflow" not in done.err
    assert means(done.out, "maps(tiny)") == means(done.out, "maps(huge)") == means(done.out, "maps(plain)")


def test_endings_may_be_upper_case(evalkit, workplace, maps):
    for path in list(maps.iterdir()):
        path.rename(path.with_suffix(".NPY"))
    done = evalkit("score", "mine", *COMMON, "--explainers", "uniform", "--metrics", "sparseness")
    assert done.code == 0, done.err
    assert "no map was given" not in done.err
    shutil.copy("mine/photo0.NPY", "mine/photo0.npy")
    done = evalkit("score", "mine", *COMMON)
    assert done.code == 2
    assert "'photo0.NPY' and 'photo0.npy' are both maps of image 'photo0" in done.err


def test_folders_are_called_by_their_own_names(evalkit, workplace, maps, monkeypatch):
    (workplace / "other").mkdir()
    shutil.copytree("mine", "other/mine")
    monkeypatch.chdir(workplace / "mine")
    common = ["--data", "../labels.csv", "--model", "../tiny.keras", *COMMON[4:], "--metrics", "sparseness"]
    done = evalkit("score", ".", *common, "--explainers", "uniform", "--output", "../out")
    assert done.code == 0, done.err
    assert "maps(mine)" in done.out
    done = evalkit("score", ".", "../other/mine", *common)
    assert done.code == 2
    assert "MAPS_DIR: two folders have the name 'mine'" in done.err


def test_a_map_that_cannot_be_read_costs_its_own_photo(evalkit, workplace, maps):
    (maps / "photo3.npy").unlink()
    with (maps / "photo3.npy").open("wb") as file:
        file.truncate(3 << 30)  # sparse: takes no space
    done = evalkit("score", "mine", *COMMON, "--explainers", "uniform", "--metrics", "sparseness")
    assert done.code == 0, done.err
    assert "1 not scored, the map: the file has 3,221,225,472 bytes; 2 GB at most are read: photo3.png" in done.err


def test_accents_count_however_they_are_spelt(tmp_path, rng):
    composed, apart = "gr\u00fcn", "gru\u0308n"
    np.save(tmp_path / f"{apart}.npy", rng.random((4, 4)))
    (made,) = precomputed_maps([tmp_path], [f"{composed}.jpg"])
    assert list(made.files) == [f"{composed}.jpg"]
    assert not made.unused


def test_a_short_name_that_is_another_images_own_is_not_taken(tmp_path, rng):
    np.save(tmp_path / "x.jpg.npy", rng.random((4, 4)))
    (made,) = precomputed_maps([tmp_path], ["x.jpg", "x.jpg.png"])
    assert list(made.files) == ["x.jpg"]
    np.save(tmp_path / "x.jpg.png.npy", rng.random((4, 4)))
    (made,) = precomputed_maps([tmp_path], ["x.jpg", "x.jpg.png"])
    assert {image: path.name for image, path in made.files.items()} == {
        "x.jpg": "x.jpg.npy", "x.jpg.png": "x.jpg.png.npy",
    }  # fmt: skip
