"""Keys that identify an image across runs: its content, class and region."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from evalkit.core.signature import digest
from evalkit.store.database import ImageRow

__all__ = ["image_keys"]


def image_keys(rows: Sequence[ImageRow]) -> dict[str, int]:
    """Return the index of every image that was read, by a key of 16 hexadecimal digits that is equal in all runs.

    Equal images are numbered in their order, so each has its own key.
    """
    seen: Counter[str] = Counter()
    index_of: dict[str, int] = {}
    for index, row in enumerate(rows):
        if row.sha256:
            content = f"{row.sha256}|{row.class_index}|{row.label}|{row.place}"
            index_of[digest(f"{content}|{seen[content]}", 16)] = index
            seen[content] += 1
    return index_of
