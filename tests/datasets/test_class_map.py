from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.core.errors import ConfigError, DataError, EvalkitError
from evalkit.datasets.class_map import read_class_map
from evalkit.datasets.classes import match_classes
from evalkit.datasets.readers.csv_manifest import read_csv_manifest

Manifest = Callable[[str], Path]
NAMES = ["beagle", "crane", "tabby", "crane", "Persian cat"]
IDS = ["n02088364", "n02012849", "n02123045", "n03126707", "n02123394"]
LABELS = "image,label\na,dog\nb,Cat\nc,person\nd,beagle\n"


@pytest.fixture
def mapped(tmp_path: Path, manifest: Manifest) -> Callable[..., tuple[dict[str, tuple[int, ...]], list[str]]]:
    """Match labels.csv through a class map; return label to outputs, and the notes."""

    def make(text: str, labels: str = LABELS) -> tuple[dict[str, tuple[int, ...]], list[str]]:
        path = tmp_path / "map"
        path.write_text(text, encoding="utf-8", newline="")
        images = read_csv_manifest(manifest(labels))
        match = match_classes(images, NAMES, 5, require_labels=True, class_ids=IDS, class_map=read_class_map(path))
        return {entry.label: entry.outputs or (entry.class_index,) for entry in match.images.entries}, match.notes

    return make


def test_class_map_gives_outputs_and_lists_the_rest(mapped: Callable) -> None:
    found, notes = mapped('{"dog": 0, "cat": ["tabby", "n02123394", 2]}')
    assert found == {"dog": (0,), "Cat": (2, 4), "beagle": (0,)}
    (note,) = notes
    assert note == (
        "labels.csv: 1 of 4 classes have no output of the model; left out, with 1 of 4 images: 'person'; "
        "--class-map FILE can give them outputs"
    )


def test_csv_map_equals_json_map(mapped: Callable) -> None:
    text = "\ufeffClass,Output\r\ndog,0\r\ncat,tabby\r\ncat,n02123394\r\nperson,\r\n"
    assert mapped(text)[0] == {"dog": (0,), "Cat": (2, 4), "beagle": (0,)}


def test_class_map_precedes_the_models_names(mapped: Callable) -> None:
    found, notes = mapped('{"beagle": [], "dog": [2, 0], "cat": 1, "person": 1}')
    assert found == {"dog": (0, 2), "Cat": (1,), "person": (1,)}
    assert "1 of 4 classes" in notes[0]


def test_map_without_any_image_is_refused(mapped: Callable) -> None:
    with pytest.raises(DataError, match="2 of 2 classes have no output of the model; left out, with 2 of 2"):
        mapped('{"x": 1}', "image,label\na,p\nb,q\n")


WRONG = [
    ("", "is empty"),
    ("{}", "maps no class; expected: JSON"),
    ("[1]", "holds a list"),
    ('{\n"a": }', "line 2 is not valid JSON"),
    ('{"a": 1, "a": 2}', "the class 'a' is there twice"),
    ('{"a": 1.5}', "class 'a' has the output '1.5'; give an index, a name or a WordNet id"),
    ('{"a": [true]}', "class 'a' has the output 'True'"),
    ('{"a": 5}', "class 'a' has the output '5'; the model has 5 outputs, 0..4"),
    ('{"a": -1}', "the model has 5 outputs, 0..4"),
    ('{"a": "tabi"}', "class 'a' has the output 'tabi', which the model lacks (did you mean 'tabby'?)"),
    ('{"a": "crane"}', "the name of outputs 1, 3; give the index or the WordNet id"),
    ('{"a": [0, 1, 2, 3, 4]}', "class 'a' has every output of the model, so its score is always 1; leave one out"),
    ("class;output\na;1", "separated by semicolons"),
    ("dog,1", "the columns are dog, 1; expected"),
    ("class,output\na", "line 2 is not a class and an output"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_map_is_explained(mapped: Callable, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mapped(text)
    assert "--class-map" in str(caught.value)
    assert message in str(caught.value)


def test_missing_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--class-map '.*none' cannot be read"):
        read_class_map(tmp_path / "none")


@given(data=st.binary(max_size=40) | st.text('{}[]":,0 9ab\n', max_size=30).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_any_map_raises_only_evalkit_errors(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed-map"
    path.write_bytes(data)
    try:
        assert read_class_map(path).outputs
    except EvalkitError:
        return


def test_whole_numbers_with_a_decimal_point_are_indices(mapped: Callable) -> None:
    wanted = {"dog": (0,), "Cat": (2, 4), "beagle": (0,)}
    assert mapped('{"dog": 0.0, "cat": [2.0, 4]}')[0] == wanted
    assert mapped("class,output\ndog,0.0\ncat,2.0\ncat,4\n")[0] == wanted
