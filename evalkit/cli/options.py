"""The options of ``core/settings.py`` as parameters of commands: flags, types and help texts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter

from evalkit.core.options import Option
from evalkit.core.settings import OPTIONS

__all__ = ["DATA", "ENGINE", "GATE", "MODEL", "RUN", "Flag", "takes"]

Command = TypeVar("Command", bound=Callable[..., None])
Flag = Annotated[bool, Parameter(negative="", show_default=False)]

DATA, MODEL, RUN, ENGINE, GATE = (
    tuple(name for name, option in OPTIONS.items() if option.group == group)
    for group in ("data", "model", "run", "engine", "gate")
)


def takes(
    *names: str, required: Collection[str] = (), defaults: Mapping[str, str] = MappingProxyType({})
) -> Callable[[Command], Command]:
    """Return a decorator that adds options to a command, before its own.

    The command gets them as ``**options``: those that were given, by name.

    Args:
        names: the names of the options.
        required: the options that must be given.
        defaults: the default in words, where it differs from that of ``run``.
    """

    def add(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        given = signature.parameters.values()
        own = [parameter for parameter in given if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
        added = []
        for name in names:
            option = OPTIONS[name]
            text = option.text("" if name in required else defaults.get(name))
            if option.needs in names:
                text = f"With --{option.needs}: {text[0].lower()}{text[1:]}"
            added.append(_parameter(option, text, required=name in required))
        first = [parameter for parameter in own if parameter.kind is not inspect.Parameter.KEYWORD_ONLY]
        command.__signature__ = signature.replace(parameters=[*first, *added, *own[len(first) :]])  # type: ignore[attr-defined]
        return command

    return add


def _parameter(option: Option, text: str, *, required: bool) -> inspect.Parameter:
    plain = option.choices or option.kind in (bool, int, float)
    kind: Any = option.kind if plain and option.read is None else str
    annotation = kind if required else kind | None
    flag = option.flag if option.called else None  # None = made of the name
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else None,
        annotation=Annotated[annotation, Parameter(name=flag, help=text, negative="")],
    )
