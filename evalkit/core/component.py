"""The base class of explainers and metrics: name, version, parameters and signature."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, ClassVar

from evalkit.core import signature
from evalkit.core.provenance import is_built_in, registered_name, source_digest, target_of
from evalkit.core.specs import Literals

__all__ = ["Component"]


@dataclasses.dataclass(frozen=True)
class Component:
    """An explainer or a metric: it has a name, a version and parameters.

    Subclasses are frozen dataclasses whose fields are their parameters; ``version`` grows whenever the meaning of the
    numbers changes. ``always_signed`` holds fixed settings that distinguish the component from other implementations,
    e.g. the substrate. A class outside evalkit needs no ``name``: its spec is ``module:Class``.

    A field's metadata may hold the parameter's ``name`` where the field cannot have it, because a method does; and
    ``signed_default`` False if the parameter is younger than stored signatures, which lack it at its default.

    Attributes:
        run_defaults: the run's own defaults (``--steps``, ``--seed``) that this component took; not a parameter.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    always_shown: ClassVar[tuple[str, ...]] = ()
    always_signed: ClassVar[Mapping[str, str]] = types.MappingProxyType({})
    run_defaults: tuple[tuple[str, Literals], ...] = dataclasses.field(
        default=(), kw_only=True, repr=False, compare=False
    )

    def __init_subclass__(cls) -> None:
        """Give a class without a name its own."""
        super().__init_subclass__()
        if "name" not in cls.__dict__ and not is_built_in(cls):
            cls.name = cls.__qualname__

    @classmethod
    def parameter_fields(cls) -> dict[str, dataclasses.Field[Any]]:
        """Return the dataclass fields that are parameters, by the parameter's name, in the order declared."""
        fields = [field for field in dataclasses.fields(cls) if field.name != "run_defaults"]
        return {field.metadata.get("name", field.name): field for field in fields}

    def parameters(self) -> dict[str, Literals]:
        """Return every parameter with its value, in the order declared."""
        return {name: getattr(self, field.name) for name, field in self.parameter_fields().items()}

    @classmethod
    def spec_name(cls) -> str:
        """Return the name under which a spec finds the class: its registered name, or ``module:Class``."""
        return cls.name if is_built_in(cls) else registered_name(cls) or target_of(cls)

    @property
    def text(self) -> str:
        """The short spec: the name, and the parameters that are always shown or differ from their default.

        A default of the run (``--steps``, ``--seed``) counts as a default; the signature distinguishes the runs.
        """
        fields = self.parameter_fields()
        defaults = {name: field.default for name, field in fields.items()} | dict(self.run_defaults)
        shown = [
            f"{key}={value}"
            for key, value in self.parameters().items()
            if key in self.always_shown or value != defaults[key]
        ]
        return f"{self.spec_name()}({', '.join(shown)})" if shown else self.spec_name()

    @property
    def signature(self) -> str:
        """The long form in one line: name, version and the parameters; of a class outside evalkit also its source."""
        own = {} if is_built_in(type(self)) else {"class": target_of(type(self)), "source": self.source}
        fields = self.parameter_fields()
        signed = {
            name: value
            for name, value in self.parameters().items()
            if fields[name].metadata.get("signed_default", True) or value != fields[name].default
        }
        return signature.line(self.spec_name(), {"v": self.version, **own, **self.always_signed, **signed})

    @property
    def source(self) -> str | None:
        """The sha256 of the files that define a class outside evalkit; None without a source, or for a built-in."""
        return None if is_built_in(type(self)) else source_digest(type(self))

    @property
    def can_be_cached(self) -> bool:
        """Whether stored results can be recognized later: not without the source of the component's class."""
        return is_built_in(type(self)) or self.source is not None
