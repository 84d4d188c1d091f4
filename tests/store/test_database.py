"""The results database: what is written is read back, in whole transactions."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import numpy as np
import pytest

from evalkit.core.errors import StoreError
from evalkit.store.database import Database, MapRow
from evalkit.store.run_folder import RunFolder
from tests.builders import image_row, score_row


@pytest.fixture
def folder(tmp_path):
    opened = RunFolder.write(tmp_path / "run")
    yield opened
    opened.close()


def test_table_holds_only_the_planned_images(folder):
    database = folder.database
    with database:
        database.plan_images([image_row("old"), image_row("b", 1)])
        database.put_scores([score_row("old", "e", "m", 9.0)])
    with database:
        database.plan_images([image_row("b", 0, sha256="b"), image_row("a", 1, sha256="a")])
        database.put_scores(
            [
                score_row("a", "e", "m", 0.25),
                score_row("b", "e", "m", reason="misclassified"),
                score_row("a", "e", "s", statistics=np.array([1.0, 2.0])),
                score_row("b", "e", "s", reason="no region"),
                score_row("a", "other", "m", 5.0),
            ]
        )
    table = database.table(["e"], ["m", "s"])
    assert table.image_ids == ("b", "a")
    np.testing.assert_array_equal(table.values[:, 0, 0], [np.nan, 0.25])
    np.testing.assert_array_equal(table.statistics["s"][:, 0], [[np.nan, np.nan], [1, 2]])
    assert table.reasons == {("e", "m"): {"misclassified": 1}, ("e", "s"): {"no region": 1}}
    with database:  # both are entries of one photo, which is scored
        database.plan_images([image_row("b", 0, sha256="a"), image_row("a", 1, sha256="a")])
    assert database.table(["e"], ["m", "s"]).reasons == {}


def test_scores_table_is_readable_by_anyone(folder):
    with folder.database as database:
        database.put_scores([score_row("a", "e", "m", 0.5), score_row("a", "e", "n", reason="no region")])
    with sqlite3.connect(folder.path / "results.sqlite") as plain:
        rows = plain.execute("SELECT image_id, explainer, metric, value, reason FROM scores ORDER BY metric").fetchall()
    plain.close()
    assert rows == [("a", "e", "m", 0.5, None), ("a", "e", "n", None, "no region")]


def test_a_transaction_that_fails_leaves_nothing(folder):
    def fail():
        with folder.database as database:
            database.put_scores([score_row("a", "e", "m", 0.5)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert folder.database.score_keys_of("a") == {}


def test_dropping_an_image_forgets_its_maps_and_scores_alone(folder):
    with folder.database as database:
        for name in ("a", "b"):
            database.put_images([image_row(name)])
            database.put_scores([score_row(name, "e", "m", 0.5)])
            database.put_maps([MapRow(name, "e", "k", "file", "sum", 9, 1.5, None)])
        database.drop_cells("a")
    assert folder.database.maps_of("a") == {}
    assert folder.database.score_keys_of("b") == {("e", "m"): "key"}
    assert folder.database.map_costs() == {"e": (1, 1.5)}


def test_images_come_back_as_they_were_put(folder):
    rows = [replace(image_row("a", 1), problem="gone"), replace(image_row("b", 0), clean_score=0.5, predicted=2)]
    with folder.database as database:
        database.plan_images(rows)
    assert folder.database.planned_images() == rows[::-1]


def test_a_database_of_another_kind_or_schema_is_refused(tmp_path):
    path = tmp_path / "results.sqlite"
    path.write_bytes(b"no database at all, just some text" * 40)
    with pytest.raises(StoreError, match="cannot be used as a results database"):
        Database(path, create=True)
    path.unlink()
    Database(path, create=True).close()
    with sqlite3.connect(path) as plain:
        plain.execute("UPDATE meta SET value = '7' WHERE key = 'schema_version'")
    plain.close()
    with pytest.raises(StoreError, match="has schema version 7, this evalkit reads 5 and 6"):
        Database(path)


def test_a_finished_database_stands_alone(tmp_path):
    RunFolder.write(tmp_path / "run").close()
    assert sorted(one.name for one in (tmp_path / "run").iterdir()) == [".lock", "results.sqlite"]


def test_a_finished_database_is_read_on_read_only_media(tmp_path, monkeypatch):
    RunFolder.write(tmp_path / "run").close()
    before = sorted(one.name for one in (tmp_path / "run").iterdir())
    monkeypatch.setattr("evalkit.store.connection.os.access", lambda *_: False)
    database = Database(tmp_path / "run" / "results.sqlite")
    assert database.images() == {}
    assert sorted(one.name for one in (tmp_path / "run").iterdir()) == before
    database.close()


def test_curves_are_kept_beside_their_cells_and_go_with_them(folder):
    curve = np.array([[0.0, 0.5, 1.0], [0.9, 0.4, 0.1]])
    database = folder.database
    with database:
        database.plan_images([image_row("a"), image_row("b", 1)])
        database.put_scores([replace(score_row(name, "e", "deletion", 0.4), curve=curve) for name in "ab"])
    assert set(database.curves("e", "deletion")) == {"a", "b"}
    np.testing.assert_array_equal(database.curves("e", "deletion")["a"], curve)
    assert database.curves("e", "insertion") == {}
    with database:
        database.put_scores([score_row("a", "e", "deletion", reason="misclassified")])
        database.drop_cells("b")
    assert database.curves("e", "deletion") == {}


def test_what_is_read_in_a_snapshot_is_of_one_moment(tmp_path):
    folder = RunFolder.write(tmp_path / "run")
    with folder.database as database:
        database.touch()
    reader = Database(tmp_path / "run" / "results.sqlite")
    with reader.snapshot():
        before = reader.revision()
        with folder.database as database:
            database.put_images([image_row("a")])
            database.touch()
        assert (reader.revision(), reader.images()) == (before, {})
    assert reader.revision() != before
    assert list(reader.images()) == ["a"]
    reader.close()
    folder.close()
