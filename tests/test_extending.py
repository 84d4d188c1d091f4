"""The examples of docs/extending.md: they run as they are, and inside evalkit each is one file and one catalog line."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^`(\w+)\.py`:\n\n```python\n(.*?)```", GUIDE, flags=re.MULTILINE | re.DOTALL))


@pytest.fixture
def written(workplace, monkeypatch):
    """The workplace with the three examples as files, and photos with a list of the third one's format."""
    for name, code in EXAMPLES.items():
        (workplace / f"{name}.py").write_text(code)
    (workplace / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (40, 40), (90 * number, 50, 200)).save(workplace / "photos" / f"{number}.png")
    (workplace / "pets.tabs").write_text("photos/0.png\tclass0\nphotos/1.png\tclass1\nphotos/2.png\tclass2\n")
    (workplace / "names.txt").write_text("class0\nclass1\nclass2\n")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    yield workplace
    for name in EXAMPLES:
        sys.modules.pop(name, None)


def scores(folder="out"):
    with sqlite3.connect(f"{folder}/results.sqlite") as database:
        return database.execute("SELECT explainer, metric, value FROM scores ORDER BY 1, 2, image_id").fetchall()


def test_examples_are_short():
    assert set(EXAMPLES) == {"spots", "flip", "tabs"}
    assert all(code.count("\n") < 40 for code in EXAMPLES.values())


def test_examples_run_by_module_and_class(evalkit, written):
    done = evalkit(
        "run", "--data", "pets.tabs", "--data-format", "tabs:READER", "--model", "tiny.keras",
        "--class-names", "names.txt",
        "--explainers", "spots:Spots(spots=2),uniform", "--metrics", "flip:Flip,sparseness", "--output", "out",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = scores()
    assert {row[:2] for row in found} == {
        (explainer, metric)
        for explainer in ("spots:Spots(spots=2)", "uniform")
        for metric in ("flip:Flip", "sparseness")
    }
    by_hand = [row[2] for row in found if row[:2] == ("spots:Spots(spots=2)", "flip:Flip")]
    assert len(by_hand) == 3
    assert all(value is not None for value in by_hand)
    assert "|class:flip:Flip|source:" in evalkit("show", "out", "--all").out.replace("\n", "")
    shown = subprocess.run(
        [sys.executable, "-m", "evalkit", "show", str(written / "out")],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr  # the user's modules are not there
    assert "flip:Flip" in shown.stdout


def test_edited_example_is_computed_anew(evalkit, written):
    command = (
        "run", "--data", "labels.csv", "--model", "tiny.keras", "--explainers", "spots:Spots,uniform", "--metrics",
        "sparseness", "--output", "out", "--target", "predicted",
    )  # fmt: skip
    assert evalkit(*command).code == 0
    before = scores()
    assert "6 of 6 images are already in the run folder" in evalkit(*command).err
    sys.modules.pop("spots")
    (written / "spots.py").write_text(EXAMPLES["spots"].replace("clean - score", "(clean - score) ** 2"))
    done = evalkit(*command)
    assert "images are already in the run folder" not in done.err
    after = scores()
    assert [row for row in after if row[0] == "uniform"] == [row for row in before if row[0] == "uniform"]
    assert after != before


def test_objects_from_python(written, tiny_model, photos):
    import flip
    import spots

    import evalkit

    images = evalkit.ImageSet.from_arrays(photos, [0, 1, 2, 0])
    run = evalkit.evaluate(
        tiny_model,
        images,
        explainers=["default", spots.Spots(spots=2)],
        metrics=[flip.Flip(), "sparseness"],
        patch_sizes=[8],
        target="predicted",
        progress=False,
    )
    assert "spots:Spots(spots=2)" in {cell.explainer for cell in run.leaderboard("flip:Flip")}
    assert "gradcam" in {cell.explainer for cell in run.leaderboard("sparseness")}


ADDED = {
    "spots": ("evalkit/explainers/spots.py", "evalkit/explainers/catalog.py", '        "gradcam": ',
              '        "spots": "evalkit.explainers.spots:Spots",\n', "explainers"),
    "flip": ("metrics/flip.py", "metrics/catalog.py", '        "deletion": ',
             '        "flip": "evalkit.metrics.flip:Flip",\n', "metrics"),
    "tabs": ("datasets/readers/tabs.py", "datasets/readers/catalog.py", '        "folder": ',
             '        "tabs": f"{_HERE}.tabs:READER",\n', "datasets"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ADDED))
def test_inside_evalkit_it_is_one_file_and_one_line(sources, name):
    """What a commit that adds the example would change, and that evalkit then knows it."""
    file, catalog, before, line, listed = ADDED[name]

    def run(*command):
        environment = {**os.environ, "PYTHONPATH": str(sources)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=sources, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    run("git", "init", "-q")
    run("git", "add", "-A")
    run("git", *identity, "commit", "-qm", "before")
    (sources / file).write_text(EXAMPLES[name])
    text = (sources / catalog).read_text()
    (sources / catalog).write_text(text.replace(before, line + before, 1))
    run("git", "add", "-A")
    changed = dict(reversed(row.split("\t")[::2]) for row in run("git", "diff", "--cached", "--numstat").splitlines())
    assert changed == {file: str(EXAMPLES[name].count("\n")), catalog: "1"}
    assert name in run(sys.executable, "-m", "evalkit", "list", listed)
    code = (
        "from evalkit.explainers.catalog import DEFAULT_EXPLAINERS, EXPLAINERS\n"
        "from evalkit.metrics.catalog import DEFAULT_METRICS, METRICS\n"
        "from evalkit.datasets.readers.catalog import reader_names\n"
        f"assert {name!r} in (*EXPLAINERS.names(), *METRICS.names(), *reader_names())\n"
        f"assert {name!r} not in (*DEFAULT_EXPLAINERS, *DEFAULT_METRICS)\n"
    )
    run(sys.executable, "-c", code)


def test_object_explains_a_single_photo(written, tiny_model, photos):
    import spots

    import evalkit

    explanation = evalkit.explain(tiny_model, photos[0], spots.Spots(spots=2))
    assert explanation.explainer == "spots:Spots(spots=2)"
    same = evalkit.explain(tiny_model, photos[0], "spots:Spots(spots=2)")
    assert (explanation.saliency_map == same.saliency_map).all()
