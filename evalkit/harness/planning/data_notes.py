"""Sentences about the images of a finished run that only reading all of them could tell."""

from __future__ import annotations

from collections.abc import Iterable

from evalkit.datasets.region_checks import NEARLY_WHOLE
from evalkit.store.rows import ImageRow

__all__ = ["notes_after"]

_NEARLY_ALL = 0.9  # of the images with a region


def notes_after(rows: Iterable[ImageRow]) -> list[str]:
    """Return sentences about boxes that nearly fill the image, and about files with the same content."""
    read = [row for row in rows if row.sha256]
    notes = []
    shares = [row.object_share for row in read if row.object_share is not None]
    filling = sum(share >= NEARLY_WHOLE for share in shares)
    if filling and filling >= _NEARLY_ALL * len(shares):
        notes.append(
            f"in {filling} of {len(shares)} images the object's largest box covers {NEARLY_WHOLE:.0%} of the image or "
            "more: localization by boxes hardly tells maps apart; are masks inverted, or regions missing?"
        )
    same: dict[str, dict[str, str]] = {}
    for row in read:
        same.setdefault(row.sha256, {}).setdefault(row.photo_file or row.image_id, row.image_id)
    groups = [files for files in same.values() if len(files) > 1]
    if groups:
        first = ", ".join(list(groups[0].values())[:3])
        notes.append(
            f"{len(groups)} groups of files have the same content (the first: {first}); each counts as an image"
        )
    return notes
