"""Damaged maps, databases and manifests are noticed: made again, or refused with a sentence."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import zipfile

import numpy as np
import pytest
from PIL import Image

from evalkit.analysis import service as stored
from evalkit.core.errors import ImageError
from evalkit.datasets.image_set import ImageSource
from evalkit.explainers.cam import GradCam
from evalkit.store.database import Database
from tests.builders import stored_maps

RUN = (
    "run", "--model", "tiny.keras", "--data", "labels.csv", "--target", "predicted", "--steps", "4", "--explainers",
    "gradcam,random", "--output", "out",
)  # fmt: skip
FIRST, MORE = ("--metrics", "deletion"), ("--metrics", "deletion,sparseness")


def scores(run):
    database = sqlite3.connect(run / "results.sqlite")
    rows = database.execute("SELECT image_id, explainer, metric, value, reason FROM scores ORDER BY 1, 2, 3").fetchall()
    database.close()
    return rows


@pytest.fixture
def kept(evalkit, prepared):
    """A finished run with one metric, in ``out`` and ``whole``; a run with two metrics, in ``both``."""

    def make(_):
        assert evalkit(*RUN[:-1], "both", *MORE).code == 0
        assert evalkit(*RUN, *FIRST).code == 0
        shutil.copytree("out", "whole")

    return prepared("damage", make)


def place_of(path, explainer):
    """Return where the values of one map are in a file of maps."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(f"{explainer}.npy")
        assert entry.compress_size > 1000
        return entry.header_offset + 200, entry.header_offset + entry.compress_size


@pytest.mark.parametrize("explainer", ["gradcam", "random"])
def test_a_map_with_a_flipped_byte_is_made_again(evalkit, kept, rng, explainer):
    whole = {path: path.read_bytes() for path in (kept / "out" / "maps").glob("*.npz")}
    assert len(whole) == 6
    for path, data in whole.items():
        damaged = bytearray(data)
        damaged[rng.integers(*place_of(path, explainer))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
    done = evalkit(*RUN, *MORE)
    assert done.code == 0
    for path, data in whole.items():
        assert f"{path.name}' is damaged; the map of {explainer} is computed again" in done.err
        path.write_bytes(data)
        again = stored_maps(path.with_name(f"{path.stem}-2.npz"))
        assert list(again) == [explainer]
        np.testing.assert_array_equal(again[explainer], stored_maps(path)[explainer])
    assert scores(kept / "out") == scores(kept / "both")


@pytest.mark.parametrize("how", ["gone", "cut", "empty"])
def test_maps_gone_or_cut_short_are_made_again(evalkit, kept, how):
    path = sorted((kept / "out").glob("maps/*.npz"))[2]
    whole = path.read_bytes()
    path.write_bytes(whole[:1000] if how == "cut" else b"")
    if how == "gone":
        path.unlink()
    done = evalkit(*RUN, *FIRST)
    assert done.code == 0
    assert "2 maps are missing or truncated (first: gradcam of photo2.png); they are computed again" in done.err
    assert path.read_bytes() == whole
    assert scores(kept / "out") == scores(kept / "whole")


def test_files_of_replaced_maps_are_removed(evalkit, kept):
    before = sorted((kept / "out").glob("maps/*.npz"))
    other = [text.replace("gradcam,random", "gradcam,random,uniform") for text in RUN]
    assert evalkit(*other, *FIRST).code == 0  # the others stay where they are
    assert sorted((kept / "out").glob("maps/*.npz")) == sorted(
        [*before, *(path.with_name(f"{path.stem}-2.npz") for path in before)]
    )
    assert evalkit(*other, *FIRST, "--seed", "5").code == 0  # Grad-CAM draws nothing
    assert [set(stored_maps(path)) for path in before] == [{"gradcam", "random"}] * 6
    other[other.index("predicted")] = "label"
    assert evalkit(*other, *FIRST).code == 0
    files = sorted((kept / "out").glob("maps/*.npz"))
    assert [set(stored_maps(path)) for path in files] == [{"gradcam", "random", "uniform"}] * 6


def test_a_database_cut_short_is_refused(evalkit, kept, rng):
    path = kept / "out" / "results.sqlite"
    whole = path.read_bytes()
    for place in rng.integers(1, len(whole), 8):
        path.write_bytes(whole[: int(place)])
        for arguments in (("show", "out"), RUN + FIRST, ("baseline", "out", "--output", "b.json")):
            done = evalkit(*arguments)
            assert done.code == 2, (place, arguments, done.out)
            assert "results.sqlite' " in done.err
            assert "--fresh" in done.err or "repeat the command" in done.err
            assert path.read_bytes() == whole[: int(place)]
    assert evalkit(*RUN, *FIRST, "--fresh").code == 0
    assert scores(kept / "out") == scores(kept / "whole")


def test_an_emptied_database_is_said_and_computed_again(evalkit, kept):
    (kept / "out" / "results.sqlite").write_bytes(b"")
    assert evalkit("show", "out").code == 2
    done = evalkit(*RUN, *FIRST)
    assert done.code == 0
    assert "is empty although the run was finished; everything is computed again" in " ".join(done.err.split())
    assert scores(kept / "out") == scores(kept / "whole")


def test_a_database_with_overwritten_pages_is_refused(evalkit, kept):
    path = kept / "out" / "results.sqlite"
    whole = path.read_bytes()
    n_pages = len(whole) // 4096
    assert n_pages > 4
    for page in range(1, n_pages):
        path.write_bytes(whole[: page * 4096] + np.random.default_rng(page).bytes(4096) + whole[(page + 1) * 4096 :])
        done = evalkit(*RUN, *MORE)
        assert done.code == 2, page
        assert "--fresh" in done.err


def test_a_damaged_manifest_is_refused_or_rewritten(evalkit, kept):
    path = kept / "out" / "manifest.json"
    path.write_bytes(path.read_bytes()[:300])
    done = evalkit("show", "out")
    assert done.code == 2
    assert "is damaged" in done.err
    assert evalkit(*RUN, *FIRST).code == 0
    assert evalkit("show", "out").code == 0


def test_a_damaged_analysis_is_made_again(evalkit, kept):
    shown = evalkit("show", "out").out
    path = kept / "out" / "analysis.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert evalkit("show", "out").out == shown
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(whole).digest()


def contents(run):
    """Every score, map and fact of the photos of the current run."""
    database = sqlite3.connect(run / "results.sqlite")
    found = [
        database.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3").fetchall()  # noqa: S608 - ours
        for table, columns in (
            ("scores", "image_id, explainer, metric, value, reason"),
            ("maps", "image_id, explainer, key, sha256, rank_hash"),
            ("images", "image_id, target, predicted, clean_score, object_share"),
        )
    ]
    database.close()
    return found


@pytest.mark.parametrize("between", [("gradcam,random", "pointing_game"), ("center", "sparseness")])
def test_another_model_leaves_no_maps_or_facts_behind(evalkit, kept, tiny_model, between):
    import keras

    keras.utils.set_random_seed(99)
    keras.models.clone_model(tiny_model).save("other.keras")
    explainers, metrics = between
    other = [one.replace("tiny", "other").replace("gradcam,random", explainers) for one in RUN]
    assert evalkit(*other, "--metrics", metrics).code == 0
    assert evalkit(*RUN, *FIRST).code == 0
    mine = [
        [row for row in rows if "center" not in row and "pointing_game" not in row] for rows in contents(kept / "out")
    ]
    assert mine == contents(kept / "whole")


@pytest.mark.parametrize("points", [b"", b"short", b"12345678" * 3])
def test_a_damaged_curve_is_refused(evalkit, kept, points):
    database = sqlite3.connect(kept / "out" / "results.sqlite")
    with database:
        database.execute("UPDATE curves SET points = ? WHERE image_id = 'photo2.png'", (points,))
    database.close()
    done = evalkit("report", "out")
    assert done.code == 2
    assert "results.sqlite' is damaged: a curve has the wrong length; repeat the run with --fresh" in done.err


def test_photos_are_identified_by_content(evalkit, kept, monkeypatch):
    shutil.copytree(kept, kept / "moved", ignore=shutil.ignore_patterns("out", "whole", "both"), symlinks=True)
    other = kept / "moved"
    for photo in kept.glob("*.png"):
        shutil.copystat(photo, other / photo.name)
    pixels = np.asarray(Image.open(other / "photo4.png"))
    before = (other / "photo4.png").stat()
    (kept / "photo4.png").write_bytes(_stored_png(pixels))
    (other / "photo4.png").write_bytes(_stored_png(255 - pixels))
    for place in (kept, other):
        os.utime(place / "photo4.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert evalkit(*RUN, *FIRST).code == 0
    sizes = [(place / "photo4.png").stat() for place in (kept, other)]
    assert (sizes[0].st_size, sizes[0].st_mtime_ns) == (sizes[1].st_size, sizes[1].st_mtime_ns)
    monkeypatch.chdir(other)
    done = evalkit(*RUN[:-1], "../out", *FIRST)
    assert "5 of 6 images are already in the run folder" in done.err
    assert evalkit(*RUN, *FIRST).code == 0
    assert scores(kept / "out") == scores(other / "out")
    again = evalkit(*RUN[:-1], "../out", *FIRST)
    assert "6 of 6 images are already in the run folder" in again.err


def _stored_png(pixels):
    """Return an uncompressed PNG, as long for these pixels as for others."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


class KilledError(BaseException):
    """Stands for kill -9."""


@pytest.mark.parametrize("method", ["plan_images", "drop_cells", "drop_map", "put_images"])
def test_a_run_killed_while_dropping_cells_is_unfinished(evalkit, kept, monkeypatch, method):
    if method == "drop_map":
        sorted((kept / "out").glob("maps/*.npz"))[2].unlink()
    else:
        for number in range(6):
            Image.fromarray(np.full((40, 48, 3), 40 * number, np.uint8)).save(f"photo{number}.png")
        (kept / "labels.csv").write_text("\n".join((kept / "labels.csv").read_text().splitlines()[:-1]) + "\n")

    def killed(*_):
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(Database, method, killed)
        assert evalkit(*RUN, *FIRST).code == 4
    done = evalkit("show", "out")
    assert done.code == 2
    assert "is not finished; repeat the command" in done.err
    assert evalkit(*RUN, *FIRST).code == 0


def test_an_analysis_is_kept_only_for_its_own_scores(evalkit, kept, monkeypatch):
    """The scores change while another process analyses them."""
    whole = stored.table_of

    def slow(folder, manifest):
        table = whole(folder, manifest)
        database = sqlite3.connect(kept / "out" / "results.sqlite")
        with database:
            database.execute("UPDATE scores SET value = value / 2")
            database.execute("UPDATE meta SET value = 'other' WHERE key = 'revision'")
        database.close()
        return table

    (kept / "out" / "analysis.json").unlink()
    with monkeypatch.context() as patched:
        patched.setattr(stored, "table_of", slow)
        database = sqlite3.connect(kept / "out" / "results.sqlite")
        database.execute("PRAGMA journal_mode=WAL")
        assert evalkit("show", "out").code == 0
        database.close()
    shown = json.loads(evalkit("show", "out", "--format", "json").out)
    database = sqlite3.connect(kept / "out" / "results.sqlite")
    (mean,) = database.execute("SELECT avg(value) FROM scores WHERE explainer = 'gradcam'").fetchone()
    database.close()
    (cell,) = (one for one in shown["leaderboard"] if one["explainer"] == "gradcam")
    assert cell["mean"] == pytest.approx(mean)


def test_a_missing_photo_loses_its_scores_until_it_is_back(evalkit, kept):
    (kept / "photo4.png").rename(kept / "away.png")
    assert evalkit(*RUN, *MORE).code == 0
    lost = [row for row in scores(kept / "out") if row[0] == "photo4.png"]
    assert len(lost) == 4
    assert {row[3:] for row in lost} == {(None, "file is missing")}
    assert json.loads((kept / "out" / "manifest.json").read_text())["model"]["n_right"] is not None
    (kept / "away.png").rename(kept / "photo4.png")
    assert evalkit(*RUN, *MORE).code == 0
    assert scores(kept / "out") == scores(kept / "both")


def test_a_photo_gone_during_the_run_loses_all_scores(evalkit, kept, monkeypatch):
    whole = ImageSource.read

    def vanishing(self, entry):
        if entry.id == "photo4.png" and len(asked) > 0:
            raise ImageError("file is missing")
        asked.append(entry.id)
        return whole(self, entry)

    asked = []
    with monkeypatch.context() as patched:
        patched.setattr(ImageSource, "read", vanishing)
        done = evalkit(*RUN, *MORE, "--format", "json")
    assert done.code == 0, done.err
    assert {row[3:] for row in scores(kept / "out") if row[0] == "photo4.png"} == {(None, "file is missing")}
    seen = sqlite3.connect(kept / "out" / "results.sqlite").execute(
        "SELECT predicted, clean_score, correct, sha256 FROM images WHERE image_id = 'photo4.png'"
    )
    assert seen.fetchone() == (None, None, None, "")


def test_a_failing_explainer_leaves_no_older_map(evalkit, kept, monkeypatch):
    def failing(*_):
        raise ValueError("no luck")

    with monkeypatch.context() as patched:
        patched.setattr(GradCam, "version", 99)
        patched.setattr(GradCam, "explain_with_facts", failing)
        assert evalkit(*RUN, *FIRST).code == 0
    database = sqlite3.connect(kept / "out" / "results.sqlite")
    assert database.execute("SELECT count(*) FROM maps WHERE explainer = 'gradcam'").fetchone() == (0,)
    database.close()


def test_a_mask_changed_in_place_mixes_with_no_older_scores(evalkit, workplace):
    rows = ["image,class_index,mask"]
    for number in range(2):
        mask = np.zeros((40, 48), np.uint8)
        mask[5:20, 5:20] = 255
        Image.fromarray(mask).save(f"mask{number}.bmp")
        rows.append(f"photo{number}.png,{number},mask{number}.bmp")
    (workplace / "labels.csv").write_text("\n".join(rows) + "\n")
    local = [one.replace("predicted", "label") for one in RUN]
    assert evalkit(*local, "--metrics", "energy_pointing_game").code == 0
    before = (workplace / "mask0.bmp").stat()
    Image.fromarray(255 - np.asarray(Image.open("mask0.bmp"))).save("mask0.bmp")
    os.utime("mask0.bmp", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert evalkit(*local, "--metrics", "energy_pointing_game,relevance_rank_accuracy").code == 0
    assert evalkit(*local[:-1], "alone", "--metrics", "energy_pointing_game,relevance_rank_accuracy").code == 0
    assert scores(workplace / "out") == scores(workplace / "alone")


def test_replaced_scores_and_outdated_reports_are_named(evalkit, kept):
    assert evalkit("report", "out").code == 0
    done = evalkit(*RUN, *FIRST, "--seed", "7")
    assert "the run folder holds a run with other settings (now seed:7); " in done.err
    assert "; results that depend on them are replaced" in done.err
    assert "report.html' shows earlier scores; to update it: python -m evalkit report out" in done.err
    done = evalkit(*RUN, *FIRST, "--seed", "7")
    assert "other settings" not in done.err
    assert "earlier scores" not in done.err


@pytest.mark.parametrize("where", ["data", "model", "maps"])
def test_names_that_are_no_text_are_escaped(evalkit, kept, where):
    name = os.fsdecode(b"b\xff")
    run = list(RUN)
    if where == "data":
        (kept / "labels.csv").rename(f"{name}.csv")
        run[run.index("labels.csv")] = f"{name}.csv"
    elif where == "model":
        (kept / "tiny.keras").rename(f"{name}.keras")
        run[run.index("tiny.keras")] = f"{name}.keras"
    else:
        assert evalkit("report", "out", "--maps", "written").code == 0
        shutil.copytree("written/gradcam", name)
        run[:1] = ["score", name]
    done = evalkit(*run, *FIRST)
    assert done.code == 0, done.err
    assert evalkit("show", "out").code == 0
    assert evalkit("report", "out").code == 0


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--data", "~nobody-at-all/x.csv", "--model", "tiny.keras"),
        ("score", "~nobody-at-all/maps", "--data", "labels.csv", "--model", "tiny.keras"),
        ("validate", "--data", "~nobody-at-all/x.csv"),
        ("explain", "~nobody-at-all/x.png", "--model", "tiny.keras"),
    ],
)
def test_a_home_folder_that_there_is_not_is_named(evalkit, workplace, command):
    done = evalkit(*command)
    assert done.code == 2
    assert "~nobody-at-all" in done.err


def test_scores_of_a_map_that_is_lost_for_good_have_its_reason(evalkit, kept, monkeypatch):
    """A metric is added, one map is damaged, and cannot be made again."""
    path = sorted((kept / "out").glob("maps/*.npz"))[2]
    start, end = place_of(path, "gradcam")
    data = path.read_bytes()
    path.write_bytes(data[:start] + bytes(end - start) + data[end:])

    def failing(*_):
        raise ValueError("no luck")

    with monkeypatch.context() as patched:
        patched.setattr(GradCam, "explain_with_facts", failing)
        assert evalkit(*RUN, *MORE).code == 0
    lost = [row for row in scores(kept / "out") if row[3] is None and row[1] == "gradcam" and "positive" not in row[4]]
    assert [row[2:] for row in lost] == [
        (metric, None, "gradcam failed: ValueError: no luck") for metric in ("deletion", "sparseness")
    ]
    assert evalkit(*RUN, *MORE).code == 0
    assert scores(kept / "out") == scores(kept / "both")
