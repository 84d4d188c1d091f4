"""The options of a model that ``evaluate`` and ``explain`` share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

from evalkit.datasets.class_names import GivenNames

__all__ = ["ModelKeywords"]


class ModelKeywords(TypedDict, total=False):
    """Their types, for type checkers; ``core/settings.py`` declares the options."""

    preprocess: str | None
    head: Literal["auto", "softmax", "sigmoid", "multilabel", "probabilities"] | None
    output_name: str | None
    class_names: GivenNames | None
    input_size: int | str | tuple[int, int] | None
    imports: str | Sequence[str] | None
    allow_lambda: bool | None
