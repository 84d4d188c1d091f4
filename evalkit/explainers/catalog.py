"""The explainers by name, the default set, and the expansion of specs to explainers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from evalkit.core.errors import ConfigError
from evalkit.core.registry import Registry
from evalkit.core.specs import Spec, parse_spec
from evalkit.explainers.base import Explainer, SweepOptions

__all__ = [
    "DEFAULT_EXPLAINERS",
    "DEFAULT_PATCH_SIZES",
    "EXPLAINERS",
    "FAMILIES",
    "SCENES_PATCH_SIZES",
    "SETS",
    "WORDS",
    "Listed",
    "expand",
    "expand_listed",
    "names_in",
    "unused_by",
]

EXPLAINERS: Registry[Explainer] = Registry(
    "explainer",
    Explainer,  # type: ignore[type-abstract]
    {
        "gradcam": "evalkit.explainers.cam:GradCam",
        "cam": "evalkit.explainers.cam:Cam",
        "hirescam": "evalkit.explainers.gradient_cams:HiResCam",
        "layercam": "evalkit.explainers.gradient_cams:LayerCam",
        "gradcam_plus_plus": "evalkit.explainers.gradient_cams:GradCamPlusPlus",
        "xgradcam": "evalkit.explainers.gradient_cams:XGradCam",
        "eigencam": "evalkit.explainers.gradient_cams:EigenCam",
        "gradient": "evalkit.explainers.gradients:Gradient",
        "gradient_x_input": "evalkit.explainers.gradients:GradientTimesInput",
        "guided_backprop": "evalkit.explainers.gradients:GuidedBackprop",
        "smoothgrad": "evalkit.explainers.gradients:SmoothGrad",
        "integrated_gradients": "evalkit.explainers.path:IntegratedGradients",
        "expected_gradients": "evalkit.explainers.path:ExpectedGradients",
        "occlusion": "evalkit.explainers.occlusion:Occlusion",
        "rise": "evalkit.explainers.rise:Rise",
        "scorecam": "evalkit.explainers.scorecam:ScoreCam",
        "ablationcam": "evalkit.explainers.ablationcam:AblationCam",
        "lime": "evalkit.explainers.superpixels:Lime",
        "kernel_shap": "evalkit.explainers.superpixels:KernelShap",
        "tf_explain.gradcam": "evalkit.explainers.tf_explain:TfExplainGradCam",
        "tf_explain.occlusion": "evalkit.explainers.tf_explain:TfExplainOcclusion",
        "tf_explain.vanilla_gradients": "evalkit.explainers.tf_explain_gradients:TfExplainVanillaGradients",
        "tf_explain.gradients_inputs": "evalkit.explainers.tf_explain_gradients:TfExplainGradientsInputs",
        "tf_explain.smoothgrad": "evalkit.explainers.tf_explain_gradients:TfExplainSmoothGrad",
        "tf_explain.integrated_gradients": "evalkit.explainers.tf_explain_gradients:TfExplainIntegratedGradients",
        "uniform": "evalkit.explainers.controls:Uniform",
        "random": "evalkit.explainers.controls:Random",
        "smooth_noise": "evalkit.explainers.controls:SmoothNoise",
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

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "cams": ("gradcam", "cam", "hirescam", "layercam", "gradcam_plus_plus", "xgradcam", "eigencam"),
    "gradients": (
        "gradient",
        "gradient_x_input",
        "guided_backprop",
        "smoothgrad",
        "integrated_gradients",
        "expected_gradients",
    ),
    "masks": ("occlusion", "rise", "scorecam", "ablationcam", "lime", "kernel_shap"),
    "tf_explain": (
        "tf_explain.gradcam",
        "tf_explain.occlusion",
        "tf_explain.vanilla_gradients",
        "tf_explain.gradients_inputs",
        "tf_explain.smoothgrad",
        "tf_explain.integrated_gradients",
    ),
    "controls": ("uniform", "random", "smooth_noise", "center", "edges"),
}
"""The explainers of each family, by the word that selects it in ``--explainers``."""

SETS: Mapping[str, Sequence[str]] = {"default": DEFAULT_EXPLAINERS, **FAMILIES}
WORDS: tuple[str, ...] = (*SETS, "all")
"""The words that stand for several explainers."""

DEFAULT_PATCH_SIZES: tuple[int, ...] = (16, 24, 32, 40, 56, 64)
SCENES_PATCH_SIZES: tuple[int, ...] = (16, 24, 32, 40, 56)


class Listed(NamedTuple):
    """One explainer of a run, and where it comes from.

    Attributes:
        explainer: the explainer.
        spec: the spec as written; empty for an object.
        is_alternative: True if the spec names alternatives, ``a|b``: one that does not fit the model is left out.
    """

    explainer: Explainer
    spec: str = ""
    is_alternative: bool = False


def expand(
    given: object,
    patch_sizes: Sequence[int],
    seed: int,
    *,
    strides: Sequence[int | str] = ("patch",),
    say: Callable[[str], None] = lambda _: None,
) -> list[Explainer]:
    """Build the explainers of a run, in the order written; as ``expand_listed``, but none may be listed twice."""
    listed = expand_listed(given, SweepOptions(tuple(patch_sizes), tuple(strides)), seed, say)
    return EXPLAINERS.distinct([one.explainer for one in listed])


def expand_listed(
    given: object, sweep: SweepOptions | None, seed: int, say: Callable[[str], None] = lambda _: None
) -> list[Listed]:
    """Build the explainers of a run, in the order written.

    ``a|b`` after a parameter stands for one explainer each. ``occlusion`` without ``patch_size`` is expanded to one
    explainer per patch size and, without ``stride``, per stride. A stride in pixels is left out where it is larger than
    the patch, and of several alternatives those that are not allowed.

    Args:
        given: ``"gradcam, occlusion(stride=half)"``, or a sequence of specs and ``Explainer`` objects. None or the word
            ``default`` means ``DEFAULT_EXPLAINERS``, the words in ``FAMILIES`` their members, ``all`` every explainer
            in the catalog.
        sweep: the values of the run's options for ``occlusion``; None = a spec without a patch size has its default.
        seed: the run's seed, for explainers that draw random numbers and have no seed of their own.
        say: a function that prints a sentence for each variant that is left out.

    Raises:
        ConfigError: nothing listed, an unknown name or parameter, or a value out of range.
    """
    items = EXPLAINERS.expand_sets(EXPLAINERS.all_of("default" if given is None else given), SETS)
    if not items:
        raise ConfigError(
            f"--explainers is empty; name at least one of: {', '.join(WORDS)}, {', '.join(EXPLAINERS.names())}"
        )
    listed: list[Listed] = []
    for item in items:
        if isinstance(item, str):
            listed += _variants(item, sweep, seed, say)
        else:
            listed.append(Listed(EXPLAINERS.accept(item, seed=seed)))
    return listed


def _variants(text: str, sweep: SweepOptions | None, seed: int, say: Callable[[str], None]) -> list[Listed]:
    """Return the explainers that one spec stands for."""
    spec = parse_spec(text)
    component = EXPLAINERS.get(spec.name)
    built: list[Explainer] = []
    errors: list[ConfigError] = []
    for given in spec.variants():
        own = {**component.sweep_settings(given, spec.alternatives), **given}
        try:
            built += [
                EXPLAINERS.build(Spec(spec.name, parameters), seed=seed)
                for parameters in ([own] if sweep is None else component.variants(own, sweep, say))
            ]
        except ConfigError as error:
            errors.append(error)
    if errors and not built:
        raise errors[0]
    for reason in errors:
        say(f"left out: {reason}")
    # Half of 32 is 16: two variants may be equal.
    return [Listed(explainer, text, bool(spec.alternatives)) for explainer in dict.fromkeys(built)]


def names_in(given: object) -> set[str]:
    """Return the names of the explainers that are listed themselves, not as members of a set."""
    if given is None:
        return set()
    items = [item for item in EXPLAINERS.all_of(given) if item not in WORDS]
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
    items = EXPLAINERS.expand_sets(EXPLAINERS.all_of(given), SETS)
    specs = [parse_spec(item) for item in items if isinstance(item, str)]
    used = {
        option
        for spec in specs
        for parameters in spec.variants()
        for option in EXPLAINERS.get(spec.name).sweep_options(parameters)
    }
    given_options = {"--patch-sizes": sizes, "--strides": strides}
    return [option for option, is_given in given_options.items() if is_given and option not in used]
