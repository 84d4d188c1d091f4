"""``list``: the explainers, metrics, models and data formats."""

from __future__ import annotations

from typing import Literal

from evalkit.cli.console import print_result, terminal_width
from evalkit.report.formats import OutputFormat

__all__ = ["list_"]


def list_(
    what: Literal["explainers", "metrics", "models", "datasets"],
    name: str | None = None,
    /,
    *,
    format: OutputFormat = "table",  # noqa: A002 - the option's name
) -> None:
    """Print the explainers, metrics, models or data formats that evalkit supports.

    Args:
        what: Which list.
        name: Print everything about this one, e.g. occlusion or "deletion(steps=14)"; or only the explainers or metrics
            of this set or family, e.g. default.
        format: Output format.
    """
    render = {"explainers": _explainers, "metrics": _metrics, "models": _models, "datasets": _datasets}[what]
    print_result(render(name, format))


def _explainers(name: str | None, form: OutputFormat) -> str:
    from evalkit.cli.list_explainers import explainer_entries, explainer_entry
    from evalkit.explainers.catalog import WORDS
    from evalkit.report.tables.explainer_list import render_explainer, render_explainers

    if name is None or name in WORDS:
        return render_explainers(explainer_entries(name or "all"), WORDS, form, width=terminal_width())
    return render_explainer(explainer_entry(name), form, width=terminal_width())


def _metrics(name: str | None, form: OutputFormat) -> str:
    from evalkit.cli.list_metrics import METRIC_WORDS, metric_entries, metric_entry
    from evalkit.report.tables.metric_list import render_metric, render_metrics

    if name is None or name in METRIC_WORDS:
        return render_metrics(metric_entries(name or "all"), form, width=terminal_width())
    return render_metric(metric_entry(name), form, width=terminal_width())


def _models(name: str | None, form: OutputFormat) -> str:
    from evalkit.cli.list_models import MODEL_GROUPS, model_entries, model_entry
    from evalkit.report.tables.item_list import render_item, render_items

    if name is not None:
        return render_item(model_entry(name), form, width=terminal_width())
    title, notes = "models for --model, and the preprocessing that goes with each", (_more("models", "vgg16"),)
    return render_items(title, MODEL_GROUPS, model_entries(), notes, form, width=terminal_width())


def _datasets(name: str | None, form: OutputFormat) -> str:
    from evalkit.cli.list_datasets import DATA_GROUPS, data_entries, data_entry
    from evalkit.report.tables.item_list import render_item, render_items

    if name is not None:
        return render_item(data_entry(name), form, width=terminal_width())
    title, notes = "labelled images for --data, and what it names", (_more("datasets", "csv"),)
    return render_items(title, DATA_GROUPS, data_entries(), notes, form, width=terminal_width())


def _more(what: str, example: str) -> str:
    return f"Everything about one, with an example: python -m evalkit list {what} {example}"
