"""The description of an option: reader, checks, help text, and its form on a command line.

``core/settings.py`` declares the options. The command line, CONFIG.toml, ``evalkit.evaluate`` and the command that
repeats a run are all derived from that declaration.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import numbers
import operator
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from evalkit.core.errors import ConfigError, nearest
from evalkit.core.registry import split_specs

__all__ = [
    "AreaRange",
    "InputSize",
    "Option",
    "Shard",
    "described",
    "options_of",
    "read_area_range",
    "read_count_or_auto",
    "read_input_size",
    "read_names",
    "read_patch_sizes",
    "read_shard",
    "read_share",
    "read_specs",
    "read_strides",
    "read_tolerance",
]

_DOC_WIDTH = 100

Group = Literal["data", "model", "run", "engine", "gate"]
Reader = Callable[[str, object], object]
Described = TypeVar("Described", bound=Callable[..., object])


class AreaRange(NamedTuple):
    """The smallest and the largest fraction of the image that an object may cover, both included."""

    least: float
    most: float

    def __str__(self) -> str:
        """Return the range as it is written on the command line."""
        return f"{self.least:g}..{self.most:g}"


class InputSize(NamedTuple):
    """The height and width of a model's input, in pixels."""

    height: int
    width: int

    def __str__(self) -> str:
        """Return the size as it is written on a command line."""
        return f"{self.height}x{self.width}"


@dataclass(frozen=True)
class Shard:
    """One of several parts of an image set that are computed as runs of their own.

    Attributes:
        number: its number, from 1.
        count: the number of shards.
    """

    number: int
    count: int

    def positions(self, n_images: int) -> range:
        """Return the positions of its images in the whole set.

        >>> list(Shard(2, 3).positions(8))
        [1, 4, 7]
        """
        return range(self.number - 1, n_images, self.count)

    def __str__(self) -> str:
        """Return the shard as it is written on a command line."""
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class Option:
    """One option. The field that is annotated with it gives ``name``, ``kind`` and ``value``.

    Attributes:
        group: the topic; commands take options by group or by name.
        help: the help text, without the default.
        default: the default in words, where it depends on the run.
        read: the function from the flag (for error messages) and the written value to the typed value.
        at_least: the smallest allowed value.
        above: the number that values must exceed; they must be finite.
        needs: the option without which this one has no effect.
        in_python: the help text in Python, with its default, where it differs.
        not_in_python: why ``evaluate`` has no such keyword; empty if it has.
        not_repeated: why the command that repeats a run does not name the option; empty if it does.
        called: the name on the command line, where it differs from that in TOML and Python.
        name: the name in TOML and Python.
        kind: the type, without None.
        value: the default; None where it depends on the run.
    """

    group: Group
    help: str
    _: KW_ONLY
    default: str = ""
    read: Reader | None = None
    at_least: int | None = None
    above: float | None = None
    needs: str = ""
    in_python: str = ""
    not_in_python: str = ""
    not_repeated: str = ""
    called: str = ""
    name: str = ""
    kind: Any = str
    value: Any = None

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return f"--{self.called or self.name.replace('_', '-')}"

    @property
    def choices(self) -> tuple[str, ...]:
        """The values allowed; empty if any value of the type is."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    def parsed(self, written: object) -> Any:  # noqa: ANN401 - the option's own type
        """Return the typed value of an option from the command line, TOML or Python.

        A value that is typed already is returned unchanged.

        Raises:
            ConfigError: the value is not allowed.
        """
        written = os.fspath(written) if isinstance(written, os.PathLike) else written
        if isinstance(written, str) and "\0" in written:
            raise ConfigError(f"{self.flag} {written!r} contains a null character; remove it")
        if self.read is not None:
            return self.read(self.flag, written)
        if self.choices:
            if written not in self.choices:
                raise ConfigError(f"{self.flag} '{written}' is unknown: {nearest(str(written), self.choices)}")
            return written
        value: Any = _PLAIN[self.kind](self.flag, written)
        if self.at_least is not None and value < self.at_least:
            raise ConfigError(f"{self.flag} {value} is not allowed; it must be at least {self.at_least}")
        if self.above is not None and not self.above < value < math.inf:
            allowed = f"it must be above {self.above:g}, for example {self.value:g}"
            raise ConfigError(f"{self.flag} {value:g} is not allowed; {allowed}")
        return value

    def rendered(self, value: object) -> list[str]:
        """Return the option with its value as parts of a command line; nothing for a flag that is off."""
        if self.kind is bool:
            return [self.flag] if value else []
        return [self.flag, ",".join(map(str, value)) if type(value) in (tuple, list) else str(value)]  # type: ignore[call-overload]

    def text(self, default: str | None = None, *, python: bool = False) -> str:
        """Return the help text with the default.

        Args:
            default: the default to show instead of the declared one; empty = none.
            python: True = the text for Python users.
        """
        if python and self.in_python:
            return self.in_python
        if default is None:
            default = self.default or ("" if self.value is None or self.kind is bool else str(self.value))
        return f"{self.help} [default: {default}]" if default else self.help


def options_of(declaration: type) -> dict[str, Option]:
    """Return the options that a dataclass declares in its annotations, by name and in their order."""
    hints = get_type_hints(declaration, include_extras=True)
    options = {}
    for field in dataclasses.fields(declaration):
        hint, option = get_args(hints[field.name])
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        kind = kinds[0] if type(None) in get_args(hint) else hint
        options[field.name] = dataclasses.replace(option, name=field.name, kind=kind, value=field.default)
    return options


def described(options: Mapping[str, Option], *names: str) -> Callable[[Described], Described]:
    """Return a decorator that writes the options' help texts into a Google-style docstring.

    A line ``{options}`` becomes an entry for each of the names; ``seed: {seed}`` gets the text of that option.
    """

    def describe(function: Described) -> Described:
        if function.__doc__ is None:  # python -OO
            return function
        entries = "\n".join(f"        {name}: {{{name}}}" for name in names)
        text = function.__doc__.replace("        {options}", entries)
        function.__doc__ = re.sub(r"^( +)(\w+: )\{(\w+)\}$", entry, text, flags=re.MULTILINE)
        return function

    def entry(match: re.Match[str]) -> str:
        indent, head, name = match.groups()
        text = head + options[name].text(python=True)
        return textwrap.fill(text, _DOC_WIDTH, initial_indent=indent, subsequent_indent=f"{indent}    ")

    return describe


def read_specs(flag: str, written: object) -> tuple[Any, ...]:
    """Return the specs of ``"gradcam, occlusion(stride=half)"`` or of a list, one by one.

    Objects that are not text, such as an explainer, are returned as they are.

    Raises:
        ConfigError: plain data other than text, or parentheses that do not match.
    """
    specs: list[Any] = []
    for item in [written] if isinstance(written, str) or not isinstance(written, Iterable) else written:
        if isinstance(item, str):
            specs += split_specs(item)
        elif type(item).__module__ in ("builtins", "datetime"):
            raise ConfigError(f"{flag} {item!r} is not a spec; write name or name(key=value, key=value)")
        else:
            specs.append(item)
    return tuple(specs)


def read_names(flag: str, written: object) -> tuple[str, ...]:
    """Return names separated by commas, or of a list, in their order and without duplicates.

    Raises:
        ConfigError: something else than text, or no name.
    """
    names = _parts(written)
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ConfigError(f"{flag} {written!r} is not a list of names; write for example my_module,my_package.layers")
    return tuple(dict.fromkeys(str(name).strip() for name in names))


def read_patch_sizes(flag: str, written: object) -> tuple[int, ...]:
    """Return patch sizes in pixels, in their order and without duplicates.

    Raises:
        ConfigError: not whole numbers of at least 1.
    """
    try:
        sizes = [int(part) if isinstance(part, str) else _index(part) for part in _parts(written)]
    except (ValueError, TypeError):
        raise ConfigError(f"{flag} '{written}' is not a list of pixels; write for example 16,32,40") from None
    if not sizes or min(sizes) < 1:
        raise ConfigError(f"{flag} '{written}' is not allowed; every size must be at least 1 pixel")
    return tuple(dict.fromkeys(sizes))


def read_strides(flag: str, written: object) -> tuple[int | str, ...]:
    """Return strides, ``patch``, ``half`` or pixels, in their order and without duplicates.

    Raises:
        ConfigError: something else.
    """
    strides: list[int | str] = []
    for part in _parts(written):
        text = str(part)
        pixels = int(text) if text.isdecimal() and len(text) < 10 else 0
        if text not in ("patch", "half") and pixels < 1:
            raise ConfigError(f"{flag} '{text}' is not allowed; write patch, half, or pixels of at least 1")
        strides.append(pixels or text)
    if not strides:
        raise ConfigError(f"{flag} is empty; write for example patch,half or 16")
    return tuple(dict.fromkeys(strides))


def read_count_or_auto(flag: str, written: object) -> int | str:
    """Return a number of at least 1, or ``auto``.

    Raises:
        ConfigError: something else.
    """
    text = written if isinstance(written, str) else ""
    if text == "auto":
        return text
    try:
        count = int(text) if text.isdecimal() and len(text) < 10 else _index(written)
    except TypeError:
        count = 0
    if count < 1:
        raise ConfigError(f"{flag} '{written}' is not allowed; write auto or a whole number of at least 1")
    return count


def read_area_range(flag: str, written: object) -> AreaRange:
    """Return the range of ``0.02..0.5``, ``0.02..``, ``..0.5`` or of two numbers.

    Raises:
        ConfigError: not two fractions of 0..1, the smaller first.
    """
    bounds: Any = written
    if isinstance(written, str):
        low, separator, high = written.partition("..")
        bounds = (low or 0, high or 1) if separator else ()
    try:
        least, most = bounds
        area = AreaRange(float(least), float(most))
    except (ValueError, TypeError, OverflowError):
        area = AreaRange(math.nan, math.nan)
    if not 0 <= area.least <= area.most <= 1:
        raise ConfigError(
            f"{flag} '{written}' is not allowed; write two fractions of the image's area, for example 0.02..0.5, or "
            "0.02.. or ..0.5"
        )
    return area


def read_input_size(flag: str, written: object) -> InputSize:
    """Return the size of ``224``, ``"192x256"`` or of two numbers.

    Raises:
        ConfigError: not a height and a width of at least one pixel.
    """
    sides: Any = written
    if isinstance(written, str):
        sides = written.lower().split("x")
    elif isinstance(written, numbers.Integral):
        sides = [written]
    try:
        height, width = (int(side) if isinstance(side, str) else _index(side) for side in [*sides, *sides][:2])
        size = InputSize(height, width) if len(sides) in (1, 2) else InputSize(0, 0)
    except (ValueError, TypeError):
        size = InputSize(0, 0)
    if min(size) < 1:
        raise ConfigError(
            f"{flag} '{written}' is not allowed; write the side in pixels, for example 224, or height x width: 192x256"
        )
    return size


def read_shard(flag: str, written: object) -> Shard:
    """Return the shard of ``2/8`` or of two numbers.

    Raises:
        ConfigError: not a number from 1 and the number of shards.
    """
    if isinstance(written, Shard):
        return written
    parts: Any = [part.strip() for part in written.split("/")] if isinstance(written, str) else written
    try:
        number, count = (_decimal(part) if isinstance(part, str) else _index(part) for part in parts)
        shard = Shard(number, count)
    except (ValueError, TypeError):
        shard = Shard(0, 0)
    if not 1 <= shard.number <= shard.count:
        raise ConfigError(
            f"{flag} '{written}' is not allowed; write the shard's number, from 1, and how many there are: 1/8 to 8/8"
        )
    return shard


def read_share(flag: str, written: object) -> float:
    """Return the share of ``0.2``, ``"0.2"`` or ``"20%"``.

    Raises:
        ConfigError: not a number of 0..1.
    """
    share = math.nan
    if isinstance(written, str):
        digits, percent = written.strip().removesuffix("%"), written.strip().endswith("%")
        with contextlib.suppress(ValueError):
            share = float("nan" if "_" in digits else digits) / (100 if percent else 1)
    elif isinstance(written, numbers.Real) and not isinstance(written, bool):
        with contextlib.suppress(OverflowError):
            share = float(written)
    if not 0 <= share <= 1:
        raise ConfigError(
            f"{flag} '{written}' is not allowed; write a share from 0 to 1 or from 0% to 100%, for example 0.2 or 20%"
        )
    return share


def read_tolerance(flag: str, written: object) -> str:
    """Return the tolerance as text; ``evalkit.analysis.gate.tolerance`` parses it with the names of the metrics."""
    return written if isinstance(written, str) else repr(_number(flag, written))


def _parts(written: object) -> list[object]:
    if isinstance(written, str):
        return [part.strip() for part in written.split(",") if part.strip()]
    return list(written) if isinstance(written, Iterable) else [written]


def _index(value: object) -> int:
    if isinstance(value, bool):
        raise TypeError("a truth value is not a number")
    return operator.index(value)  # type: ignore[arg-type]


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(text)
    return int(text)


def _truth(flag: str, written: object) -> bool:
    if not isinstance(written, bool):
        raise ConfigError(f"{flag} {written!r} is not allowed; write true or false")
    return written


def _whole(flag: str, written: object) -> int:
    try:
        return _index(written)
    except TypeError:
        raise ConfigError(f"{flag} {written!r} is not allowed; write a whole number") from None


def _number(flag: str, written: object) -> float:
    if isinstance(written, bool) or not isinstance(written, numbers.Real):
        raise ConfigError(f"{flag} {written!r} is not allowed; write a number")
    try:
        return float(written)
    except OverflowError:
        raise ConfigError(f"{flag} {written!r} is not allowed; it is too large") from None


def _text(flag: str, written: object) -> str:
    if not isinstance(written, str):
        raise ConfigError(f"{flag} {written!r} is not allowed; write text")
    return written


_PLAIN: Mapping[Any, Reader] = {bool: _truth, int: _whole, float: _number, str: _text}
