"""Every metric by name, and the default set."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.core.errors import ConfigError, nearest
from evalkit.core.registry import Registry
from evalkit.core.specs import Literals, parse_spec
from evalkit.metrics.requirements import needs_of
from evalkit.metrics.spec import Metric

__all__ = [
    "CUE_METRICS",
    "DEFAULT_METRICS",
    "METRICS",
    "build_metrics",
    "find_criterion",
    "find_metric",
    "localizes",
    "metric_names_in",
    "needs_scores",
]

METRICS: Registry[Metric] = Registry(
    "metric",
    Metric,  # type: ignore[type-abstract]
    {
        "deletion": "evalkit.metrics.perturbation:Deletion",
        "insertion": "evalkit.metrics.perturbation:Insertion",
        "symmetric_relevance_gain": "evalkit.metrics.perturbation:SymmetricRelevanceGain",
        "average_drop": "evalkit.metrics.perturbation:AverageDrop",
        "increase_in_confidence": "evalkit.metrics.perturbation:IncreaseInConfidence",
        "road": "evalkit.metrics.road:Road",
        "mu_fidelity": "evalkit.metrics.magnitude:MuFidelity",
        "sensitivity_n": "evalkit.metrics.magnitude:SensitivityN",
        "infidelity": "evalkit.metrics.magnitude:Infidelity",
        "saco": "evalkit.metrics.saco:Saco",
        "pointing_game": "evalkit.metrics.localization:PointingGame",
        "energy_pointing_game": "evalkit.metrics.localization:EnergyPointingGame",
        "relevance_mass_accuracy": "evalkit.metrics.localization:RelevanceMassAccuracy",
        "relevance_rank_accuracy": "evalkit.metrics.localization:RelevanceRankAccuracy",
        "pixel_average_precision": "evalkit.metrics.pixels:PixelAveragePrecision",
        "pixel_auc": "evalkit.metrics.pixels:PixelAuc",
        "grid_pointing_game": "evalkit.metrics.grid:GridPointingGame",
        "max_box_acc_v1": "evalkit.metrics.boxes:MaxBoxAccV1",
        "max_box_acc_v2": "evalkit.metrics.boxes:MaxBoxAccV2",
        "pxap": "evalkit.metrics.boxes:PxAP",
        "sparseness": "evalkit.metrics.complexity:Sparseness",
        "max_sensitivity": "evalkit.metrics.stability:MaxSensitivity",
        "random_logit": "evalkit.metrics.randomization:RandomLogit",
        "mprt": "evalkit.metrics.reinitialized:Mprt",
        "emprt": "evalkit.metrics.reinitialized:Emprt",
        "cue_pixel_auc": "evalkit.metrics.shortcut:CuePixelAuc",
        "cue_missed": "evalkit.metrics.shortcut:CueMissed",
        "cue_false_alarm": "evalkit.metrics.shortcut:CueFalseAlarm",
        "cue_drop": "evalkit.metrics.shortcut:CueDrop",
        "object_drop": "evalkit.metrics.shortcut:ObjectDrop",
        "cue_followed": "evalkit.metrics.shortcut:CueFollowed",
    },
    group="evalkit.metrics",
)
DEFAULT_METRICS: tuple[str, ...] = (
    "deletion",
    "insertion",
    "symmetric_relevance_gain",
    "pointing_game",
    "energy_pointing_game",
    "relevance_mass_accuracy",
    "relevance_rank_accuracy",
    "max_box_acc_v1",
    "max_box_acc_v2",
    "pxap",
    "sparseness",
)
"""What a run scores unless told otherwise. The word ``default`` in ``--metrics`` stands for these."""

CUE_METRICS: tuple[str, ...] = (
    "cue_pixel_auc",
    "cue_missed",
    "cue_false_alarm",
    "cue_drop",
    "object_drop",
    "cue_followed",
)
"""What a run scores besides ``DEFAULT_METRICS`` where its images have known cues, unless told otherwise."""


def build_metrics(given: object, *, cues: bool = False, **defaults: Literals) -> list[Metric]:
    """Return the metrics of a run, in the order written.

    Args:
        given: specs as one text, or specs and ``Metric`` objects one by one; None or the word ``default`` stands for
            ``DEFAULT_METRICS``, ``all`` for every metric in the catalog.
        cues: whether the images have known cues; if so, ``CUE_METRICS`` belong to the default, else not to ``all``.
        defaults: the run's own defaults, e.g. ``steps``.

    Raises:
        ConfigError: nothing listed, an unknown name or parameter, a value out of range, a file that cannot be used, or
            one listed twice.
    """
    sets = {
        "default": (*DEFAULT_METRICS, *CUE_METRICS) if cues else DEFAULT_METRICS,
        "all": tuple(name for name in METRICS.names() if cues or name not in CUE_METRICS),
    }
    items = METRICS.expand_sets(METRICS.all_of("default" if given is None else given), sets)
    if not items:
        raise ConfigError(f"--metrics is empty; name at least one of: default, all, {', '.join(METRICS.names())}")
    metrics = METRICS.distinct([METRICS.accept(item, **defaults) for item in items])
    for metric in metrics:
        _ = metric.signature  # reads the files that a metric names, so that a bad one is refused here
    return metrics


def find_criterion(given: str, metrics: Sequence[Metric]) -> Metric:
    """Return the metric that ``--criterion`` names, by its text or its name.

    Raises:
        ConfigError: it is not among them, scores the set as a whole, or only describes maps.
    """
    return _deciding(
        given,
        metrics,
        "--criterion",
        of_set="cannot decide",
        descriptive="it cannot decide",
        nothing="add a metric that can, for example symmetric_relevance_gain",
    )


def find_metric(given: str, metrics: Sequence[Metric], option: str) -> Metric:
    """Return the metric of a baseline that an option names, by its text or its name.

    Args:
        given: for example ``deletion`` or ``deletion(steps=56)``.
        metrics: the metrics of the run.
        option: the option, for the message.

    Raises:
        ConfigError: it is not among them, scores the set as a whole, or only describes maps.
    """
    return _deciding(
        given,
        metrics,
        option,
        of_set="cannot be compared image by image",
        descriptive="nothing is worse by it",
        nothing="this run has no metric that can",
    )


def _deciding(
    given: str, metrics: Sequence[Metric], option: str, *, of_set: str, descriptive: str, nothing: str
) -> Metric:
    """Return a metric that scores single images and has a better end, or raise ConfigError with the reason."""
    found = _named(given, metrics)
    if found is not None and found.decides:
        return found
    if found is None:
        reason = "is not among this run's metrics"
    elif found.set_level:
        reason = f"scores all images together, not each, so it {of_set}"
    else:
        reason = f"describes maps and has no better end, so {descriptive}"
    deciding = [metric.text for metric in metrics if metric.decides]
    raise ConfigError(f"{option} '{given}' {reason}; {nearest(given, deciding) if deciding else nothing}")


def _named(given: str, metrics: Sequence[Metric]) -> Metric | None:
    """Return the metric with this text, or else the first with this name; None if there is none."""
    written = given.replace(" ", "")
    for names in ([metric.text.replace(" ", "") for metric in metrics], [metric.spec_name() for metric in metrics]):
        if written in names:
            return metrics[names.index(written)]
    return None


def metric_names_in(given: object) -> set[str]:
    """Return the names of the metrics that are listed themselves, not as members of a set."""
    if given is None:
        return set()
    items = [item for item in METRICS.all_of(given) if item not in ("default", "all")]
    return {parse_spec(item).name if isinstance(item, str) else item.spec_name() for item in items}  # type: ignore[attr-defined]


def localizes(metric: Metric) -> bool:
    """Tell whether a metric compares maps with where the object is."""
    return metric.spec.family == "localization" and "region" in needs_of(metric)


def needs_scores(metric: Metric) -> bool:
    """Tell whether a metric's numbers may depend on how the model scores perturbed images."""
    return not {"scores", "unknown"}.isdisjoint(needs_of(metric))
