"""Specs: text to component and back, and what is wrong with a text said in words."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.core import registry, signature
from evalkit.core.errors import ConfigError, EvalkitError, nearest
from evalkit.core.randomness import generator
from evalkit.core.registry import Component, Registry
from evalkit.core.specs import Spec, parse_spec, split_specs
from evalkit.metrics.catalog import METRICS


@dataclass(frozen=True)
class Brush(Component):
    name: ClassVar[str] = "brush"
    version: ClassVar[int] = 3
    always_shown: ClassVar[tuple[str, ...]] = ("size",)
    size: int = 4
    weight: float = 0.5
    color: Literal["red", "blue"] = "red"
    step: int | Literal["half"] = "half"
    layer: str | None = None
    soft: bool = False


TOOLS = Registry("tool", Component, {"brush": f"{__name__}:Brush", "lazy": "no_such_module:Thing"})


def build(text, **defaults):
    return Registry("tool", Component, {"brush": f"{Brush.__module__}:Brush"}).build(text, **defaults)


def test_text_shows_parameters_that_differ_from_default():
    assert build("brush").text == "brush(size=4)"
    assert build("brush(color=blue, layer=a/b_1, weight=2)").text == "brush(size=4, weight=2, color=blue, layer=a/b_1)"


def test_signature_names_source_and_every_parameter():
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    line = f"brush|v:3|class:{__name__}:Brush|source:{source}|size:5|weight:0.5|color:red|step:half|layer:none|soft:no"
    assert build("brush(size=5)").signature == line


def test_signature_of_a_built_in_has_no_source():
    assert METRICS.build("deletion").signature == "deletion|v:2|substrate:mean|steps:28|ties:levels"
    assert METRICS.build("deletion").can_be_cached


def test_module_and_class_are_a_spec(tmp_path, monkeypatch):
    (tmp_path / "my_tools.py").write_text(
        "from dataclasses import dataclass\nfrom evalkit.core.component import Component\n"
        "@dataclass(frozen=True)\nclass Saw(Component):\n    teeth: int\n    sharp: bool = True\n"
        "class Stone:\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    tools = Registry("tool", Component, {"brush": f"{Brush.__module__}:Brush"})
    saw = tools.build("my_tools:Saw(teeth=7)")
    assert saw.text == "my_tools:Saw(teeth=7)"
    assert tools.build(saw.text) == saw
    assert f"|class:my_tools:Saw|source:{saw.source}|teeth:7|" in saw.signature
    tools.register("saw", type(saw))
    assert (tools.names(), saw.text) == (["brush", "saw"], "saw(teeth=7)")
    for text, message in {
        "my_tools:Saw": "tool 'my_tools:Saw' needs the parameter teeth; write my_tools:Saw",
        "my_tools:Stone": "is not a subclass of evalkit.core.component.Component",
        "my_tools:Axe": "module 'my_tools' has no 'Axe'",
        "my_wood:Saw": "module 'my_wood' cannot be imported",
    }.items():
        with pytest.raises(ConfigError, match=message):
            tools.build(text)
    with pytest.raises(ConfigError, match="tool 'brush' is taken"):
        tools.register("brush", type(saw))


def test_entry_points_are_known_by_name(monkeypatch):
    points = EntryPoints([EntryPoint("roller", f"{Brush.__module__}:Brush", "evalkit.tools")])
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))
    tools = Registry("tool", Component, {}, group="evalkit.tools")
    assert tools.names() == ["roller"]
    assert tools.build("roller(size=2)") == Brush(size=2)


def test_a_class_without_source_cannot_be_cached():
    namespace = {"__name__": "typed_in"}
    exec("from evalkit.core.component import Component\nclass Loose(Component):\n    pass", namespace)  # noqa: S102
    assert namespace["Loose"]().source is None
    assert not namespace["Loose"]().can_be_cached


def test_sets_are_words_that_can_be_added_to():
    tools = Registry("tool", Component, {"a": "x:A", "b": "x:B", "c": "x:C"})
    assert tools.expand_sets(["default", "c"], {"default": ("a", "b")}) == ["a", "b", "c"]
    assert tools.expand_sets(["b", "default", "x:D"], {"default": ("a", "b")}) == ["b", "a", "x:D"]
    assert tools.expand_sets(["all"], {}) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "text", ["brush", "brush()", " brush ( size = 4 ) ", "brush(color='red')", "brush(soft=false)"]
)
def test_spellings_of_one_component_are_equal(text):
    assert build(text) == Brush()


def test_text_builds_the_same_component_again():
    one = build("brush(size=9, step=3, soft=true, layer=x)")
    assert build(one.text) == one


def test_run_defaults_fill_only_parameters_left_out():
    assert build("brush", size=8, other=1) == Brush(size=8)
    assert build("brush(size=2)", size=8) == Brush(size=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("brash", "unknown tool 'brash': did you mean 'brush'"),
        ("brush(sise=3)", "has no parameter 'sise': did you mean 'size'"),
        ("brush(size=2.5)", "size=2.5 is not allowed; it takes a whole number"),
        ("brush(size=true)", "size=True is not allowed"),
        ("brush(color=green)", "color=green is not allowed; it takes red or blue"),
        ("brush(step=third)", "step=third is not allowed; it takes a whole number or half"),
        ("brush(size)", "'size' is not key=value"),
        ("brush(size=1, size=2)", "size is given twice"),
        ("brush(size=1", "the parentheses do not match"),
        ("brush)", "the parentheses do not match|is not a spec"),
        ("", "is not a spec"),
        ("brush(color=a b)", "neither a number nor a word"),
    ],
)
def test_bad_specs_say_what_is_wrong(text, message):
    with pytest.raises(ConfigError, match=message):
        build(text)


def test_names_are_known_without_importing_anything():
    assert TOOLS.names() == ["brush", "lazy"]


def test_commas_inside_parentheses_do_not_split():
    assert split_specs("a(x=1, y=2), b,, c(z=3)") == ["a(x=1, y=2)", "b", "c(z=3)"]
    assert split_specs("") == []
    assert parse_spec("tf_explain.occlusion(patch_size=3)") == Spec("tf_explain.occlusion", {"patch_size": 3})


@given(st.text(max_size=40))
def test_any_text_is_a_spec_or_a_config_error(text):
    try:
        for part in split_specs(text):
            parse_spec(part)
            build(part)
    except EvalkitError:
        pass


def test_nearest_lists_everything_when_nothing_is_near():
    assert nearest("zzz", ["b", "a"]) == "Allowed: a, b"


def test_signature_lines_and_digests():
    line = signature.line("m", {"a": 1, "b": 2.0, "c": 0.25, "d": None, "e": True, "f": "x|y"})
    assert line == "m|a:1|b:2|c:0.25|d:none|e:yes|f:x%7Cy"
    assert signature.digest("abc", 8) == "ba7816bf"


def test_generators_depend_on_their_arguments_and_nothing_else():
    assert generator(1, "a", 2).integers(1 << 40) == generator(1, "a", 2).integers(1 << 40)
    different = {
        int(generator(*what).integers(1 << 60)) for what in [(1, "a"), (1, "b"), (2, "a"), (1, "a", ""), (1, b"a")]
    }
    assert len(different) == 5


def test_whole_numbers_joined_by_plus_are_a_word():
    assert parse_spec("tool(cells=8+16+32)").parameters == {"cells": "8+16+32"}
    for text in ("tool(cells=8+)", "tool(cells=+8+16)", "tool(cells=8+a)"):
        with pytest.raises(ConfigError, match="neither a number nor a word"):
            parse_spec(text)
    assert METRICS.build("sensitivity_n(cells=8+16)", steps=4).cells == "8+16"


@pytest.mark.parametrize("path", ["t.json", "./a/t.json", "../runs/t-1.json", "/home/a/t.json", "~/t.json"])
def test_a_path_is_a_word(path):
    assert parse_spec(f"tool(file={path})").parameters == {"file": path}
