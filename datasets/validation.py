"""The check of a labelled image set before a run: every image is read once."""

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
from evalkit.datasets.region_checks import RegionCounts

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
        image: id of the image.
        kind: ``BOX_OUTSIDE``, ``EMPTY`` or ``UNREADABLE``.
        reason: reason as a run stores it.
    """

    image: str
    kind: str
    reason: str


@dataclass(frozen=True)
class ClassFacts:
    """One class of the set.

    Attributes:
        label: name of the class; its index if it has no name; empty for unlabelled images.
        n_images: number of its images, readable or not.
        n_regions: number of its readable images with a region.
    """

    label: str
    n_images: int
    n_regions: int


@dataclass(frozen=True)
class DataReport:
    """The facts about a set.

    Attributes:
        name: name of the set.
        kind: name of its format.
        n_images: number of images; in annotations, of pairs of photo and class.
        n_photos: number of different files.
        n_read: number of images that could be read.
        n_unlabelled: number of images without a class.
        n_regions: number of readable images with a region.
        n_exact: number of these whose region is an exact mask.
        n_ignoring: number of readable images with ignored pixels.
        n_whole: number of readable images whose region is every pixel that is not ignored, so that no map can miss it.
        n_nearly_whole: number of others whose region covers nearly all of these pixels.
        n_maybe_inverted: number of others whose mask holds the photo's border and covers most of it.
        n_soft: number of readable images with a mask that was thresholded at half.
        n_labels: number of readable images with a mask of several labels.
        widths: widths of the readable photos in pixels; None if there are none.
        heights: heights of the readable photos in pixels; None if there are none.
        region_areas: fraction of the photo that the region covers, 0..1; None without regions.
        classes: facts about every class, by label.
        duplicates: groups of ids of images in different files with the same content.
        problems: images that would not be scored.
        notes: sentences about what the reader left out, and about the regions.
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
    n_nearly_whole: int
    n_maybe_inverted: int
    n_soft: int
    n_labels: int
    widths: Spread | None
    heights: Spread | None
    region_areas: Spread | None
    classes: tuple[ClassFacts, ...]
    duplicates: tuple[tuple[str, ...], ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    def count(self, kind: str) -> int:
        """Return the number of problems of a kind."""
        return sum(problem.kind == kind for problem in self.problems)


@dataclass(frozen=True)
class ModelReport:
    """The model's outputs and accuracy on a set.

    Attributes:
        name: name of the model.
        n_classes: number of its outputs.
        unknown_labels: classes of the set without an output.
        n_asked: number of images that were classified: readable, labelled, and of a class that has an output.
        n_right: number of these whose class is the model's first choice.
        notes: sentences about how classes were matched with outputs, and about the preprocessing.
        facts: what was found or chosen of the model, in words.
        class_order: how classes were matched with outputs, in words; empty if they were not.
    """

    name: str
    n_classes: int
    unknown_labels: tuple[str, ...]
    n_asked: int
    n_right: int
    notes: tuple[str, ...]
    facts: str = ""
    class_order: str = ""


@dataclass(frozen=True)
class Validation:
    """The result of ``validate``.

    Attributes:
        data: facts about the set.
        model: the model's outputs and accuracy on it; None without a model.
        blocking: reasons why a run could not start; empty if it could.
    """

    data: DataReport
    model: ModelReport | None
    blocking: tuple[str, ...]


@dataclass
class _Seen:
    """The totals over the images read so far."""

    sizes: list[tuple[int, int]] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    ignoring: int = 0
    checks: RegionCounts = field(default_factory=RegionCounts)
    regions: Counter[str] = field(default_factory=Counter)
    contents: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def take(self, entry: Entry, image: LabelledImage) -> None:
        self.sizes.append((image.pixels.shape[0], image.pixels.shape[1]))
        self.ignoring += image.ignore is not None
        self.checks.add(image)
        if image.region is not None:
            self.areas.append(float(image.region.mean()))
            self.regions[_class_of(entry)] += 1
        # Several entries of one photo, one per class, are not duplicates.
        self.contents.setdefault(image.sha256, {}).setdefault(_file_of(entry), entry.id)


def inspect(images: ImageSet, watch: Watch = lambda entries: entries, look: Look = lambda *_: None) -> DataReport:
    """Read every image once and return the facts about the set.

    Args:
        images: any set.
        watch: function that passes the entries on, e.g. to show progress.
        look: function called with every image that could be read.
    """
    seen = _Seen()
    for entry in watch(images.entries):
        try:
            image = images.read(entry)
        except ImageError as error:
            seen.problems.append(Problem(entry.id, _kind(str(error)), escaped(str(error))))
            seen.checks.add_unusable(str(error))
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
        n_exact=seen.checks.exact,
        n_ignoring=seen.ignoring,
        n_whole=seen.checks.whole,
        n_nearly_whole=seen.checks.nearly_whole,
        n_maybe_inverted=seen.checks.maybe_inverted,
        n_soft=seen.checks.soft,
        n_labels=seen.checks.labels,
        widths=_spread([float(width) for _, width in seen.sizes]),
        heights=_spread([float(height) for height, _ in seen.sizes]),
        region_areas=_spread(seen.areas),
        classes=tuple(ClassFacts(label, counts[label], seen.regions[label]) for label in sorted(counts)),
        duplicates=tuple(tuple(files.values()) for files in seen.contents.values() if len(files) > 1),
        problems=tuple(seen.problems),
        notes=(*images.notes, *seen.checks.notes()),
    )


def _class_of(entry: Entry) -> str:
    return entry.label or ("" if entry.class_index is None else str(entry.class_index))


def _file_of(entry: Entry) -> str:
    # Images in memory have the same origin if they are one photo with several classes.
    return entry.where or entry.id if entry.path is None else str(entry.path)


def _kind(reason: str) -> str:
    if OUTSIDE in reason or SMALLER in reason:
        return BOX_OUTSIDE
    return EMPTY if EMPTY_MASK in reason else UNREADABLE


def _spread(numbers: list[float]) -> Spread | None:
    return Spread(min(numbers), median(numbers), max(numbers)) if numbers else None
