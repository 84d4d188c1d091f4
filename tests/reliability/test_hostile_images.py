"""Images of every bad kind in one run: none stops it, none is silently mis-scored, memory stays bounded."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
RUN = (
    "run", "--model", "tiny.keras", "--data", "photos", "--target", "predicted", "--steps", "4", "--explainers",
    "gradcam,random", "--metrics", "deletion,sparseness", "--output", "out",
)  # fmt: skip


def encoded(pixels, form, **options):
    stream = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(stream, form, **options)
    return stream.getvalue()


def png_of(width, height, n_rows=None):
    """A PNG that claims a size; its rows (all, or only so many) are zeros, compressed to next to nothing."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    packed = b"".join(packer.compress(row) for _ in range(n_rows or height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def unusable(photo):
    """Name to contents of files that hold no photo."""
    jpeg, png = encoded(photo, "JPEG"), encoded(photo, "PNG")
    return {
        "cut_half.jpg": jpeg[: len(jpeg) // 2],
        "cut_most.jpg": jpeg[:60],
        "cut_half.png": png[: len(png) // 2],
        "cut_header.png": png[:20],
        "zero_bytes.jpg": b"",
        "zero_bytes.png": b"",
        "text.jpg": b"this is a text file\n" * 50,
        "text.png": "ein Text mit Umlauten: äöü\n".encode("utf-16"),
        "html.jpeg": b"<!doctype html><html><body>404</body></html>",
        "script.gif": b"#!/bin/sh\nrm -rf /\n",
        "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "huge.png": png_of(20_000, 20_000),
        "wide.png": png_of(200_000, 2_000, n_rows=10),
        "bomb.png": png_of(60_000, 60_000, n_rows=10),
        "float.tiff": encoded(Image.fromarray(photo[..., 0].astype(np.float32)), "TIFF"),
    }


def usable(photo):
    """Name to contents and the pixels that must come out."""
    gray = photo[..., 0]
    wide = gray.astype(np.uint16) * 257
    palette = Image.fromarray(photo).quantize(32)
    turned = {orientation: Image.Exif() for orientation in (3, 6, 8)}
    for orientation, exif in turned.items():
        exif[0x0112] = orientation
    jpeg_cmyk = encoded(Image.fromarray(photo).convert("CMYK"), "JPEG")
    second = [Image.new("RGB", (48, 40), "red")]
    animated = encoded(Image.fromarray(photo), "PNG", save_all=True, append_images=[Image.new("RGB", (48, 40), "red")])
    cmyk = Image.fromarray(photo).convert("CMYK")
    return {
        "png_named.jpg": (encoded(photo, "PNG"), photo),
        "bmp_named.png": (encoded(photo, "BMP"), photo),
        "one_pixel.png": (encoded(photo[:1, :1], "PNG"), photo[:1, :1]),
        "one_row.png": (encoded(photo[:1], "PNG"), photo[:1]),
        "one_column.png": (encoded(photo[:, :1], "PNG"), photo[:, :1]),
        "palette.png": (encoded(palette, "PNG"), np.asarray(palette.convert("RGB"))),
        "palette.gif": (encoded(palette, "GIF"), np.asarray(palette.convert("RGB"))),
        "sixteen_bit.png": (encoded(Image.fromarray(wide), "PNG"), np.repeat(gray[..., None], 3, 2)),
        "sixteen_bit.tiff": (encoded(Image.fromarray(wide), "TIFF"), np.repeat(gray[..., None], 3, 2)),
        "cmyk.tiff": (encoded(cmyk, "TIFF"), np.asarray(cmyk.convert("RGB"))),
        "cmyk.jpg": (jpeg_cmyk, np.asarray(Image.open(io.BytesIO(jpeg_cmyk)).convert("RGB"))),
        "upside_down.png": (encoded(photo, "PNG", exif=turned[3]), np.rot90(photo, 2)),
        "rotated_right.png": (encoded(photo, "PNG", exif=turned[6]), np.rot90(photo, -1)),
        "rotated_left.tiff": (encoded(photo, "TIFF", exif=turned[8]), np.rot90(photo, 1)),
        "animated.webp": (
            encoded(photo, "WEBP", lossless=True, save_all=True, append_images=second),
            photo,
        ),
        "animated.png": (animated, photo),
        "ünï cödé 😀 (1).png": (encoded(photo, "PNG"), photo),
        "  spaces  and 'quotes\".png": (encoded(photo, "PNG"), photo),
        "-leading-dash.png": (encoded(photo, "PNG"), photo),
    }


@pytest.fixture
def photos(tmp_path, monkeypatch, tiny_model, rng):
    """Folders ``photos`` (every kind) and ``plain`` (what the usable ones hold, as plain PNGs), two classes each."""
    monkeypatch.chdir(tmp_path)
    tiny_model.save("tiny.keras")
    photo = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
    for number, (name, data) in enumerate(unusable(photo).items()):
        put(tmp_path / "photos" / f"class{number % 3}" / name, data)
    for number, (name, (data, pixels)) in enumerate(usable(photo).items()):
        put(tmp_path / "photos" / f"class{number % 3}" / name, data)
        put(tmp_path / "plain" / f"class{number % 3}" / f"{name}.png", encoded(np.ascontiguousarray(pixels), "PNG"))
    for name, target in (("loop.png", "loop.png"), ("there.png", "back.png"), ("back.png", "there.png")):
        (tmp_path / "photos" / "class0" / name).symlink_to(tmp_path / "photos" / "class0" / target)
    (tmp_path / "photos" / "class1" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "photos" / "class2" / "a_folder.png").mkdir()
    with (tmp_path / "photos" / "class2" / "sparse.png").open("wb") as sparse:
        sparse.truncate(3 << 30)  # takes no space on the disk
    return tmp_path, photo


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def cells(run):
    database = sqlite3.connect(run / "results.sqlite")
    rows = database.execute("SELECT image_id, explainer, metric, value, reason FROM scores").fetchall()
    database.close()
    return rows


def gradcam(run):
    return {(image, metric): value for image, explainer, metric, value, _ in cells(run) if explainer == "gradcam"}


def test_no_image_stops_a_run_or_is_scored_wrongly(evalkit, photos):
    folder, photo = photos
    done = evalkit(*RUN)
    assert done.code == 0, done.err
    good = {Path(image).name for image, *_, value, _ in cells(folder / "out") if value is not None}
    bad = {Path(image).name: reason for image, *_, value, reason in cells(folder / "out") if value is None}
    assert good == set(usable(photo))
    links = ("loop.png", "there.png", "back.png", "gone.png", "a_folder.png", "sparse.png")
    assert {name for name in bad if name not in links} == set(unusable(photo))
    assert all(reason for reason in bad.values())
    assert bad["sparse.png"] == "the file has 3,221,225,472 bytes; 2 GB at most are read"
    for name in unusable(photo):
        assert name in done.err
    # What the usable ones give is what their pixels give, saved plainly.
    plain = [one if one != "photos" else "plain" for one in RUN[:-1]]
    assert evalkit(*plain, "plain_out").code == 0
    scored = gradcam(folder / "out")
    for (image, metric), value in gradcam(folder / "plain_out").items():
        assert scored[image.removesuffix(".png"), metric] == value, image


# Both runs in one process: what the second adds to the peak of the first is what its photos take.
MEMORY = """
import contextlib, io, json, resource, sys
from evalkit.cli.app import main
for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code
    print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_stays_bounded(photos):
    """The bomb alone would be 3.6 GB as one byte a pixel."""
    folder, _ = photos
    runs = [[data if one == "photos" else one for one in RUN[:-1]] + [f"m_{data}"] for data in ("plain", "photos")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", MEMORY, json.dumps(runs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder, env=environment)
    codes, peaks = zip(*(map(int, line.split()) for line in done.stdout.splitlines()), strict=True)
    assert codes == (0, 0)
    assert peaks[1] < peaks[0] + 100 * 1024  # 100 MB
