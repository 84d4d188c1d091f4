"""The entries of ``list explainers``, of the classes in the catalog."""

from __future__ import annotations

from evalkit.cli.list_components import asked_for, built, description_of, listed, parameter_entries
from evalkit.core.provenance import target_of
from evalkit.core.specs import Spec
from evalkit.explainers.base import Explainer
from evalkit.explainers.catalog import EXPLAINERS, SETS, WORDS
from evalkit.report.tables.explainer_list import ExplainerEntry, PassesEntry

__all__ = ["explainer_entries", "explainer_entry"]

_SIDE, _LARGER_SIDE = 224, 448


def explainer_entries(word: str = "all") -> list[ExplainerEntry]:
    """Return the entries of a set of explainers, in the order of the catalog; ``all``: of every one."""
    names = EXPLAINERS.names()
    return listed([name for name in names if word == "all" or name in SETS[word]], _entry)


def explainer_entry(given: str) -> ExplainerEntry:
    """Return the entry of one explainer.

    Args:
        given: its name, or ``module:Class``; with or without parameters.

    Raises:
        ConfigError: no such explainer or parameter, or its class cannot be imported.
    """
    return _entry(asked_for(EXPLAINERS, WORDS, given))


def _entry(spec: Spec) -> ExplainerEntry:
    name, kind = spec.name, EXPLAINERS.get(spec.name)
    explainer = built(EXPLAINERS, spec)
    parameters = parameter_entries(EXPLAINERS, spec, explainer)
    return ExplainerEntry(
        name=name if explainer is None or not spec.parameters else explainer.text,
        family=kind.family,
        cost=kind.cost,
        summary=kind.summary,
        description=description_of(kind),
        needs=(*sorted(kind.needs), *(["references"] if kind.uses_references else [])),
        sets=(*(word for word, members in SETS.items() if name in members), *(["all"] if ":" not in name else [])),
        draws=kind.draws,
        reference=kind.reference,
        target=target_of(kind),
        parameters=parameters,
        passes=None if explainer is None else _passes(explainer),
        version=kind.version,
        swept_over=tuple(sorted(kind.sweep_options(spec.parameters))),
    )


def _passes(explainer: Explainer) -> PassesEntry | None:
    """Return the passes of one map; None if they depend on a model."""
    if type(explainer).passes is not Explainer.passes:
        return None
    try:
        at, larger = (
            (explainer.forward_passes((side, side)), explainer.backward_passes((side, side)))
            for side in (_SIDE, _LARGER_SIDE)
        )
    except Exception:  # a defect of a class outside evalkit is no reason to hide what it says of itself
        return None
    return PassesEntry(*at, input_side=_SIDE, by_size=at != larger)
