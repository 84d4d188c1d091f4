"""Explainers and metrics by name: ``occlusion(patch_size=40, stride=half)`` to an object and back.

A component is a frozen dataclass whose fields are its parameters. Registries are lazy (``"module:Class"``), so that
naming a component imports only what it needs.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args, get_origin

from evalkit.core import signature
from evalkit.core.errors import ConfigError, nearest

__all__ = ["Component", "Registry", "Spec", "parse_spec", "simplify", "split_specs"]

Literals = int | float | bool | str | None


def simplify(name: str) -> str:
    """Return the form under which a model is looked up: ``"ResNet50-V2"`` and ``"resnet50v2"`` are one.

    >>> simplify("MobileNet_V2")
    'mobilenetv2'
    """
    return name.lower().replace("_", "").replace("-", "")


@dataclasses.dataclass(frozen=True)
class Component:
    """Something named, versioned and parameterized: an explainer or a metric.

    Subclasses are frozen dataclasses; ``version`` grows whenever the meaning of the numbers changes. ``always_signed``
    holds what is fixed and yet has to be told from others' choices, e.g. the substrate.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    always_shown: ClassVar[tuple[str, ...]] = ()
    always_signed: ClassVar[Mapping[str, str]] = types.MappingProxyType({})
    _run_defaults: ClassVar[Mapping[str, Literals]] = types.MappingProxyType({})

    def parameters(self) -> dict[str, Literals]:
        """Return every parameter with its value, in the order declared."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def text(self) -> str:
        """The short spec: the name, and the parameters that are always shown or differ from their default.

        A default of the run (``--steps``, ``--seed``) is one too; the signature tells runs apart.
        """
        defaults = {field.name: field.default for field in dataclasses.fields(self)} | dict(self._run_defaults)
        shown = [
            f"{key}={value}"
            for key, value in self.parameters().items()
            if key in self.always_shown or value != defaults[key]
        ]
        return f"{self.name}({', '.join(shown)})" if shown else self.name

    @property
    def signature(self) -> str:
        """The long form: name, version and every parameter, in one line."""
        return signature.line(self.name, {"v": self.version, **self.always_signed, **self.parameters()})


class Spec(typing.NamedTuple):
    """A component as it was written: its name and its parameters as literals."""

    name: str
    parameters: dict[str, Literals]


_SPEC = re.compile(r"^\s*(?P<name>[A-Za-z_][\w.]*)\s*(?:\((?P<inside>.*)\))?\s*$", re.DOTALL)
_WORD = re.compile(r"^[A-Za-z_][\w./-]*$")


def split_specs(text: str) -> list[str]:
    """Split at the commas outside parentheses.

    >>> split_specs("gradcam, occlusion(patch_size=40, stride=20)")
    ['gradcam', 'occlusion(patch_size=40, stride=20)']

    Raises:
        ConfigError: parentheses do not match.
    """
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            break
        if character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    if depth != 0:
        raise ConfigError(f"'{text}': the parentheses do not match; write name(key=value, key=value)")
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def parse_spec(text: str) -> Spec:
    """Read one spec.

    >>> parse_spec("occlusion(patch_size=40, stride=half)")
    Spec(name='occlusion', parameters={'patch_size': 40, 'stride': 'half'})

    Raises:
        ConfigError: the text is not ``name`` or ``name(key=value, ...)``.
    """
    match = _SPEC.match(text)
    split_specs(text)  # complains of parentheses that do not match
    if match is None:
        raise ConfigError(f"'{text}' is not a spec; write name or name(key=value, key=value)")
    parameters: dict[str, Literals] = {}
    for part in split_specs(match["inside"] or ""):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier():
            raise ConfigError(f"'{text}': '{part}' is not key=value")
        if key in parameters:
            raise ConfigError(f"'{text}': {key} is given twice")
        parameters[key] = _literal(value.strip(), text)
    return Spec(match["name"], parameters)


def _literal(value: str, text: str) -> Literals:
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    if value.lower() == "none":
        return None
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    unquoted = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
    if not _WORD.match(unquoted):
        raise ConfigError(f"'{text}': '{value}' is neither a number nor a word")
    return unquoted


C = TypeVar("C", bound=Component)


class Registry(Generic[C]):
    """A read-only view of the components of one kind.

    Args:
        kind: what the components are called in messages, e.g. ``"explainer"``.
        targets: name to ``"module:Class"``.
    """

    def __init__(self, kind: str, targets: Mapping[str, str]) -> None:
        """See the class."""
        self.kind = kind
        self._targets = types.MappingProxyType(dict(targets))

    def names(self) -> list[str]:
        """Return every name, in the order registered."""
        return list(self._targets)

    def get(self, name: str) -> type[C]:
        """Return the class of that name.

        Raises:
            ConfigError: there is none; the nearest name is suggested.
        """
        if name not in self._targets:
            raise ConfigError(f"unknown {self.kind} '{name}': {nearest(name, self._targets)}")
        module, _, attribute = self._targets[name].partition(":")
        return typing.cast("type[C]", getattr(importlib.import_module(module), attribute))

    def build(self, spec: str | Spec, **defaults: Literals) -> C:
        """Build a component from its spec.

        Args:
            spec: e.g. ``"occlusion(patch_size=40)"``.
            defaults: the run's own defaults, taken where the spec is silent and the component has the parameter.

        Raises:
            ConfigError: an unknown name or parameter, or a value out of range.
        """
        parsed = parse_spec(spec) if isinstance(spec, str) else spec
        component = self.get(parsed.name)
        hints = typing.get_type_hints(component)
        allowed = {field.name: hints[field.name] for field in dataclasses.fields(component)}
        for key, value in parsed.parameters.items():
            if key not in allowed:
                known = nearest(key, allowed) if allowed else "it has no parameters"
                raise ConfigError(f"{self.kind} '{parsed.name}' has no parameter '{key}': {known}")
            if not _fits(value, allowed[key]):
                raise ConfigError(
                    f"{self.kind} '{parsed.name}': {key}={value} is not allowed; it takes {_say(allowed[key])}"
                )
        usable = {key: value for key, value in defaults.items() if key in allowed}
        built = component(**{**usable, **parsed.parameters})
        object.__setattr__(
            built, "_run_defaults", {key: usable[key] for key in usable if key not in built.always_shown}
        )
        return built


def _fits(value: Literals, hint: Any) -> bool:  # noqa: ANN401 - a type hint has no narrower type
    if get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint) and type(value) in {type(option) for option in get_args(hint)}
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _say(hint: Any) -> str:  # noqa: ANN401 - a type hint has no narrower type
    if get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_say(option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(str(option) for option in get_args(hint))
    names = {int: "a whole number", float: "a number", str: "a word", bool: "true or false", type(None): "none"}
    return names.get(hint, str(hint))
