"""``list models`` and ``list datasets``: a line an item, and whole entries."""

from __future__ import annotations

import csv
import io
import json

import pytest

from evalkit.cli.list_datasets import data_entries
from evalkit.cli.list_models import model_entries
from evalkit.datasets.readers.catalog import all_readers
from evalkit.models.applications import APPLICATIONS


@pytest.fixture
def listed(evalkit, monkeypatch):
    """Print a list on a terminal of some width."""

    def call(width, *arguments):
        monkeypatch.setattr("evalkit.cli.listing.terminal_width", lambda: width)
        done = evalkit("list", *arguments)
        assert done.code == 0, done.err
        return done.out

    return call


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize(("what", "entries"), [("models", model_entries), ("datasets", data_entries)])
def test_every_item_has_one_line_with_its_name_whole(listed, width, what, entries):
    lines = listed(width, what).splitlines()
    names = [entry.item.name for entry in entries()]
    starts = [line.split()[0] for line in lines if line.startswith("  ")]
    assert [start for start in starts if start in names] == names
    assert max(map(len, lines)) <= width
    if width == 80:
        assert not [line for line in lines if line.endswith("...")]


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("what", ["models", "datasets"])
def test_no_line_of_an_entry_is_too_long(listed, what, width):
    entries = {"models": model_entries, "datasets": data_entries}[what]()
    for entry in entries:
        if entry.facts:
            assert max(map(len, listed(width, what, entry.item.name).splitlines())) <= width


def test_a_model_is_found_however_it_is_spelled(listed):
    (row,) = json.loads(listed(80, "models", "ResNet50-V2", "--format", "json"))
    assert (row["name"], row["preprocess"]) == ("resnet50v2", "resnet_v2")
    assert "preprocess  vgg16\n" in listed(80, "models", "vgg16-mini")


def test_a_long_command_goes_on_behind_a_backslash(listed):
    assert listed(60, "models", "vgg16-mini-shortcut").endswith(
        '\n  python -m evalkit run --model vgg16-mini-shortcut --data \\\n    "scenes(shortcut=mark)"\n'
    )


def test_an_entry_of_a_format_has_its_example(listed):
    printed = listed(80, "datasets", "csv")
    assert printed.endswith("example\n  image,label,x0,y0,x1,y1\n  a.jpg,cat,12,30,180,200\n")
    assert "format  --data-format csv\n" in printed


def test_json_has_null_where_there_is_nothing(listed):
    rows = {row["name"]: row for row in json.loads(listed(80, "datasets", "--format", "json"))}
    assert list(rows) == [reader.name for reader in all_readers()]
    assert rows["scenes"]["format"] is None
    models = json.loads(listed(80, "models", "--format", "json"))
    assert {row["name"] for row in models} >= set(APPLICATIONS)
    assert next(row for row in models if row["name"] == "FILE.onnx")["preprocess"] is None


def test_csv_has_the_columns_that_it_had(listed):
    rows = list(csv.DictReader(io.StringIO(listed(80, "models", "--format", "csv"))))
    assert list(rows[0]) == ["model", "preprocess", "what it is"]
    rows = list(csv.DictReader(io.StringIO(listed(80, "datasets", "--format", "csv"))))
    assert list(rows[0]) == ["data", "format", "what it is", "example"]
    assert [row["format"] for row in rows] == [reader.option for reader in all_readers()]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("models", "resnet51"), "list models: no model is called 'resnet51': did you mean 'resnet50'? Allowed: "),
        (("models", "FILE.onnx"), "no model is called 'FILE.onnx'"),
        (("datasets", "cvs"), "list datasets: no format is called 'cvs'"),
        (("datasets", "scenes(shortcut=mark)"), "which an entry does not show; write list datasets scenes"),
    ],
)
def test_a_name_that_does_not_fit_is_refused(evalkit, arguments, sentence):
    done = evalkit("list", *arguments)
    assert done.code == 2
    assert sentence in done.err
