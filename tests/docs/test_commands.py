"""Every command in the pages can be typed: its options exist, and their values are allowed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from evalkit.cli.app import build_app
from evalkit.core.settings import OPTIONS, parsed

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = "python -m evalkit"
VARIABLES = {"${SLURM_ARRAY_TASK_ID}": "2", "${SLURM_ARRAY_TASK_COUNT}": "8"}  # of the shell


def commands():
    """Return the page and text of every command in a fenced block, continued lines joined."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            for line in block.replace("\\\n", " ").splitlines():
                for part in line.split("&&"):
                    command = re.sub(r" \[--.*\]", "", part.strip().removeprefix("- run: "))  # [--optional]
                    if command.startswith(f"{COMMAND} "):
                        yield page.relative_to(ROOT).as_posix(), command


# Those that need no data, no network and no long pass.
CHEAP = {
    tuple(shlex.split(command, comments=True)[3:])
    for _, command in commands()
    if command.startswith((f"{COMMAND} list ", f"{COMMAND} explain scene-"))
}


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_command_of_a_page_is_understood(page, command):
    for variable, value in VARIABLES.items():
        command = command.replace(variable, value)
    words = [word for word in shlex.split(command, comments=True)[3:] if word != "..."]  # ... = your data and model
    _, bound, _ = build_app().parse_args(words, exit_on_error=False, print_error=False)
    options = {**bound.arguments, **bound.arguments.get("options", {})}
    parsed({name: value for name, value in options.items() if name in OPTIONS})


def test_pages_have_commands():
    assert len(set(commands())) > 60
    assert len(CHEAP) >= 4


@pytest.mark.parametrize("words", sorted(CHEAP))
def test_cheap_command_of_a_page_runs(evalkit, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    done = evalkit(*words)
    assert done.code == 0, done.err
    assert done.out
