"""``list metrics``: the families on one screen, and the whole entry of one metric."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evalkit.report.formats import ARROWS, OutputFormat
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

__all__ = ["CostEntry", "MetricEntry", "render_metric", "render_metrics"]

_FAMILY_TITLES: Mapping[str, str] = {
    "faithfulness": "what the model's score does when pixels are replaced",
    "localization": "how well the map agrees with where the object is",
    "other": "what the map is like, whether it is right or wrong",
    "sanity": "does the map change with the model's weights? Sentences, no ranks",
    "shortcut": "known cues beside the object. Sentences, no ranks",
}
_COLUMNS = ("metric", "family", "better", "range", "needs", "cost", "sets", "parameters", "what it is", "reference")
_NEEDS: Mapping[str, str] = {
    "region": "where the object is: boxes or a mask",
    "exact region": "the object's exact mask",
    "cue": "a known cue in the image",
    "right model": "a model that is right on the image",
    "scores": "the model's scores of changed images",
    "maps": "an explainer that can explain again",
    "models": "a model whose layers can be re-initialized",
    "images of other classes": "images of other classes",
    "unknown": "unknown: the metric fails on a small test image",
}
_REASONS: Mapping[str, str] = {"misclassified": "misclassified (unless --target predicted)"}


@dataclass(frozen=True)
class CostEntry:
    """What a metric costs beside the map that it scores.

    Attributes:
        forward_passes_per_map: forward passes for every map.
        forward_passes_per_image: forward passes that all maps of an image share.
        maps_per_map: other maps of the explainer, each of which costs what the explainer costs.
        is_upper_bound: True if some images take fewer.
    """

    forward_passes_per_map: int
    forward_passes_per_image: int
    maps_per_map: int
    is_upper_bound: bool

    @property
    def text(self) -> str:
        """The cost in words."""
        parts = []
        if self.forward_passes_per_map:
            parts.append(f"{_passes(self.forward_passes_per_map)} a map")
        if self.maps_per_map:
            maps = "other map" if self.maps_per_map == 1 else "other maps"
            parts.append(f"{self.maps_per_map:,} {maps} of the explainer for each map")
        most = "up to " if self.is_upper_bound else ""
        if self.forward_passes_per_image:
            count = self.forward_passes_per_image
            parts.append(f"{count:,} more an image" if self.forward_passes_per_map else f"{_passes(count)} an image")
        return most + ", ".join(parts) if parts else "no forward pass beside the map's"


def _passes(count: int) -> str:
    return f"{count:,} forward {'pass' if count == 1 else 'passes'}"


@dataclass(frozen=True)
class MetricEntry:
    """What is known of a metric without a model.

    Attributes:
        name: its name in specs, with the parameters given.
        family: the leaderboard that shows it.
        direction: which way is better; of a descriptive metric, which way tables are sorted.
        descriptive: True if it has no better end: it describes a map, and never decides a choice.
        bounds: smallest and largest value; None = no bound.
        summary: what it is, in one sentence.
        brief: the same in a few words.
        description: the paragraphs of its documentation.
        needs: what it needs beside the map.
        not_scored: the reasons for which an image is not scored, beside those of every metric.
        cost: what it costs; None if it fails on a small test image.
        sets: the words of ``--metrics`` that include it.
        only_with_cues: True if these sets include it only where the images have known cues.
        draws: True if it draws random numbers.
        binary: True if every value is 0 or 1.
        set_level: True if it scores the image set as a whole.
        criterion: True if it can decide a choice.
        gated: True if a baseline has it by default.
        column: title of its column where space is short; empty = it has none.
        of_model: True if it depends on image and model only, whatever the map.
        chance: score of a map that depends on no image; ``uniform``: that of the control; None = not known.
        substrate: what it replaces pixels with; empty if it replaces none.
        version: grows when the meaning of the number changes.
        reference: the source of the definition.
        target: its ``module:Class``.
        parameters: its parameters.
    """

    name: str
    family: str
    direction: str
    descriptive: bool
    bounds: tuple[float | None, float | None]
    summary: str
    brief: str
    description: tuple[str, ...]
    needs: tuple[str, ...]
    not_scored: tuple[str, ...]
    cost: CostEntry | None
    sets: tuple[str, ...]
    only_with_cues: bool
    draws: bool
    binary: bool
    set_level: bool
    criterion: bool
    gated: bool
    column: str
    of_model: bool
    chance: float | str | None
    substrate: str
    version: int
    reference: str
    target: str
    parameters: tuple[ParameterEntry, ...]

    @property
    def better(self) -> str | None:
        """Which way is better; None if neither is."""
        return None if self.descriptive else self.direction


def render_metrics(entries: Sequence[MetricEntry], form: OutputFormat, *, width: int) -> str:
    """Return the metrics, by family; JSON has everything that is known of each.

    Args:
        entries: the metrics, in the order of the catalog.
        form: table, json (a list of objects), csv, markdown or latex.
        width: width of the terminal in columns; for the table only.
    """
    if form != "table":
        return _document(entries, form)
    arrows = ", ".join(f"{arrow} = {word}" for word, arrow in ARROWS.items())
    lines = wrapped(f"metrics, the better end ({arrows}, - = neither), and the range", width)
    items = [
        (
            entry.family,
            ListItem(
                entry.name, (ARROWS.get(entry.better or "", "-"), _short(entry.bounds)), entry.summary, entry.brief
            ),
        )
        for entry in entries
    ]
    lines += family_lines(items, _FAMILY_TITLES, width)
    example = max(entries, key=lambda entry: len(entry.parameters)).name if entries else "NAME"
    lines += wrapped("--metrics takes these, and the sets default (list metrics default) and all.", width)
    lines += wrapped(f"Everything about one: python -m evalkit list metrics {example}", width)
    return "\n".join(lines) + "\n"


def render_metric(entry: MetricEntry, form: OutputFormat, *, width: int) -> str:
    """Return the whole entry of one metric; arguments as of ``render_metrics``."""
    if form != "table":
        return _document([entry], form)
    lines = entry_lines(entry.name, entry.summary, entry.description, width)
    lines += fact_lines([(name, text) for name, text in _facts(entry).items() if text], width)
    return "\n".join([*lines, *parameter_facts(entry.parameters, width)]) + "\n"


def _facts(entry: MetricEntry) -> dict[str, str]:
    sets = ", ".join(entry.sets) or "none: name it in --metrics"
    return {
        "family": entry.family,
        "sets": sets + (", where the images have known cues" if entry.only_with_cues else ""),
        "better": entry.better or f"neither: it describes maps; tables are sorted from the {_first(entry)}",
        "range": _range(entry.bounds) + ("; of each image 0 or 1" if entry.binary else ""),
        "chance": "none: it is of the model, whatever the map" if entry.of_model else _chance(entry.chance),
        "column": entry.column or "none; `run` says in sentences what it measured",
        "scores": "the image set as a whole" if entry.set_level else "each image; its mean is shown",
        "cost": "unknown" if entry.cost is None else entry.cost.text,
        "needs": "; ".join(_NEEDS.get(need, need) for need in entry.needs) or "nothing but the map",
        "not scored": "; ".join(_REASONS.get(reason, reason) for reason in entry.not_scored) or "for no other reason",
        "substrate": entry.substrate,
        "random": "draws random numbers, by --seed" if entry.draws else "draws no random numbers",
        "criterion": "can be --criterion" if entry.criterion else "cannot be --criterion",
        "gate": _gate(entry),
        "version": str(entry.version),
        "reference": entry.reference,
        "class": entry.target,
    }


def _gate(entry: MetricEntry) -> str:
    if entry.gated:
        return "in a baseline by default"
    return "in a baseline only if --metrics of baseline names it" if entry.criterion else "cannot be in a baseline"


def _first(entry: MetricEntry) -> str:
    return "highest" if entry.direction == "higher" else "lowest"


def _chance(chance: float | str | None) -> str:
    """Return what a map scores that depends on no image."""
    if chance is None:
        return "not known beforehand; compare with the control random"
    return "the score of the control uniform on the image" if isinstance(chance, str) else f"{chance:g}"


def _range(bounds: tuple[float | None, float | None]) -> str:
    low, high = bounds
    if low is None or high is None:
        ends = [f"{low:g} or more" if low is not None else "", f"{high:g} or less" if high is not None else ""]
        return "".join(ends) or "any number"
    return f"{low:g} to {high:g}"


def _short(bounds: tuple[float | None, float | None]) -> str:
    low, high = ("inf" if bound is None else f"{bound:g}" for bound in bounds)
    return f"{'-' if bounds[0] is None else ''}{low}..{high}"


def _document(entries: Sequence[MetricEntry], form: OutputFormat) -> str:
    if form == "json":
        return json.dumps([_as_json(entry) for entry in entries], indent=2, allow_nan=False) + "\n"
    from evalkit.report.tables.listing import render_listing  # imports what the table does not need

    return render_listing(_COLUMNS, [_row(entry) for entry in entries], form)


def _row(entry: MetricEntry) -> dict[str, str | float | None]:
    return {
        "metric": entry.name,
        "family": entry.family,
        "better": entry.better,
        "range": _range(entry.bounds),
        "needs": ", ".join(entry.needs),
        "cost": None if entry.cost is None else entry.cost.text,
        "sets": " ".join(entry.sets),
        "parameters": parameters_text(entry.parameters),
        "what it is": entry.summary,
        "reference": entry.reference,
    }


def _as_json(entry: MetricEntry) -> dict[str, Any]:
    return {
        **_row(entry),
        "range": list(entry.bounds),
        "needs": list(entry.needs),
        "cost": entry.cost and asdict(entry.cost),
        "sets": list(entry.sets),
        "sets_only_with_cues": entry.only_with_cues,
        "brief": entry.brief or None,
        "direction": entry.direction,
        "descriptive": entry.descriptive,
        "binary": entry.binary,
        "set_level": entry.set_level,
        "criterion": entry.criterion,
        "gated": entry.gated,
        "column": entry.column or None,
        "of_model": entry.of_model,
        "chance": entry.chance,
        "not_scored": list(entry.not_scored),
        "substrate": entry.substrate or None,
        "draws": entry.draws,
        "version": entry.version,
        "description": list(entry.description),
        "class": entry.target,
        "parameter_details": parameter_details(entry.parameters),
    }
