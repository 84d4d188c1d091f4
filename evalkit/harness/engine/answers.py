"""The engine that answers the requests of metrics: perturbed images, other maps, maps on a changed model.

Equal requests are computed once, whichever metrics and maps they come from; perturbed images of many maps share
batches.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import EvalkitError
from evalkit.datasets.image import LabelledImage
from evalkit.explainers.base import Explainer
from evalkit.harness.engine.failures import why_failed
from evalkit.metrics.requests import Composition, Request, Variant
from evalkit.models.classifier import Classifier
from evalkit.models.inference.perturbation import PhotoScores
from evalkit.store.maps import as_float32

__all__ = ["Answers", "Refusal"]

_COMPOSITIONS = ("perturbation", "blend", "masked", "shown")


@dataclass(frozen=True)
class Refusal:
    """An answer that could not be computed.

    Attributes:
        reason: the reason, in words.
        failed: True = an error, which the next run tries again; False = the reason is permanent.
    """

    reason: str
    failed: bool


class Answers:
    """The answers to requests about one image.

    Args:
        classifier: the model.
        image: the image, fitted to the model's input.
        targets: the outputs that are explained and scored together.
        clean_logits: the logits of the clean image, float64 (C,).
        tick: a function of the number of images in the latest passes through the model.
        seed: Random seed of the substrates that draw, ``noise`` and ``road``.
    """

    def __init__(
        self,
        classifier: Classifier,
        image: LabelledImage,
        targets: tuple[int, ...],
        clean_logits: NDArray[np.float64],
        tick: Callable[[int], None],
        seed: int = 0,
    ) -> None:
        """See the class."""
        self._classifier, self._image, self._targets, self._tick = classifier, image, targets, tick
        mean_color = classifier.required_mean_color()
        self._scores = PhotoScores(classifier, image.pixels, targets, clean_logits, mean_color, seed)
        self._maps: dict[Hashable, NDArray[np.float32] | Refusal] = {}

    def answer(self, requests: Sequence[tuple[Explainer, Request]]) -> list[NDArray[Any] | Refusal]:
        """Return one answer for each request, in order; the request's class describes it.

        Args:
            requests: the requests, each with the explainer whose map is scored.
        """
        compositions = [request for _, request in requests if request.kind in _COMPOSITIONS]
        scores = iter(self.scores(compositions))  # type: ignore[arg-type]
        self._maps.clear()  # hundreds of maps, if models are changed layer by layer; each explainer is answered once
        self._explain_with_variants(requests)
        return [
            next(scores) if request.kind in _COMPOSITIONS else self._map(explainer, request)
            for explainer, request in requests
        ]

    def scores(self, compositions: Sequence[Composition]) -> list[NDArray[np.float64]]:
        """Return one answer for each request for images, in order, as ``answer`` does."""
        return self._scores.scores(compositions, self._tick)

    def _explain_with_variants(self, requests: Sequence[tuple[Explainer, Any]]) -> None:
        """Compute the maps on changed models, all of one model together: its weights are changed in place."""
        wanted: dict[Variant, dict[Hashable, tuple[Explainer, Any]]] = {}
        for explainer, request in requests:
            if request.kind == "explain with":
                wanted.setdefault(request.variant, {})[explainer.text, request.key] = (explainer, request)
        # From one stage of a seed to the next only the weights of the layers between them change.
        for variant in sorted(wanted, key=lambda one: (one.layers, one.seed, one.first)):
            try:
                changed = self._classifier.variant(variant)
            except EvalkitError as error:
                self._maps.update(dict.fromkeys(wanted[variant], Refusal(str(error), failed=False)))
                continue
            except Exception as error:  # too little memory for new weights costs these maps, not the photo
                reason = why_failed("a changed copy of the model", error)
                self._maps.update(dict.fromkeys(wanted[variant], Refusal(reason, failed=True)))
                continue
            with changed.sharing():
                for key, (explainer, request) in wanted[variant].items():
                    self._maps[key] = self._compute_map(explainer, request, changed)

    def _map(self, explainer: Explainer, request: Any) -> NDArray[np.float32] | Refusal:  # noqa: ANN401 - by its kind
        key = (explainer.text, request.key)
        if key not in self._maps:
            self._maps[key] = self._compute_map(explainer, request, self._classifier)
        return self._maps[key]

    def _compute_map(
        self,
        explainer: Explainer,
        request: Any,  # noqa: ANN401 - by its kind
        classifier: Classifier,
    ) -> NDArray[np.float32] | Refusal:
        before = self._classifier.count.forward
        pixels, target = self._image.pixels, self._targets
        try:
            if request.kind == "explain":
                pixels = pixels if request.pixels is None else request.pixels
                target = target if request.target is None else request.target
            maps = explainer.explain(classifier, pixels[None], [target])
            return as_float32(np.asarray(maps[0]))
        except EvalkitError as error:
            return Refusal(str(error), failed=False)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return Refusal(why_failed(explainer.text, error), failed=True)
        finally:
            self._tick(self._classifier.count.forward - before)
