"""The house: imports go down, TensorFlow stays out where it is not needed, the wheel holds everything and no more."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def python(*arguments, cwd=None, **environment):
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd, env={**os.environ, **environment}
    )


def lint_imports(root):
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )


def test_imports_go_down_the_house(sources):
    done = lint_imports(sources)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("metrics/sparseness_planted.py", "import evalkit.harness.planning.plan"),
        ("metrics/planted.py", "import tensorflow"),
        ("metrics/planted.py", "import evalkit.datasets.image"),
        ("datasets/planted.py", "import evalkit.models.classifier"),
        ("datasets/planted.py", "import keras"),
        ("evalkit/analysis/planted.py", "import evalkit.harness.planning.plan"),
        ("evalkit/report/planted.py", "import tensorflow"),
        ("evalkit/store/planted.py", "import evalkit.metrics.spec"),
    ],
)
def test_a_planted_violation_is_caught(sources, place, line):
    (sources / place).write_text(f"{line}\n")
    done = lint_imports(sources)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout


def import_cycles(root):
    """Return the imports that close a cycle among the children of a package, by package."""
    code = """
import grimp, json
graph = grimp.build_graph(
    "evalkit", "evalkit.metrics", "evalkit.datasets", exclude_type_checking_imports=False, cache_dir=None
)
packages = [module for module in sorted(graph.modules) if graph.find_children(module)]
print(json.dumps({package: sorted(graph.nominate_cycle_breakers(package)) for package in packages}))
"""
    done = python("-c", code, cwd=root, PYTHONPATH=str(root))
    assert done.returncode == 0, done.stderr
    return {package: imports for package, imports in json.loads(done.stdout).items() if imports}


def test_no_package_has_an_import_cycle():
    assert import_cycles(ROOT) == {}


def test_a_planted_import_cycle_is_caught(sources):
    for name, other in (("planted", "planned"), ("planned", "planted")):
        (sources / f"evalkit/report/tables/{name}.py").write_text(f"import evalkit.report.tables.{other}\n")
    assert "evalkit.report.tables" in import_cycles(sources)


@pytest.mark.parametrize("statement", ["import metrics", "import datasets", "from datasets import image"])
def test_bare_imports_of_the_linked_folders_are_banned(tmp_path, statement):
    (tmp_path / "planted.py").write_text(f"{statement}\n")
    done = python("-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), "--select", "TID251", str(tmp_path))
    assert done.returncode == 1
    assert "TID251" in done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel built from the sdist, as a release would be."""
    out = tmp_path_factory.mktemp("dist")
    done = python("-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT))
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_holds_exactly_evalkit(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"evalkit"}
    for folder in ("metrics", "datasets"):
        sources = {path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob("*.py")}
        assert sources
        assert {
            name.removeprefix(f"evalkit/{folder}/") for name in names if name.startswith(f"evalkit/{folder}/")
        } == sources
    assert "evalkit/py.typed" in names
    assert "evalkit/models/zoo/weights/vgg16-mini.npz" in names
    assert {f"evalkit/report/html/templates/report.{kind}" for kind in ("html", "css", "js")} <= set(names)


def test_the_wheel_runs_beside_hugging_face_datasets(wheel, tmp_path):
    site = tmp_path / "site"
    (site / "datasets").mkdir(parents=True)
    (site / "datasets" / "__init__.py").write_text("owner = 'Hugging Face'\n")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = "import datasets, evalkit.datasets.image; print(datasets.owner, evalkit.__file__)"
    done = python("-c", code, cwd=elsewhere, PYTHONPATH=str(site))
    assert done.stdout.split() == ["Hugging", "Face", str(site / "evalkit" / "__init__.py")], done.stderr
    assert python("-m", "evalkit", "--version", cwd=elsewhere, PYTHONPATH=str(site)).stdout.strip()


def test_the_checkout_does_not_shadow_hugging_face_datasets(tmp_path):
    site = tmp_path / "site"
    (site / "datasets").mkdir(parents=True)
    (site / "datasets" / "__init__.py").write_text("owner = 'Hugging Face'\n")
    done = python("-c", "import datasets; print(datasets.owner)", cwd=ROOT, PYTHONPATH=str(site))
    assert done.stdout.strip() == "Hugging Face", done.stderr
    assert not (ROOT / "datasets" / "__init__.py").exists()
    assert not (ROOT / "metrics" / "__init__.py").exists()


def test_the_links_are_relative():
    assert (ROOT / "evalkit" / "metrics").readlink() == Path("../metrics")
    assert (ROOT / "evalkit" / "datasets").readlink() == Path("../datasets")


def test_the_pages_show_pictures_that_are_there_and_small():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {
        (page.parent / name).resolve() for page in pages for name in re.findall(r"\]\(([^)]+\.png)\)", page.read_text())
    }
    assert shown == {path.resolve() for path in (ROOT / "docs" / "images").iterdir()}
    assert sum(path.stat().st_size for path in shown) < 1_000_000


def test_architecture_names_every_module():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = text.split("```")[1]
    rooms = {room: tree[tree.index(f"\n{room}/") :] for room in ("evalkit", "metrics", "datasets")}
    lines = {room: part[: part.index("\n\n") if "\n\n" in part else None] for room, part in rooms.items()}
    missing = [
        str(path.relative_to(ROOT))
        for room, part in lines.items()
        for path in (ROOT / room).rglob("*.py")
        if not path.name.startswith("__") and not re.search(rf"\b{path.stem}\b", part)
    ]
    assert missing == []


def test_architecture_names_no_module_that_is_gone():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = "core|store|metrics|datasets|models|explainers|harness|analysis|report|api|cli"
    named = {ROOT / "evalkit" / name for name in re.findall(rf"`((?:{rooms})/[\w/]+)`", text)}
    assert named
    assert {path for path in named if not path.exists() and not path.with_suffix(".py").exists()} == set()
