"""Tolerances of the gate: the largest accepted worsening of a metric's mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evalkit.core.errors import ConfigError, nearest
from evalkit.core.registry import parse_spec, split_specs
from evalkit.core.settings import DEFAULT_TOLERANCE

__all__ = ["Tolerance", "parse_alpha", "parse_tolerance"]

_EXAMPLES = "write 0.02, 5% or deletion=0.02,insertion=0.05"


class Tolerance(NamedTuple):
    """Largest accepted worsening of a mean: absolute, or a share of the baseline's mean."""

    amount: float
    relative: bool

    def of(self, mean: float) -> float:
        """Return the tolerance in the metric's own unit."""
        return self.amount * abs(mean) if self.relative else self.amount


def parse_tolerance(text: str, metrics: Sequence[str]) -> dict[str, Tolerance]:
    """Read ``--tolerance``: one number, or ``metric=number`` parts, absolute or in percent of the baseline's mean.

    A metric's name stands for all its variants, but for those that another part names with their parameters.

    >>> parse_tolerance("0.02,deletion=5%", ["deletion", "insertion"])["deletion"]
    Tolerance(amount=0.05, relative=True)

    Args:
        text: e.g. ``0.02``, ``5%`` or ``deletion=0.02,pointing_game=0.05``.
        metrics: texts of the gated metrics.

    Raises:
        ConfigError: not a number of at least 0, or another metric.
    """
    default = Tolerance(float(DEFAULT_TOLERANCE), relative=False)
    by_name: dict[str, Tolerance] = {}
    by_text: dict[str, Tolerance] = {}
    parts = split_specs(text)
    if not parts:
        raise ConfigError(f"--tolerance '{text}' is empty; {_EXAMPLES}")
    for index, part in enumerate(parts):
        name, equals, number = part.rpartition("=")
        value = _amount(number.strip(), part)
        if not equals:
            if index:  # 0,02 would be two numbers
                raise ConfigError(f"--tolerance '{text}': '{part}' is a second number for all metrics; {_EXAMPLES}")
            default = value
            continue
        written = name.replace(" ", "")
        named = [metric for metric in metrics if written in (metric.replace(" ", ""), parse_spec(metric).name)]
        if not named:
            raise ConfigError(f"--tolerance '{part}': the baseline has no such metric: {nearest(name, metrics)}")
        given = by_text if "(" in written else by_name
        twice = given.keys() & set(named)
        if twice:
            raise ConfigError(f"--tolerance '{text}' names {min(twice)} twice; remove one")
        given.update(dict.fromkeys(named, value))
    return {metric: by_text.get(metric, by_name.get(metric, default)) for metric in metrics}


def _amount(text: str, part: str) -> Tolerance:
    relative = text.endswith("%")
    digits = text.removesuffix("%")
    try:
        amount = float("nan" if "_" in digits else digits) / (100 if relative else 1)
    except ValueError:
        amount = float("nan")
    if not 0 <= amount < float("inf"):
        raise ConfigError(f"--tolerance '{part}' is not allowed; {_EXAMPLES}")
    return Tolerance(amount, relative)


def parse_alpha(alpha: float) -> float:
    """Return ``--alpha``.

    Raises:
        ConfigError: not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ConfigError(f"--alpha {alpha:g} is not allowed; it must lie between 0 and 1, for example 0.05")
    return alpha
