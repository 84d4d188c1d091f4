from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.core.errors import ModelError
from evalkit.datasets.class_names import read_classes

CAT_DOG = (["cat", "dog"], None)


def read(tmp_path: Path, text: str, name: str = "names.txt") -> tuple[list[str], list[str] | None]:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    return read_classes(tmp_path / name)


def refusal(tmp_path: Path, text: str, name: str = "names.txt") -> str:
    with pytest.raises(ModelError) as caught:
        read(tmp_path, text, name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "\ufeffcat\r\n\r\ndog\r\n"),
        ("names.json", '["cat", "dog"]'),
        ("class_indices.json", '{"cat": 0, "dog": 1}'),
        ("class_indices.json", '{"dog": 1, "cat": 0}'),
        ("class_indices.json", '{"dog": 2, "cat": 1}'),
        ("index_to_name.json", '{"1": "dog", "0": "cat"}'),
        ("config.json", '{"id2label": {"0": "cat", "1": "dog"}, "label2id": {"cat": 0, "dog": 1}}'),
        ("labels.txt", "0 cat\n1 dog\n"),
        ("labels.txt", "1 dog\n0 cat\n"),
        ("labels.txt", "0: cat\n1: dog\n"),
        ("labels.txt", "0,cat\n1,dog\n"),
        ("labels.txt", "1\tcat\n2\tdog\n"),
        ("data.yaml", "path: ../sets\nnc: 2\nnames: [cat, dog]\n"),
        ("data.yaml", "names:\n  0: cat\n  1: dog\n"),
        ("names.yml", "- cat\n- dog\n"),
    ],
)
def test_every_form_of_a_file_gives_the_names_in_order(tmp_path: Path, name: str, text: str) -> None:
    assert read(tmp_path, text, name) == CAT_DOG


def test_class_indices_of_numeric_folders_are_read(tmp_path: Path) -> None:
    folders = sorted(map(str, range(12)))
    given = {name: index for index, name in enumerate(folders)}
    assert read(tmp_path, json.dumps(given), "class_indices.json") == (folders, None)
    assert read_classes(given) == (folders, None)


def test_yaml_names_stay_texts(tmp_path: Path) -> None:
    """YAML 1.1 reads no and yes as False and True, and 1 as a number."""
    assert read(tmp_path, "names: [no, yes, 1]\n", "data.yaml")[0] == ["no", "yes", "1"]
    assert read(tmp_path, "names: {0: no, 1: yes}\n", "data.yaml")[0] == ["no", "yes"]


def test_names_that_begin_with_numbers_are_kept(tmp_path: Path) -> None:
    assert read(tmp_path, "1 euro\n2 euro\n5 euro\n")[0] == ["1 euro", "2 euro", "5 euro"]
    assert read(tmp_path, "2 doors\n4 wheels\n")[0] == ["2 doors", "4 wheels"]
    assert read(tmp_path, "0\n1\n10\n")[0] == ["0", "1", "10"]
    assert read(tmp_path, '["0 cat", "1 dog"]')[0] == ["0 cat", "1 dog"]


@pytest.mark.parametrize(
    "text",
    [
        '{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}',
        "n01440764 tench, Tinca tinca\r\nn01443537 goldfish, Carassius auratus\r\n",
        "n01440764\ttench, Tinca tinca\nn01443537\tgoldfish\n",
    ],
)
def test_wordnet_ids_come_with_the_names(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == (["tench", "goldfish"], ["n01440764", "n01443537"])


def test_names_without_wordnet_ids_have_none(tmp_path: Path) -> None:
    assert read(tmp_path, "tench\nn01443537 goldfish\n") == (["tench", "n01443537 goldfish"], None)


def test_control_characters_are_escaped(tmp_path: Path) -> None:
    text = '["cat\\u001b[31m", "dog\\nhouse", "\\u0645\\u06cc\\u200c\\u0634\\u0648\\u062f"]'
    assert read(tmp_path, text)[0] == ["cat\\x1b[31m", "dog\\nhouse", "می\u200cشود"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("n.json", '{"cat": 0, "dog": 0}', "index 0 has two names, 'cat' and 'dog'; give each output one"),
        ("n.json", '{"cat": 0, "dog": 2}', "the 2 indices must be 0 to 1, each once; 1 is missing, the highest is 2"),
        ("n.json", '{"cat": 2, "dog": 3}', "the 2 indices must be 0 to 1, each once; 0 is missing"),
        ("n.json", '{"cat": 0, "cat": 1}', "'cat' is there twice; keep one"),
        ("n.json", '{"0": "cat", "5": "dog"}', "1 is missing, the highest is 5"),
        ("n.json", '{"cat": true, "dog": 1}', "an object must be Keras' class_indices"),
        ("n.json", '{"cat": [0]}', "an object must be Keras' class_indices"),
        ("n.json", "{}", "an object must be Keras' class_indices"),
        ("n.json", "[1, 2]", "a JSON list of strings"),
        ("n.json", "[", "not valid JSON"),
        ("n.txt", "0 cat\n1 dog\n1 emu\n", "index 1 has two names, 'dog' and 'emu'"),
        ("n.txt", "0 cat\n2 dog\n", "1 is missing, the highest is 2"),
        ("n.txt", "", "contains no names"),
        ("n.yaml", "nc: 3\nnames: [cat, dog]\n", "nc is 3, but names has 2; correct one of them"),
        ("n.yaml", "names: [cat, dog\n", "not valid YAML"),
        ("n.yaml", "train: a\nval: b\n", "an object must be Keras' class_indices"),
    ],
)
def test_inconsistent_files_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text, name)
    assert name in refusal(tmp_path, text, name)


def test_names_may_be_separated_by_commas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_classes("no,yes") == (["no", "yes"], None)
    assert read_classes('no, "maybe, later"')[0] == ["no", "maybe, later"]
    Path("no,yes").write_text("cat\ndog\n")
    assert read_classes("no,yes") == CAT_DOG


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("missing.txt", "'missing.txt' cannot be read: No such file or directory; give a file with one name per line"),
        ("old,missing.txt", "'old,missing.txt' cannot be read: No such file"),
        ("no,,yes", "'no,,yes' has an empty name"),
        ("cat", "'cat' cannot be read"),
        ([0, 1], "class_names is [0, 1]; give the names of the outputs as texts, in their order"),
        ([], "class_names is []"),
        ({"cat": 0, "dog": 0}, "class_names: index 0 has two names"),
    ],
)
def test_names_that_make_no_sense_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_classes(given)
    assert message in str(caught.value)


def test_names_from_python_may_be_a_mapping() -> None:
    assert read_classes({"dog": np.int64(1), "cat": np.int64(0)}) == CAT_DOG
    assert read_classes({1: "dog", 0: "cat"}) == CAT_DOG
    assert read_classes(("cat", "dog")) == CAT_DOG
    assert read_classes(np.array(["cat", "dog"])) == CAT_DOG
