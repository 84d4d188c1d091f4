"""What there is to say of a labelled image set before anything is computed: every photo is read once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median

from evalkit.core.errors import ImageError
from evalkit.core.names import escaped
from evalkit.datasets.annotations import OUTSIDE
from evalkit.datasets.entry import Entry
from evalkit.datasets.files import EMPTY_MASK, SMALLER
from evalkit.datasets.image import LabelledImage
from evalkit.datasets.image_set import ImageSet

__all__ = [
    "BOX_OUTSIDE",
    "EMPTY",
    "UNREADABLE",
    "ClassFacts",
    "DataReport",
    "ModelReport",
    "Problem",
    "Spread",
    "Validation",
    "inspect",
]

BOX_OUTSIDE, EMPTY, UNREADABLE = "box outside the photo", "empty mask", "cannot be used"

Watch = Callable[[Iterable[Entry]], Iterable[Entry]]
Look = Callable[[Entry, LabelledImage], None]


@dataclass(frozen=True)
class Spread:
    """Smallest, median and largest of some numbers."""

    smallest: float
    median: float
    largest: float


@dataclass(frozen=True)
class Problem:
    """An image that would not be scored.

    Attributes:
        image: its id.
        kind: ``BOX_OUTSIDE``, ``EMPTY`` or ``UNREADABLE``.
        reason: as a run would store it.
    """

    image: str
    kind: str
    reason: str


@dataclass(frozen=True)
class ClassFacts:
    """One class of the set.

    Attributes:
        label: the class; the class index where there is no label, empty for unlabelled images.
        n_images: images of it, readable or not.
        n_regions: those read that say where the object is.
    """

    label: str
    n_images: int
    n_regions: int


@dataclass(frozen=True)
class DataReport:
    """What was found.

    Attributes:
        name: of the set.
        kind: which reader understood it.
        n_images: images; of annotations, pairs of photo and class.
        n_photos: different files.
        n_read: images that could be read.
        n_unlabelled: images without a class.
        n_regions: images read that say where the object is.
        n_exact: of these, those with the object's own pixels.
        n_ignoring: images read with ignored pixels.
        n_whole: images read whose every pixel, but ignored ones, is the object's: nothing in them can be missed.
        widths: of the photos read, pixels; None if none was.
        heights: of the photos read, pixels; None if none was.
        region_areas: share of the photo that the object takes, 0..1; None without regions.
        classes: every class, by label.
        duplicates: ids of images in different files of the same content, group by group.
        problems: images that would not be scored.
        notes: what the reader left out.
    """

    name: str
    kind: str
    n_images: int
    n_photos: int
    n_read: int
    n_unlabelled: int
    n_regions: int
    n_exact: int
    n_ignoring: int
    n_whole: int
    widths: Spread | None
    heights: Spread | None
    region_areas: Spread | None
    classes: tuple[ClassFacts, ...]
    duplicates: tuple[tuple[str, ...], ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    def count(self, kind: str) -> int:
        """Return how many problems of a kind there are."""
        return sum(problem.kind == kind for problem in self.problems)


@dataclass(frozen=True)
class ModelReport:
    """What a model makes of the set.

    Attributes:
        name: of the model.
        n_classes: its outputs.
        unknown_labels: classes of the set that stand for no output.
        n_asked: images that it was asked about: readable, labelled, and known to it.
        n_right: of these, those whose class is its first choice.
        notes: what was decided about the classes.
    """

    name: str
    n_classes: int
    unknown_labels: tuple[str, ...]
    n_asked: int
    n_right: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Validation:
    """What ``validate`` says.

    Attributes:
        data: what the set is.
        model: what the model makes of it; None without one.
        blocking: why a run could not start; empty if it could.
    """

    data: DataReport
    model: ModelReport | None
    blocking: tuple[str, ...]


@dataclass
class _Seen:
    """What adds up while images are read."""

    sizes: list[tuple[int, int]] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    exact: int = 0
    ignoring: int = 0
    whole: int = 0
    regions: Counter[str] = field(default_factory=Counter)
    contents: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def take(self, entry: Entry, image: LabelledImage) -> None:
        self.sizes.append((image.pixels.shape[0], image.pixels.shape[1]))
        self.ignoring += image.ignore is not None
        if image.region is not None:
            self.areas.append(float(image.region.mean()))
            self.exact += image.exact
            judged = image.region if image.ignore is None else image.region | image.ignore
            self.whole += bool(judged.all())
            self.regions[_class_of(entry)] += 1
        # One photo may stand in several entries, one a class: that is no duplicate.
        self.contents.setdefault(image.sha256, {}).setdefault(_file_of(entry), entry.id)


def inspect(images: ImageSet, watch: Watch = lambda entries: entries, look: Look = lambda *_: None) -> DataReport:
    """Read every image once and report what is there.

    Args:
        images: any set.
        watch: passes the entries on, e.g. to show progress.
        look: shown every image that could be read.
    """
    seen = _Seen()
    for entry in watch(images.entries):
        try:
            image = images.read(entry)
        except ImageError as error:
            seen.problems.append(Problem(entry.id, _kind(str(error)), escaped(str(error))))
            continue
        seen.take(entry, image)
        look(entry, image)
    counts = Counter(map(_class_of, images.entries))
    counts.update(dict.fromkeys(set(images.class_names or ()) - set(counts), 0))
    return DataReport(
        name=images.name,
        kind=images.kind,
        n_images=len(images),
        n_photos=len({_file_of(entry) for entry in images.entries}),
        n_read=len(seen.sizes),
        n_unlabelled=counts.get("", 0),
        n_regions=len(seen.areas),
        n_exact=seen.exact,
        n_ignoring=seen.ignoring,
        n_whole=seen.whole,
        widths=_spread([float(width) for _, width in seen.sizes]),
        heights=_spread([float(height) for height, _ in seen.sizes]),
        region_areas=_spread(seen.areas),
        classes=tuple(ClassFacts(label, counts[label], seen.regions[label]) for label in sorted(counts)),
        duplicates=tuple(tuple(files.values()) for files in seen.contents.values() if len(files) > 1),
        problems=tuple(seen.problems),
        notes=images.notes,
    )


def _class_of(entry: Entry) -> str:
    return entry.label or ("" if entry.class_index is None else str(entry.class_index))


def _file_of(entry: Entry) -> str:
    return entry.id if entry.path is None else str(entry.path)


def _kind(reason: str) -> str:
    if OUTSIDE in reason or SMALLER in reason:
        return BOX_OUTSIDE
    return EMPTY if EMPTY_MASK in reason else UNREADABLE


def _spread(numbers: list[float]) -> Spread | None:
    return Spread(min(numbers), median(numbers), max(numbers)) if numbers else None
