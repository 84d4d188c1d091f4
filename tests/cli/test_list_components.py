"""What entries of explainers and metrics share: every parameter is explained, and costs are those of the code."""

from __future__ import annotations

import re

import pytest

from evalkit.cli.list_explainers import explainer_entries
from evalkit.cli.list_metrics import metric_entries
from evalkit.report.tables.component_list import ListItem, ParameterEntry, item_lines, parameters_text

ENTRIES = [*explainer_entries(), *metric_entries()]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_parameter_says_what_it_is(entry):
    assert entry.description
    assert entry.summary
    assert entry.reference
    for parameter in entry.parameters:
        assert len(parameter.meaning) > 10, parameter.name
        assert not re.search(r"base class|\bas of\b|``|None", parameter.meaning), parameter.name
        assert not parameter.is_required


@pytest.mark.parametrize("entry", explainer_entries(), ids=lambda entry: entry.name)
def test_the_cost_of_an_explainer_is_that_of_its_code(entry):
    if entry.passes is None or entry.passes.by_size:
        assert re.search("K|a patch", entry.cost)
        return
    counts = ((entry.passes.forward, "F"), (entry.passes.backward, "B"))
    text = " + ".join(f"{count:,} {letter}" for count, letter in counts if count)
    assert entry.cost.removeprefix("up to ") == (text or "no model")


def test_values_are_written_as_in_a_spec():
    assert parameters_text([
        ParameterEntry("guided", "true or false", True, False, "", True),
        ParameterEntry("layer", "a word or none", None, False, "", None),
        ParameterEntry("strength", "a number", None, True, "", None),
    ]) == "guided=true, layer=none, strength"  # fmt: skip
    parameter = ParameterEntry("layer", "a word or none", None, False, "the layer", "pool", is_set=True)
    assert parameter.text == "a word or none; pool here, default none: the layer"


def test_cells_that_do_not_fit_are_below_the_name():
    items = [ListItem("a_long_name_of_an_explainer", ("1 F + 1 B", "0..1"), "what it is")]
    assert item_lines(items, 30) == ["  a_long_name_of_an_explainer", "    1 F + 1 B  0..1"]
    assert item_lines(items, 80) == ["  a_long_name_of_an_explainer  1 F + 1 B  0..1  what it is"]
    assert item_lines([ListItem("name", (), "what it is")], 80) == ["  name  what it is"]


def test_the_brief_sentence_is_shown_where_the_other_has_no_room():
    item = ListItem("name", ("x",), "a sentence of some length", "a short one")
    assert item_lines([item], 37) == ["  name  x  a sentence of some length"]
    assert item_lines([item], 35) == ["  name  x  a short one"]
