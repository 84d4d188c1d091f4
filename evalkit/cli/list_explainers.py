"""The entries of ``list explainers``, of the classes in the catalog."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap

from evalkit.core.errors import ConfigError, nearest
from evalkit.core.provenance import target_of
from evalkit.explainers.base import Explainer
from evalkit.explainers.catalog import EXPLAINERS, SETS, WORDS
from evalkit.report.tables.explainer_list import ExplainerEntry, ParameterEntry

__all__ = ["explainer_entries", "explainer_entry"]

_SECTION = re.compile(r"^(Attributes|Reference|References|Examples?|Note|Raises)\s*:", re.MULTILINE)
_NEXT = re.compile(r"^(?=\S)", re.MULTILINE)
_ATTRIBUTE = re.compile(r"^(\w+): (.*)$")


def explainer_entries(word: str = "all") -> list[ExplainerEntry]:
    """Return the entries of a set of explainers, in the order of the catalog; ``all``: of every one."""
    return [entry for entry in map(explainer_entry, EXPLAINERS.names()) if word in entry.sets]


def explainer_entry(name: str) -> ExplainerEntry:
    """Return the entry of one explainer.

    Args:
        name: its name, or ``module:Class``.

    Raises:
        ConfigError: no such explainer, or its class cannot be imported.
    """
    if name not in EXPLAINERS.names() and ":" not in name:
        raise ConfigError(
            f"list explainers: no explainer or set is called '{name}': {nearest(name, [*WORDS, *EXPLAINERS.names()])}"
        )
    kind = EXPLAINERS.get(name)
    description, meanings = _documentation(kind)
    types = EXPLAINERS.parameter_types(name)
    return ExplainerEntry(
        name=name,
        family=kind.family,
        cost=kind.cost,
        summary=kind.summary,
        description=description,
        needs=(*sorted(kind.needs), *(["references"] if kind.uses_references else [])),
        sets=(*(word for word, members in SETS.items() if name in members), *(["all"] if ":" not in name else [])),
        draws=kind.draws,
        reference=kind.reference,
        target=target_of(kind),
        parameters=tuple(
            _parameter(parameter, field, types[parameter], meanings.get(field.name, ""))
            for parameter, field in kind.parameter_fields().items()
        ),
    )


def _parameter(name: str, field: dataclasses.Field[object], types: str, meaning: str) -> ParameterEntry:
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    is_required = default is dataclasses.MISSING
    value = default if isinstance(default, str | int | float | bool) else None
    return ParameterEntry(name, types, value, is_required, meaning)


def _documentation(kind: type[Explainer]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the paragraphs of a class's docstring, and the meanings of its attributes, without markup."""
    text = inspect.cleandoc(kind.__doc__ or "").replace("``", "")
    if text.startswith(f"{kind.__name__}("):  # the dataclass's own, of a class that has none
        return (), {}
    first = _SECTION.search(text)
    prose = text[: first.start()] if first else text
    paragraphs = tuple(" ".join(part.split()) for part in prose.split("\n\n") if part.strip())
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
    return paragraphs, meanings
