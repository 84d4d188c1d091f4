"""The objects of one class in one photo: boxes, outlines, or both."""

from __future__ import annotations

from dataclasses import dataclass, field

from evalkit.datasets.entry import Box
from evalkit.datasets.readers.coco_regions import Part

__all__ = ["ClassObjects"]


@dataclass
class ClassObjects:
    """The objects of one class in one photo.

    Attributes:
        parts: the region of each object.
        problem: the first reason why an object cannot be used; else empty.
    """

    parts: list[Part] = field(default_factory=list)
    problem: str = ""

    def add(self, part: Part | str, where: str) -> None:
        """Add an object's region, or the reason why it cannot be used.

        Args:
            part: the region, or the reason.
            where: origin of the object for messages.
        """
        if isinstance(part, Part):
            self.parts.append(part)
        else:
            self.problem = self.problem or f"{where}: {part}"

    @property
    def segments(self) -> tuple[str, ...]:
        """The outlines if every object has one; otherwise none, and boxes are used."""
        outlined = all(part.segment for part in self.parts)
        return tuple(part.segment for part in self.parts) if outlined else ()

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes, also of outlined objects, if an object has no outline."""
        return () if self.segments else tuple(part.box for part in self.parts if part.box)
