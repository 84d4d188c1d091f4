"""The channels of a whole image set: how it gets those of a model, and the mean of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import numpy as np

from evalkit.core.errors import DataError, ImageError
from evalkit.datasets.channels import GRAY, RGB, RGBA, in_channels
from evalkit.datasets.entry import Entry
from evalkit.datasets.image_set import ImageSet

__all__ = ["channels_note", "set_mean", "set_stamp"]

_DIGITS = 3
_CONVERSIONS = {
    (GRAY, RGB): "the model takes RGB, so gray images are repeated in three channels",
    (RGB, GRAY): "the model takes one channel, so photos in color become gray (luminance of ITU-R 601)",
    (RGBA, RGB): "the model takes RGB, so images with alpha are blended with white",
    (RGB, RGBA): "the model takes four channels, so images without alpha get an alpha of 255",
}


def channels_note(images: ImageSet, channels: int) -> str:
    """Return a sentence on how the images get the model's channels; empty if they have them.

    Args:
        images: the images; the first one that can be read is looked at, because all have the same channels.
        channels: the number of channels of the model's input.

    Raises:
        DataError: the images cannot be converted.
    """
    if channels == RGB and images.kind != "arrays":
        return ""  # photos from files are RGB
    for entry in images.entries:
        try:
            image = images.read(entry)
        except ImageError:
            continue
        given = image.pixels.shape[2]
        try:
            in_channels(image, channels)
        except ImageError as error:
            files = "" if images.kind == "arrays" else "; photos from files are read for 1, 3 or 4 channels"
            raise DataError(
                f"{images.name}: {error}{files}; give ImageSet.from_arrays images (height, width, {channels})"
            ) from error
        return "" if given == channels else f"{images.name}: {_CONVERSIONS[given, channels]}"
    return ""


def set_mean(images: ImageSet, channels: int) -> tuple[float, ...]:
    """Return the mean of each channel over all photos that can be read, at their own sizes.

    Every photo counts alike, whatever its size; entries of one photo count once. It is rounded to three digits, so that
    a signature can state it exactly.

    Args:
        images: the whole set, not limited.
        channels: the number of channels of the model's input, see ``in_channels``.

    Raises:
        DataError: no photo can be read.
    """
    total, count, reason = np.zeros(channels), 0, ""
    for entry in _photos(images):
        try:
            pixels = in_channels(images.read(entry), channels)
        except ImageError as error:
            reason = reason or f"{entry.id}: {error}"
            continue
        total += pixels.mean(axis=(0, 1), dtype=np.float64)
        count += 1
    if not count:
        raise DataError(f"{images.name}: none of its {len(images)} photos can be read ({reason})")
    return tuple(round(float(value), _DIGITS) for value in total / count)


def set_stamp(images: ImageSet, channels: int) -> str:
    """Return a digest of what is known of the photos without reading them: while it is the same, the mean is."""
    facts = [(entry.id, entry.file, entry.size_bytes, entry.mtime_ns, entry.contents) for entry in _photos(images)]
    return hashlib.sha256(json.dumps([images.kind, images.name, channels, facts]).encode()).hexdigest()


def _photos(images: ImageSet) -> Iterator[Entry]:
    """Yield one entry for each photo."""
    seen = set()
    for entry in images.entries:
        photo = entry.file or entry.contents or entry.id
        if photo not in seen:
            seen.add(photo)
            yield entry
