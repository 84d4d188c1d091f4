"""``list explainers``: the families on one screen, and the whole entry of one explainer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evalkit.report.formats import OutputFormat
from evalkit.report.tables.listing import render_listing
from evalkit.report.tables.text_lines import named, wrapped

__all__ = ["ExplainerEntry", "ParameterEntry", "render_explainer", "render_explainers"]

_FAMILY_TITLES: Mapping[str, str] = {
    "cams": "weighted feature maps of one layer",
    "gradients": "gradients at the input",
    "masks": "scores of photos of which parts are hidden",
    "tf_explain": "tf-explain's own classes, called for raw maps",
    "controls": "maps that do not depend on the model; an explainer should beat them",
    "other": "installed packages and registered classes",
}
_COLUMNS = ("explainer", "family", "cost", "needs", "sets", "parameters", "what it is", "reference")
_GAP = "  "
_MORE = " ..."
_NARROWEST = 12  # columns for a sentence; with fewer it says nothing


@dataclass(frozen=True)
class ParameterEntry:
    """One parameter of an explainer.

    Attributes:
        name: its name in specs.
        type: the values allowed, in words.
        default: the default value; None if ``is_required``, or if the default is no value.
        is_required: True if it has no default.
        meaning: what it is; empty if its class does not say.
    """

    name: str
    type: str
    default: str | float | bool | None
    is_required: bool
    meaning: str

    @property
    def default_text(self) -> str:
        """The default in words."""
        if self.is_required:
            return "required"
        return f"default {'none' if self.default is None else self.default}"


@dataclass(frozen=True)
class ExplainerEntry:
    """What is known of an explainer without a model.

    Attributes:
        name: its name in specs.
        family: its family, the word of its set.
        cost: the passes of one map, in words; empty if its class does not say.
        summary: what it is, in one sentence.
        description: the paragraphs of its documentation.
        needs: the parts that a classifier must offer.
        sets: the words of ``--explainers`` that include it.
        draws: True if it draws random numbers.
        reference: the source of the definition.
        target: its ``module:Class``.
        parameters: its parameters.
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


def render_explainers(entries: Sequence[ExplainerEntry], sets: Sequence[str], form: OutputFormat, *, width: int) -> str:
    """Return the explainers, by family; JSON has everything that is known of each.

    Args:
        entries: the explainers, in the order of the catalog.
        sets: the words of ``--explainers`` that stand for several.
        form: table, json (a list of objects), csv, markdown or latex.
        width: width of the terminal in columns; for the table only.
    """
    if form != "table":
        return _document(entries, form, width)
    lines = wrapped("explainers, and what a map costs: F, B = forward, backward passes; K = channels", width)
    for family, title in _FAMILY_TITLES.items():
        members = [entry for entry in entries if entry.family == family]
        if members:
            lines += [_cut(f"{family}: {title}", width), *_family_lines(members, width)]
    example = max(entries, key=lambda entry: len(entry.parameters)).name if entries else "NAME"
    lines += wrapped(f"--explainers takes these names, and the sets {', '.join(sets)}.", width)
    lines += wrapped(f"Parameters and source of one: python -m evalkit list explainers {example}", width)
    return "\n".join(lines) + "\n"


def _document(entries: Sequence[ExplainerEntry], form: OutputFormat, width: int) -> str:
    if form == "json":
        return json.dumps([_as_json(entry) for entry in entries], indent=2, allow_nan=False) + "\n"
    return render_listing("explainers", _COLUMNS, [_row(entry) for entry in entries], form, width=width)


def render_explainer(entry: ExplainerEntry, form: OutputFormat, *, width: int) -> str:
    """Return the whole entry of one explainer; arguments as of ``render_explainers``."""
    if form != "table":
        return _document([entry], form, width)
    facts = {
        "family": entry.family,
        "sets": ", ".join(entry.sets),
        "cost": f"{_cost(entry)} (F, B = forward, backward passes; K = channels)",
        "needs": ", ".join(entry.needs) or "nothing of the model",
        "random": "draws random numbers, by its seed" if entry.draws else "draws no random numbers",
        "reference": entry.reference,
        "class": entry.target,
    }
    lines = [entry.name, *wrapped(entry.summary, width, _GAP)]
    for paragraph in entry.description:
        lines += ["", *wrapped(paragraph, width, _GAP)]
    lines += ["", *named(facts.items(), width)]
    lines += ["", "parameters" if entry.parameters else "It has no parameters."]
    lines += named(
        (
            (
                parameter.name,
                f"{parameter.type}; {parameter.default_text}{': ' * bool(parameter.meaning)}{parameter.meaning}",
            )
            for parameter in entry.parameters
        ),
        width,
    )
    return "\n".join(lines) + "\n"


def _family_lines(members: Sequence[ExplainerEntry], width: int) -> list[str]:
    """Return one line for each explainer: its name whole, its cost, and as much of its sentence as fits in words."""
    names = max(len(entry.name) for entry in members)
    costs = max(len(_cost(entry)) for entry in members)
    room = width - 3 * len(_GAP) - names - costs
    lines = []
    for entry in members:
        sentence = _cut(entry.summary, room) if room >= _NARROWEST else ""
        lines.append(f"{_GAP}{entry.name:<{names}}{_GAP}{_cost(entry):<{costs}}{_GAP}{sentence}".rstrip())
    return lines


def _cost(entry: ExplainerEntry) -> str:
    return entry.cost or "not stated"


def _cut(sentence: str, room: int) -> str:
    """Return a sentence cut after a word, with three points where words are missing."""
    if len(sentence) <= room:
        return sentence
    words = sentence[: room - len(_MORE) + 1].rpartition(" ")[0].rstrip(" ,;:(-")
    return words + _MORE if words else ""


def _row(entry: ExplainerEntry) -> dict[str, str | float | None]:
    return {
        "explainer": entry.name,
        "family": entry.family,
        "cost": entry.cost,
        "needs": " ".join(entry.needs),
        "sets": " ".join(entry.sets),
        "parameters": _parameters(entry),
        "what it is": entry.summary,
        "reference": entry.reference,
    }


def _parameters(entry: ExplainerEntry) -> str:
    return ", ".join(
        one.name if one.is_required else f"{one.name}={'none' if one.default is None else one.default}"
        for one in entry.parameters
    )


def _as_json(entry: ExplainerEntry) -> dict[str, Any]:
    details = [asdict(parameter) for parameter in entry.parameters]
    return {
        **_row(entry),
        "needs": list(entry.needs),
        "sets": list(entry.sets),
        "draws": entry.draws,
        "description": list(entry.description),
        "class": entry.target,
        "parameter_details": details,
    }
