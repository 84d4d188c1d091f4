"""A labelled image set: its entries, and how to read one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalkit.core.errors import ConfigError, DataError, ImageError
from evalkit.core.names import escaped
from evalkit.core.randomness import generator
from evalkit.datasets.entry import Box, Entry
from evalkit.datasets.image import LabelledImage

__all__ = ["Box", "Entry", "ImageSet", "ImageSource"]


@dataclass(frozen=True)
class ImageSource:
    """How to read single images of a set.

    Attributes:
        reader: makes the image of an entry; raises ImageError where it cannot.
    """

    reader: Callable[[Entry], LabelledImage]

    def read(self, entry: Entry) -> LabelledImage:
        """Read one image at its own size.

        Raises:
            ImageError: it cannot be used; the message is the reason, fit to be stored beside the image's id.
        """
        if entry.problem:
            raise ImageError(entry.problem)
        image = self.reader(entry)
        return replace(image, outputs=entry.outputs) if entry.outputs else image


class ImageSet:
    """A sized iterable of labelled images, read one by one when asked for.

    Attributes:
        name: file or folder name.
        kind: which reader understood it, e.g. ``csv``, ``folder``, ``coco`` or ``arrays``.
        entries: one an image, or one an image and class, in the set's order.
        class_names: names in the order of the class indices; of a folder its sorted class folders, whatever the
            model calls them; None where the set has none.
        notes: what the reader left out and why, a sentence each.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        entries: Iterable[Entry],
        reader: Callable[[Entry], LabelledImage],
        class_names: Sequence[str] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """See the class.

        Args:
            name: file or folder name.
            kind: which reader understood it.
            entries: one an image.
            reader: makes the image of an entry; raises ImageError where it cannot.
            class_names: names of the classes, if the set has any.
            notes: what was left out.

        Raises:
            DataError: two entries share an id.
        """
        self.name = escaped(name)
        self.kind = kind
        self.entries = tuple(entries)
        self.class_names = None if class_names is None else tuple(class_names)
        self.notes = tuple(notes)
        self._reader = reader
        twice = [entry_id for entry_id, count in Counter(entry.id for entry in self.entries).items() if count > 1]
        if twice:
            places = [entry.where for entry in self.entries if entry.id == twice[0] and entry.where]
            said = f" ({' and '.join(places[:2])})" if places else ""
            raise DataError(f"{self.name}: the id '{twice[0]}' stands for several images{said}; make ids unique")

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
        return self.source.read(entry)

    @property
    def source(self) -> ImageSource:
        """How single images are read, without the set."""
        return ImageSource(self._reader)

    def with_entries(self, entries: Iterable[Entry]) -> ImageSet:
        """Return the same set with other entries, e.g. fewer of them or with class indices."""
        return ImageSet(self.name, self.kind, entries, self._reader, self.class_names, self.notes)

    def renamed(self, name: str, kind: str, notes: Sequence[str]) -> ImageSet:
        """Return the same images under another name, as another reader understood them."""
        return ImageSet(name, kind, self.entries, self._reader, self.class_names, notes)

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
        return self.draw(count, seed, lambda _: True)

    def draw(self, count: int | None, seed: int, wanted: Callable[[Entry], bool]) -> ImageSet:
        """Return the images that are wanted, or ``count`` of them, drawn as by ``limit``.

        Args:
            count: images; None = all.
            seed: the run's seed.
            wanted: asked of each image until there are enough: it may read the photo.

        Raises:
            ConfigError: ``count`` is below 1.
        """
        if count is None:
            return self.with_entries(filter(wanted, self.entries))
        if count < 1:
            raise ConfigError(f"--limit {count} is not allowed; it takes 1 or more images")
        kept = {entry.id for entry in islice(self._in_turn(seed, wanted), count)}
        return self.with_entries(entry for entry in self.entries if entry.id in kept)

    def _in_turn(self, seed: int, wanted: Callable[[Entry], bool]) -> Iterator[Entry]:
        """Yield every image that is wanted: each class shuffled, then the next of every class in turn."""
        classes: dict[str | int, list[str]] = {}
        for entry in self.entries:
            key = entry.label or (-1 if entry.class_index is None else entry.class_index)
            classes.setdefault(key, []).append(entry.id)
        by_id = {entry.id: entry for entry in self.entries}
        keys = sorted(classes, key=lambda key: (str(key), isinstance(key, str)))
        shuffled = [generator(seed, "limit", key).permutation(sorted(classes[key])).tolist() for key in keys]
        left = [filter(wanted, map(by_id.__getitem__, ids)) for ids in shuffled]
        queues = [left[place] for place in generator(seed, "limit").permutation(len(keys))]
        while queues:
            going = []
            for queue in queues:
                found = next(queue, None)
                if found is not None:
                    going.append(queue)
                    yield found
            queues = going

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
        ignores: NDArray[np.bool_] | Sequence[NDArray[np.bool_] | None] | None = None,
    ) -> ImageSet:
        """Make a set of images that are in memory already.

        The arrays are not copied; photos that are changed afterwards are refused.

        Args:
            pixels: uint8 (N, H, W, 3), or N arrays (H, W, 3) that may differ in size; RGB, 0..255.
            class_indices: (N,) whole numbers from 0; None if the images are unlabelled.
            regions: bool (N, H, W), or for each image the object's own pixels (H, W) or None.
            boxes: for each image float (K, 4) or (4,), x0, y0, x1, y1 in pixels, half-open, or None. An image has a
                region or boxes, not both.
            class_names: names in the order of the class indices.
            ids: unique names; by default the positions.
            name: of the set, as shown.
            ignores: bool (N, H, W), or for each image the pixels that are neither the object nor its surroundings
                (H, W) or None; localization metrics leave them out.

        Raises:
            DataError: shapes, dtypes or values that do not fit; the message names the image.
        """
        from evalkit.datasets.arrays import array_entries

        entries, reader = array_entries(pixels, class_indices, regions, boxes, class_names, ids, ignores)
        return cls(name, "arrays", entries, reader, class_names)
