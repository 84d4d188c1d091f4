"""What makes an image the same in two runs: its content, its class, and where the object is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from evalkit.core.signature import digest
from evalkit.store.database import ImageRow

__all__ = ["image_keys"]


def image_keys(rows: Sequence[ImageRow]) -> dict[str, int]:
    """Return the place of every image that was read, by 16 hexadecimal digits that other runs give it too.

    Of several that are alike the first is the first in every run.
    """
    seen: Counter[str] = Counter()
    found: dict[str, int] = {}
    for at, row in enumerate(rows):
        if row.sha256:
            same = f"{row.sha256}|{row.class_index}|{row.label}|{row.place}"
            found[digest(f"{same}|{seen[same]}", 16)] = at
            seen[same] += 1
    return found
