"""The gate's words: JUnit, workflow commands, the step's summary."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from evalkit.analysis.gate.results import Gate, GateCell, MapDrift
from evalkit.report import render_gate
from evalkit.report.gate.github import step_summary, workflow_commands
from evalkit.report.gate.junit import render_junit
from evalkit.report.gate.sentences import recommendation
from evalkit.store.baseline import Recommendation


def cell(explainer, verdict, **facts):
    measured = {
        "baseline_mean": 0.8, "mean": 0.7, "change": -0.1, "ci_low": -0.15, "ci_high": -0.05, "tolerance": 0.02,
        "p_value": 0.001, "n_images": 40, "detectable": 0.03,
    }  # fmt: skip
    return GateCell(explainer, "insertion", "higher", verdict, **{**measured, **facts})


@pytest.fixture
def gate():
    return Gate(
        cells=(
            cell("gradcam", "regressed"),
            cell("cam", "unchanged"),
            cell("a\x00<b>", "inconclusive", n_wanted=1234),
            GateCell("occlusion(patch_size=40)", "insertion", "higher", "not comparable", reason="fill is: 5%, other"),
        ),
        n_images=40,
        n_other_class=0,
        n_baseline_images=40,
        drift=(MapDrift("gradcam", 40, 38, 9.25, changed=True), MapDrift("cam", 40, 1, 0.025, changed=False)),
        recommended_before=Recommendation("insertion", 0.02, 32, 16, decided=True),
        recommended_now=Recommendation("insertion", 0.02, 40, 40, decided=False),
        differs=("precision: float32 before, bfloat16 now",),
        new=(),
        alpha=0.05,
        fails_on=(),
        exit_code=1,
        summary="Of 4 comparisons on 40 images: whatever.",
    )


def test_junit_counts_and_outcomes(gate):
    suite = ElementTree.fromstring(render_junit(gate)).find("testsuite")
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6", "failures": "1", "errors": "1", "skipped": "1",
    }  # fmt: skip
    outcomes = {(case.get("classname"), case.get("name")): [one.tag for one in case] for case in suite.iter("testcase")}
    assert outcomes == {
        ("evalkit.insertion", "gradcam"): ["failure"],
        ("evalkit.insertion", "cam"): ["system-out"],
        ("evalkit.insertion", "a\ufffd<b>"): ["skipped"],
        ("evalkit.insertion", "occlusion(patch_size=40)"): ["error"],
        ("evalkit.maps", "gradcam"): ["system-out"],
        ("evalkit.maps", "cam"): ["system-out"],
    }
    failure = suite.find("testcase/failure")
    assert failure.get("message") == "regressed: worse by 0.100, accepted 0.02"
    assert "0.800 before, 0.700 now, change -0.100 (95 % -0.150 to -0.050" in failure.text
    assert "Maps changed: gradcam: 9.2 of 64 bits" in suite.find("system-out").text


def test_junit_fails_on_what_the_gate_fails_on(gate):
    import msgspec

    strict = msgspec.structs.replace(gate, fails_on=("inconclusive", "map drift"))
    suite = ElementTree.fromstring(render_junit(strict)).find("testsuite")
    assert (suite.get("failures"), suite.get("skipped")) == ("3", "0")


def test_workflow_commands_are_escaped_and_sorted_by_weight(gate):
    lines = workflow_commands(gate).splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["::error", "::error", "::warning", "::warning", "::notice"]
    assert lines[0].startswith("::error title=evalkit::Regressed: gradcam, insertion: worse by 0.100")
    assert "fill is: 5%25, other" in lines[1]
    assert "Recommended patch size: 32 with stride 16 before, 40 with stride 40 (undecided) now." in lines[3]


def of_fill(fill, **changes):
    others = {"explainer": "occlusion", "parameters": {"fill": fill}} if fill else {}
    return Recommendation("insertion", 0.02, 32, 32, **{"decided": True, **others, **changes})


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (of_fill("black"), of_fill("mean"), "32 with stride 32, fill=black before, 32 with stride 32, fill=mean now."),
        (
            of_fill("black"),
            of_fill("black", explainer="mine:Occlusion", decided=False),
            "32 with stride 32, occlusion before, 32 with stride 32, mine:Occlusion (undecided) now.",
        ),
        (of_fill("black"), of_fill("black"), None),
        (of_fill(None), of_fill("mean"), None),  # an older baseline does not say which fill it was
        (of_fill("black"), of_fill("black", parameters={"fill": "black", "new": 1}), None),
    ],
)
def test_another_setting_of_the_same_size_is_said(gate, before, now, said):
    import msgspec

    found = recommendation(msgspec.structs.replace(gate, recommended_before=before, recommended_now=now))
    assert list(found) == ([f"Recommended patch size: {said}"] if said else [])


def test_github_shows_ten_of_a_kind(gate):
    import msgspec

    many = msgspec.structs.replace(gate, cells=tuple(cell(f"e{at}", "regressed") for at in range(30)))
    assert sum(line.startswith("::error") for line in workflow_commands(many).splitlines()) == 10


def test_the_summary_is_markdown_with_everything(gate):
    text = step_summary(gate)
    assert text.startswith("# Explanations compared with the baseline")
    assert "| gradcam | 0.800 | 0.700 | -0.100 |" in text
    assert "Maps changed: gradcam" in text


def test_the_table_names_drift_and_another_recommendation(gate):
    text = " ".join(render_gate(gate, "table", width=80, color=False).split())
    assert "Maps changed: gradcam: 9.2 of 64 bits of the rank hash differ on average, at least one on 38 of 40" in text
    assert "Maps unchanged" not in text
    assert "Recommended patch size: 32 with stride 16 before, 40 with stride 40 (undecided) now." in text
