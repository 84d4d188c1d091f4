"""Every metric by name."""

from __future__ import annotations

from evalkit.metrics.spec import Metric
from evalkit.registry import Registry

__all__ = ["DEFAULT_METRICS", "METRICS"]

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
