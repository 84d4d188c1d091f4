"""What a metric needs, what it costs and when it does not score, seen on a small image made up for this."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from evalkit.core.errors import EvalkitError
from evalkit.metrics.case import MISCLASSIFIED, ONLY_BOXES, Case, Cue, Partner, Region
from evalkit.metrics.requests import Blend, Canvas, Cost, Masked, Perturbation, Request, Shown, Substrate
from evalkit.metrics.spec import Metric

__all__ = ["Passes", "needs_of", "passes_of", "requirements_of", "unscored_reasons"]

_SIDE = 64  # no metric of evalkit needs more
_MAP = np.arange(_SIDE * _SIDE, dtype=np.float64).reshape(_SIDE, _SIDE)
_NOT_FINITE = "the model's score is not finite"
_NEEDS = {
    "perturbation": "scores",
    "blend": "scores",
    "masked": "scores",
    "shown": "scores",
    "explain": "maps",
    "explain with": "models",
}


@dataclasses.dataclass(frozen=True)
class Passes:
    """What a metric costs beside the map that it scores.

    Attributes:
        per_map: forward passes for every map.
        per_image: forward passes that all maps of an image share.
        maps: other maps of the explainer.
        is_upper_bound: whether some images take fewer.
    """

    per_map: int
    per_image: int
    maps: int
    is_upper_bound: bool


def needs_of(metric: Metric) -> tuple[str, ...]:
    """Return what a metric needs beside the map, as its requests for a small probe show.

    ``region``; ``cue``: a known shortcut; ``scores`` of perturbed images; ``maps``: others of the same explainer;
    ``models``: its maps on changed models; ``unknown`` where the metric fails on the probe.

    >>> from evalkit.metrics.catalog import METRICS
    >>> [needs_of(METRICS.build(name)) for name in ("sparseness", "pxap", "deletion")]
    [(), ('region',), ('scores',)]
    """
    complete = _complete_case(metric)
    without_cue = dataclasses.replace(complete, cue=None)
    bare = dataclasses.replace(without_cue, region=None)
    needs: list[str] = []
    try:
        reasons = [metric.unscored_reason(case) for case in (bare, without_cue, complete)]
        needs += ["region"] if reasons[0] not in (None, reasons[1]) else []
        needs += ["cue"] if reasons[1] not in (None, reasons[2]) else []
        declared = metric.request_kinds
        kinds = [request.kind for request in metric.requests(_MAP, complete)] if declared is None else declared
        needs += [_NEEDS[kind] for kind in kinds]
    except Exception:  # a defect of the metric costs its own cells when an image is scored, not the run
        needs.append("unknown")
    return tuple(dict.fromkeys(needs))


def requirements_of(metric: Metric) -> tuple[str, ...]:
    """Return ``needs_of``, and also ``exact region``, ``right model`` and ``images of other classes``."""
    reasons = unscored_reasons(metric)
    needs = ["exact region" if need == "region" and ONLY_BOXES in reasons else need for need in needs_of(metric)]
    needs += ["right model"] if MISCLASSIFIED in reasons else []
    needs += ["images of other classes"] if metric.n_partners else []
    return tuple(needs)


def unscored_reasons(metric: Metric) -> tuple[str, ...]:
    """Return the reasons for which a metric does not score a finite map, each once; of a probe that fails, none.

    Raises:
        ConfigError: a file that it names cannot be used.
    """
    try:
        reasons = [metric.unscored_reason(case) for case in _cases(metric)]
        reasons += [metric.unscored_map_reason(np.ones_like(_MAP)), metric.spec.nan_reason]
    except EvalkitError:
        raise
    except Exception:  # as in ``needs_of``
        return ()
    return tuple(dict.fromkeys(reason for reason in reasons if reason))


def passes_of(metric: Metric) -> Passes | None:
    """Return what a metric costs at its parameters; None if it fails on a small probe."""
    try:
        cost = metric.cost()
        requests = None if metric.request_kinds else metric.requests(_MAP, _complete_case(metric))
        substrates = _substrates(requests or ())
        fewer = requests is not None and _requested(requests) != _requested_at_most(metric, cost)
    except Exception:  # as in ``needs_of``
        return None
    return Passes(cost.images, cost.shared_images + len(substrates), cost.maps, fewer)


def _substrates(requests: Sequence[Request]) -> set[Canvas | Substrate]:
    """Return the substrates that the model sees alone, once an image; the image itself it has seen already."""
    curves = [request for request in requests if isinstance(request, Perturbation)]
    return {end for curve in curves for end in (curve.start, curve.end)} - {"image"}


def _requested(requests: Sequence[Request]) -> tuple[int, int]:
    """Return the numbers of images and of maps, without the ends of curves."""
    images = maps = 0
    for request in requests:
        if isinstance(request, Perturbation):
            images += len(request.inner_cuts)
        elif isinstance(request, Masked):
            images += len(request.hidden)
        elif isinstance(request, Blend | Shown):
            images += 1
        else:
            maps += 1
    return images, maps


def _requested_at_most(metric: Metric, cost: Cost) -> tuple[int, int]:
    return cost.images + cost.shared_images - metric.n_partners, cost.maps


def _complete_case(metric: Metric) -> Case:
    """Return a small image with a region, a cue and partners, of which the model is sure."""
    pixels = np.zeros((_SIDE, _SIDE, 3), np.uint8)
    diagonal = np.eye(_SIDE, dtype=np.bool_)
    return Case(
        "probe",
        pixels,
        (0,),
        np.array([0.75, 0.25]),
        0.75,
        seed=0,
        partners=(Partner("partner", pixels, 1.0),) * metric.n_partners,
        n_layers=1,
        region=Region(diagonal, np.array([[0.0, 0.0, _SIDE, _SIDE]]), exact=True),
        cue=Cue(diagonal[::-1], ~(diagonal | diagonal[::-1]), pixels, pixels, output=1, agrees=False),
    )


def _cases(metric: Metric) -> Iterator[Case]:
    """Yield images of which something is missing."""
    complete = _complete_case(metric)
    yield dataclasses.replace(complete, misclassified=True)
    yield dataclasses.replace(complete, region=None)
    if complete.region is not None:
        yield dataclasses.replace(complete, region=dataclasses.replace(complete.region, exact=False))
    yield dataclasses.replace(complete, cue=None)
    if complete.cue is not None:
        yield dataclasses.replace(complete, cue=dataclasses.replace(complete.cue, without_object=None))
        yield dataclasses.replace(complete, cue=dataclasses.replace(complete.cue, output=None))
    yield dataclasses.replace(complete, partners=())
    unsure = tuple(dataclasses.replace(partner, is_right=False) for partner in complete.partners)
    yield dataclasses.replace(complete, partners=unsure)
    yield dataclasses.replace(complete, clean_score=0.0)
    yield dataclasses.replace(complete, target=(0, 1), clean_score=1.0)
    yield dataclasses.replace(complete, not_finite=_NOT_FINITE)
