"""Every explainer by name, and how the list on the command line becomes explainers."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.errors import ConfigError
from evalkit.explainers.base import Explainer
from evalkit.registry import Registry, parse_spec, split_specs

__all__ = ["DEFAULT_EXPLAINERS", "DEFAULT_PATCH_SIZES", "EXPLAINERS", "SCENES_PATCH_SIZES", "expand"]

EXPLAINERS: Registry[Explainer] = Registry(
    "explainer",
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
)
DEFAULT_EXPLAINERS: tuple[str, ...] = tuple(EXPLAINERS.names())
DEFAULT_PATCH_SIZES: tuple[int, ...] = (16, 24, 32, 40, 56, 64)
SCENES_PATCH_SIZES: tuple[int, ...] = (16, 24, 32, 40, 56)


def expand(specs: str | Sequence[str], patch_sizes: Sequence[int], seed: int) -> list[Explainer]:
    """Build the explainers of a run, in the order written.

    A bare ``occlusion`` (one without ``patch_size``) stands for one explainer a patch size.

    Args:
        specs: ``"gradcam, occlusion(stride=half)"``, or the specs one by one.
        patch_sizes: pixels; used by bare ``occlusion`` only.
        seed: the run's seed, for explainers that draw random numbers and name no seed of their own.

    Raises:
        ConfigError: nothing listed, an unknown name or parameter, a value out of range, or one listed twice.
    """
    written = split_specs(specs) if isinstance(specs, str) else [one for spec in specs for one in split_specs(spec)]
    if not written:
        raise ConfigError(f"--explainers is empty; name at least one of: {', '.join(EXPLAINERS.names())}")
    explainers: list[Explainer] = []
    for text in written:
        spec = parse_spec(text)
        sizes = patch_sizes if spec.name == "occlusion" and "patch_size" not in spec.parameters else [None]
        if not sizes:
            raise ConfigError("--patch-sizes is empty; name at least one size in pixels, or occlusion(patch_size=N)")
        explainers += [
            EXPLAINERS.build(spec, seed=seed, **({} if size is None else {"patch_size": size})) for size in sizes
        ]
    seen: set[str] = set()
    for explainer in explainers:
        if explainer.text in seen:
            raise ConfigError(f"--explainers: {explainer.text} is listed twice; drop one")
        seen.add(explainer.text)
    return explainers
