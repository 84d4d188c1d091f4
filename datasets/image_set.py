"""A labelled image set: what is known of every image before it is read, and how to read one."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalkit.datasets.image import LabelledImage
from evalkit.errors import ConfigError, DataError, ImageError
from evalkit.randomness import generator

__all__ = ["Box", "Entry", "ImageSet"]

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Entry:
    """What is known of an image before it is read.

    Attributes:
        id: unique within the set.
        path: the photo's file; None for images in memory.
        class_index: the model's output; None where only the label is known, or nothing.
        label: the class in words; may be empty.
        boxes: x0, y0, x1, y1 in pixels of the upright photo, half-open.
        masks: files whose non-zero pixels are the object.
        size_bytes: of the photo's file; of the pixels for images in memory.
        mtime_ns: when the photo's file was last changed; 0 for images in memory.
        where: the place that names the image, e.g. ``"labels.csv line 7"``, for messages.
        problem: why the photo cannot be read, where that is known already; else empty.
        contents: sha256 of pixels and region of images in memory, which have no time of change; else empty.
    """

    id: str
    path: Path | None
    class_index: int | None
    label: str
    boxes: tuple[Box, ...] = ()
    masks: tuple[Path, ...] = ()
    size_bytes: int = 0
    mtime_ns: int = 0
    where: str = ""
    problem: str = ""
    contents: str = ""

    @property
    def truth_digest(self) -> str:
        """The sha256 of class index, label, boxes, each mask's path, size and time of change, and ``contents``.

        Mask files are looked at whenever this is asked, but not read.
        """
        masks = [_mask_stamp(mask) for mask in self.masks]
        facts = [self.class_index, self.label, [list(map(float, box)) for box in self.boxes], masks, self.contents]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _mask_stamp(mask: Path) -> tuple[str, int, int]:
    try:
        found = mask.stat()
    except OSError:
        return mask.as_posix(), -1, 0
    return mask.as_posix(), found.st_size, found.st_mtime_ns


class ImageSet:
    """A sized iterable of labelled images, read one by one when asked for.

    Attributes:
        name: file or folder name.
        kind: which reader understood it: ``csv``, ``folder`` or ``arrays``.
        entries: one an image, in the set's order.
        class_names: names in the order of the class indices; of a folder its sorted class folders, whatever the
            model calls them; None where the set has none.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        entries: Iterable[Entry],
        reader: Callable[[Entry], LabelledImage],
        class_names: Sequence[str] | None = None,
    ) -> None:
        """See the class.

        Args:
            name: file or folder name.
            kind: which reader understood it.
            entries: one an image.
            reader: makes the image of an entry; raises ImageError where it cannot.
            class_names: names of the classes, if the set has any.

        Raises:
            DataError: two entries share an id.
        """
        self.name = name
        self.kind = kind
        self.entries = tuple(entries)
        self.class_names = None if class_names is None else tuple(class_names)
        self._reader = reader
        twice = [entry_id for entry_id, count in Counter(entry.id for entry in self.entries).items() if count > 1]
        if twice:
            raise DataError(f"{name}: the id '{twice[0]}' stands for several images; make ids unique")

    def __len__(self) -> int:
        """Return the number of images, readable or not."""
        return len(self.entries)

    def __iter__(self) -> Iterator[LabelledImage]:
        """Yield every image in the set's order.

        Raises:
            ImageError: at the first image that cannot be read; the message names it.
        """
        for entry in self.entries:
            try:
                yield self.read(entry)
            except ImageError as error:
                raise ImageError(f"{entry.id}: {error}") from error

    def read(self, entry: Entry) -> LabelledImage:
        """Read one image at its own size.

        Raises:
            ImageError: it cannot be used; the message is the reason, fit to be stored beside the image's id.
        """
        if entry.problem:
            raise ImageError(entry.problem)
        return self._reader(entry)

    def with_entries(self, entries: Iterable[Entry]) -> ImageSet:
        """Return the same set with other entries, e.g. fewer of them or with class indices."""
        return ImageSet(self.name, self.kind, entries, self._reader, self.class_names)

    def limit(self, count: int, seed: int) -> ImageSet:
        """Return ``count`` images drawn evenly over the classes, in the set's order.

        The draw depends on the ids and labels alone, not on the order of the entries, and is nested: of two counts
        under one seed the larger draw contains the smaller. A class is a label or, where there is none, a class index.

        Args:
            count: images wanted, 1 or more; more than there are returns all.
            seed: the run's seed.

        Raises:
            ConfigError: ``count`` is below 1.
        """
        if count < 1:
            raise ConfigError(f"--limit {count} is not allowed; it takes 1 or more images")
        kept = set(self._drawing_order(seed)[:count])
        return self.with_entries(entry for entry in self.entries if entry.id in kept)

    def _drawing_order(self, seed: int) -> list[str]:
        """Return all ids: each class shuffled, then one of every class in turn."""
        ids: dict[str | int, list[str]] = {}
        for entry in self.entries:
            key = entry.label or (-1 if entry.class_index is None else entry.class_index)
            ids.setdefault(key, []).append(entry.id)
        keys = sorted(ids, key=lambda key: (str(key), isinstance(key, str)))
        shuffled = [generator(seed, "limit", key).permutation(sorted(ids[key])).tolist() for key in keys]
        order = generator(seed, "limit").permutation(len(keys))
        rounds = range(max(map(len, shuffled), default=0))
        return [shuffled[k][turn] for turn in rounds for k in order if turn < len(shuffled[k])]

    @classmethod
    def from_arrays(
        cls,
        pixels: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
        class_indices: Sequence[int] | NDArray[np.integer] | None,
        regions: NDArray[np.bool_] | Sequence[NDArray[np.bool_] | None] | None = None,
        boxes: Sequence[ArrayLike | None] | NDArray[np.floating] | None = None,
        class_names: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        name: str = "arrays",
    ) -> ImageSet:
        """Make a set of images that are in memory already. The arrays are not copied; do not change them afterwards.

        Args:
            pixels: uint8 (N, H, W, 3), or N arrays (H, W, 3) that may differ in size; RGB, 0..255.
            class_indices: (N,) whole numbers from 0; None if the images are unlabelled.
            regions: bool (N, H, W), or for each image the object's own pixels (H, W) or None.
            boxes: for each image float (K, 4) or (4,), x0, y0, x1, y1 in pixels, half-open, or None. An image has a
                region or boxes, not both.
            class_names: names in the order of the class indices.
            ids: unique names; by default the positions.
            name: of the set, as shown.

        Raises:
            DataError: shapes, dtypes or values that do not fit; the message names the image.
        """
        from evalkit.datasets.arrays import array_entries

        entries, reader = array_entries(pixels, class_indices, regions, boxes, class_names, ids)
        return cls(name, "arrays", entries, reader, class_names)
