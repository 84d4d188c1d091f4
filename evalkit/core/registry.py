"""Explainers and metrics by name: built in, registered, installed as an entry point, or ``module:Class``.

Registries are lazy (``"module:Class"``), so that naming a component imports only what it needs.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

from evalkit.core.component import Component
from evalkit.core.errors import ConfigError, nearest
from evalkit.core.imports import import_object
from evalkit.core.provenance import register_name, target_of
from evalkit.core.specs import Literals, Spec, parse_spec, split_specs

__all__ = ["Component", "Literals", "Registry", "Spec", "parse_spec", "split_specs"]

C = TypeVar("C", bound=Component)


class Registry(Generic[C]):
    """The components of one kind.

    Args:
        kind: the word for a component in messages, e.g. ``"explainer"``.
        base: the class that every component of this kind inherits from.
        targets: the built-in names and their ``"module:Class"``.
        group: the entry point group that installed packages add components to; None = no such group.
    """

    def __init__(self, kind: str, base: type[C], targets: Mapping[str, str], group: str | None = None) -> None:
        """See the class."""
        self.kind, self.base = kind, base
        self._targets = dict(targets)
        self._group = group
        for name, target in targets.items():
            register_name(name, target)

    def names(self) -> list[str]:
        """Return every name: built-in ones, registered ones, entry points, in this order."""
        return list(dict.fromkeys([*self._targets, *self._entry_points()]))

    def register(self, name: str, component: str | type[C]) -> None:
        """Register a component under a name, until the process ends.

        Args:
            name: the name in specs.
            component: the class, or ``"module:Class"``, which is imported when it is first needed.

        Raises:
            ConfigError: the name is taken by another component.
        """
        target = component if isinstance(component, str) else target_of(component)
        if self._targets.get(name, target) != target:
            raise ConfigError(f"{self.kind} '{name}' is taken by {self._targets[name]}; choose another name")
        self._targets[name] = target
        register_name(name, target)

    def get(self, name: str) -> type[C]:
        """Return the class of that name, or of ``module:Class``.

        Raises:
            ConfigError: an unknown name, or a class that cannot be imported or is of another kind.
        """
        target = self._targets.get(name) or (name if ":" in name else "")
        if not target and name in self._entry_points():
            target = self._entry_points()[name].value.replace(" ", "")
        if not target:
            raise ConfigError(f"unknown {self.kind} '{name}': {nearest(name, self.names())}, or module:Class")
        imported = import_object(target, f"{self.kind} '{name}'", ConfigError)
        if not (isinstance(imported, type) and issubclass(imported, self.base)):
            raise ConfigError(
                f"{self.kind} '{name}' is not a subclass of {self.base.__module__}.{self.base.__name__}; "
                "docs/extending.md has an example"
            )
        return imported

    def parameter_types(self, name: str) -> dict[str, str]:
        """Return the values that each parameter of a component allows, in words; errors as ``get``."""
        component = self.get(name)
        hints = typing.get_type_hints(component)
        return {key: _type_text(hints[field.name]) for key, field in component.parameter_fields().items()}

    def build(self, spec: str | Spec, **defaults: Literals) -> C:
        """Build a component from its spec.

        Args:
            spec: the spec, e.g. ``"occlusion(patch_size=40)"`` or ``"my_module:MyExplainer(strength=3)"``.
            defaults: the run's defaults, for parameters that the component has and the spec does not set.

        Raises:
            ConfigError: an unknown name or parameter, or a value out of range.
        """
        parsed = parse_spec(spec) if isinstance(spec, str) else spec
        if parsed.alternatives:
            key, values_of_key = next(iter(parsed.alternatives.items()))
            listed = "|".join(map(str, values_of_key))
            raise ConfigError(
                f"{self.kind} '{parsed.name}': {key}={listed} names several values where one is expected; "
                + (f"list the {self.kind} once for each" if self.kind == "metric" else "give one of them")
            )
        component = self.get(parsed.name)
        hints = typing.get_type_hints(component)
        fields = component.parameter_fields()
        allowed = {name: hints[field.name] for name, field in fields.items()}
        for key, value in parsed.parameters.items():
            if key not in allowed:
                known = nearest(key, allowed) if allowed else "it has no parameters"
                raise ConfigError(f"{self.kind} '{parsed.name}' has no parameter '{key}': {known}")
            if not _fits(value, allowed[key]):
                raise ConfigError(
                    f"{self.kind} '{parsed.name}': {key}={value} is not allowed; it takes {_type_text(allowed[key])}"
                )
        usable = {key: value for key, value in defaults.items() if key in allowed}
        needed = [name for name, field in fields.items() if _is_required(field)]
        missing = [key for key in needed if key not in {**usable, **parsed.parameters}]
        if missing:
            example = f"{parsed.name}({missing[0]}=VALUE)"
            raise ConfigError(f"{self.kind} '{parsed.name}' needs the parameter {missing[0]}; write {example}")
        hidden = tuple((key, value) for key, value in usable.items() if key not in component.always_shown)
        values = {fields[name].name: value for name, value in {**usable, **parsed.parameters}.items()}
        return component(**values, run_defaults=hidden)

    def accept(self, given: object, **defaults: Literals) -> C:
        """Return a component as it is, or build it from its spec.

        Raises:
            ConfigError: neither a spec nor a component of this kind; or it has the name of another component.
        """
        if isinstance(given, str | Spec):
            return self.build(given, **defaults)
        if not isinstance(given, self.base):
            raise ConfigError(
                f"{given!r} is {type(given).__name__}; {_article(self.kind)} is a spec such as "
                f"'{next(iter(self._targets))}', or an object of a subclass of {self.base.__name__}"
            )
        return given

    def all_of(self, given: object) -> list[object]:
        """Return specs and components one by one, of one text, one object or a sequence of them."""
        items: Sequence[object] = (
            given if isinstance(given, Sequence) and not isinstance(given, str | Spec) else [given]
        )
        return [part for item in items for part in (split_specs(item) if isinstance(item, str) else [item])]

    def expand_sets(self, items: Sequence[object], sets: Mapping[str, Sequence[str]]) -> list[object]:
        """Replace the words for sets, and ``all``, by names; a name that is also written itself is not repeated.

        Args:
            items: the specs and components, as ``all_of`` returns them.
            sets: the names that replace each word, e.g. ``default``; ``all`` = every name, unless it is given.
        """
        sets = {"all": self.names(), **sets}
        written = {item for item in items if isinstance(item, str)}
        expanded: list[object] = []
        for item in items:
            members = sets.get(item) if isinstance(item, str) else None
            if members is None:
                expanded.append(item)
            else:
                expanded += [name for name in members if name not in written and name not in expanded]
        return expanded

    def distinct(self, components: list[C]) -> list[C]:
        """Return the components of a run as they are, if no two are equal.

        Raises:
            ConfigError: one is listed twice.
        """
        seen: set[str] = set()
        for component in components:
            if component.text in seen:
                raise ConfigError(f"--{self.kind}s: {component.text} is listed twice; remove one")
            seen.add(component.text)
        return components

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {} if self._group is None else {point.name: point for point in entry_points(group=self._group)}


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


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


def _type_text(hint: Any) -> str:  # noqa: ANN401 - a type hint has no narrower type
    if get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_type_text(option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(str(option) for option in get_args(hint))
    names = {int: "a whole number", float: "a number", str: "a word", bool: "true or false", type(None): "none"}
    return names.get(hint, str(hint))
