"""The sentences above the localization tables on what the model looks at, in every format."""

from __future__ import annotations

import json

import msgspec
import pytest

from evalkit.analysis.results import RegionDrops
from evalkit.report import render
from evalkit.report.tables.leaderboard import leaderboards
from evalkit.report.tables.region_drops import region_lines

LOOKS = RegionDrops(40, 0.62, 0.55, 0.69, 0.2, 0.1, 0.3, 0.85)
ELSEWHERE = RegionDrops(40, 0.1, 0.05, 0.2, 0.6, 0.5, 0.7, 0.25)
SENTENCE = (
    "Does the model look at the object? Its score drops by 0.62 [0.55, 0.69] when the region is hidden by the mean "
    "color, by 0.20 [0.10, 0.30] when everything else is; the region counts more on 85 % of 40 images (with a region, "
    "and the model right)."
)
WARNING = (
    "Warning: on 75 % of these images hiding the region costs the model no more than hiding everything else: "
    "localization then says where the object is, not what the model uses."
)


@pytest.fixture
def with_drops(results):
    return lambda drops: msgspec.structs.replace(results, region_drops=drops)


def test_sentence_and_warning(with_drops):
    assert region_lines(with_drops(LOOKS)) == (SENTENCE,)
    assert region_lines(with_drops(ELSEWHERE))[1:] == (WARNING,)
    assert region_lines(with_drops(None)) == ()


@pytest.mark.parametrize(("share", "warned"), [(0.5, False), (0.49, True), (0.0, True), (1.0, False)])
def test_warning_where_the_region_counts_more_on_less_than_half(with_drops, share, warned):
    drops = msgspec.structs.replace(LOOKS, share_inside_more=share)
    assert (len(region_lines(with_drops(drops))) == 2) == warned


def test_one_image_has_no_interval(with_drops):
    alone = RegionDrops(1, 0.62, None, None, 0.2, None, None, 1.0, "one image")
    (line,) = region_lines(with_drops(alone))
    assert "by 0.62 when the region" in line
    assert "on 100 % of 1 image (" in line


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_said_once_above_the_tables_of_localization(manifest, with_drops, form):
    text = render(manifest, with_drops(ELSEWHERE), form, width=80, wide=False, color=False)
    plain = " ".join(text.replace("\\", "").replace("\n% ", " ").split())
    assert plain.count("Does the model look at the object?") == plain.count(WARNING) == 1
    assert plain.index("deletion") < plain.index("Does the model")


def test_above_the_first_table_of_its_family_only(manifest, with_drops):
    above = {board.title: board.above for board in leaderboards(manifest, with_drops(LOOKS))}
    titles = [title for title, lines in above.items() if lines]
    assert titles == [title for title in above if title.startswith("Localization")][:1]


def test_json_has_the_numbers(manifest, with_drops):
    def of(drops):
        return json.loads(render(manifest, with_drops(drops), "json", width=80, wide=False, color=False))

    assert of(LOOKS)["region_drops"] == msgspec.to_builtins(LOOKS)
    assert of(None)["region_drops"] is None


def test_lines_fit_eighty_columns(manifest, with_drops):
    text = render(manifest, with_drops(ELSEWHERE), "table", width=80, wide=False, color=False)
    assert max(map(len, text.split("\n"))) <= 80
