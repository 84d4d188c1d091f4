"""The audit verb on small runs: every format, the widths, what it refuses, and that it needs no model."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import subprocess
import sys

import msgspec
import pytest

import evalkit as package
from evalkit.analysis.audit.results import Audit

CODE = (
    "import sys; from evalkit.cli.app import main\n"
    "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
    "assert not {'tensorflow', 'keras', 'tf_explain', 'cv2'} & set(sys.modules)\n"
)
METRICS = "sparseness,deletion,symmetric_relevance_gain,max_box_acc_v1,relevance_mass_accuracy,pointing_game"


@pytest.fixture
def finished(evalkit, prepared):
    """A folder with a run ``one`` of six images."""

    def make(_):
        done = evalkit(
            "run", "--data", "labels.csv", "--model", "tiny.keras", "--output", "one", "--metrics", METRICS,
            "--explainers", "gradcam,layercam,gradient,gradient_x_input,controls", "--steps", "4",
            "--precision", "float32",
        )  # fmt: skip
        assert done.code == 0, done.err

    return prepared("audit", make)


@pytest.fixture
def enlarged(finished):
    """The same with the scores of 24 images: each image's scores four times, changed a little."""
    connection = sqlite3.connect("one/results.sqlite")
    columns = [row[1] for row in connection.execute("PRAGMA table_info(images)")]
    rows = connection.execute("SELECT * FROM images ORDER BY position").fetchall()
    scores = connection.execute(
        "SELECT image_id, explainer, metric, value, reason, statistics, key FROM scores"
    ).fetchall()
    for copy in range(1, 4):
        for row in rows:
            new = dict(zip(columns, row, strict=True))
            new["position"] += copy * len(rows)
            new["image_id"] = f"{copy}{new['image_id']}"
            new["sha256"] = f"{copy}{new['sha256']}"
            connection.execute(f"INSERT INTO images VALUES ({', '.join('?' * len(columns))})", list(new.values()))  # noqa: S608
        for image_id, explainer, metric, value, *others in scores:
            changed = None if value is None else value + 0.001 * copy * (len(explainer) % 3)
            values = [f"{copy}{image_id}", explainer, metric, changed, *others]
            connection.execute("INSERT INTO scores VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    connection.commit()
    connection.close()
    return finished


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_keeps_to_the_terminal(evalkit, enlarged, monkeypatch, width):
    monkeypatch.setattr("evalkit.cli.audit.terminal_width", lambda: width)
    done = evalkit("audit", "one")
    assert done.code == 0, done.err
    assert done.err == ""
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(done.out.split())
    for part in (
        "Which metrics can be trusted here?", "Controls: score over chance", "Agreement of metrics", "--criterion",
        "24 images, 4 explainers, 5 controls", "lower end", "docs/metrics-on-trial.md",
    ):  # fmt: skip
        assert part in text
    assert any(line.startswith("symmetric_relevance_gain ↑") for line in lines)
    assert "relevance_mass_accuracy: it scored no image: only boxes, no exact mask." in text


def test_the_document_is_strict_and_complete(evalkit, enlarged):
    done = evalkit("audit", "one", "--format", "json")
    found = json.loads(done.out, parse_constant=pytest.fail)
    assert found["schema_version"] == 1
    assert found["model"] == "tiny.keras"
    audit = msgspec.convert(found, Audit)
    assert [one.metric for one in audit.metrics] == METRICS.split(",")
    assert {one.metric: one.verdict for one in audit.metrics}["sparseness"] is None
    assert audit == package.open_run("one").audit()
    assert len(audit.agreement) == 6  # of the four that score single images and have a better end
    assert set(audit.not_compared) == {"sparseness", "max_box_acc_v1"}


def test_every_other_format_parses(evalkit, enlarged):
    shown = {form: evalkit("audit", "one", "--format", form) for form in ("csv", "markdown", "latex")}
    assert {one.code for one in shown.values()} == {0}
    rows = list(csv.DictReader(io.StringIO(shown["csv"].out)))
    assert [row["metric"] for row in rows] == METRICS.split(",")
    assert {row["n_images"] for row in rows} >= {"24"}
    tables = [line for line in shown["markdown"].out.splitlines() if line.startswith("|")]
    assert {len(re.split(r"(?<!\\)\|", line)) - 2 for line in tables} == {5}
    assert shown["latex"].out.count(r"\begin{tabular}") == shown["latex"].out.count(r"\end{tabular}") == 3
    assert evalkit("audit", "one", "--format", "xml").code == 2


def test_few_images_are_audited_as_far_as_possible(evalkit, finished):
    done = evalkit("audit", "one")
    assert done.code == 0, done.err
    text = " ".join(done.out.split())
    assert "the reliability is not known: 6 images were scored by all compared explainers; 8 are needed" in text
    assert "No metric of this run has a verdict, so no --criterion is advised" in text
    assert evalkit("audit", "one", "--format", "json").code == 0


def test_what_is_no_finished_run_is_refused(evalkit, finished):
    (finished / "empty").mkdir()
    for folder in ("missing", "empty", "labels.csv"):
        done = evalkit("audit", folder)
        assert done.code == 2, folder
        assert folder in done.err
        assert done.out == ""
    manifest = json.loads((finished / "one/manifest.json").read_text())
    (finished / "one/manifest.json").write_text(json.dumps({**manifest, "finished": None}))
    done = evalkit("audit", "one")
    assert done.code == 2
    assert "is not finished; repeat the command that started it" in done.err
    assert evalkit("audit").code == 2


def test_audit_needs_no_model(finished):
    done = subprocess.run([sys.executable, "-c", CODE, "audit", "one"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Which metrics can be trusted here?" in done.stdout
