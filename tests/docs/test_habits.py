"""The files for CI, citation and contributors say what is true."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from evalkit.cli.app import build_app
from evalkit.core.settings import OPTIONS, parsed
from evalkit.report.cite import bibtex
from tests.builders import manifest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


def page(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_workflow_runs_the_checks_on_every_python():
    (job,) = yaml.safe_load(page(".github/workflows/ci.yml"))["jobs"].values()
    classifiers = [text.rpartition(" ")[2] for text in PROJECT["classifiers"] if ":: Python :: 3." in text]
    assert job["strategy"]["matrix"]["python-version"] == classifiers
    assert job["steps"][-1]["run"] == ".ci/run"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def gate_command(tmp_path, **inputs):
    """Run the action's last step with a stand-in for Python, and return the arguments that it got."""
    step = ACTION["runs"]["steps"][-1]
    stand_in = tmp_path / "python"
    stand_in.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)
    values = {name: one.get("default", "") for name, one in ACTION["inputs"].items()} | inputs
    of_step = {
        name: values[re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", given)[1]] for name, given in step["env"].items()
    }
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        capture_output=True, text=True, check=True, env={**of_step, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    words = done.stdout.splitlines()
    assert words[:2] == ["-m", "evalkit"]
    return words[2:]


@pytest.mark.parametrize(
    ("inputs", "command"),
    [
        ({}, "run explanations.toml"),
        ({"arguments": "--limit 50 --fail-on-inconclusive"}, "run explanations.toml --limit 50 --fail-on-inconclusive"),
        ({"arguments": "--limit 50\n  --seed 3\n"}, "run explanations.toml --limit 50 --seed 3"),
        ({"config": "my gate.toml", "arguments": "--data *"}, "run 'my gate.toml' --data '*'"),
        ({"config": "", "arguments": "--data photos"}, "run --data photos"),
        ({"run-folder": "runs/one; two", "config": "unused"}, "check 'runs/one; two'"),
    ],
)
def test_action_calls_the_gate(tmp_path, inputs, command):
    words = gate_command(tmp_path, **inputs)
    gate = "--baseline explanations.json --tolerance 0.02 --junit explanations.xml"
    assert words == shlex.split(f"{command} {gate}")
    _, bound, _ = build_app().parse_args(words, exit_on_error=False, print_error=False)
    options = {**bound.arguments, **bound.arguments.get("options", {})}
    parsed({name: value for name, value in options.items() if name in OPTIONS})


def test_inputs_of_the_action_are_described():
    described = dict(re.findall(r"^\| `([\w-]+)` \| .* \| (.*) \|$", page("docs/regression-gate.md"), re.MULTILINE))
    given = {name: f"`{one['default']}`" if one["default"] else "none" for name, one in ACTION["inputs"].items()}
    assert {name: described.get(name) for name in given} == given


def test_citation_agrees_with_project_and_bibtex():
    citation = yaml.safe_load(page("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"] == [{"name": "The evalkit authors"}]
    entry = bibtex(manifest())
    assert f"title = {{{citation['title']}}}" in entry
    assert "{{The evalkit authors}}" in entry


def test_contributors_run_what_ci_runs():
    checks = re.findall(r"^(\w.*?)(?: +#.*)?$", page("CONTRIBUTING.md").split("```")[3], re.MULTILINE)
    commands = [command for line in checks for command in line.split(" && ")]
    run = page(".ci/run").splitlines()
    assert commands
    assert [one for one in commands if not any(line.split(" #")[0].startswith(one) for line in run)] == []
