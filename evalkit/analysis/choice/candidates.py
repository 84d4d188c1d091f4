"""The candidates of a choice: the settings in which they differ and their cost, as texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evalkit.analysis.facts import swept_by
from evalkit.core.specs import Literals
from evalkit.store.manifest import ExplainerFacts

__all__ = [
    "NAME",
    "SWEPT_BY",
    "Variant",
    "candidate_name",
    "cost_text",
    "differing_parameters",
    "is_candidate",
    "size_and_stride",
    "value_text",
    "variant_text",
    "variants_of",
]

Variant = Mapping[str, Literals]
SWEPT_BY = ("patch_size", "stride")
NAME = "name"  # no explainer can have a parameter of this name


def is_candidate(facts: ExplainerFacts) -> bool:
    """Tell whether an explainer takes part in the patch-size sweep."""
    in_pixels = all(isinstance(facts.parameters.get(name), int | None) for name in SWEPT_BY)
    return in_pixels and swept_by(facts) == SWEPT_BY


def size_and_stride(facts: ExplainerFacts) -> tuple[int, int]:
    """Return a candidate's patch size and stride in pixels."""
    size, stride = (int(facts.parameters[name] or 0) for name in SWEPT_BY)
    return size, stride


def variants_of(candidates: Sequence[ExplainerFacts]) -> dict[str, dict[str, Literals]]:
    """Return what distinguishes candidates beside patch size and stride, by their texts.

    Args:
        candidates: all candidates of a sweep.

    Returns:
        The explainer's name, under ``NAME``, and each other parameter, if two candidates that have it differ in it.
    """
    return _differing(
        {
            facts.text: {
                NAME: facts.name,
                **{key: facts.parameters[key] for key in facts.parameters if key not in SWEPT_BY},
            }
            for facts in candidates
        }
    )


def differing_parameters(explainers: Sequence[ExplainerFacts]) -> dict[str, dict[str, Literals]]:
    """Return each explainer's parameters in which two explainers that have them differ, by their texts."""
    return _differing({facts.text: dict(facts.parameters) for facts in explainers})


def _differing(settings: Mapping[str, Mapping[str, Literals]]) -> dict[str, dict[str, Literals]]:
    values: dict[str, set[str]] = {}  # as texts, because True equals 1
    for of_candidate in settings.values():
        for key, value in of_candidate.items():
            values.setdefault(key, set()).add(str(value))
    return {
        text: {key: value for key, value in of_candidate.items() if len(values[key]) > 1}
        for text, of_candidate in settings.items()
    }


def variant_text(variant: Variant) -> str:
    """Return the parameters of a variant as text, without the explainer's name.

    >>> variant_text({"fill": "mean"}), variant_text({})
    ('fill=mean', '')
    """
    return ", ".join(f"{key}={value_text(value)}" for key, value in variant.items() if key != NAME)


def value_text(value: Literals) -> str:
    """Return the value of a parameter as text; None, with which the explainer takes its default, is ``default``.

    >>> value_text(0.5), value_text(None)
    ('0.5', 'default')
    """
    return "default" if value is None else str(value)


def cost_text(passes: float) -> str:
    """Return a cost in passes as text, with one decimal if it is not a whole number: a mean over images.

    >>> cost_text(500), cost_text(512.25)
    ('500', '512.2')
    """
    return f"{passes:.0f}" if float(passes).is_integer() else f"{passes:.1f}"


def candidate_name(patch_size: int, stride: int, variant: Variant) -> str:
    """Return a candidate's name: patch size, stride and everything else in which the candidates differ.

    >>> candidate_name(32, 16, {"fill": "mean"})
    'patch_size=32, stride=16, fill=mean'
    >>> candidate_name(32, 16, {"name": "occlusion"})
    'occlusion(patch_size=32, stride=16)'
    """
    others = variant_text(variant)
    settings = f"patch_size={patch_size}, stride={stride}" + (f", {others}" if others else "")
    return f"{variant[NAME]}({settings})" if NAME in variant else settings
