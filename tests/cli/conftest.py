"""A tiny labelled set and a tiny model on disk, and a way to call the command line in this process."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def evalkit(capsys, monkeypatch):
    """Call ``python -m evalkit`` with these arguments; returns code, out and err."""
    from evalkit.cli.app import main

    def call(*arguments):
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return SimpleNamespace(code=end.value.code or 0, out=printed.out, err=printed.err)

    return call


@pytest.fixture
def workplace(tmp_path, monkeypatch, tiny_model, rng):
    """A folder with ``tiny.keras`` and ``labels.csv`` of six photos, two a class, one box each; made current."""
    monkeypatch.chdir(tmp_path)
    tiny_model.save("tiny.keras")
    lines = ["image,class_index,label,x0,y0,x1,y1"]
    for number in range(6):
        pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"photo{number}.png")
        lines.append(f"photo{number}.png,{number % 3},class{number % 3},8,6,30,28")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path
