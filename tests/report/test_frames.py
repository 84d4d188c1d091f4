"""Results as columns: data frames, Parquet files, and tables that print and show in notebooks."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from evalkit.analysis.results import LeaderboardCell, ParameterRow, SweepRow, SweepScore
from evalkit.api.result_table import ResultTable
from evalkit.core.errors import ConfigError
from evalkit.report import frames, render
from evalkit.report.frames import Integers, Names, Objects, Texts, record_frame, scores_frame, to_pandas, to_parquet
from evalkit.report.html.notebook import map_html, run_html
from evalkit.report.tables.run_tables import ShownTable, shown_leaderboard, shown_patch_sizes
from evalkit.store.scores import ScoreTable
from evalkit.store.statistics import Statistics
from tests.report.conftest import TRICKY


@pytest.fixture
def scored():
    values = np.arange(8.0).reshape(2, 2, 2)
    values[1, 0, 0] = np.nan
    table = ScoreTable(
        ("a.png", TRICKY), ("gradcam", "random"), ("deletion", "pxap"), values, {"pxap": Statistics.empty(2, 2, 3)}, {}
    )
    return scores_frame(table, {("gradcam", "deletion"): {TRICKY: "no region", "left out": "unknown"}})


def test_scores_are_tidy(scored):
    found = to_pandas(scored)
    assert list(found.columns) == ["image", "explainer", "metric", "value", "reason"]
    assert found["image"].tolist() == ["a.png", "a.png", TRICKY, TRICKY]
    assert found["explainer"].tolist() == ["gradcam", "random"] * 2
    assert set(found["metric"]) == {"deletion"}  # pxap scores the set
    np.testing.assert_array_equal(found["value"], [0, 2, np.nan, 6])
    assert found["reason"].isna().tolist() == [True, True, False, True]
    assert found["reason"][2] == "no region"
    means = found.groupby("explainer", observed=True)["value"].mean()
    assert means.to_dict() == {"gradcam": 0.0, "random": 4.0}


def test_parquet_keeps_values_types_and_metadata(scored):
    content = to_parquet(scored, {"evalkit.signature": "sig\u00e9"})
    table = pyarrow.parquet.read_table(io.BytesIO(content))
    assert table.schema.metadata[b"evalkit.signature"].decode() == "sig\u00e9"
    assert table.column("value").null_count == 1
    pd.testing.assert_frame_equal(table.to_pandas(), to_pandas(scored), check_categorical=False)


def test_columns_without_any_value_keep_their_types():
    frame = {
        "text": Texts([None]), "count": Integers([None]), "number": np.array([np.nan]),
        "name": Names(np.array([-1], dtype=np.int32), []), "lists": Objects([("a", "b")]),
    }  # fmt: skip
    table = pyarrow.parquet.read_table(io.BytesIO(to_parquet(frame, {})))
    assert [str(field.type) for field in table.schema][:3] == ["string", "int64", "double"]
    assert table.column("lists").to_pylist() == [["a", "b"]]
    assert [column.null_count for column in table.columns] == [1, 1, 1, 1, 0]
    assert to_pandas(frame).isna().loc[0].tolist() == [True, True, True, True, False]
    assert to_pandas(frame)["lists"][0] == ("a", "b")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: to_pandas({}), "a data frame needs pandas, which is not installed .* 'evalkit-saliency.pandas.'"),
        (lambda: to_parquet({}, {}), "--format parquet needs pyarrow, which is not .* 'evalkit-saliency.parquet.'"),
    ],
)
def test_a_library_that_is_missing_is_named(call, sentence, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named '{name}'")

    monkeypatch.setattr(frames, "import_module", missing)
    with pytest.raises(ConfigError, match=sentence):
        call()


def board(manifest, results, metric=None):
    cells = [cell for cell in results.leaderboard if metric in (None, cell.metric)]
    return ResultTable(cells, LeaderboardCell, lambda: shown_leaderboard(manifest, results, cells, metric))


def test_a_leaderboard_is_a_sequence_a_text_and_a_data_frame(manifest, results):
    table = board(manifest, results, "deletion")
    assert table[0].explainer == "gradcam"
    assert len(table) == 6
    assert table == tuple(table)
    assert table[:2] == (table[0], table[1])
    text = repr(table)
    assert text.splitlines()[0] == "Leaderboard by deletion \u2193"
    assert "occlusion(patch_size=56, stride=28, fill=blur)" in text
    assert max(map(len, text.splitlines())) <= 120
    found = table.to_pandas()
    assert found["mean"].tolist() == [cell.mean for cell in table]
    assert found["rank"].dtype == "Int64"
    assert found["better_than"][0] == table[0].better_than
    assert found["ci_reason"].isna().tolist() == [cell.ci_reason is None for cell in table]
    assert "&lt;" not in repr(board(manifest, results))


def test_a_table_is_only_written_where_rich_would_show_it(manifest, results, monkeypatch):
    """In a notebook rich shows what it prints as an output of its own, unless it is told not to."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *_: pytest.fail("shown"))
    assert "gradcam" in repr(board(manifest, results))
    assert render(manifest, results, "table", width=100, wide=False, color=False)


def test_a_table_without_rows_has_its_columns():
    table = ResultTable((), SweepRow, lambda: ShownTable("None", ["patch_size"], []))
    assert list(table.to_pandas().columns)[:3] == ["explainer", "patch_size", "stride"]
    assert repr(table).startswith("None")
    assert "<table" not in table._repr_html_()


def test_rows_of_a_sweep_have_columns_of_parameters_and_metrics():
    rows = [
        ParameterRow("rise(masks=500)", {"masks": 500}, 500, 1.5, {"gain": SweepScore(0.25, 0.125, 0.5, 20)}),
        ParameterRow("rise", {"masks": 4000, "p": 0.5}, 1210.5, None, {"gain": SweepScore(None, None, None, 0)}),
    ]
    found = to_pandas(record_frame(rows, ParameterRow))
    names = [
        "explainer",
        "passes",
        "seconds_per_image",
        "masks",
        "p",
        "gain",
        "gain ci_low",
        "gain ci_high",
        "gain n_scored",
    ]
    assert list(found.columns) == names
    assert found.iloc[0].tolist()[1:4] == [500, 1.5, 500]
    assert found["p"].tolist() == [None, 0.5]
    assert found["gain n_scored"].tolist() == [20, 0]
    assert found["gain"].isna().tolist() == [False, True]


def test_notebooks_get_escaped_names_and_no_fixed_colors(manifest, results):
    shown = ShownTable("<b>x</b>", ["a & b"], [["<script>"]], notes=["1 < 2"])
    page = ResultTable((), SweepRow, lambda: shown)._repr_html_()
    assert "<script>" not in page
    assert all(text in page for text in ("&lt;b&gt;x", "a &amp; b", "&lt;script&gt;", "1 &lt; 2"))
    page = run_html(manifest, results)
    assert results.leaderboard[0].explainer in page
    assert "(control)" in page
    assert page.count("<table") == 1 + bool(results.patch_sweep)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "#" not in style  # colors of one theme only
    assert "color: inherit" in style


def test_a_map_in_a_notebook_has_its_scale_or_says_why_not():
    photo = np.zeros((20, 30, 3), dtype=np.uint8)
    values = np.linspace(-1, 2, 64).reshape(8, 8)
    about = {"geometry": "squash", "region": None, "title": "gradcam", "about": "cat"}
    page = map_html(values, photo, notes=["A note."], **about)
    assert page.count("data:image/webp") == 3
    assert "\u22122" in page  # symmetric about zero
    assert "blue: against the class" in page
    assert "A note." in page
    assert map_html(np.ones((8, 8)), photo, **about).count("data:image/webp") == 2
    assert len(page) < 60_000


def test_patch_sizes_that_were_not_swept(manifest, results):
    swept = shown_patch_sizes(manifest, results)
    assert bool(swept.rows) == bool(results.patch_sweep)
