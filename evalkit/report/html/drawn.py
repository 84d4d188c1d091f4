"""SVG in the values that the report's templates show."""

from __future__ import annotations

from typing import Any

__all__ = ["Drawn", "marked_safe"]


class Drawn(str):
    """SVG of our own plots, in which matplotlib has escaped every name; not escaped again in the page."""

    __slots__ = ()


def marked_safe(value: Any) -> Any:  # noqa: ANN401 - whatever a template takes
    """Return a value with all SVG in it marked as safe for a template."""
    from markupsafe import Markup

    if isinstance(value, Drawn):
        return Markup(value)  # noqa: S704 - see Drawn
    if isinstance(value, dict):
        return {key: marked_safe(item) for key, item in value.items()}
    return [marked_safe(item) for item in value] if type(value) is list else value
