"""JSON objects whose keys may stand only once; ``json`` itself keeps the last of equal keys and says nothing."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["once"]


def once(refuse: Callable[[str], Exception]) -> Callable[[list[tuple[str, object]]], dict[str, object]]:
    """Return an ``object_pairs_hook`` that raises the error made of a key that an object has twice.

    Args:
        refuse: the function from that key to the error.
    """

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        by_key = dict(pairs)
        if len(by_key) < len(pairs):
            keys = [key for key, _ in pairs]
            raise refuse(next(key for key in keys if keys.count(key) > 1))
        return by_key

    return unique
