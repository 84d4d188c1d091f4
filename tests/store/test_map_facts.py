"""The table of facts about maps."""

from __future__ import annotations

import sqlite3

import pytest

from evalkit.core.errors import StoreError
from evalkit.store.database import Database, ImageRow
from evalkit.store.map_facts import MapFactsRow


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.sqlite"


def row_of(image_id, position):
    return ImageRow(image_id, position, 0, "label", "", 0, 0, "", "", None)


def facts(image, explainer="rise", **values):
    return MapFactsRow(image, explainer, 500.0, None, values)


def test_facts_come_back_in_the_order_of_the_images(path):
    with Database(path, create=True) as database:
        database.plan_images([row_of("b", 0), row_of("a", 1)])
        database.map_facts.put([facts("a", x=1.0), facts("b", x=2.5), facts("elsewhere", x=3.0)])
    assert database.map_facts.of_run() == {"rise": [facts("b", x=2.5), facts("a", x=1.0)]}
    assert database.map_facts.of_image("a") == {"rise": facts("a", x=1.0)}


def test_undefined_numbers_are_null(path):
    with Database(path, create=True) as database:
        database.map_facts.put([facts("a", x=float("nan"))])
    assert database.map_facts.of_image("a")["rise"].values == {"x": None}


def test_facts_go_with_their_map_and_image(path):
    with Database(path, create=True) as database:
        database.map_facts.put([facts("a"), facts("a", "lime"), facts("b")])
        database.drop_map("a", "rise")
        assert set(database.map_facts.of_image("a")) == {"lime"}
        database.drop_cells("a")
    assert database.map_facts.of_image("a") == {}
    assert set(database.map_facts.of_image("b")) == {"rise"}


def test_database_of_an_older_run_has_no_facts(path):
    Database(path, create=True).close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE map_facts")
    database = Database(path)
    assert database.map_facts.of_run() == {}
    assert database.map_facts.of_image("a") == {}
    database.close()
    with Database(path, create=True) as database:  # a run that goes on
        database.map_facts.put([facts("a")])


def test_damaged_facts_are_said(path):
    with Database(path, create=True) as database:
        database.map_facts.put([facts("a")])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE map_facts SET facts = '{'")
    with pytest.raises(StoreError, match="facts of a map"):
        Database(path).map_facts.of_image("a")
