"""Commands get the options of ``core/settings.py`` as parameters: their flags, types and help texts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter

from evalkit.core.options import Option
from evalkit.core.settings import OPTIONS

__all__ = ["DATA", "GATE", "MODEL", "RUN", "Flag", "takes"]

Verb = TypeVar("Verb", bound=Callable[..., None])
Flag = Annotated[bool, Parameter(negative="", show_default=False)]

DATA, MODEL, RUN, GATE = (
    tuple(name for name, option in OPTIONS.items() if option.group == group)
    for group in ("data", "model", "run", "gate")
)


def takes(
    *names: str, required: Collection[str] = (), defaults: Mapping[str, str] = MappingProxyType({})
) -> Callable[[Verb], Verb]:
    """Return a decorator that adds options to a command, before its own.

    The command gets them as ``**options``: those that were given, by name.

    Args:
        names: the options.
        required: those that must be given.
        defaults: the default in words, where it is another than in ``run``.
    """

    def add(verb: Verb) -> Verb:
        signature = inspect.signature(verb, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        added = []
        for name in names:
            option = OPTIONS[name]
            text = option.text("" if name in required else defaults.get(name))
            if option.needs in names:
                text = f"With --{option.needs}: {text[0].lower()}{text[1:]}"
            added.append(_parameter(option, text, required=name in required))
        first = [one for one in own if one.kind is not inspect.Parameter.KEYWORD_ONLY]
        verb.__signature__ = signature.replace(parameters=[*first, *added, *own[len(first) :]])  # type: ignore[attr-defined]
        return verb

    return add


def _parameter(option: Option, text: str, *, required: bool) -> inspect.Parameter:
    kind: Any = option.kind if option.choices or option.kind in (bool, int, float) else str
    annotation = kind if required else kind | None
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else None,
        annotation=Annotated[annotation, Parameter(help=text, negative="")],
    )
