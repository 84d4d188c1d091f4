"""The partners of each image: images of other classes, for metrics that show several images together.

They are drawn by the seed and the image's id from the whole set, so that neither a limit nor the order of the images
changes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice

from evalkit.core.errors import ImageError
from evalkit.core.randomness import generator
from evalkit.core.signature import with_digest
from evalkit.datasets.entry import Entry
from evalkit.datasets.files import contents_of
from evalkit.datasets.image import UNLABELLED
from evalkit.datasets.image_set import ImageSet
from evalkit.metrics.spec import Metric
from evalkit.store.rows import ImageRow

__all__ = ["Draw", "Partners", "partners_of"]

Outputs = tuple[int, ...]

_NO_LABEL = "the image has no label, so no image is known to be of another class"
_UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Draw:
    """The partners of one image.

    Attributes:
        entries: the partners, each of another class.
        reason: why there are no more; empty if there are as many as any metric needs.
    """

    entries: tuple[Entry, ...] = ()
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Partners:
    """The partners of the images of a run.

    Attributes:
        of_image: the draw of each image, by its id.
        text: the number of labelled images that were drawn from and a digest of their ids and classes, for signatures.
        known: digests of photos by path, size and time of change.
    """

    of_image: Mapping[str, Draw]
    text: str
    known: dict[tuple[str, int, int], str] = field(default_factory=dict)

    def remember(self, rows: Iterable[ImageRow]) -> None:
        """Take the digests of photos that a run folder holds, so that these are not read for their digest."""
        self.known.update(
            ((row.photo_file, row.size_bytes, row.mtime_ns), row.sha256)
            for row in rows
            if row.photo_file and row.sha256
        )

    def digest(self, image_id: str, count: int) -> str:
        """Return the content and classes of the first partners of an image as a text for keys.

        Args:
            image_id: the image.
            count: the number of partners.
        """
        entries = self.of_image[image_id].entries[:count]
        return repr([(self._content(entry), _outputs(entry)) for entry in entries])

    def _content(self, entry: Entry) -> str:
        if entry.path is None:
            return entry.contents
        stamp = (entry.file, entry.size_bytes, entry.mtime_ns)
        if stamp not in self.known:
            try:
                self.known[stamp] = sha256(contents_of(entry.path)).hexdigest()
            except ImageError:
                return _UNREADABLE  # not remembered: it may be readable the next time
        return self.known[stamp]


def partners_of(images: ImageSet, wanted: Sequence[Entry], metrics: Sequence[Metric], seed: int) -> Partners | None:
    """Draw the partners of images; None if no metric needs any.

    Every partner is of another class, and its photo shows no labelled object of the image's class. Nothing is read.

    Args:
        images: the whole set, with its classes matched to outputs.
        wanted: the images that need partners.
        metrics: the metrics of the run.
        seed: Random seed.
    """
    count = max((metric.n_partners for metric in metrics), default=0)
    if not count:
        return None
    candidates = _Candidates(images.entries)
    return Partners({entry.id: candidates.draw(entry, count, seed) for entry in wanted}, candidates.text)


class _Candidates:
    """The labelled images of a set, by class."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        labelled = sorted((entry for entry in entries if _outputs(entry)), key=lambda entry: entry.id)
        self._of_class: dict[Outputs, list[Entry]] = {}
        self._photos: dict[Outputs, set[str]] = {}
        for entry in labelled:
            self._of_class.setdefault(_outputs(entry), []).append(entry)
            self._photos.setdefault(_outputs(entry), set()).add(_photo(entry))
        self._classes = sorted(self._of_class)
        listed = repr([(entry.id, _outputs(entry)) for entry in labelled])
        self.text = with_digest(str(len(labelled)), sha256(listed.encode()).hexdigest())

    def draw(self, image: Entry, count: int, seed: int) -> Draw:
        """Draw the partners of one image."""
        own = _outputs(image)
        if not own:
            return Draw(reason=_NO_LABEL)
        drawn = list(islice(self._in_turn(image, seed), count))
        too_few = f"too few classes: photos of {count} others are needed, the image set has {len(drawn)}"
        reason = "" if len(drawn) == count else too_few
        return Draw(tuple(drawn), reason)

    def _in_turn(self, image: Entry, seed: int) -> Iterator[Entry]:
        """Yield an image of each other class, the classes in random order."""
        own = _outputs(image)
        rng = generator(seed, "partners", image.id)
        # Photos with several labels may show the image's class beside another.
        shown = self._photos.get(own, set()) | {_photo(image)}
        for number in rng.permutation(len(self._classes)).tolist():
            outputs = self._classes[number]
            if set(outputs) & set(own):
                continue
            members = self._of_class[outputs]
            start = int(rng.integers(len(members)))
            in_turn = (members[(start + step) % len(members)] for step in range(len(members)))
            yield from islice((member for member in in_turn if _photo(member) not in shown), 1)


def _outputs(entry: Entry) -> Outputs:
    """Return the outputs of an entry's class; empty without a class."""
    if entry.outputs:
        return entry.outputs
    return () if entry.class_index in (None, UNLABELLED) else (int(entry.class_index or 0),)


def _photo(entry: Entry) -> str:
    return entry.file or entry.contents or entry.id
