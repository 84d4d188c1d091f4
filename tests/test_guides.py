"""What the guides tell people to type works as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from evalkit.cli.app import main

DOCS = Path(__file__).resolve().parent.parent / "docs"


def blocks(name, language):
    """Return the fenced blocks of one language."""
    text = (DOCS / name).read_text(encoding="utf-8")
    return [
        body
        for found, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        if found == language
    ]


def evalkit(line):
    words = shlex.split(line, comments=True)
    assert words[:3] == ["python", "-m", "evalkit"]
    with pytest.raises(SystemExit) as end:
        main(words[3:])
    return end.value.code or 0


def test_the_gate_of_the_guide_works_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (toml,) = blocks("regression-gate.md", "toml")
    # Few steps, for time; the rest is what the guide says.
    (tmp_path / "explanations.toml").write_text(f"{toml}steps = 4\n")
    by_hand = next(block for block in blocks("regression-gate.md", "") if "git add" in block)
    for line in by_hand.splitlines():
        if line.startswith("python -m evalkit"):
            assert evalkit(line) == 0

    workflow, _ = blocks("regression-gate.md", "yaml")
    steps = yaml.safe_load(workflow)["jobs"]["gate"]["steps"]
    assert all(("run" in step) != ("uses" in step) for step in steps)
    (gate,) = [step["run"] for step in steps if step.get("run", "").startswith("python -m evalkit")]
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert evalkit(gate) == 0
    assert "::notice title=evalkit::Of 6 comparisons on 24 images: 6 unchanged." in capsys.readouterr().err
    assert "6 unchanged" in (tmp_path / "summary.md").read_text()
    uploaded = next(step["with"]["path"] for step in steps if "upload" in step.get("uses", "")).split()
    assert all((tmp_path / name).exists() for name in uploaded)
    assert ElementTree.parse(tmp_path / "explanations.xml").getroot().find("testsuite").get("tests") == "8"
