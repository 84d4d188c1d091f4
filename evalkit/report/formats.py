"""The output formats of results."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["FORMATS", "OutputFormat"]

OutputFormat = Literal["table", "json", "csv", "markdown", "latex"]
FORMATS: tuple[OutputFormat, ...] = get_args(OutputFormat)
