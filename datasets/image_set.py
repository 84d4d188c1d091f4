"""A labelled image set: its entries, and the source that reads one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalkit.core.errors import ConfigError, DataError, ImageError
from evalkit.core.names import escaped
from evalkit.core.randomness import generator
from evalkit.datasets.entry import Box, Entry
from evalkit.datasets.image import LabelledImage

__all__ = ["Box", "Entry", "ImageSet", "ImageSource", "Labels"]


@dataclass(frozen=True)
class Labels:
    """How the labels of a set relate to a model's outputs.

    Attributes:
        noun: what messages call them, e.g. ``labels`` or ``folders``.
        ordered: whether the class names in sorted order may be the model's outputs, if the model has none of them.
        partial: whether labels without an output are left out, if others have one; otherwise they are refused.
        columns: number of columns of the matrix that gave the class indices, one for each output; None without one.
        binary: whether the labels 0 and 1 say that something is absent or there, so that they are class indices of
            a model with two outputs only.
    """

    noun: str = "labels"
    ordered: bool = False
    partial: bool = False
    columns: int | None = None
    binary: bool = False


_ANY_LABELS = Labels()


@dataclass(frozen=True)
class ImageSource:
    """Reads the image of an entry. It needs no image set, so a worker process gets it with single entries.

    Attributes:
        reader: function of an entry that returns its image; raises ImageError if it cannot. Can be pickled.
    """

    reader: Callable[[Entry], LabelledImage]

    def read(self, entry: Entry) -> LabelledImage:
        """Read one image at its own size.

        Raises:
            ImageError: the image cannot be used; the message is the reason that is stored with the image's id.
        """
        if entry.problem:
            raise ImageError(entry.problem)
        image = self.reader(entry)
        return replace(image, outputs=entry.outputs) if entry.outputs else image


class ImageSet:
    """A sized iterable of labelled images, each read when it is needed. It can be pickled if its reader can.

    Attributes:
        name: file or folder name.
        kind: name of the format it was read from, e.g. ``csv``, or ``arrays``.
        entries: one per image, or one per photo and class, in the set's order.
        reader: function that makes the image of an entry.
        class_names: names in the order of the class indices; for folders the sorted names of the class folders,
            whatever the model calls them; None if the set has none.
        notes: sentences that say what the reader left out or decided, and why.
        labels: how the labels relate to a model's outputs.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        entries: Iterable[Entry],
        reader: Callable[[Entry], LabelledImage],
        class_names: Sequence[str] | None = None,
        notes: Sequence[str] = (),
        labels: Labels = _ANY_LABELS,
    ) -> None:
        """Create a set.

        Args:
            name: file or folder name.
            kind: name of the format.
            entries: one per image.
            reader: function that makes the image of an entry; raises ImageError if it cannot. A run in several
                processes pickles it, so it is a function of a module or an object with ``__call__``.
            class_names: names of the classes, if the set has any.
            notes: sentences about what was left out.
            labels: how the labels relate to a model's outputs.

        Raises:
            DataError: two entries share an id.
        """
        self.name = escaped(name)
        self.kind = kind
        self.entries = tuple(entries)
        self.class_names = None if class_names is None else tuple(class_names)
        self.notes = tuple(notes)
        self.reader = reader
        self.labels = labels
        twice = [entry_id for entry_id, count in Counter(entry.id for entry in self.entries).items() if count > 1]
        if twice:
            origins = [entry.where for entry in self.entries if entry.id == twice[0] and entry.where]
            named = f" ({' and '.join(origins[:2])})" if origins else ""
            raise DataError(f"{self.name}: several images have the id '{twice[0]}'{named}; make ids unique")

    def __len__(self) -> int:
        """Return the number of images, readable or not."""
        return len(self.entries)

    def __iter__(self) -> Iterator[LabelledImage]:
        """Yield every image in the set's order.

        Raises:
            ImageError: an image cannot be read; the message names it.
        """
        for entry in self.entries:
            try:
                yield self.read(entry)
            except ImageError as error:
                raise ImageError(f"{entry.id}: {error}") from error

    @property
    def source(self) -> ImageSource:
        """The source that reads this set's entries; it holds no entry."""
        return ImageSource(self.reader)

    def read(self, entry: Entry) -> LabelledImage:
        """Read one image at its own size.

        Raises:
            ImageError: the image cannot be used; the message is the reason that is stored with the image's id.
        """
        return self.source.read(entry)

    def with_entries(self, entries: Iterable[Entry]) -> ImageSet:
        """Return the same set with other entries, e.g. fewer of them or with class indices."""
        return ImageSet(self.name, self.kind, entries, self.reader, self.class_names, self.notes, self.labels)

    def with_notes(self, notes: Iterable[str]) -> ImageSet:
        """Return the same set with more notes."""
        every = (*self.notes, *notes)
        return ImageSet(self.name, self.kind, self.entries, self.reader, self.class_names, every, self.labels)

    def renamed(self, name: str, kind: str, notes: Sequence[str]) -> ImageSet:
        """Return the same images under the name and notes of another format."""
        return ImageSet(name, kind, self.entries, self.reader, self.class_names, notes, self.labels)

    def limit(self, count: int, seed: int) -> ImageSet:
        """Return ``count`` images drawn evenly over the classes, in the set's order.

        The draw depends on the ids and labels alone, not on the order of the entries, and is nested: with one seed, a
        larger draw contains every smaller one. The class of an unlabelled entry is its class index. Entries that are
        known to be unusable, e.g. because their photo is missing, are drawn after all others.

        Args:
            count: number of images, 1 or more; if the set has fewer, all are returned.
            seed: random seed.

        Raises:
            ConfigError: ``count`` is below 1.
        """
        return self.draw(count, seed, lambda _: True)

    def draw(self, count: int | None, seed: int, wanted: Callable[[Entry], bool]) -> ImageSet:
        """Return the images that satisfy a condition, or ``count`` of them, drawn as by ``limit``.

        Args:
            count: number of images; None returns all.
            seed: random seed.
            wanted: the condition; called for one entry after another until there are enough. It may read the photo.

        Raises:
            ConfigError: ``count`` is below 1.
        """
        if count is None:
            return self.with_entries(filter(wanted, self.entries))
        if count < 1:
            raise ConfigError(f"--limit {count} is not allowed; it takes 1 or more images")
        usable = [entry for entry in self.entries if not entry.problem]
        others = [entry for entry in self.entries if entry.problem]
        in_turn = chain(self._in_turn(usable, seed, wanted), self._in_turn(others, seed, wanted))
        kept = {entry.id for entry in islice(in_turn, count)}
        return self.with_entries(entry for entry in self.entries if entry.id in kept)

    @staticmethod
    def _in_turn(entries: Sequence[Entry], seed: int, wanted: Callable[[Entry], bool]) -> Iterator[Entry]:
        """Yield every entry that is wanted: each class is shuffled, then the classes take turns."""
        classes: dict[str | int, list[str]] = {}
        for entry in entries:
            key = entry.label or (-1 if entry.class_index is None else entry.class_index)
            classes.setdefault(key, []).append(entry.id)
        by_id = {entry.id: entry for entry in entries}
        keys = sorted(classes, key=lambda key: (str(key), isinstance(key, str)))
        shuffled = [generator(seed, "limit", key).permutation(sorted(classes[key])).tolist() for key in keys]
        by_class = [filter(wanted, map(by_id.__getitem__, ids)) for ids in shuffled]
        queues = [by_class[position] for position in generator(seed, "limit").permutation(len(keys))]
        while queues:
            remaining = []
            for queue in queues:
                following = next(queue, None)
                if following is not None:
                    remaining.append(queue)
                    yield following
            queues = remaining

    @classmethod
    def from_arrays(
        cls,
        pixels: NDArray[np.generic] | Sequence[ArrayLike],
        class_indices: ArrayLike | None,
        regions: NDArray[np.bool_] | Sequence[NDArray[np.bool_] | None] | None = None,
        boxes: Sequence[ArrayLike | None] | NDArray[np.floating] | None = None,
        class_names: Sequence[str] | Mapping[Any, Any] | None = None,
        ids: Sequence[str] | None = None,
        name: str = "arrays",
        ignores: NDArray[np.bool_] | Sequence[NDArray[np.bool_] | None] | None = None,
    ) -> ImageSet:
        """Create a set of images in memory.

        uint8 and float32 arrays are not copied. An image whose arrays are changed afterwards cannot be read.

        Args:
            pixels: (N, H, W, C), or N arrays (H, W, C) that may differ in size, or (H, W) for gray; uint8 or float32 in
                0..255, not preprocessed (other whole numbers in this range become uint8, other floats float32).
            class_indices: (N,) or (N, 1) whole numbers from 0; one-hot (N, C); or an indicator matrix (N, C) with a 1
                for each class present: one entry for each image and class, its id ``<id>#<class>``, all with the
                image's region. None if the images are unlabelled.
            regions: bool (N, H, W), or for each image an exact mask of the object (H, W) or None.
            boxes: for each image float (K, 4) or (4,), x0, y0, x1, y1 in pixels, half-open, or None; if all
                coordinates of the set lie in 0..1, fractions of width and height. An image has a region or boxes, not
                both.
            class_names: names in the order of the class indices; or a dictionary of names and indices.
            ids: unique names of the images; by default their positions.
            name: name of the set in tables and messages.
            ignores: bool (N, H, W), or for each image the pixels that are neither object nor background (H, W), or
                None; localization metrics leave them out.

        Raises:
            DataError: a wrong shape, dtype or value; the message names the image.
        """
        from evalkit.datasets.arrays import array_entries
        from evalkit.datasets.class_names import read_classes

        names = read_classes(class_names)[0] if isinstance(class_names, str | Mapping) else class_names
        entries, reader, given, notes = array_entries(pixels, class_indices, regions, boxes, names, ids, ignores, name)
        labels = Labels(columns=given.columns)
        return cls(name, "arrays", entries, reader, names, [*given.notes(name), *notes], labels)

    @classmethod
    def from_dataset(  # noqa: PLR0913 - one for each part of an element
        cls,
        dataset: Any,  # noqa: ANN401 - a tf.data.Dataset, which is not imported to say so
        *,
        image: str | int | None = None,
        label: str | int | None = None,
        boxes: str | int | None = None,
        regions: str | int | None = None,
        box_format: str = "yxyx",
        value_range: tuple[float, float] | None = None,
        class_names: Sequence[str] | Mapping[Any, Any] | None = None,
        limit: int | None = None,
        name: str = "dataset",
    ) -> ImageSet:
        """Create a set of a ``tf.data.Dataset``, batched or not, e.g. of ``keras.utils.image_dataset_from_directory``.

        It is read twice, and must give the same images in the same order; the images are then held in memory, as uint8
        where all pixels are whole numbers in 0..255.

        Args:
            dataset: the dataset. Its elements are images, (image, label) or dictionaries.
            image: the part of an element that is the image, (H, W, C); by position, or by key such as ``image``.
                [default: the first, or ``image``]
            label: the part that is the class: an index, a name, 0 or 1, or one-hot. [default: the second, or
                ``label``]
            boxes: the part with the boxes of the object, (K, 4), e.g. ``objects/bbox``: pixels, or fractions if all
                coordinates of the set lie in 0..1.
            regions: the part with the mask of the object, (H, W), zero outside.
            box_format: the order of a box: ``yxyx`` as in TensorFlow Datasets, ``xyxy``, ``xywh`` or ``cxcywh``.
            value_range: the values of black and white, e.g. ``(0, 1)``; needed where pixels are floats in 0..1.
            class_names: names in the order of the class indices; by default ``dataset.class_names``, if there are any.
            limit: largest number of images, drawn evenly over the classes, the only ones held in memory.
            name: name of the set in tables and messages.

        Raises:
            DataError: the dataset is shuffled, has no end or does not fit in memory; its range of values is not known;
                an element is not what it should be.
            ConfigError: an argument that is not allowed.
        """
        from evalkit.datasets.labels import class_indices_of, positions_of
        from evalkit.datasets.parts import require_box_format
        from evalkit.datasets.tf_data import tf_data_of
        from evalkit.datasets.value_range import checked_range

        named = {"image": image, "label": label, "boxes": boxes, "regions": regions}
        data, notes = tf_data_of(dataset, named, name)
        read = data.read(
            checked_range(value_range),
            require_box_format(box_format),
            lambda entries: cls(name, "arrays", entries, _unread).draw(limit, 0, lambda _: True).entries,
        )
        given = getattr(dataset, "class_names", None) if class_names is None else class_names
        indices, texts = (None, None) if read.labels is None else class_indices_of(read.labels, name)
        if texts and indices is not None and class_names is not None:
            indices, texts = positions_of(texts, indices, class_names, name), None
        made = cls.from_arrays(
            read.pixels, indices, read.regions, read.boxes, texts or given or None, read.ids, name
        ).with_notes([*notes, *read.notes])
        # The model's own names decide which output a class is that is given by name.
        return made.with_entries(replace(entry, class_index=None) for entry in made.entries) if texts else made

    @classmethod
    def from_huggingface(
        cls,
        dataset: Any,  # noqa: ANN401 - a datasets.Dataset, which is not imported to say so
        *,
        image: str | None = None,
        label: str | None = None,
        boxes: str | None = None,
        box_format: str = "xywh",
        limit: int | None = None,
        name: str = "dataset",
    ) -> ImageSet:
        """Create a set of a ``datasets.Dataset`` of Hugging Face; each image is decoded when it is needed.

        Args:
            dataset: one split, not a dictionary of splits and not streamed.
            image: the column of the images. [default: the only one with images]
            label: the column of the classes: ``ClassLabel``, whole numbers or names. [default: the only ``ClassLabel``,
                or ``label``; without any the images are unlabelled]
            boxes: the column with the boxes of each object, or a part of one such as ``objects/bbox``: pixels, or
                fractions if all coordinates of the set lie in 0..1.
            box_format: the order of a box: ``xywh`` as in COCO, ``xyxy``, ``yxyx`` or ``cxcywh``.
            limit: largest number of images, drawn evenly over the classes.
            name: name of the set in tables and messages.

        Raises:
            DataError: a dictionary of splits, a streamed dataset, a column that does not exist or has another type.
            ConfigError: an argument that is not allowed.
        """
        from evalkit.datasets.huggingface import huggingface_set
        from evalkit.datasets.parts import require_box_format

        rows = huggingface_set(dataset, image, label, boxes, require_box_format(box_format), name)
        made = cls(name, "huggingface", rows.entries, rows.reader, rows.class_names, rows.notes)
        return made if limit is None else made.limit(limit, 0)


def _unread(entry: Entry) -> LabelledImage:
    raise ImageError(f"image '{entry.id}' is not read yet")
