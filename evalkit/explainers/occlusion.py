"""Occlusion sensitivity: how much the class's score drops when a patch hides part of the photo."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError
from evalkit.core.specs import Literals
from evalkit.explainers.base import Explainer, Family, Maps, Need, Outputs, Photos, SweepOptions
from evalkit.explainers.fills import Fill, filled, require_fill

if TYPE_CHECKING:
    from evalkit.models.classifier import Classifier

__all__ = ["Occlusion", "corners", "paint"]


def corners(side: int, patch_size: int, stride: int) -> NDArray[np.int64]:
    """Return the first pixel of each patch along one side: evenly spread from 0 to the last position inside.

    >>> corners(224, 40, 40).tolist()
    [0, 37, 74, 110, 147, 184]

    Args:
        side: the length of the side in pixels.
        patch_size: the patch size in pixels, at most ``side``.
        stride: the largest distance between neighbors, in pixels.
    """
    free = side - patch_size
    return np.rint(np.linspace(0, free, -(-free // stride) + 1)).astype(np.int64)


def paint(
    drops: NDArray[np.float64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    patch_size: int,
    size: tuple[int, int],
) -> NDArray[np.float64]:
    """Return a map of the drops: a pixel's value is the mean over the patches that cover it.

    Args:
        drops: the drops, float64 (len(rows) * len(columns),), rows outermost.
        rows: the first row of each patch.
        columns: the first column of each patch.
        patch_size: the patch size in pixels.
        size: (height, width) of the map.

    Returns:
        float64 (height, width); NaN at pixels without a patch (only if the stride exceeds the patch size).
    """
    total, cover = np.zeros(size), np.zeros(size)
    for drop, (row, column) in zip(drops, product(rows, columns), strict=True):
        window = np.s_[row : row + patch_size, column : column + patch_size]
        total[window] += drop
        cover[window] += 1
    return np.asarray(np.divide(total, cover, out=np.full(size, np.nan), where=cover > 0))


@dataclass(frozen=True)
class Occlusion(Explainer):
    """Occlusion sensitivity.

    The value is the drop of the class's softmax score, q(occluded) - q(clean) with q = 1 - p taken in log space and
    float64: the same number as p(clean) - p(occluded), without its cancellation.

    Attributes:
        patch_size: side of the square patch, pixels.
        stride: the largest step between neighboring patches: ``patch`` (as tf-explain), ``half``, or pixels, at most
            ``patch_size`` so that every pixel is covered. Patches are spread evenly and all lie inside.
        fill: the content of the patch: black, mean (ImageNet's mean color; of a model that does not take RGB, the mean
            of the set), gray (127.5), or blur (RISE's).

    Reference: Zeiler & Fergus, ECCV 2014, section 4.2; drops are drawn at the patches' positions, unlike in tf-explain.
    """

    name: ClassVar[str] = "occlusion"
    family: ClassVar[Family] = "masks"
    cost: ClassVar[str] = "1 F a patch"
    needs: ClassVar[frozenset[Need]] = frozenset({"scores"})
    swept_by: ClassVar[tuple[str, ...]] = ("patch_size", "stride")
    summary: ClassVar[str] = "drop of the score when a patch hides a part"
    reference: ClassVar[str] = "Zeiler & Fergus, ECCV 2014, section 4.2"
    always_shown: ClassVar[tuple[str, ...]] = ("patch_size",)
    patch_size: int = 40
    stride: int | Literal["patch", "half"] = "patch"
    fill: Fill = "black"

    def __post_init__(self) -> None:
        """Check the ranges, and store equal strides in the same form."""
        if self.patch_size < 1:
            raise ConfigError(f"occlusion: patch_size={self.patch_size} is not allowed; at least 1 pixel")
        if not isinstance(self.stride, str) and not 1 <= self.stride <= self.patch_size:
            raise ConfigError(
                f"occlusion: stride={self.stride} is not allowed; 1 to patch_size ({self.patch_size}) pixels, "
                "or some pixels would never be covered"
            )
        if self.stride_px == self.patch_size:
            object.__setattr__(self, "stride", "patch")
        else:
            object.__setattr__(self, "stride", self.stride_px)

    @property
    def stride_px(self) -> int:
        """The stride in pixels."""
        if isinstance(self.stride, int):
            return self.stride
        return self.patch_size if self.stride == "patch" else max(1, self.patch_size // 2)

    @property
    def substrate(self) -> str:
        """The fill: ``mean`` and ``blur`` are made as the substrates of metrics are."""
        return self.fill

    def _grid(self, size: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return tuple(corners(side, self.patch_size, self.stride_px) for side in size)  # type: ignore[return-value]

    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return the mean drop over each pixel, float64 (B, H, W) in -1..1."""
        return np.stack([self._map_of(classifier, image, index) for image, index in zip(images, targets, strict=True)])

    def _map_of(self, classifier: Classifier, image: NDArray[np.uint8], target: Outputs) -> NDArray[np.float64]:
        size, clean = image.shape[:2], image.astype(np.float32)
        rows, columns = self._grid(size)
        logits = classifier.occluded.logits(clean, filled(self.fill, clean, classifier), rows, columns, self.patch_size)
        complement = np.exp(classifier.head.log_complement(logits, target))
        # Row 0 is the clean photo.
        return paint(complement[1:] - complement[0], rows, columns, self.patch_size, size)

    @classmethod
    def variants(
        cls, parameters: Mapping[str, Literals], sweep: SweepOptions, say: Callable[[str], None]
    ) -> Iterator[dict[str, Literals]]:
        """Yield one ``occlusion`` for each patch size and stride, unless the spec names a patch size.

        Raises:
            ConfigError: no patch size, or strides that are larger than every patch size.
        """
        if "patch_size" in parameters:
            yield dict(parameters)
            return
        if not sweep.patch_sizes:
            raise ConfigError("--patch-sizes is empty; name at least one size in pixels, or occlusion(patch_size=N)")
        strides: Sequence[int | str | None] = [None] if "stride" in parameters else sweep.strides
        if all(isinstance(stride, int) and stride > max(sweep.patch_sizes) for stride in strides):
            raise ConfigError(
                f"--strides {', '.join(map(str, strides))}: larger than every patch size "
                f"({', '.join(map(str, sweep.patch_sizes))}); a stride is at most the patch size"
            )
        for size, stride in product(sweep.patch_sizes, strides):
            if isinstance(stride, int) and stride > size:
                say(f"left out: patch_size={size} with a stride of {stride}, which would leave pixels uncovered")
            elif stride is None:
                yield {**parameters, "patch_size": size}
            else:
                yield {**parameters, "patch_size": size, "stride": stride}

    @classmethod
    def sweep_options(cls, parameters: Mapping[str, Literals]) -> frozenset[str]:
        """Return those of ``--patch-sizes`` and ``--strides`` that the spec does not set."""
        if "patch_size" in parameters:
            return frozenset()
        return frozenset({"--patch-sizes"} if "stride" in parameters else {"--patch-sizes", "--strides"})

    def resolved_parameters(self) -> dict[str, Literals]:
        """Return the parameters with the stride in pixels."""
        return {**self.parameters(), "stride": self.stride_px}

    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the number of patches, plus one for the clean photo."""
        return self.positions(input_size) + 1

    def positions(self, input_size: tuple[int, int]) -> int:
        """Return the number of patches."""
        rows, columns = self._grid(input_size)
        return len(rows) * len(columns)

    def method_on(self, classifier: Classifier) -> str:
        """Return whether this model runs by windows or in full passes."""
        return classifier.occluded.method(*self._grid(classifier.input_size), self.patch_size)

    def check(self, classifier: Classifier) -> None:
        """Raise ConfigError if the patch does not fit the model's input, ModelError if the mean color is not known."""
        super().check(classifier)
        require_fill(self.fill, classifier)
        if self.patch_size > min(classifier.input_size):
            raise ConfigError(
                f"occlusion: patch_size={self.patch_size} is larger than the model's input, "
                f"{classifier.input_size[0]} x {classifier.input_size[1]}"
            )
