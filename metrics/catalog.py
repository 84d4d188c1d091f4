"""Every metric by name."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.core.errors import ConfigError, nearest
from evalkit.core.registry import Registry
from evalkit.metrics.spec import DatasetMetric, Metric

__all__ = ["DEFAULT_METRICS", "METRICS", "find_criterion", "find_metric"]

METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "deletion": "evalkit.metrics.perturbation:Deletion",
        "insertion": "evalkit.metrics.perturbation:Insertion",
        "symmetric_relevance_gain": "evalkit.metrics.perturbation:SymmetricRelevanceGain",
        "average_drop": "evalkit.metrics.perturbation:AverageDrop",
        "increase_in_confidence": "evalkit.metrics.perturbation:IncreaseInConfidence",
        "pointing_game": "evalkit.metrics.localization:PointingGame",
        "energy_pointing_game": "evalkit.metrics.localization:EnergyPointingGame",
        "relevance_mass_accuracy": "evalkit.metrics.localization:RelevanceMassAccuracy",
        "relevance_rank_accuracy": "evalkit.metrics.localization:RelevanceRankAccuracy",
        "max_box_acc_v1": "evalkit.metrics.boxes:MaxBoxAccV1",
        "max_box_acc_v2": "evalkit.metrics.boxes:MaxBoxAccV2",
        "pxap": "evalkit.metrics.boxes:PxAP",
        "sparseness": "evalkit.metrics.complexity:Sparseness",
    },
)
DEFAULT_METRICS: tuple[str, ...] = tuple(METRICS.names())


def find_criterion(given: str, metrics: Sequence[Metric]) -> Metric:
    """Return the metric that ``--criterion`` names; see ``find_metric``."""
    return find_metric(given, metrics, "--criterion")


def find_metric(given: str, metrics: Sequence[Metric], option: str) -> Metric:
    """Return the metric with a score an image that an option names, by its text or its name.

    Args:
        given: for example ``deletion`` or ``deletion(steps=56)``.
        metrics: of the run.
        option: for the message.

    Raises:
        ConfigError: it is not among them, or scores the set as a whole.
    """
    usable = [metric for metric in metrics if not isinstance(metric, DatasetMetric)]
    if not usable:
        raise ConfigError(f"{option} '{given}': no metric of this run has a score an image")
    for names in ([one.text.replace(" ", "") for one in usable], [one.name for one in usable]):
        if given.replace(" ", "") in names:
            return usable[names.index(given.replace(" ", ""))]
    raise ConfigError(
        f"{option} '{given}' is not among this run's metrics with a score an image: "
        f"{nearest(given, [metric.text for metric in usable])}"
    )
