"""The output formats of results, and the arrows in their titles."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["ARROWS", "FORMATS", "OutputFormat"]

OutputFormat = Literal["table", "json", "csv", "markdown", "latex"]
FORMATS: tuple[OutputFormat, ...] = get_args(OutputFormat)
ARROWS = {"higher": "↑", "lower": "↓"}
"""Toward better scores, by a metric's direction."""
