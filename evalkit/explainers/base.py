"""What an explainer is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.core.registry import Component
from evalkit.models.probabilities import Outputs

if TYPE_CHECKING:
    from evalkit.datasets.image import LabelledImage
    from evalkit.models.classifier import Classifier

__all__ = ["Explainer", "Maps", "Outputs", "Photos", "enlarge"]

Maps = NDArray[np.float64]
Photos = NDArray[np.uint8]


@dataclass(frozen=True)
class Explainer(Component, ABC):
    """Makes saliency maps: raw values, higher = more important, never a picture. Its fields are its parameters.

    Attributes:
        control: it knows nothing of the model; it is in the leaderboard as a floor.
        method: how its passes are made, unless ``method_on`` says otherwise.
        summary: one line for ``list explainers``.
        reference: where the definition comes from.
    """

    control: ClassVar[bool] = False
    method: ClassVar[str] = "full pass"
    summary: ClassVar[str]
    reference: ClassVar[str]

    @abstractmethod
    def explain(self, classifier: Classifier, images: Photos, class_indices: Sequence[Outputs]) -> Maps:
        """Return one map an image.

        Args:
            classifier: the model under explanation.
            images: uint8 (B, H, W, 3) RGB at the classifier's input size.
            class_indices: (B,), the output of the model to explain in each image, or the outputs that stand for one
                class together.

        Returns:
            float (B, H, W), higher = more important.
        """

    def explain_photo(self, classifier: Classifier, image: LabelledImage, target: Outputs) -> Maps:
        """Return the map of one photo of a set, float (1, H, W): for those that know a photo by its name.

        Args:
            classifier: the model under explanation.
            image: fitted to the classifier's input.
            target: the class to explain, or the several that stand for it.
        """
        return self.explain(classifier, image.pixels[None], [target])

    @property
    def contents(self) -> str:
        """What beside the signature a stored map depends on; nothing, unless maps come from files."""
        return ""

    @abstractmethod
    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return how many images go through the model for one map."""

    def positions(self, input_size: tuple[int, int]) -> int | None:  # noqa: ARG002 - most have none
        """Return how many patches are placed on one image; None if the method has no patches."""
        return None

    def method_on(self, classifier: Classifier) -> str:  # noqa: ARG002 - most have one way
        """Say how the passes are made on this model, for the cost table."""
        return self.method

    def check(self, classifier: Classifier) -> None:
        """Raise where this model cannot be explained in this way.

        Raises:
            ConfigError: a parameter does not fit the model.
            ModelError: the model lacks what the method looks at.
        """


def enlarge(coarse: NDArray[np.floating], size: tuple[int, int]) -> Maps:
    """Resize maps bilinearly, pixel centers aligned.

    Args:
        coarse: float (B, h, w).
        size: (height, width) wanted.

    Returns:
        float64 (B, height, width).
    """
    import cv2

    height, width = size
    return np.stack(
        [cv2.resize(one.astype(np.float64), (width, height), interpolation=cv2.INTER_LINEAR) for one in coarse]
    )
