"""Every explainer by name, and how the list on the command line becomes explainers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from evalkit.core.errors import ConfigError
from evalkit.core.registry import Registry, Spec, parse_spec, split_specs
from evalkit.explainers.base import Explainer

__all__ = ["DEFAULT_EXPLAINERS", "DEFAULT_PATCH_SIZES", "EXPLAINERS", "SCENES_PATCH_SIZES", "expand", "unused_by"]

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


def expand(
    specs: str | Sequence[str],
    patch_sizes: Sequence[int],
    seed: int,
    *,
    strides: Sequence[int | str] = ("patch",),
    say: Callable[[str], None] = lambda _: None,
) -> list[Explainer]:
    """Build the explainers of a run, in the order written.

    A bare ``occlusion`` (one without ``patch_size``) stands for one explainer a patch size and, if it names no stride
    either, a stride. A stride in pixels is left out where it is larger than the patch.

    Args:
        specs: ``"gradcam, occlusion(stride=half)"``, or the specs one by one.
        patch_sizes: pixels; used by bare ``occlusion`` only.
        seed: the run's seed, for explainers that draw random numbers and name no seed of their own.
        strides: ``patch``, ``half`` or pixels; used by bare ``occlusion`` only.
        say: told of what is left out.

    Raises:
        ConfigError: nothing listed, an unknown name or parameter, a value out of range, or one listed twice.
    """
    written = _split(specs)
    if not written:
        raise ConfigError(f"--explainers is empty; name at least one of: {', '.join(EXPLAINERS.names())}")
    explainers: list[Explainer] = []
    for text in written:
        spec = parse_spec(text)
        if _is_swept(spec):
            explainers += _grid(spec, patch_sizes, strides, say)
        else:
            explainers.append(EXPLAINERS.build(spec, seed=seed))
    seen: set[str] = set()
    for explainer in explainers:
        if explainer.text in seen:
            raise ConfigError(f"--explainers: {explainer.text} is listed twice; drop one")
        seen.add(explainer.text)
    return explainers


def unused_by(specs: str | Sequence[str] | None, *, sizes: bool, strides: bool) -> list[str]:
    """Return the options among ``--patch-sizes`` and ``--strides`` that were given and mean nothing for these specs.

    Args:
        specs: as for ``expand``; None = all explainers.
        sizes: ``--patch-sizes`` was given.
        strides: ``--strides`` was given.
    """
    if specs is None:
        return []
    bare = [spec for spec in map(parse_spec, _split(specs)) if _is_swept(spec)]
    unused = {
        "--patch-sizes": sizes and not bare,
        "--strides": strides and all("stride" in spec.parameters for spec in bare),
    }
    return [option for option, is_unused in unused.items() if is_unused]


def _split(specs: str | Sequence[str]) -> list[str]:
    return split_specs(specs) if isinstance(specs, str) else [one for spec in specs for one in split_specs(spec)]


def _is_swept(spec: Spec) -> bool:
    return spec.name == "occlusion" and "patch_size" not in spec.parameters


def _grid(
    spec: Spec, patch_sizes: Sequence[int], strides: Sequence[int | str], say: Callable[[str], None]
) -> Iterator[Explainer]:
    """Yield one ``occlusion`` for each patch size and stride."""
    if not patch_sizes:
        raise ConfigError("--patch-sizes is empty; name at least one size in pixels, or occlusion(patch_size=N)")
    wanted: Sequence[int | str | None] = [None] if "stride" in spec.parameters else strides
    if all(isinstance(stride, int) and stride > max(patch_sizes) for stride in wanted):
        raise ConfigError(
            f"--strides {', '.join(map(str, wanted))}: larger than every patch size "
            f"({', '.join(map(str, patch_sizes))}); a stride is at most the patch size"
        )
    seen: set[str] = set()
    for size in patch_sizes:
        for stride in wanted:
            if isinstance(stride, int) and stride > size:
                say(f"left out: patch_size={size} with a stride of {stride}, which would leave pixels uncovered")
                continue
            own = {} if stride is None else {"stride": stride}
            made = EXPLAINERS.build(Spec(spec.name, {**spec.parameters, "patch_size": size, **own}))
            if made.text not in seen:  # half of 32 is 16
                seen.add(made.text)
                yield made
