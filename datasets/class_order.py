"""The orders in which a set's classes may be the outputs of a model, where names do not say it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

__all__ = [
    "ORDERS",
    "ClassOrder",
    "described",
    "index_orders",
    "orders_of",
    "seem_to_start_at_1",
    "whole_number",
    "why_not",
]

ClassOrder = Literal["sorted", "numeric", "index", "index-from-1"]
ORDERS: tuple[ClassOrder, ...] = ("sorted", "numeric", "index", "index-from-1")

_WORDS: Mapping[ClassOrder, str] = {
    "sorted": "classes sorted as text, as Keras does",
    "numeric": "classes in the order of the numbers in their names",
    "index": "the label as the output's index",
    "index-from-1": "the label as the output's index, counted from 1",
}
_WHOLE_NUMBER = re.compile(r"([0-9]{1,9})(?:\.0*)?")
_NUMBER = re.compile(r"([0-9]+)")


def described(order: ClassOrder) -> str:
    """Return an order in words."""
    return _WORDS[order]


def whole_number(label: str) -> int | None:
    """Return the whole number that a label is, also written as ``3.0``; None if it is none."""
    number = _WHOLE_NUMBER.fullmatch(label) if label.isascii() else None
    return int(number[1]) if number else None


def orders_of(classes: Sequence[str], n_outputs: int) -> dict[ClassOrder, dict[str, int]]:
    """Return the outputs of classes in every order that is possible.

    ``sorted`` and ``numeric`` need as many classes as outputs; ``numeric`` also a number in each name; the others need
    labels that are whole numbers below the number of outputs, or at most that number. A part of such numbers can be
    ``sorted`` too: among all of 0 to n - 1, or of 1 to n if one is n.

    Args:
        classes: names of all classes, sorted as text.
        n_outputs: number of the model's outputs.
    """
    possible: dict[ClassOrder, dict[str, int]] = {}
    names = list(dict.fromkeys(classes))
    if len(names) == n_outputs:
        possible["sorted"] = {name: index for index, name in enumerate(names)}
        if all(map(_NUMBER.search, names)):
            possible["numeric"] = {name: index for index, name in enumerate(sorted(names, key=_with_numbers))}
    numbers = {name: number for name in names if (number := whole_number(name)) is not None}
    if names and len(numbers) == len(names):
        if max(numbers.values()) < n_outputs:
            possible["index"] = numbers
        if min(numbers.values()) >= 1 and max(numbers.values()) <= n_outputs:
            possible["index-from-1"] = {name: number - 1 for name, number in numbers.items()}
        first = 0 if "index" in possible else 1
        ranks = {name: rank for rank, name in enumerate(sorted(str(number + first) for number in range(n_outputs)))}
        if "sorted" not in possible and ranks.keys() >= set(names):
            possible["sorted"] = {name: ranks[name] for name in names}
    return possible


def why_not(order: ClassOrder, classes: Sequence[str], n_outputs: int) -> str:
    """Return why classes cannot have an order, and what to do; empty if they can."""
    if order in orders_of(classes, n_outputs):
        return ""
    ways = "give --class-names FILE or --class-map FILE"
    if order in ("sorted", "numeric"):
        if len(set(classes)) != n_outputs:
            return f"there are {len(set(classes))} classes, but the model has {n_outputs} outputs; {ways}"
        return f"'{next(name for name in classes if not _NUMBER.search(name))}' has no number in it; {ways}"
    first = 0 if order == "index" else 1
    numbers = {name: whole_number(name) for name in classes}
    wrong = next(name for name, number in numbers.items() if number is None or not first <= number < n_outputs + first)
    return f"'{wrong}' is no whole number from {first} to {n_outputs - 1 + first}; {ways}"


def index_orders(given: Iterable[int], taken: ClassOrder, n_outputs: int) -> dict[ClassOrder, dict[int, int]]:
    """Return the other order that class indices may have: counted from 1, or from 0 if that was not taken.

    Args:
        given: the class indices as given.
        taken: ``index`` or ``index-from-1``.
        n_outputs: number of the model's outputs.

    Returns:
        For the other order, if it is possible, its output by the output of the order taken.
    """
    listed = set(given)
    if taken == "index" and listed and min(listed) >= 1:
        return {"index-from-1": {index: index - 1 for index in listed}}
    if taken == "index-from-1" and listed and max(listed) < n_outputs:
        return {"index": {index - 1: index for index in listed}}
    return {}


def seem_to_start_at_1(numbers: Iterable[int], n_outputs: int) -> bool:
    """Return whether numbers are indices of outputs only if these are counted from 1."""
    listed = list(numbers)
    return bool(listed) and min(listed) >= 1 and max(listed) == n_outputs


def _with_numbers(name: str) -> tuple[list[tuple[str, int]], str]:
    """Return a key by which ``class 2`` comes before ``class 10``."""
    parts = _NUMBER.split(name)
    return [(text, int(number)) for text, number in zip(parts[::2], [*parts[1::2], "-1"], strict=True)], name
