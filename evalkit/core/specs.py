"""Parsing of specs: ``occlusion(patch_size=40, stride=half)`` or ``my_module:MyExplainer(strength=3)``."""

from __future__ import annotations

import itertools
import re
import types
import typing
from collections.abc import Iterator, Mapping

from evalkit.core.errors import ConfigError

__all__ = ["Literals", "Spec", "parse_spec", "simplify", "split_specs"]

Literals = int | float | bool | str | None


def simplify(name: str) -> str:
    """Return the normalized name of a model: ``"ResNet50-V2"`` and ``"resnet50v2"`` are the same.

    >>> simplify("MobileNet_V2")
    'mobilenetv2'
    """
    return name.lower().replace("_", "").replace("-", "")


class Spec(typing.NamedTuple):
    """A parsed spec: the name (or ``module:Class``) and the parameters as literals.

    Attributes:
        name: the name, or ``module:Class``.
        parameters: the parameters with one value.
        alternatives: the parameters with several values, ``a|b|c``; they are not among ``parameters``.
    """

    name: str
    parameters: dict[str, Literals]
    alternatives: Mapping[str, tuple[Literals, ...]] = types.MappingProxyType({})

    def variants(self) -> Iterator[dict[str, Literals]]:
        """Yield the parameters of every combination of the alternatives, the last parameter changing fastest."""
        for values in itertools.product(*self.alternatives.values()):
            yield {**self.parameters, **dict(zip(self.alternatives, values, strict=True))}


_SPEC = re.compile(r"^\s*(?P<name>[A-Za-z_][\w.]*(?::[A-Za-z_][\w.]*)?)\s*(?:\((?P<inside>.*)\))?\s*$", re.DOTALL)
_WORD = re.compile(r"^(?:[A-Za-z_./~][\w./~+-]*|\d+(?:\+\d+)+)$")  # or whole numbers, as in 8+16


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
    Spec(name='occlusion', parameters={'patch_size': 40, 'stride': 'half'}, alternatives={})
    >>> list(parse_spec("rise(masks=500|1000, seed=3)").variants())
    [{'seed': 3, 'masks': 500}, {'seed': 3, 'masks': 1000}]

    Raises:
        ConfigError: the text is not ``name`` or ``name(key=value, ...)``.
    """
    match = _SPEC.match(text)
    split_specs(text)  # raises if the parentheses do not match
    if match is None:
        raise ConfigError(f"'{text}' is not a spec; write name or name(key=value, key=value)")
    parameters: dict[str, Literals] = {}
    alternatives: dict[str, tuple[Literals, ...]] = {}
    for part in split_specs(match["inside"] or ""):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier():
            raise ConfigError(f"'{text}': '{part}' is not key=value")
        if key in parameters or key in alternatives:
            raise ConfigError(f"'{text}': {key} is given twice")
        values = tuple(_literal(one.strip(), text) for one in value.split("|"))
        if len(values) == 1:
            parameters[key] = values[0]
        else:
            alternatives[key] = tuple(dict.fromkeys(values))
    return Spec(match["name"], parameters, alternatives)


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
