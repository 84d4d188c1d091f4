"""``list explainers``: the families on one screen, and the whole entry of one explainer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.report.formats import OutputFormat
from evalkit.report.tables.component_list import (
    ListItem,
    ParameterEntry,
    entry_lines,
    fact_lines,
    family_lines,
    parameter_details,
    parameter_facts,
    parameters_text,
)
from evalkit.report.tables.text_lines import wrapped

__all__ = ["ExplainerEntry", "PassesEntry", "render_explainer", "render_explainers"]

_FAMILY_TITLES: Mapping[str, str] = {
    "cams": "weighted feature maps of one layer",
    "gradients": "gradients at the input",
    "masks": "scores of photos of which parts are hidden",
    "tf_explain": "tf-explain's own classes, called for raw maps",
    "controls": "maps that do not depend on the model; an explainer should beat them",
    "other": "installed packages and registered classes",
}
_COLUMNS = ("explainer", "family", "cost", "needs", "sets", "parameters", "what it is", "reference")
_LETTERS = "F, B = forward, backward passes; K = channels"


@dataclass(frozen=True)
class PassesEntry:
    """The passes of one map, counted by the explainer itself.

    Attributes:
        forward: forward passes; the most, where images differ.
        backward: backward passes.
        input_side: the side of a square photo that they are of, in pixels.
        by_size: True if another size takes another number.
    """

    forward: int
    backward: int
    input_side: int
    by_size: bool


@dataclass(frozen=True)
class ExplainerEntry:
    """What is known of an explainer without a model.

    Attributes:
        name: its name in specs, with the parameters given.
        family: its family, the word of its set.
        cost: the passes of one map at its defaults, in words; empty if its class does not say.
        summary: what it is, in one sentence.
        description: the paragraphs of its documentation.
        needs: the parts that a classifier must offer.
        sets: the words of ``--explainers`` that include it.
        draws: True if it draws random numbers.
        reference: the source of the definition.
        target: its ``module:Class``.
        parameters: its parameters.
        passes: the passes of one map; None if they depend on the model, or on a parameter that is not given.
        version: grows when the meaning of the maps changes.
        swept_over: options of ``run`` whose values make several explainers of the spec; empty for none.
    """

    name: str
    family: str
    cost: str
    summary: str
    description: tuple[str, ...]
    needs: tuple[str, ...]
    sets: tuple[str, ...]
    draws: bool
    reference: str
    target: str
    parameters: tuple[ParameterEntry, ...]
    passes: PassesEntry | None = None
    version: int = 1
    swept_over: tuple[str, ...] = ()


def render_explainers(entries: Sequence[ExplainerEntry], sets: Sequence[str], form: OutputFormat, *, width: int) -> str:
    """Return the explainers, by family; JSON has everything that is known of each.

    Args:
        entries: the explainers, in the order of the catalog.
        sets: the words of ``--explainers`` that stand for several.
        form: table, json (a list of objects), csv, markdown or latex.
        width: width of the terminal in columns; for the table only.
    """
    if form != "table":
        return _document(entries, form)
    lines = wrapped(f"explainers, and what a map costs: {_LETTERS}", width)
    items = [(entry.family, ListItem(entry.name, (_cost(entry),), entry.summary)) for entry in entries]
    lines += family_lines(items, _FAMILY_TITLES, width)
    example = max(entries, key=lambda entry: len(entry.parameters)).name if entries else "NAME"
    lines += wrapped(f"--explainers takes these names, and the sets {', '.join(sets)}.", width)
    lines += wrapped(f"Parameters and source of one: python -m evalkit list explainers {example}", width)
    return "\n".join(lines) + "\n"


def _document(entries: Sequence[ExplainerEntry], form: OutputFormat) -> str:
    if form == "json":
        return json.dumps([_as_json(entry) for entry in entries], indent=2, allow_nan=False) + "\n"
    from evalkit.report.tables.listing import render_listing  # imports what the table does not need

    return render_listing(_COLUMNS, [_row(entry) for entry in entries], form)


def render_explainer(entry: ExplainerEntry, form: OutputFormat, *, width: int) -> str:
    """Return the whole entry of one explainer; arguments as of ``render_explainers``."""
    if form != "table":
        return _document([entry], form)
    facts = {
        "family": entry.family,
        "sets": ", ".join(entry.sets) or "none: name it in --explainers",
        "cost": _passes(entry),
        "needs": ", ".join(entry.needs) or "nothing of the model",
        "random": "draws random numbers, by its seed" if entry.draws else "draws no random numbers",
        "sweep": _sweep(entry),
        "version": str(entry.version),
        "reference": entry.reference or "not stated",
        "class": entry.target,
    }
    lines = entry_lines(entry.name, entry.summary, entry.description, width)
    lines += fact_lines([(name, text) for name, text in facts.items() if text], width)
    return "\n".join([*lines, *parameter_facts(entry.parameters, width)]) + "\n"


def _cost(entry: ExplainerEntry) -> str:
    return entry.cost or "not stated"


def _passes(entry: ExplainerEntry) -> str:
    """Return the cost of a map: the passes that the explainer counts, or what its class says."""
    passes = entry.passes
    if passes is None:
        return f"{entry.cost} ({_LETTERS})" if entry.cost else "not stated"
    if not passes.forward and not passes.backward:
        return "no pass through the model"
    counts = [
        f"{count:,} {word} {'pass' if count == 1 else 'passes'}"
        for count, word in ((passes.forward, "forward"), (passes.backward, "backward"))
        if count
    ]
    most = "up to " if entry.cost.startswith("up to") else ""
    size = f" of {passes.input_side} x {passes.input_side} pixels; more for larger ones" if passes.by_size else ""
    return f"{most}{' and '.join(counts)} a map{size}"


def _sweep(entry: ExplainerEntry) -> str:
    if not entry.swept_over:
        return ""
    return f"a run makes one explainer for each value of {' and '.join(entry.swept_over)}"


def _row(entry: ExplainerEntry) -> dict[str, str | float | None]:
    return {
        "explainer": entry.name,
        "family": entry.family,
        "cost": entry.cost,
        "needs": " ".join(entry.needs),
        "sets": " ".join(entry.sets),
        "parameters": parameters_text(entry.parameters),
        "what it is": entry.summary,
        "reference": entry.reference,
    }


def _as_json(entry: ExplainerEntry) -> dict[str, Any]:
    passes = entry.passes
    size = passes and [passes.input_side] * 2
    return {
        **_row(entry),
        "cost": entry.cost or None,
        "passes": passes and {"forward": passes.forward, "backward": passes.backward, "input_size": size},
        "needs": list(entry.needs),
        "sets": list(entry.sets),
        "draws": entry.draws,
        "swept_over": list(entry.swept_over),
        "version": entry.version,
        "description": list(entry.description),
        "reference": entry.reference or None,
        "class": entry.target,
        "parameter_details": parameter_details(entry.parameters),
    }
