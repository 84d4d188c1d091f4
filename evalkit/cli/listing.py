"""``list``: the explainers, metrics, models and data formats."""

from __future__ import annotations

from typing import Literal

from evalkit.cli.console import print_result, terminal_width
from evalkit.core.component import Component
from evalkit.report.formats import OutputFormat

__all__ = ["list_"]

Row = dict[str, str]


def list_(
    what: Literal["explainers", "metrics", "models", "datasets"],
    /,
    *,
    format: OutputFormat = "table",  # noqa: A002 - the option's name
) -> None:
    """Print the explainers, metrics, models or data formats that evalkit supports.

    Args:
        what: Which list.
        format: Output format.
    """
    from evalkit.report import render_listing

    rows = {"explainers": _explainers, "metrics": _metrics, "models": _models, "datasets": _datasets}[what]()
    print_result(render_listing(what, list(rows[0]), rows, format, width=terminal_width()))


def _explainers() -> list[Row]:
    from evalkit.explainers.catalog import EXPLAINERS

    return [
        {"explainer": name, "parameters": _parameters(kind), "what it is": kind.summary, "reference": kind.reference}
        for name in EXPLAINERS.names()
        for kind in [EXPLAINERS.get(name)]
    ]


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
    from evalkit.models.applications import APPLICATIONS, MINI, MINI_FAMILY

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
