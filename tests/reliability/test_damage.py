"""Damaged maps, databases and manifests are noticed: made again, or refused with a sentence."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sqlite3

import numpy as np
import pytest
from PIL import Image

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
def kept(evalkit, workplace):
    """A finished run with one metric, in ``out`` and ``whole``; a run with two metrics, in ``both``."""
    assert evalkit(*RUN[:-1], "both", *MORE).code == 0
    assert evalkit(*RUN, *FIRST).code == 0
    shutil.copytree("out", "whole")
    return workplace


def test_a_flipped_byte_in_any_map_is_noticed_and_the_map_made_again(evalkit, kept, rng):
    maps = sorted((kept / "out").glob("maps/*/*.npy"))
    assert len(maps) == 12
    for path in maps:
        shutil.rmtree(kept / "out")
        shutil.copytree("whole", "out")
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        done = evalkit(*RUN, *MORE)
        assert done.code == 0
        assert f"{path.name}' is damaged; the map is made again" in done.err
        assert path.read_bytes() == whole
        assert scores(kept / "out") == scores(kept / "both")


@pytest.mark.parametrize("how", ["gone", "cut", "empty"])
def test_a_map_that_is_gone_or_cut_short_is_noticed_by_the_same_command(evalkit, kept, how):
    path = sorted((kept / "out").glob("maps/gradcam/*.npy"))[2]
    whole = path.read_bytes()
    path.write_bytes(whole[:1000] if how == "cut" else b"")
    if how == "gone":
        path.unlink()
    done = evalkit(*RUN, *FIRST)
    assert done.code == 0
    assert "1 maps are gone or cut short (first: gradcam of photo2.png); they are made again" in done.err
    assert path.read_bytes() == whole
    assert scores(kept / "out") == scores(kept / "whole")


def test_a_database_cut_short_at_random_places_is_never_used(evalkit, kept, rng):
    path = kept / "out" / "results.sqlite"
    whole = path.read_bytes()
    for place in rng.integers(1, len(whole), 20):
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
    assert "holds nothing although the run was finished; everything is computed again" in " ".join(done.err.split())
    assert scores(kept / "out") == scores(kept / "whole")


def test_overwritten_pages_of_a_database_are_noticed_before_anything_is_added(evalkit, kept):
    path = kept / "out" / "results.sqlite"
    whole = path.read_bytes()
    n_pages = len(whole) // 4096
    assert n_pages > 4
    for page in range(1, n_pages):
        path.write_bytes(whole[: page * 4096] + np.random.default_rng(page).bytes(4096) + whole[(page + 1) * 4096 :])
        done = evalkit(*RUN, *MORE)
        assert done.code == 2, page
        assert "--fresh" in done.err


def test_a_damaged_manifest_is_refused_by_show_and_written_anew_by_run(evalkit, kept):
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
def test_another_model_in_the_same_folder_leaves_no_maps_or_facts_behind(evalkit, kept, tiny_model, between):
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
    assert "results.sqlite' is damaged: a curve has another length; repeat the run with --fresh" in done.err


def test_photos_of_another_folder_are_told_by_their_content_even_if_name_size_and_time_are_equal(
    evalkit, kept, monkeypatch
):
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
    assert "5 of 6 images are taken as the run folder has them" in done.err
    assert evalkit(*RUN, *FIRST).code == 0
    assert scores(kept / "out") == scores(other / "out")
    again = evalkit(*RUN[:-1], "../out", *FIRST)
    assert "6 of 6 images are taken as the run folder has them" in again.err


def _stored_png(pixels):
    """Return an uncompressed PNG, as long for these pixels as for others."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()
