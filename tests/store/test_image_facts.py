"""The table of facts about images."""

from __future__ import annotations

import sqlite3

import pytest

from evalkit.core.errors import StoreError
from evalkit.store.database import Database
from evalkit.store.image_facts import ImageFactsRow
from tests.builders import image_row


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.sqlite"


def facts(image, key="key", **values):
    return ImageFactsRow(image, key, values)


def stored(path, *rows):
    database = Database(path, create=True)
    with database:
        database.plan_images([image_row("b", 0), image_row("a", 1)])
        for row in rows:
            database.image_facts.put(row)
    return database


def test_facts_come_back_in_the_order_of_the_images(path):
    database = stored(path, facts("a", x=1.0), facts("b", x=2.5, y=-1.0), facts("elsewhere", x=3.0))
    assert list(database.image_facts.of_run().items()) == [("b", facts("b", x=2.5, y=-1.0)), ("a", facts("a", x=1.0))]
    assert database.image_facts.keys() == {"a": "key", "b": "key", "elsewhere": "key"}


def test_no_numbers_are_facts_too(path):
    assert stored(path, facts("a")).image_facts.of_run() == {"a": facts("a")}


def test_facts_go_with_their_image(path):
    database = stored(path, facts("a"), facts("b"))
    with database:
        database.drop_cells("a")
    assert set(database.image_facts.keys()) == {"b"}


def test_facts_with_another_key_are_deleted(path):
    database = stored(path, facts("a", "old"), facts("b", "new"))
    with database:
        database.image_facts.keep("new")
    assert database.image_facts.keys() == {"b": "new"}


def test_damaged_facts(path):
    database = stored(path, facts("a", x=1.0))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE image_facts SET facts = 'no JSON'")
    with pytest.raises(StoreError, match=r"the facts of an image in .* are damaged; repeat the run with"):
        database.image_facts.of_run()


def test_database_of_an_older_run_has_no_facts(path):
    stored(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE image_facts")
    database = Database(path)
    assert database.image_facts.of_run() == database.image_facts.keys() == {}
    database.close()
    assert stored(path, facts("a")).image_facts.keys() == {"a": "key"}  # a run that goes on
