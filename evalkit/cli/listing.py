"""``list``: the explainers, metrics, models and data formats."""

from __future__ import annotations

from typing import Literal

from evalkit.cli.console import print_result, terminal_width
from evalkit.core.component import Component
from evalkit.core.errors import ConfigError
from evalkit.report.formats import OutputFormat

__all__ = ["list_"]

Row = dict[str, str]


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
        name: Print the whole entry of this explainer, or only the explainers of this set.
        format: Output format.
    """
    if what == "explainers":
        _print_explainers(name, format)
        return
    if name is not None:
        raise ConfigError(f"list {what} takes no name, but '{name}' was given; only list explainers takes one")
    from evalkit.report import render_listing

    rows = {"metrics": _metrics, "models": _models, "datasets": _datasets}[what]()
    print_result(render_listing(what, list(rows[0]), rows, format, width=terminal_width()))


def _print_explainers(name: str | None, form: OutputFormat) -> None:
    from evalkit.cli.list_explainers import explainer_entries, explainer_entry
    from evalkit.explainers.catalog import WORDS
    from evalkit.report.tables.explainer_list import render_explainer, render_explainers

    if name is None or name in WORDS:
        print_result(render_explainers(explainer_entries(name or "all"), WORDS, form, width=terminal_width()))
    else:
        print_result(render_explainer(explainer_entry(name), form, width=terminal_width()))


def _parameters(kind: type[Component]) -> str:
    return ", ".join(f"{name}={_default(field.default)}" for name, field in kind.parameter_fields().items())


def _default(value: object) -> str:
    return "none" if value is None else str(value)


def _metrics() -> list[Row]:
    from evalkit.metrics.catalog import METRICS, needs_text

    rows = []
    for name in METRICS.names():
        kind = METRICS.get(name)
        spec = kind.spec
        rows.append(
            {
                "metric": name,
                "better": spec.direction,
                "range": f"{spec.bounds[0]:g} to {spec.bounds[1]:g}",
                "needs": needs_text(kind()),
                "parameters": _parameters(kind),
                "what it is": spec.summary,
                "reference": spec.reference,
            }
        )
    return rows


def _models() -> list[Row]:
    from evalkit.models.applications import APPLICATIONS, MINI, MINI_FAMILY, MINI_SHORTCUT

    named = [
        {
            "model": name,
            "preprocess": model.family,
            "what it is": f"keras.applications.{model.function}, ImageNet weights",
        }
        for name, model in APPLICATIONS.items()
    ]
    return [
        {
            "model": MINI,
            "preprocess": MINI_FAMILY,
            "what it is": "VGG16 at an eighth of the width for --data scenes, in the package",
        },
        {
            "model": MINI_SHORTCUT,
            "preprocess": MINI_FAMILY,
            "what it is": 'the same, but it also uses the mark of --data "scenes(shortcut=mark)"',
        },
        *named,
        *(
            {"model": name, "preprocess": "--preprocess", "what it is": what}
            for name, what in (
                ("FILE.keras, FILE.h5", "a saved Keras model"),
                ("FOLDER", "a SavedModel"),
                ("FILE.onnx", "an ONNX model; pip install 'evalkit-saliency[onnx]'"),
                ("FILE.tflite", "a TFLite model"),
                ("module:function", "a function that returns a Keras model"),
            )
        ),
        {
            "model": "module:function",
            "preprocess": "none",
            "what it is": "a function of images in 0..255, or one that returns it (docs/models.md)",
        },
    ]


def _datasets() -> list[Row]:
    from evalkit.datasets.readers.catalog import all_readers

    return [
        {"data": reader.data, "format": reader.option, "what it is": reader.summary, "example": reader.example}
        for reader in all_readers()
    ]
