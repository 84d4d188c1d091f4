"""Which explainers' maps are changed by the probes of an audit, unless told otherwise."""

from __future__ import annotations

import numpy as np

from evalkit.analysis.load import RunScores
from evalkit.core.errors import ConfigError, nearest
from evalkit.core.specs import split_specs
from evalkit.metrics.spec import Metric
from evalkit.store.manifest import ExplainerFacts

__all__ = ["N_PROBED", "explainers_to_probe"]

N_PROBED = 3
"""The number of explainers that are probed."""


def explainers_to_probe(run: RunScores, criterion: Metric | None, given: str | None = None) -> list[str]:
    """Return the texts of the explainers to probe: different kinds of maps, because a fault can depend on the kind.

    They are the best explainer of each family by the criterion, best first; then the best of what is left.

    Args:
        run: the run.
        criterion: the metric that orders them; None = the order of the run.
        given: texts of explainers of the run, separated by commas, instead.

    Raises:
        ConfigError: an explainer that the run does not have, or none at all.
    """
    known = {one.text: one for one in run.manifest.explainers}
    if given is not None:
        wanted = split_specs(given)
        for text in wanted:
            if text not in known:
                raise ConfigError(f"--probe-explainers '{text}' is not in the run; {nearest(text, list(known))}")
        if not wanted:
            raise ConfigError(f"--probe-explainers is empty; name explainers of the run: {', '.join(known)}")
        return list(dict.fromkeys(wanted))
    ordered = [one for one in _best_first(run, criterion) if not one.control]
    if not ordered:
        raise ConfigError("--probe: the run has no explainer besides controls; add one, for example gradcam")
    firsts = list({one.family: one for one in reversed(ordered)}.values())
    chosen = [one for one in ordered if one in firsts][:N_PROBED]
    chosen += [one for one in ordered if one not in chosen][: N_PROBED - len(chosen)]
    return [one.text for one in chosen]


def _best_first(run: RunScores, criterion: Metric | None) -> list[ExplainerFacts]:
    if criterion is None:
        return list(run.manifest.explainers)
    sign = 1.0 if criterion.spec.direction == "higher" else -1.0
    values = sign * run.table.values[:, :, run.table.metrics.index(criterion.text)]
    counts = np.isfinite(values).sum(axis=0)
    means = np.where(np.isfinite(values), values, 0.0).sum(axis=0) / np.maximum(counts, 1)
    score = dict(zip(run.table.explainers, np.where(counts > 0, means, -np.inf).tolist(), strict=True))
    return sorted(run.manifest.explainers, key=lambda one: -score[one.text])
