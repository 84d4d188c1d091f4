"""The mean color that perturbations use in a run: ImageNet's for RGB, else that of the whole image set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evalkit.core import signature
from evalkit.core.settings import RunOptions
from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.set_channels import channels_note, set_mean, set_stamp
from evalkit.store.run_folder import RunFolder

__all__ = ["SetMean", "mean_of"]

_RGB = 3
_WRITTEN = 4  # channels whose means are written out


@dataclass(frozen=True)
class SetMean:
    """The mean of each channel over a whole image set.

    Attributes:
        color: the means, in 0..255.
        stamp: a digest of what is known of the set's photos without reading them.
    """

    color: tuple[float, ...]
    stamp: str

    @property
    def text(self) -> str:
        """The means for signatures; a digest if there are many."""
        written = ",".join(f"{value:g}" for value in self.color)
        return written if len(self.color) <= _WRITTEN else signature.with_digest(f"{len(self.color)} channels", written)


def mean_of(images: ImageSet, channels: int, options: RunOptions, say: Callable[[str], None]) -> SetMean | None:
    """Return the mean of the whole set for a model that does not take RGB; None for RGB, whose mean is ImageNet's.

    A run folder that is continued keeps the mean while no photo of the set has changed.

    Args:
        images: the set as it was opened, before any selection.
        channels: the number of channels of the model's input.
        options: the options; ``output`` and ``fresh`` are used.
        say: a function that prints one sentence on stderr.

    Raises:
        DataError: the images cannot be given the model's channels, or none can be read.
    """
    note = channels_note(images, channels)
    if note:
        say(note)
    if channels == _RGB:
        return None
    stamp = set_stamp(images, channels)
    earlier = None if options.output is None or options.fresh else RunFolder.manifest_at(Path(options.output))
    if earlier is not None and earlier.data.mean_stamp == stamp:
        return SetMean(earlier.data.mean_color, stamp)
    mean = SetMean(set_mean(images, channels), stamp)
    say(f"the substrate of perturbations is the mean of all {len(images)} images: {mean.text}")
    return mean
