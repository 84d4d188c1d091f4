"""What all metrics have in common that follow the model's score along curves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from evalkit.core.errors import ConfigError
from evalkit.metrics.case import Case
from evalkit.metrics.requests import DRAWN, ScoreKind
from evalkit.metrics.spec import PerturbationMetric

__all__ = ["ScoredAlongCurves"]

_EVERY_OUTPUT = "the class is every output of the model, so its log-odds are infinite"


@dataclass(frozen=True)
class ScoredAlongCurves(PerturbationMetric):
    """Base of the metrics that follow curves, by a softmax score or by log-odds: see ``score_kind``."""

    def __post_init__(self) -> None:
        """Check the score; declare what log-odds change, and whether the substrate is drawn."""
        if self.score_kind not in get_args(ScoreKind):
            allowed = " or ".join(get_args(ScoreKind))
            raise ConfigError(f"{self.name}: score={self.score_kind} is not allowed; it takes {allowed}")
        if self.substrate in DRAWN:
            object.__setattr__(self, "draws", True)
        if self.score_kind == "log_odds":
            unbounded = replace(
                self.spec,
                bounds=(-np.inf, np.inf),
                summary=f"{self.spec.summary}, in log-odds",
                nan_reason="the log-odds of the class are not finite on a perturbed image",
                curve_value="log-odds",
                gated=False,  # a tolerance of 0.02 is meant for scores of 0 to 1
            )
            object.__setattr__(self, "spec", unbounded)

    def unscored_reason(self, case: Case) -> str | None:
        """Return why the model's scores cannot be used."""
        is_certain = self.score_kind == "log_odds" and len(set(case.target)) == case.clean_scores.size
        return super().unscored_reason(case) or (_EVERY_OUTPUT if is_certain else None)

    def require_seed(self, case: Case) -> None:
        """Raise TypeError if the substrate is drawn and the case has no seed: the engine draws with the run's."""
        if self.draws:
            _ = case.run_seed
