"""``baseline`` and ``check`` on a tiny run."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from evalkit.core.errors import ConfigError

RUN = ("run", "--model", "tiny.keras", "--data", "labels.csv", "--target", "predicted", "--steps", "4")
EXPLAINED = ("--explainers", "gradcam,occlusion(patch_size=8),random")
METRICS = ("--metrics", "symmetric_relevance_gain,insertion,energy_pointing_game,pxap")


def verdicts(found):
    """Of the cells that were scored: where the model is wrong, the region is not that of the class explained."""
    return {cell["verdict"] for cell in found["cells"] if cell["n_images"] >= 2}


@pytest.fixture
def kept(evalkit, prepared):
    """A run and its baseline."""

    def make(_):
        assert evalkit(*RUN, *EXPLAINED, *METRICS, "--output", "run").code == 0
        done = evalkit("baseline", "run", "--output", "baseline.json")
        assert done.code == 0, done.err

    return prepared("gate", make)


def test_a_run_passes_its_own_baseline_in_every_format(evalkit, kept):
    text = (kept / "baseline.json").read_text()
    assert list(json.loads(text)["scores"]) == ["gradcam", "occlusion(patch_size=8)"]
    for form in ("table", "json", "csv", "markdown", "latex"):
        done = evalkit("check", "run", "--baseline", "baseline.json", "--format", form)
        assert done.code == 0, done.err
        assert "unchanged" in done.out
    found = json.loads(evalkit("check", "run", "--baseline", "baseline.json", "--format", "json").out)
    assert verdicts(found) == {"unchanged"}
    assert len(found["cells"]) == 6


def test_another_batch_size_and_order_pass(evalkit, kept):
    header, *lines = (kept / "labels.csv").read_text().splitlines()
    (kept / "turned.csv").write_text("\n".join([header, *lines[::-1]]) + "\n")
    options = [one.replace("labels.csv", "turned.csv") for one in RUN]
    assert evalkit(*options, *EXPLAINED, *METRICS, "--batch-size", "3", "--output", "again").code == 0
    found = json.loads(evalkit("check", "again", "--baseline", "baseline.json", "--format", "json").out)
    assert found["n_images"] == 6
    assert verdicts(found) == {"unchanged"}


def test_run_with_a_baseline_is_run_and_check_in_one(evalkit, kept, monkeypatch):
    summary = kept / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    (kept / "run.toml").write_text('baseline = "baseline.json"\ntolerance = 0.03\n')
    done = evalkit(RUN[0], "run.toml", *RUN[1:], *EXPLAINED, *METRICS, "--junit", "gate.xml", "--format", "json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert len(found["leaderboard"]) == 12
    assert {cell["tolerance"] for cell in found["gate"]["cells"] if cell["n_images"] >= 2} == {0.03}
    suite = ElementTree.parse(kept / "gate.xml").getroot().find("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("8", "0", "0")
    assert "::notice title=evalkit::Of 6 comparisons" in done.err
    assert "# Explanations compared with the baseline" in summary.read_text()
    table = evalkit(*RUN, *EXPLAINED, *METRICS, "--baseline", "baseline.json").out
    assert table.index("More:") < table.index("Of 6 comparisons on 6 images")


def test_run_with_a_baseline_uses_its_precision(evalkit, kept):
    path = kept / "baseline.json"
    path.write_text(path.read_text().replace('"precision": "float32"', '"precision": "bfloat16"'))
    options = ("--explainers", "gradcam", "--metrics", "insertion", "--format", "json", "--baseline", "baseline.json")
    assert json.loads(evalkit(*RUN, *options).out)["model"]["precision"] == "bfloat16"
    told = evalkit(*RUN, *options, "--precision", "float32")
    assert json.loads(told.out)["model"]["precision"] == "float32"
    assert told.code == 3  # occlusion is in the baseline and not in this run


def test_another_target_is_refused_before_anything_is_computed(evalkit, kept):
    options = [one.replace("predicted", "label") for one in RUN]
    done = evalkit(*options, *EXPLAINED, *METRICS, "--baseline", "baseline.json", "--output", "other")
    assert done.code == 3
    assert "target was predicted and is label; run with --target predicted" in done.err
    assert not (kept / "other").exists()


def test_from_a_test_suite(evalkit, kept):
    import evalkit as package
    from evalkit.testing import assert_no_regression

    gate = assert_no_regression(package.open_run("run"), "baseline.json", tolerance=0.05)
    assert gate.n_images == 6
    with sqlite3.connect(kept / "run" / "results.sqlite") as database:
        database.execute("UPDATE scores SET value = value - 0.6 WHERE explainer = 'gradcam' AND metric = 'insertion'")
        database.execute("UPDATE maps SET rank_hash = 'ffffffffffffffff' WHERE explainer LIKE 'occlusion%'")
    database.close()
    with pytest.raises(AssertionError, match=r"Regressed: gradcam, insertion: worse by 0\.600"):
        assert_no_regression("run", "baseline.json", alpha=0.1)
    with pytest.raises(AssertionError, match=r"Maps changed: occlusion\(patch_size=8\)"):
        assert_no_regression("run", "baseline.json", tolerance="50%", fail_on_map_drift=True)


def test_share_of_lost_images_is_an_option_everywhere(evalkit, kept, monkeypatch):
    """Two of six images are not scored any more, a third."""
    from evalkit.testing import assert_no_regression

    with sqlite3.connect(kept / "run" / "results.sqlite") as database:
        database.execute(
            "UPDATE scores SET value = NULL, reason = 'misclassified' WHERE explainer = 'gradcam' "
            "AND metric = 'insertion' AND image_id IN (SELECT image_id FROM images ORDER BY image_id LIMIT 2)"
        )
    database.close()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    check = ("check", "run", "--baseline", "baseline.json")
    done = evalkit(*check, "--junit", "gate.xml")
    assert done.code == 3
    sentence = "of 6 images that the baseline scored, 2 are not scored now (most frequent reason: misclassified, 2)"
    assert f"Not comparable: gradcam, insertion: {sentence}" in " ".join(done.out.split())
    assert f"::error title=evalkit::Not comparable: gradcam, insertion: {sentence}" in done.err
    assert sentence in (kept / "gate.xml").read_text()
    assert evalkit(*check, "--max-lost", "30%").code == 3
    for accepted in ("34%", "0.34", "1"):
        assert evalkit(*check, "--max-lost", accepted).code == 0
    (kept / "run.toml").write_text('baseline = "baseline.json"\nmax_lost = "34%"\noutput = "run"\n')
    again = (RUN[0], "run.toml", *RUN[1:], *EXPLAINED, *METRICS)
    assert evalkit(*again).code == 0
    assert evalkit(*again, "--max-lost", "0").code == 3
    assert_no_regression("run", "baseline.json", max_lost="34%")
    assert_no_regression("run", "baseline.json", max_lost=1 / 3)
    with pytest.raises(AssertionError, match="--max-lost 20% accepts at most 1"):
        assert_no_regression("run", "baseline.json")
    with pytest.raises(ConfigError, match="--max-lost '20' is not allowed"):
        assert_no_regression("run", "baseline.json", max_lost=20)


def test_baseline_counts_photos(evalkit, workplace):
    """The first photo is there twice, the second time with another class: two entries of one photo."""
    (workplace / "copy.png").write_bytes((workplace / "photo0.png").read_bytes())
    _, first, second, *_ = lines = (workplace / "labels.csv").read_text().splitlines()
    assert first.startswith("photo0.png,")
    copy = ",".join(["copy.png", *second.split(",")[1:]])
    (workplace / "labels.csv").write_text("\n".join([*lines, copy]) + "\n")
    assert evalkit(*RUN, *EXPLAINED, *METRICS, "--output", "run").code == 0
    done = evalkit("baseline", "run", "--output", "baseline.json")
    assert "baseline.json: 6 images" in done.err
    assert json.loads((workplace / "baseline.json").read_text())["photos"] == [0, 1, 2, 3, 4, 5, 0]
    found = json.loads(evalkit("check", "run", "--baseline", "baseline.json", "--format", "json").out)
    assert (found["n_images"], found["n_baseline_images"]) == (6, 6)
    assert {drift["n_images"] for drift in found["drift"]} == {6}
    compared = json.loads(evalkit("compare", "run", "run", "--format", "json").out)
    assert (compared["n_shared"], compared["runs"][0]["n_images"]) == (6, 6)


def test_baseline_of_one_photo_with_two_entries_is_refused(evalkit, workplace):
    (workplace / "copy.png").write_bytes((workplace / "photo0.png").read_bytes())
    header, first, second, *_ = (workplace / "labels.csv").read_text().splitlines()
    copy = ",".join(["copy.png", *second.split(",")[1:]])
    (workplace / "labels.csv").write_text(f"{header}\n{first}\n{copy}\n")
    assert evalkit(*RUN, *EXPLAINED, *METRICS, "--output", "run").code == 0
    done = evalkit("baseline", "run", "--output", "baseline.json", "--metrics", "insertion")
    assert done.code == 2
    assert "insertion scored fewer than two images in 'run'" in done.err


@pytest.mark.parametrize(
    ("photos", "said"),
    [
        ([0, 1, 2, 3, 4], "is incomplete: 5 photos for 6 images"),
        ([], "is incomplete: 0 photos for 6 images"),
        ([-1, 1, 2, 3, 4, 5], "is damaged"),
        ([10**30, 1, 2, 3, 4, 5], "is damaged"),
    ],
)
def test_damaged_photo_numbers_are_refused(evalkit, kept, photos, said):
    path = kept / "baseline.json"
    saved = json.loads(path.read_text())
    path.write_text(json.dumps({**saved, "photos": photos}))
    done = evalkit("check", "run", "--baseline", "baseline.json")
    assert done.code == 2
    assert said in done.err


def test_baseline_of_the_version_before_is_read(evalkit, kept):
    path = kept / "baseline.json"
    saved = json.loads(path.read_text())
    del saved["photos"]
    path.write_text(json.dumps({**saved, "schema_version": 2}))
    done = evalkit("check", "run", "--baseline", "baseline.json", "--format", "json")
    assert done.code == 0
    assert verdicts(json.loads(done.out)) == {"unchanged"}


def test_another_recommended_patch_size_is_said(evalkit, workplace):
    options = ("--explainers", "occlusion", "--patch-sizes", "8,16", "--metrics", "symmetric_relevance_gain")
    assert evalkit(*RUN, *options, "--output", "run").code == 0
    assert evalkit("baseline", "run", "--output", "baseline.json").code == 0
    path = workplace / "baseline.json"
    found = json.loads(path.read_text())["recommended"]
    other = {8: 16, 16: 8}[found["patch_size"]]
    path.write_text(
        path.read_text()
        .replace(f'"patch_size": {found["patch_size"]}', f'"patch_size": {other}')
        .replace(f'"stride": {found["stride"]}', f'"stride": {other}')
    )
    out = " ".join(evalkit("check", "run", "--baseline", "baseline.json").out.split())
    assert f"Recommended patch size: {other} with stride {other}" in out


def test_another_recommended_fill_of_the_same_size_is_said(evalkit, workplace):
    options = ("--explainers", "occlusion(fill=black),occlusion(fill=mean)", "--patch-sizes", "8,16")
    assert evalkit(*RUN, *options, "--metrics", "symmetric_relevance_gain", "--output", "run").code == 0
    assert evalkit("baseline", "run", "--output", "baseline.json").code == 0
    path = workplace / "baseline.json"
    text = path.read_text()
    fill = json.loads(text)["recommended"]["parameters"]["fill"]
    other = {"black": "mean", "mean": "black"}[fill]
    path.write_text(text.replace(f'"fill": "{fill}"', f'"fill": "{other}"'))
    out = " ".join(evalkit("check", "run", "--baseline", "baseline.json").out.split())
    assert f"fill={other} before," in out.replace(" (undecided)", "")
    assert f"fill={fill} now." in out.replace(" (undecided)", "")
    # Baselines were written without these fields.
    older = json.loads(text)
    del older["recommended"]["explainer"], older["recommended"]["parameters"]
    path.write_text(json.dumps(older))
    done = evalkit("check", "run", "--baseline", "baseline.json")
    assert "Recommended patch size" not in done.out
    assert done.code == 0, done.err


def test_worse_scores_exit_with_1_and_are_named(evalkit, kept):
    with sqlite3.connect(kept / "run" / "results.sqlite") as database:
        database.execute("UPDATE scores SET value = value - 0.6 WHERE explainer = 'gradcam' AND metric = 'insertion'")
    database.close()
    # With one unseen image that is better by 1, the metric's width: (1.02 / 1.6) ** 6 = 0.067.
    done = evalkit("check", "run", "--baseline", "baseline.json", "--alpha", "0.1")
    assert done.code == 1
    assert "Regressed: gradcam, insertion: worse by 0.600" in " ".join(done.out.split())
    assert evalkit("check", "run", "--baseline", "baseline.json", "--alpha", "0.1", "--tolerance", "0.5").code == 0


def test_another_fill_is_not_comparable_and_named(evalkit, kept):
    options = ("--explainers", "gradcam,occlusion(patch_size=8, fill=gray)")
    assert evalkit(*RUN, *options, *METRICS, "--output", "gray").code == 0
    done = evalkit("check", "gray", "--baseline", "baseline.json")
    assert done.code == 3
    assert "fill is black in the baseline, gray in the run" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda text: text[:200], 2, "is damaged"),
        (lambda text: text.replace('"schema_version": 3', '"schema_version": 7'), 2, "has schema version 7"),
        (
            lambda text: text.replace('"rank_hashes": {\n  "gradcam"', '"rank_hashes": {\n  "cam"'),
            2,
            "no rank hashes of gradcam",
        ),
        (lambda text: text.replace('"insertion": [', '"deletion": [', 1), 2, "is incomplete: no scores of gradcam"),
        (lambda text: text.replace('"target": "predicted"', '"target": "label"'), 3, "target was label"),
        (
            lambda text: text.replace('"images": ["', '"images": ["x'),
            None,
            "1 of the baseline's 6 images are not in the run",
        ),
        (lambda text: re.sub(r'"metrics": {[^}]*}', '"metrics": {}', text), 2, "is incomplete: it has no metrics"),
        (
            lambda text: text.replace('"target": "predicted"', '"target": "predicted",\n "target": "label"'),
            2,
            "is there twice",
        ),
        (
            lambda text: text.replace('"schema_version": 3,', '"schema_version": 3, "x": ' + "[" * 100_000 + ","),
            2,
            "is damaged",
        ),
        (lambda text: text.replace('"insertion":', '"unheard_of":'), 2, "has the metric 'unheard_of'"),
        (lambda text: text.replace("gradcam", "grad\\u001bcam"), 2, "is not a valid name"),
        (
            lambda text: re.sub(r'("insertion": \[)[^,]*,', r"\g<1>1e308,", text),
            2,
            "score 1e+308 is outside the valid range",
        ),
        (lambda text: re.sub(r'("targets": \[)[^,]*,', r"\1", text), 2, "is incomplete: 5 targets for 6 images"),
    ],
)
def test_a_baseline_that_cannot_be_trusted_is_one_clear_sentence(evalkit, kept, change, code, said):
    path = kept / "baseline.json"
    path.write_text(change(path.read_text()))
    done = evalkit("check", "run", "--baseline", path)
    assert done.code == code if code is not None else done.code in (0, 3)  # one of two scores is too many
    assert said in " ".join((done.out + done.err).split())
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "run", "--baseline", "none.json"), "cannot be read: No such file"),
        (("check", "run", "--baseline", "baseline.json", "--tolerance", "much"), "--tolerance 'much' is not allowed"),
        (("check", "run", "--baseline", "baseline.json", "--alpha", "2"), "--alpha 2 is not allowed"),
        (("check", "run", "--baseline", "baseline.json", "--max-lost", "2"), "--max-lost '2' is not allowed; write a"),
        ((*RUN, "--max-lost", "10%"), "--max-lost needs --baseline FILE"),
        (("baseline", "run", "--output", "b.json", "--metrics", "pxap"), "'pxap' scores all images together, not each"),
        (("baseline", "run", "--output", "b.json", "--metrics", "deletion"), "is not among this run's metrics"),
        (("baseline", "run", "--output", "no/such/b.json/x"), ""),
        (("baseline", "nowhere", "--output", "b.json"), "is not a run folder"),
        (("check", "run", "--baseline", "baseline.json", "--junit", "no/such/gate.xml"), "--junit 'no/such/gate.xml'"),
        ((*RUN, "--tolerance", "0.1"), "--tolerance needs --baseline FILE"),
        ((*RUN, "--baseline", "none.json"), "--baseline 'none.json' cannot be read"),
    ],
)
def test_wrong_input_exits_with_2(evalkit, kept, arguments, said):
    if arguments[2:4] == ("--output", "no/such/b.json/x"):
        (kept / "no").write_text("a file")
    done = evalkit(*arguments)
    assert done.code == 2
    assert said in done.err
    assert "internal error" not in done.err


def test_checking_imports_no_tensorflow(kept):
    code = (
        "import sys; from evalkit.cli.app import main\n"
        "try: main(['check', 'run', '--baseline', 'baseline.json'])\n"
        "except SystemExit as end: print(end.code, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=kept)
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr


def worsen(run):
    with sqlite3.connect(run / "results.sqlite") as database:
        database.execute("UPDATE scores SET value = value - 0.6 WHERE explainer = 'gradcam' AND metric = 'insertion'")
    database.close()


WORSE = ("check", "run", "--baseline", "baseline.json", "--alpha", "0.1")


def test_verdict_outranks_a_summary_that_cannot_be_written(evalkit, kept, monkeypatch):
    worsen(kept / "run")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/nonexistent/summary.md")
    done = evalkit(*WORSE)
    assert done.code == 1
    assert "'/nonexistent/summary.md' cannot be written" in done.err
    assert "::error title=evalkit::Regressed: gradcam, insertion" in done.err


def test_a_reader_that_goes_away_does_not_change_the_exit_code(kept):
    worsen(kept / "run")
    command = f"{sys.executable} -m evalkit {' '.join(WORSE)} --junit gate.xml | true; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, cwd=kept, env=environment)
    assert done.returncode == 1, done.stderr
    assert ElementTree.parse(kept / "gate.xml").getroot().find("testsuite").get("failures") == "1"


def test_no_file_of_ours_is_overwritten(evalkit, kept):
    before = (kept / "baseline.json").read_bytes()
    done = evalkit("check", "run", "--baseline", "baseline.json", "--junit", "baseline.json")
    assert done.code == 2
    assert "is the baseline's own file" in done.err
    assert (kept / "baseline.json").read_bytes() == before
    done = evalkit("baseline", "run", "--output", "run/manifest.json")
    assert done.code == 2
    assert "is a file of the run folder 'run'" in done.err
    assert evalkit("check", "run", "--baseline", "baseline.json").code == 0


def test_a_refusal_is_told_in_junit_and_annotations(evalkit, kept, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    path = kept / "baseline.json"
    path.write_text(path.read_text().replace('"target": "predicted"', '"target": "label"'))
    (kept / "gate.xml").write_text("<testsuites/>")
    done = evalkit("check", "run", "--baseline", "baseline.json", "--junit", "gate.xml")
    assert done.code == 3
    assert "::error title=evalkit::run and baseline are not comparable" in done.err
    suite = ElementTree.parse(kept / "gate.xml").getroot().find("testsuite")
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")


def test_what_fails_is_an_error_in_the_annotations(evalkit, kept, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    with sqlite3.connect(kept / "run" / "results.sqlite") as database:
        database.execute("UPDATE maps SET rank_hash = 'ffffffffffffffff' WHERE explainer = 'gradcam'")
    database.close()
    drifted = evalkit("check", "run", "--baseline", "baseline.json")
    assert drifted.code == 0
    assert "::warning title=evalkit::Maps changed: gradcam" in drifted.err
    drifted = evalkit("check", "run", "--baseline", "baseline.json", "--fail-on-map-drift")
    assert drifted.code == 1
    assert "::error title=evalkit::Maps changed: gradcam" in drifted.err


def test_a_metric_that_scored_nothing_is_not_gated(evalkit, workplace):
    lines = [line.split(",")[:3] for line in (workplace / "labels.csv").read_text().splitlines()]
    (workplace / "labels.csv").write_text("\n".join(",".join(line) for line in lines) + "\n")
    assert evalkit(*RUN, *EXPLAINED, *METRICS, "--output", "run").code == 0
    assert evalkit("baseline", "run", "--output", "baseline.json").code == 0
    assert "energy_pointing_game" not in json.loads((workplace / "baseline.json").read_text())["metrics"]
    done = evalkit("baseline", "run", "--output", "other.json", "--metrics", "energy_pointing_game")
    assert done.code == 2
    assert "energy_pointing_game scored fewer than two images in 'run'" in done.err


def test_images_with_another_target_are_not_compared(evalkit, kept, tiny_model):
    import keras

    turned = keras.models.clone_model(tiny_model)
    weights = tiny_model.get_weights()
    weights[-2], weights[-1] = np.roll(weights[-2], 1, axis=1), np.roll(weights[-1], 1)
    turned.set_weights(weights)
    turned.save("tiny.keras")
    done = evalkit(*RUN, *EXPLAINED, *METRICS, "--baseline", "baseline.json")
    assert done.code == 3
    assert "On 6 images the model explains another class than before" in " ".join(done.out.split())


def test_what_the_folder_holds_already_is_said(evalkit, kept):
    done = evalkit(*RUN, *EXPLAINED, *METRICS, "--output", "run", "--baseline", "baseline.json")
    assert done.code == 0
    assert "6 of 6 images are already in the run folder; --fresh computes them again" in done.err


def test_another_version_of_any_library_is_computed_again(evalkit, kept, monkeypatch):
    from evalkit.core import versions

    found = versions._versions()
    monkeypatch.setattr(
        versions, "_versions", lambda: tuple((name, "99" if name == "pillow" else one) for name, one in found)
    )
    done = evalkit(*RUN, *EXPLAINED, *METRICS, "--output", "run", "--baseline", "baseline.json")
    assert done.code == 0
    assert "are already in the run folder" not in done.err
    assert "Differs: pillow" in done.out
