"""The notebooks of examples/ run from a clean kernel, and what they show fits a page."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .conftest import library

nbformat = library("nbformat")
preprocessors = library("nbconvert.preprocessors")

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent.parent / "examples").glob("*.ipynb"))
LARGEST_OUTPUT, LARGEST_FILE = 120_000, 400_000  # characters
WIDEST = 120


def test_there_are_three():
    assert [file.stem for file in NOTEBOOKS] == ["choose_patch_size", "own_model", "quality_while_training"]


def outputs_of(book):
    for cell in book.cells:
        yield from cell.get("outputs", ())


def texts_of(output):
    yield output.get("text", "")
    data = output.get("data", {})
    yield from (content for kind, content in data.items() if kind.startswith("text/"))


def require_fitting(book):
    """Outputs have a moderate size, and no error or home folder; what TensorFlow says on stderr is left alone."""
    for output in outputs_of(book):
        assert output.output_type != "error", output
        if output.get("name") == "stderr":
            continue
        for text in texts_of(output):
            assert len(text) < LARGEST_OUTPUT
            assert "/home/" not in text
        plain = output.get("data", {}).get("text/plain", "")  # printed sentences are wrapped by the notebook
        assert all(len(line) <= WIDEST for line in plain.splitlines())


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_committed_outputs_fit(file):
    book = nbformat.read(file, as_version=4)
    nbformat.validate(book)
    assert file.stat().st_size < LARGEST_FILE
    assert any("text/html" in output.get("data", {}) for output in outputs_of(book))
    require_fitting(book)


@pytest.mark.skipif(os.environ.get("EVALKIT_EXTRA") != "notebook", reason=".ci/extra notebook runs them: minutes")
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_notebooks_run_from_a_clean_kernel(file, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    book = nbformat.read(file, as_version=4)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    executed, _ = preprocessors.ExecutePreprocessor(timeout=900, kernel_name="python3").preprocess(
        book, {"metadata": {"path": str(tmp_path)}}
    )
    require_fitting(executed)
    assert any("text/html" in output.get("data", {}) for output in outputs_of(executed))
