"""Every option is declared once: command line, TOML, Python and the command that repeats a run all have it."""

from __future__ import annotations

import inspect
import io
import pydoc
import shlex
import typing
from pathlib import Path

import keras
import pytest
from rich.console import Console

import evalkit
from evalkit.api.evaluate import EvaluateOptions
from evalkit.cli.app import build_app
from evalkit.core.kept_maps import KeptMaps
from evalkit.core.options import AreaRange, InputSize, Shard
from evalkit.core.settings import OPTIONS, RunOptions, merge, parsed, read_config
from evalkit.report.rerun import rerun_command
from evalkit.store.run_folder import RunFolder
from evalkit.testing import assert_no_regression

# As written on the command line, as written in TOML, and as read.
WRITTEN = {
    "data": ("scenes", '"scenes"', "scenes"),
    "data_format": ("csv", '"csv"', "csv"),
    "class_map": ("map.json", '"map.json"', "map.json"),
    "class_order": ("numeric", '"numeric"', "numeric"),
    "model": ("vgg16-mini", '"vgg16-mini"', "vgg16-mini"),
    "weights": ("w.h5", '"w.h5"', "w.h5"),
    "preprocess": ("none", '"none"', "none"),
    "head": ("sigmoid", '"sigmoid"', "sigmoid"),
    "output_name": ("scores", '"scores"', "scores"),
    "class_names": ("n.txt", '"n.txt"', "n.txt"),
    "input_size": ("192x256", "[192, 256]", InputSize(192, 256)),
    "imports": ("my_module,a.b", '["my_module", "a.b"]', ("my_module", "a.b")),
    "allow_lambda": (None, "true", True),
    "explainers": ("rise,b(c=1, d=2)", '["rise", "b(c=1, d=2)"]', ("rise", "b(c=1, d=2)")),
    "patch_sizes": ("8,16", "[8, 16]", (8, 16)),
    "strides": ("half,8", '["half", 8]', ("half", 8)),
    "metrics": ("pxap", '"pxap"', ("pxap",)),
    "criterion": ("deletion", '"deletion"', "deletion"),
    "margin": ("0.5", "0.5", 0.5),
    "steps": ("7", "7", 7),
    "limit": ("3", "3", 3),
    "shard": ("2/8", '"2/8"', Shard(2, 8)),
    "region_area": ("0.02..0.5", "[0.02, 0.5]", AreaRange(0.02, 0.5)),
    "only_correct": (None, "true", True),
    "target": ("predicted", '"predicted"', "predicted"),
    "geometry": ("center-crop", '"center-crop"', "center-crop"),
    "precision": ("float32", '"float32"', "float32"),
    "batch_size": ("4", "4", 4),
    "seed": ("5", "5", 5),
    "output": ("out", '"out"', "out"),
    "fresh": (None, "true", True),
    "keep_maps": ("9,float16", '"9,float16"', KeptMaps(9, half=True)),
    "fail_on_error": (None, "true", True),
    "engine": ("ray", '"ray"', "ray"),
    "ray_address": ("auto", '"auto"', "auto"),
    "workers": ("2", "2", 2),
    "threads_per_worker": ("1", "1", 1),
    "gpus_per_worker": ("0.5", "0.5", 0.5),
    "read_on": ("workers", '"workers"', "workers"),
    "baseline": ("b.json", '"b.json"', "b.json"),
    "tolerance": ("0.5", "0.5", "0.5"),
    "alpha": ("0.1", "0.1", 0.1),
    "max_lost": ("10%", '"10%"', 0.1),
    "fail_on_inconclusive": (None, "true", True),
    "fail_on_map_drift": (None, "true", True),
    "junit": ("j.xml", '"j.xml"', "j.xml"),
}


@pytest.fixture(scope="module")
def run_help():
    """The text of ``run --help``, on a screen wide enough for every option to be one line."""
    console = Console(file=io.StringIO(), width=1000)
    build_app()(["run", "--help"], console=console)
    return console.file.getvalue()


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_on_the_command_line(run_help, name):
    option = OPTIONS[name]
    (line,) = (line for line in run_help.splitlines() if line.split()[1:2] == [option.flag])
    text = option.text().replace("`", "")
    assert text[1:] in line
    assert all(choice in line for choice in option.choices)
    assert ("With --baseline: " in line) == bool(option.needs)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_read_from_both(tmp_path, name):
    written, toml, value = WRITTEN[name]
    flag = OPTIONS[name].flag
    bound = build_app().parse_args(["run", flag] if written is None else ["run", flag, written])[1]
    assert bound.kwargs.keys() == {name}
    assert parsed(bound.kwargs) == {name: value}
    path = tmp_path / "run.toml"
    path.write_text(f"{name} = {toml}\n")
    assert read_config(path) == {name: value}
    assert getattr(merge(read_config(path)), name) == value


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_read_again_or_rendered_stays_the_same(name):
    option, value = OPTIONS[name], WRITTEN[name][2]
    assert option.parsed(value) == value
    bound = build_app().parse_args(["run", *option.rendered(value)])[1]
    assert parsed(bound.kwargs) == {name: value}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_a_keyword_of_evaluate(name):
    option = OPTIONS[name]
    parameters = inspect.signature(evalkit.evaluate).parameters
    if option.not_in_python:
        assert name not in EvaluateOptions.__annotations__
        return
    hint = typing.get_type_hints(EvaluateOptions)[name]
    assert type(None) in typing.get_args(hint)
    accepted = hint.__args__[:-1]
    assert (parameters[name].annotation, parameters[name].default) == (hint, option.value)
    if (option.choices or option.kind in (bool, int, float)) and option.read is None:
        assert accepted == (option.kind,)
    else:
        assert str in accepted or name == "class_names"
    text = " ".join(evalkit.evaluate.__doc__.split())
    assert f" {name}: {option.text(python=True)}" in text


def test_evaluate_has_no_other_keywords():
    own = {"model", "images", "maps", "progress"}
    assert inspect.signature(evalkit.evaluate).parameters.keys() == own | EvaluateOptions.__annotations__.keys()
    assert EvaluateOptions.__annotations__.keys() <= OPTIONS.keys()
    with pytest.raises(TypeError, match="unexpected keyword argument 'stepps': did you mean 'steps'"):
        evalkit.evaluate("vgg16-mini", "scenes", stepps=3)


def test_defaults_are_valid_and_typed():
    assert merge() == RunOptions()
    for name, option in OPTIONS.items():
        if option.value is not None:
            assert option.parsed(option.value) == option.value, name


def test_python_help_has_the_shared_texts():
    assert "Random seed" in pydoc.render_doc(evalkit.evaluate, renderer=pydoc.plaintext)
    assert OPTIONS["geometry"].help in evalkit.explain.__doc__
    for function in (evalkit.evaluate, evalkit.explain, assert_no_regression):
        assert "{" not in function.__doc__.replace('{"dog"', "")
        assert max(map(len, function.__doc__.splitlines())) <= 120


def test_objects_pass_through_as_explainers():
    class Mine:
        pass

    mine = Mine()
    assert merge({"explainers": ["gradcam, random", mine]}).explainers == ("gradcam", "random", mine)


def test_repeated_command_has_every_scoring_option(evalkit, workplace):
    """Every option that is not declared as left out is in the command, with the value of the run."""
    given = {
        "--data": "labels.csv", "--data-format": "csv", "--model": "tiny.keras", "--preprocess": "none",
        "--class-map": "map.json", "--class-order": "index", "--class-names": "names.txt",
        "--weights": "w.weights.h5", "--explainers": "center",
        "--metrics": "deletion,sparseness", "--criterion": "deletion", "--margin": "0.05", "--steps": "3",
        "--limit": "2", "--region-area": "0.01..0.9", "--target": "predicted", "--geometry": "center-crop",
        "--precision": "float32", "--seed": "4", "--head": "softmax", "--output-name": "0",
        "--input-size": "32x40", "--shard": "1/2", "--keep-maps": "2,float16",
        "--import": "keras,json",
    }  # fmt: skip
    fixed = keras.models.load_model("tiny.keras")
    model = keras.Sequential([keras.Input((None, None, 3)), *fixed.layers])  # takes any size
    model.save("tiny.keras")
    model.save_weights("w.weights.h5")
    (workplace / "names.txt").write_text("ant\nbee\ncat\n")
    (workplace / "map.json").write_text('{"insect": ["ant"], "pet": ["cat"]}')
    done = evalkit(
        "run", *(part for pair in given.items() for part in pair), "--only-correct", "--allow-lambda", "--output", "out"
    )
    assert done.code == 0, done.err
    folder = RunFolder.read(workplace / "out")
    command, notes = rerun_command(folder.read_manifest())
    folder.close()
    parts = shlex.split(command)
    assert notes == []
    assert parts[:4] == ["python", "-m", "evalkit", "run"]
    wanted = {option.flag for option in OPTIONS.values() if not option.not_repeated}
    assert {part for part in parts if part.startswith("--")} == wanted
    for flag, value in given.items():
        found = parts[parts.index(flag) + 1]
        assert found in (value, str(Path(value).absolute())), flag


def test_a_word_too_many_is_named(evalkit):
    done = evalkit("list", "metrics", "deletion", "insertion")
    assert done.code == 2
    assert done.err == (
        "evalkit: 'insertion': not expected here; values with spaces or parentheses need quotes. "
        "See: python -m evalkit list --help\n"
    )
