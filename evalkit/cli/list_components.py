"""What entries of explainers and metrics have in common, read from their classes."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from evalkit.core.component import Component
from evalkit.core.errors import ConfigError, EvalkitError, nearest
from evalkit.core.names import escaped
from evalkit.core.registry import Registry
from evalkit.core.specs import Spec, parse_spec
from evalkit.report.tables.component_list import ParameterEntry

__all__ = ["asked_for", "built", "description_of", "listed", "parameter_entries"]

_SECTION = re.compile(r"^(Attributes|Reference|References|Examples?|Note|Raises)\s*:", re.MULTILINE)
_NEXT = re.compile(r"^(?=\S)", re.MULTILINE)
_ATTRIBUTE = re.compile(r"^(\w+): (.*)$")

C = TypeVar("C", bound=Component)
E = TypeVar("E")


def asked_for(registry: Registry[C], words: Sequence[str], given: str) -> Spec:
    """Return the spec of the one component that ``list`` is given.

    Args:
        registry: the components of this kind.
        words: the sets that are allowed in its place, for the message.
        given: a name, ``module:Class``, or either with parameters.

    Raises:
        ConfigError: no such component, or not a spec.
    """
    name = given.partition("(")[0].strip()
    if name not in registry.names() and ":" not in name:
        allowed = nearest(name.lower().replace("-", "_").replace(" ", "_"), [*words, *registry.names()])
        raise ConfigError(f"list {registry.kind}s: no {registry.kind} or set is called '{name}': {allowed}")
    return parse_spec(given)


def built(registry: Registry[C], spec: Spec) -> C | None:
    """Return the component of a spec; None if the spec lacks a value that has no default.

    Raises:
        ConfigError: an unknown parameter, or a value out of range.
    """
    fields = registry.get(spec.name).parameter_fields()
    given = {*spec.parameters, *spec.alternatives}
    is_complete = all(name in given or not _is_required(field) for name, field in fields.items())
    return registry.build(spec) if is_complete or given else None


def listed(names: Sequence[str], entry: Callable[[Spec], E]) -> list[E]:
    """Return the entries of several components; one that cannot be imported is left out, which stderr says."""
    entries = []
    for name in names:
        try:
            entries.append(entry(Spec(name, {})))
        except EvalkitError as error:
            print(f"evalkit: left out of the list: {escaped(str(error))}", file=sys.stderr)  # noqa: T201 - a note
    return entries


def parameter_entries(registry: Registry[C], spec: Spec, component: C | None) -> tuple[ParameterEntry, ...]:
    """Return the parameters of a component, with the values of a spec.

    Args:
        registry: the components of this kind.
        spec: the spec.
        component: the component of the spec; None if values are missing.
    """
    kind = registry.get(spec.name)
    types, meanings = registry.parameter_types(spec.name), _meanings(kind)
    values = {} if component is None else component.parameters()
    entries = []
    for name, field in kind.parameter_fields().items():
        required, default = _is_required(field), _value(_default(field))
        value = _value(values.get(name, default))
        is_set = name in spec.parameters and (required or value != default)
        entries.append(
            ParameterEntry(name, types[name], default, required, meanings.get(field.name, ""), value, is_set)
        )
    return tuple(entries)


def description_of(kind: type[Component]) -> tuple[str, ...]:
    """Return the paragraphs of a class's docstring in front of its sections, without markup."""
    text = _docstring(kind)
    first = _SECTION.search(text)
    prose = text[: first.start()] if first else text
    return tuple(" ".join(part.split()) for part in prose.split("\n\n") if part.strip())


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field: dataclasses.Field[Any]) -> object:
    if field.default is not dataclasses.MISSING:
        return field.default
    return None if field.default_factory is dataclasses.MISSING else field.default_factory()


def _value(value: object) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool) else None


def _docstring(kind: type) -> str:
    """Return the docstring that a class has itself, without markup; empty if it has none."""
    text = inspect.cleandoc(kind.__dict__.get("__doc__") or "").replace("``", "")
    return "" if text.startswith(f"{kind.__name__}(") else text  # the dataclass's own, of a class that has none


def _meanings(kind: type) -> dict[str, str]:
    """Return the meanings of a class's attributes, those of its bases included."""
    meanings: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        meanings |= _attributes(_docstring(base))
    return meanings


def _attributes(text: str) -> dict[str, str]:
    """Return the meanings in the section ``Attributes`` of a docstring."""
    meanings: dict[str, str] = {}
    name = ""
    section = _NEXT.split(text.partition("Attributes:\n")[2], maxsplit=1)[0]
    for line in textwrap.dedent(section).splitlines():
        match = _ATTRIBUTE.match(line)
        if match:
            name = match[1]
            meanings[name] = match[2].strip()
        elif line.startswith(" ") and name:
            meanings[name] += f" {line.strip()}"
    return meanings
