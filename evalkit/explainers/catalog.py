"""The explainers by name, the default set, and the expansion of specs to explainers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evalkit.core.errors import ConfigError
from evalkit.core.registry import Registry
from evalkit.core.specs import Spec, parse_spec
from evalkit.explainers.base import Explainer, SweepOptions

__all__ = [
    "DEFAULT_EXPLAINERS",
    "DEFAULT_PATCH_SIZES",
    "EXPLAINERS",
    "SCENES_PATCH_SIZES",
    "expand",
    "names_in",
    "unused_by",
]

EXPLAINERS: Registry[Explainer] = Registry(
    "explainer",
    Explainer,  # type: ignore[type-abstract]
    {
        "gradcam": "evalkit.explainers.cam:GradCam",
        "cam": "evalkit.explainers.cam:Cam",
        "occlusion": "evalkit.explainers.occlusion:Occlusion",
        "tf_explain.gradcam": "evalkit.explainers.tf_explain:TfExplainGradCam",
        "tf_explain.occlusion": "evalkit.explainers.tf_explain:TfExplainOcclusion",
        "uniform": "evalkit.explainers.controls:Uniform",
        "random": "evalkit.explainers.controls:Random",
        "center": "evalkit.explainers.controls:Center",
        "edges": "evalkit.explainers.controls:Edges",
    },
    group="evalkit.explainers",
)
DEFAULT_EXPLAINERS: tuple[str, ...] = (
    "gradcam",
    "cam",
    "occlusion",
    "tf_explain.gradcam",
    "tf_explain.occlusion",
    "uniform",
    "random",
    "center",
    "edges",
)
"""The explainers of a run by default, and the meaning of the word ``default`` in ``--explainers``."""

DEFAULT_PATCH_SIZES: tuple[int, ...] = (16, 24, 32, 40, 56, 64)
SCENES_PATCH_SIZES: tuple[int, ...] = (16, 24, 32, 40, 56)


def expand(
    given: object,
    patch_sizes: Sequence[int],
    seed: int,
    *,
    strides: Sequence[int | str] = ("patch",),
    say: Callable[[str], None] = lambda _: None,
) -> list[Explainer]:
    """Build the explainers of a run, in the order written.

    ``occlusion`` without ``patch_size`` is expanded to one explainer per patch size and, without ``stride``, per
    stride. A stride in pixels is left out where it is larger than the patch.

    Args:
        given: ``"gradcam, occlusion(stride=half)"``, or a sequence of specs and ``Explainer`` objects. None or the word
            ``default`` means ``DEFAULT_EXPLAINERS``, ``all`` every explainer in the catalog.
        patch_sizes: the patch sizes in pixels, for ``occlusion`` without ``patch_size``.
        seed: the run's seed, for explainers that draw random numbers and have no seed of their own.
        strides: the strides, ``patch``, ``half`` or pixels, for ``occlusion`` without ``patch_size``.
        say: a function that prints a sentence for each variant that is left out.

    Raises:
        ConfigError: nothing listed, an unknown name or parameter, a value out of range, or one listed twice.
    """
    items = EXPLAINERS.expand_sets(EXPLAINERS.all_of("default" if given is None else given), DEFAULT_EXPLAINERS)
    if not items:
        raise ConfigError(f"--explainers is empty; name at least one of: default, all, {', '.join(EXPLAINERS.names())}")
    sweep = SweepOptions(tuple(patch_sizes), tuple(strides))
    explainers: list[Explainer] = []
    for item in items:
        if isinstance(item, str):
            spec = parse_spec(item)
            variants = EXPLAINERS.get(spec.name).variants(spec.parameters, sweep, say)
            built = [EXPLAINERS.build(Spec(spec.name, parameters), seed=seed) for parameters in variants]
            explainers += dict.fromkeys(built)  # half of 32 is 16: two variants may be equal
        else:
            explainers.append(EXPLAINERS.accept(item, seed=seed))
    return EXPLAINERS.distinct(explainers)


def names_in(given: object) -> set[str]:
    """Return the names of the explainers that are listed themselves, not as members of a set."""
    if given is None:
        return set()
    items = [item for item in EXPLAINERS.all_of(given) if item not in ("default", "all")]
    return {parse_spec(item).name if isinstance(item, str) else item.spec_name() for item in items}  # type: ignore[attr-defined]


def unused_by(given: object, *, sizes: bool, strides: bool) -> list[str]:
    """Return the options among ``--patch-sizes`` and ``--strides`` that are given but have no effect on these specs.

    Args:
        given: the explainers, as for ``expand``; None = the default set.
        sizes: True if ``--patch-sizes`` is given.
        strides: True if ``--strides`` is given.
    """
    if given is None:
        return []
    items = EXPLAINERS.expand_sets(EXPLAINERS.all_of(given), DEFAULT_EXPLAINERS)
    specs = [parse_spec(item) for item in items if isinstance(item, str)]
    used = {option for spec in specs for option in EXPLAINERS.get(spec.name).sweep_options(spec.parameters)}
    given_options = {"--patch-sizes": sizes, "--strides": strides}
    return [option for option, is_given in given_options.items() if is_given and option not in used]
