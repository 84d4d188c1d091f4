"""The base class of explainers: frozen parameters, and a function from images and targets to maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.core.component import Component
from evalkit.core.errors import ModelError
from evalkit.core.specs import Literals
from evalkit.models.probabilities import Outputs

if TYPE_CHECKING:
    from evalkit.datasets.image import LabelledImage
    from evalkit.models.classifier import Classifier

__all__ = [
    "Explainer",
    "Family",
    "MapFacts",
    "Maps",
    "Need",
    "Outputs",
    "Passes",
    "Photos",
    "SweepOptions",
    "enlarge",
]

Maps = NDArray[np.float64]
Photos = NDArray[np.uint8 | np.float32]
Need = Literal["scores", "gradients", "features"]
Family = Literal["cams", "gradients", "masks", "tf_explain", "controls", "other"]


class Passes(NamedTuple):
    """The passes of one map through the model, in images, as if its explainer ran alone.

    Attributes:
        forward: the number of forward passes.
        backward: the number of backward passes.
    """

    forward: int
    backward: int = 0


@dataclass(frozen=True)
class MapFacts:
    """Facts about one map besides its values; they are stored with it.

    Attributes:
        passes: the passes that it took, where they differ between images; None = those of ``Explainer.passes``.
        values: other numbers by name, e.g. the completeness residual of integrated gradients.
    """

    passes: Passes | None = None
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepOptions:
    """The run's options that specs without these parameters are expanded over.

    Attributes:
        patch_sizes: the patch sizes in pixels.
        strides: the strides: ``patch``, ``half`` or pixels.
    """

    patch_sizes: tuple[int, ...]
    strides: tuple[int | str, ...]


@dataclass(frozen=True)
class Explainer(Component, ABC):
    """Computes saliency maps: raw values, higher = more important. Its fields are its parameters.

    Attributes:
        needs: the required parts of a classifier: ``scores``, ``gradients``, ``features``; empty for a control.
        draws: True if it draws random numbers, by its parameter ``seed``; its signature contains the seed.
        family: the set of ``--explainers`` that it belongs to.
        cost: the cost of a map for ``list explainers``, e.g. ``1 F + 1 B``: forward and backward passes.
        class_specific: False if its maps do not depend on the target.
        uses_references: True if it needs ``classifier.references``, images drawn from the whole set.
        control: True if its maps do not depend on the model; other explainers should beat it.
        origin: ``precomputed`` if the maps come from files; empty if the explainer computes them.
        swept_by: the parameters that a sweep compares; a spec without the first of them is expanded to one explainer
            for each value of the run's options.
        method: the kind of its passes, as ``method_on`` returns it by default.
        summary: the line for ``list explainers``.
        reference: the source of the definition.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    draws: ClassVar[bool] = False
    family: ClassVar[Family] = "other"
    cost: ClassVar[str] = ""
    class_specific: ClassVar[bool] = True
    uses_references: ClassVar[bool] = False
    control: ClassVar[bool] = False
    origin: ClassVar[Literal["", "precomputed"]] = ""
    swept_by: ClassVar[tuple[str, ...]] = ()
    method: ClassVar[str] = "full pass"
    summary: ClassVar[str] = ""
    reference: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        """Let a class that overrides one of ``explain`` and ``explain_with_facts`` not inherit the other's maps."""
        super().__init_subclass__()
        # Each calls that of this class, not of the object's: the class below may call it by super().
        if "explain" in cls.__dict__ and "explain_with_facts" not in cls.__dict__:
            cls.explain_with_facts = _without_facts(cls)  # type: ignore[method-assign]
        elif "explain_with_facts" in cls.__dict__ and "explain" not in cls.__dict__:
            cls.explain = _maps_alone(cls)  # type: ignore[method-assign]

    @abstractmethod
    def explain(self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        """Return one map for each image.

        Args:
            classifier: the model under explanation.
            images: uint8 or float32 (B, H, W, C) in 0..255, at the classifier's input size.
            targets: (B,), the output of the model to explain in each image, or the several outputs of one class.

        Returns:
            float (B, H, W), higher = more important.
        """

    def explain_with_facts(
        self, classifier: Classifier, images: Photos, targets: Sequence[Outputs]
    ) -> tuple[Maps, list[MapFacts]]:
        """Return the maps, and facts about each of them; arguments and maps as ``explain``."""
        return self.explain(classifier, images, targets), [MapFacts()] * len(images)

    def explain_photo(self, classifier: Classifier, image: LabelledImage, target: Outputs) -> tuple[Maps, MapFacts]:
        """Return the map of one photo of a set, float (1, H, W), and its facts, for explainers that need its name.

        Args:
            classifier: the model under explanation.
            image: the photo, fitted to the classifier's input.
            target: the output to explain, or the several outputs of one class.
        """
        maps, facts = self.explain_with_facts(classifier, image.pixels[None], [target])
        return maps, facts[0]

    @classmethod
    def variants(
        cls, parameters: Mapping[str, Literals], sweep: SweepOptions, say: Callable[[str], None]
    ) -> Iterable[dict[str, Literals]]:
        """Return the parameters of every explainer that a spec is expanded to; by default the spec's own.

        Args:
            parameters: the parameters of the spec.
            sweep: the run's options.
            say: a function that prints a sentence for each variant that is left out.

        Raises:
            ConfigError: no value of an option fits.
        """
        return [dict(parameters)]

    @classmethod
    def sweep_settings(cls, parameters: Mapping[str, Literals], swept: Collection[str]) -> Mapping[str, Literals]:
        """Return the parameters that every variant of a sweep gets besides its own, e.g. to turn early stopping off.

        Args:
            parameters: the parameters of the spec.
            swept: the parameters for which the spec names alternatives.
        """
        return {}

    @classmethod
    def sweep_options(cls, parameters: Mapping[str, Literals]) -> frozenset[str]:
        """Return the run's options that a spec with these parameters is expanded over, as on the command line."""
        return frozenset()

    def resolved_parameters(self) -> dict[str, Literals]:
        """Return the parameters for tables: words for a number, e.g. ``stride=half``, as that number."""
        return self.parameters()

    def resolved_on(self, classifier: Classifier) -> dict[str, Literals]:
        """Return the parameters for tables as they are on this model: its default layer by name, for instance."""
        return self.resolved_parameters()

    @property
    def substrate(self) -> str:
        """What it replaces pixels with, named as metrics do, e.g. ``mean`` or ``blur``; empty if metrics have no name.

        Tables have a note where a metric replaces pixels with the same, because that may favor the explainer. Maps
        whose substrate is ``mean`` or ``blur`` are computed again if the set's mean color changes.
        """
        return ""

    @property
    def contents(self) -> str:
        """What a stored map depends on besides the signature; empty unless maps come from files."""
        return ""

    @abstractmethod
    def forward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the number of forward passes, in images, for one map."""

    def backward_passes(self, input_size: tuple[int, int]) -> int:
        """Return the number of backward passes, in images, for one map; 0 without gradients."""
        return 0

    def passes(self, classifier: Classifier) -> Passes:
        """Return the passes of one map on this model; the largest number where it differs between images."""
        size = classifier.input_size
        return Passes(self.forward_passes(size), self.backward_passes(size))

    def shared_layers(self, classifier: Classifier) -> tuple[str, ...]:
        """Return the paths of the layers whose activations and gradients it reads, in one pass for all explainers."""
        return ()

    def sentences(self, facts: Sequence[Mapping[str, float]]) -> list[str]:
        """Return what readers must know of the maps of a run, one sentence each.

        Args:
            facts: the values of ``MapFacts`` of each image, one or more; NaN = not defined.
        """
        return []

    @property
    def is_repeatable(self) -> bool:
        """Whether its maps of two seeds can differ, so that their repeatability is of interest."""
        return self.draws and not self.control and "seed" in self.parameters()

    def with_seed(self, seed: int) -> Explainer:
        """Return the same explainer with another seed, for one that draws random numbers."""
        changes: dict[str, Any] = {"seed": seed}
        return replace(self, **changes)

    def positions(self, input_size: tuple[int, int]) -> int | None:
        """Return the number of patch positions on one image; None if the method has no patches."""
        return None

    def method_on(self, classifier: Classifier) -> str:
        """Return the kind of the passes on this model, for the cost table."""
        return self.method

    def check(self, classifier: Classifier) -> None:
        """Raise an error if this explainer cannot explain this model.

        Raises:
            ConfigError: a parameter does not fit the model.
            ModelError: the model lacks what the method needs.
        """
        lacking = sorted(self.needs - classifier.offers)
        if lacking:
            fitting = "edges, which needs no model" if "scores" in lacking else "occlusion, which needs only scores"
            raise ModelError(
                f"{self.text} needs {' and '.join(lacking)}, which model '{classifier.name}' does not offer; "
                f"use {fitting}"
            )


def _without_facts(kind: type[Explainer]) -> Callable[..., tuple[Maps, list[MapFacts]]]:
    def explain_with_facts(
        self: Explainer, classifier: Classifier, images: Photos, targets: Sequence[Outputs]
    ) -> tuple[Maps, list[MapFacts]]:
        return kind.explain(self, classifier, images, targets), [MapFacts()] * len(images)

    return explain_with_facts


def _maps_alone(kind: type[Explainer]) -> Callable[..., Maps]:
    def explain(self: Explainer, classifier: Classifier, images: Photos, targets: Sequence[Outputs]) -> Maps:
        return kind.explain_with_facts(self, classifier, images, targets)[0]

    return explain


def enlarge(coarse: NDArray[np.floating], size: tuple[int, int]) -> Maps:
    """Resize maps bilinearly, pixel centers aligned.

    Args:
        coarse: the maps, float (B, h, w).
        size: (height, width) of the result.

    Returns:
        float64 (B, height, width).
    """
    import cv2

    height, width = size
    return np.stack(
        [cv2.resize(values.astype(np.float64), (width, height), interpolation=cv2.INTER_LINEAR) for values in coarse]
    )
