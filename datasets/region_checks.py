"""What regions look like once they are read: masks that were thresholded, regions that cover nearly the whole photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.core.errors import ImageError
from evalkit.datasets.annotations import OUTSIDE
from evalkit.datasets.image import LabelledImage
from evalkit.datasets.image_set import ImageSet

__all__ = ["NEARLY_WHOLE", "RegionCounts", "regions_of_some"]

NEARLY_WHOLE = 0.95
"""Fraction of a photo from which on a region covers nearly all of it."""

_WHOLE_MASK = (
    " A mask must be zero outside the object; a label image (1 object, 2 background) cannot be used as a mask."
)
_LOOKED_AT = 32
_ON_BORDER = 0.95  # of the border's pixels
_INVERTED = 0.5  # of the photo, and of the masks
_OTHER_SIZE = 0.1  # of the images


@dataclass
class RegionCounts:
    """Counts over the regions read so far.

    Attributes:
        regions: number of regions.
        exact: number of these that are masks or outlines.
        whole: number of regions of every pixel that is not ignored, so that no map can miss them.
        whole_masks: number of these that are masks or outlines.
        nearly_whole: number of others that cover ``NEARLY_WHOLE`` of these pixels or more.
        maybe_inverted: number of other masks that hold the photo's border and cover most of it.
        soft: number of images with a mask that was thresholded at half.
        labels: number of images with a mask of several labels.
        outside: number of images that are not used because a box reaches outside the photo.
    """

    regions: int = 0
    exact: int = 0
    whole: int = 0
    whole_masks: int = 0
    nearly_whole: int = 0
    maybe_inverted: int = 0
    soft: int = 0
    labels: int = 0
    outside: int = 0

    def add_unusable(self, reason: str) -> None:
        """Count an image that cannot be used, by the reason."""
        self.outside += OUTSIDE in reason

    def add(self, image: LabelledImage) -> None:
        """Count the region of an image, if it has one."""
        if image.region is None:
            return
        self.regions += 1
        self.exact += image.exact
        self.soft += image.mask_kind == "soft"
        self.labels += image.mask_kind == "labels"
        covered = image.region if image.ignore is None else image.region | image.ignore
        judged = covered.size if image.ignore is None else covered.size - int(image.ignore.sum())
        share = float(image.region.sum()) / judged if judged else 1.0
        if covered.all():
            self.whole += 1
            self.whole_masks += image.exact
        elif share >= NEARLY_WHOLE:
            self.nearly_whole += 1
        elif image.exact and share > _INVERTED:
            border = np.concatenate([covered[0], covered[-1], covered[:, 0], covered[:, -1]])
            self.maybe_inverted += bool(border.mean() >= _ON_BORDER)

    def notes(self) -> list[str]:
        """Return a sentence about everything that localization scores should not be read without."""
        notes = []
        if self.outside > _OTHER_SIZE * (self.regions + self.outside):
            notes.append(
                f"In {self.outside} of {self.regions + self.outside} images a box reaches outside the photo. If the "
                "boxes were drawn on photos of another size, those that fit are in the wrong place too."
            )
        if self.soft:
            notes.append(
                f"In {self.soft} of {self.exact} images the mask has soft edges or a lossy format; it was thresholded "
                "at half of white, so its edge is approximate."
            )
        if self.labels:
            notes.append(
                f"In {self.labels} of {self.exact} images the mask holds several values; every value above zero "
                "belongs to the object."
            )
        if self.whole:
            notes.append(
                f"In {self.whole} images the region is the whole photo, so every map is right."
                + (_WHOLE_MASK if self.whole_masks else "")
            )
        if self.nearly_whole:
            notes.append(
                f"In {self.nearly_whole} of {self.regions} images the region covers {NEARLY_WHOLE:.0%} of the photo or "
                "more, so nearly every map is right."
            )
        if self.maybe_inverted > _INVERTED * self.exact:
            notes.append(
                f"In {self.maybe_inverted} of {self.exact} images the mask holds the photo's border and covers over "
                "half of it; if white is the background, invert the masks."
            )
        return notes


def regions_of_some(images: ImageSet, most: int = _LOOKED_AT) -> list[str]:
    """Return sentences about the regions of some images, evenly spread over the set, which are read.

    Args:
        images: any set.
        most: largest number of images that are read.
    """
    counts = RegionCounts()
    known = [entry for entry in images.entries if not entry.problem and (entry.path is None or entry.has_region)]
    chosen = known[:: -(-len(known) // most) or 1]
    for entry in chosen:
        try:
            counts.add(images.read(entry))
        except ImageError as error:
            counts.add_unusable(str(error))
    if len(chosen) == len(known):
        return counts.notes()
    return [f"Of {len(chosen)} images looked at: {note[0].lower()}{note[1:]}" for note in counts.notes()]
