"""The HTML report: it holds what it must, escapes every name, asks no network, and can be read by all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import evalkit as package

from .conftest import NAMES as TRICKY
from .conftest import PAGE_EXPLAINERS as EXPLAINERS
from .parsed import Page

TEMPLATES = Path(package.__file__).parent / "report" / "html" / "templates"


@pytest.fixture(scope="session")
def page(written):
    return Page(written.read_text(encoding="utf-8"))


def test_page_has_all_sections_and_images(page, tricky_run):
    assert not page.open
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {"leaderboard", "patch-size", "curves", "gallery", "not-scored", "cost", "again", "object-size"} <= ids
    assert {"audit", "all-metrics"} <= ids
    for metric in tricky_run.manifest.metrics:
        assert metric in page.text.replace("_ ", "_")
    assert tricky_run.best_patch_size().reason in page.text
    assert tricky_run.manifest.signature.run in page.text
    assert "python -m evalkit run --data" in page.text
    for line in (
        "Best explained",
        "Worst explained",
        "Largest disagreement",
        "misclassified",
        "images: the class explained is not",
    ):
        assert line in page.text
    assert len(page.having("svg")) == len(EXPLAINERS) + 2
    # The row of the first screen, then photo and maps of three groups of images, each with its words.
    pictures = page.having("img")
    assert len(pictures) > 4
    assert (len(pictures) - 4) % (len(EXPLAINERS) + 1) == 0
    assert all(one["alt"] and one["src"].startswith("data:image/webp;base64,") for one in pictures)


def test_page_has_the_audit_and_its_advice(page, tricky_run):
    audit = tricky_run.audit()
    assert audit.advice in page.text
    for one in audit.metrics:
        assert f"{one.metric}: " in page.text
        assert one.reason in page.text


def test_names_are_escaped_in_the_page(page):
    for name in TRICKY:
        assert " ".join(name.split()) in page.text
    assert len(page.having("script")) == 1
    assert not page.having("b") or all("class" not in one for one in page.having("b"))
    assert "49" not in [text.strip() for text in page.texts]
    handlers = [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert handlers == []


def test_page_makes_no_network_requests(written, page):
    text = written.read_text(encoding="utf-8")
    assert not re.search(r"https?:|//\w+\.\w|@import|url\((?!#)", text)
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    policy = next(one["content"] for one in page.having("meta") if one.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_page_without_photos_shows_maps_and_a_note(tricky_run, tmp_path):
    alone = Page(tricky_run.report(tmp_path / "alone.html").read_text(encoding="utf-8"))
    assert "The photos cannot be shown: the run does not record where its photos are." in alone.text
    assert "The photo is missing or has changed." in alone.text
    assert alone.having("img")


def luminance(color):
    color = color.lstrip("#")
    color = "".join(one * 2 for one in color) if len(color) == 3 else color
    parts = [int(color[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first, second):
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_has_contrast_in_every_theme(theme):
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{([^}]*)\}", css)
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", blocks[theme]))
    for ground in ("page", "card", "wash"):
        for text in ("ink", "faint", "accent"):
            assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
    for place in range(1, 7):
        assert contrast(colors[f"series-{place}"], colors["card"]) >= 4.5


@pytest.mark.slow
def test_a_run_of_200_images_stays_small(tiny_model, tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (200, 32, 32, 3), dtype=np.uint8)
    noisy = package.ImageSet.from_arrays(pixels, rng.integers(0, 3, 200))
    run = package.evaluate(
        tiny_model, noisy, explainers=["gradcam", "occlusion", "random", "uniform"], patch_sizes=range(4, 32, 2),
        metrics="sparseness", target="predicted", progress=False, output=tmp_path / "run",
    )  # fmt: skip
    size = run.report(images=noisy).stat().st_size
    assert 100_000 < size < 10_000_000


def engine():
    """The page's script in an engine without a page: what it decides can be tested where no browser is."""
    from py_mini_racer import MiniRacer

    made = MiniRacer()
    made.eval((TEMPLATES / "report.js").read_text(encoding="utf-8"))
    return made


@pytest.mark.parametrize(
    ("values", "descending", "order"),
    [
        ([0.3, -1, 20, 3], False, [1, 0, 3, 2]),
        ([0.3, -1, 20, 3], True, [2, 3, 0, 1]),
        ([1, "", 2, ""], False, [0, 2, 1, 3]),
        ([1, "", 2, ""], True, [2, 0, 1, 3]),
        ([1, 1, 0, 1], True, [0, 1, 3, 2]),
        (["b", "a", "c"], False, [1, 0, 2]),
        ([], True, []),
    ],
)
def test_rows_are_sorted_stably_with_missing_values_last(values, descending, order):
    found = engine().eval(f"JSON.stringify(sortedOrder({json.dumps(values)}, {json.dumps(descending)}))")
    assert json.loads(found) == order


def test_the_first_click_shows_the_best_and_the_next_the_worst():
    made = engine()
    assert made.eval("nextDirection('none', 'higher')") == "descending"
    assert made.eval("nextDirection('none', 'lower')") == "ascending"
    assert made.eval("nextDirection('descending', 'higher')") == "ascending"
    assert made.eval("nextDirection('ascending', 'higher')") == "descending"
