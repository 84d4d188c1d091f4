"""What a run was made with, and what it recommends, by name."""

from __future__ import annotations

from collections.abc import Iterator

from evalkit.analysis.results import ParameterChoice, PatchSizeChoice, Results
from evalkit.core.specs import Literals
from evalkit.integrations.names import safe_name
from evalkit.store.manifest import Manifest

__all__ = ["Value", "nested", "parameters_of"]

Value = str | int | float | bool


def parameters_of(manifest: Manifest, results: Results) -> dict[str, Value]:
    """Return model, data, settings, versions and recommendations by name, e.g. ``model/name``; no path.

    A recommendation that is not there has the reason instead.
    """
    every = [*_model(manifest), *_data(manifest), *_settings(manifest), *_recommended(results)]
    # Names of packages are the same with - or _, by their own rules.
    versions = {safe_name(name.lower().replace("-", "_")): number for name, number in sorted(manifest.versions.items())}
    every += [(f"versions/{name}", number) for name, number in versions.items()]
    return {name: value for name, value in every if value is not None and value != ""}


def nested(parameters: dict[str, Value]) -> dict[str, object]:
    """Return parameters as dictionaries in dictionaries, one for each part of a name before the last.

    >>> nested({"model/name": "vgg16", "seed": 0})
    {'model': {'name': 'vgg16'}, 'seed': 0}
    """
    tree: dict[str, object] = {}
    for name, value in parameters.items():
        *parts, last = name.split("/")
        inner = tree
        for part in parts:
            inner = inner.setdefault(part, {})  # type: ignore[assignment]
        inner[last] = value
    return tree


def _model(manifest: Manifest) -> Iterator[tuple[str, Value | None]]:
    model = manifest.model
    yield "model/name", model.name
    yield "model/fingerprint", model.fingerprint
    yield "model/preprocess", model.preprocess
    yield "model/head", model.head
    yield "model/input", f"{model.input_size[0]} x {model.input_size[1]} x {model.channels}"
    yield "model/classes", model.n_classes
    yield "model/target_layer", model.target_layer
    yield "model/precision", model.precision


def _data(manifest: Manifest) -> Iterator[tuple[str, Value | None]]:
    data = manifest.data
    yield "data/name", data.name
    yield "data/format", data.kind
    yield "data/fingerprint", data.fingerprint
    yield "data/images", data.n_images
    yield "data/images_with_region", data.n_regions


def _settings(manifest: Manifest) -> Iterator[tuple[str, Value | None]]:
    settings = manifest.settings
    yield "settings/target", settings.target
    yield "settings/geometry", settings.geometry
    yield "settings/steps", settings.steps
    yield "settings/seed", settings.seed
    yield "settings/limit", settings.limit
    yield "settings/criterion", settings.criterion
    yield "settings/margin", settings.margin
    for name, value in settings.chosen.items():
        yield f"settings/{safe_name(name)}", value
    yield "settings/explainers", ", ".join(one.text for one in manifest.explainers)
    yield "settings/metrics", ", ".join(manifest.metrics)


def _recommended(results: Results) -> Iterator[tuple[str, Value | None]]:
    size = results.best_patch_size
    if size is not None:
        swept = {"patch_size": size.patch_size, "stride": size.stride, **size.variant}
        yield from _choice("best_patch_size", size, swept)
    elif results.best_patch_size_reason:
        yield "best_patch_size/reason", results.best_patch_size_reason
    for sweep in results.parameter_sweeps:
        name, chosen = f"best_parameters/{safe_name(sweep.explainer)}", results.best_parameters.get(sweep.explainer)
        if chosen is not None:
            yield from _choice(name, chosen, chosen.parameters)
        elif sweep.reason:
            yield f"{name}/reason", sweep.reason


def _choice(
    name: str, choice: PatchSizeChoice | ParameterChoice, swept: dict[str, Literals]
) -> Iterator[tuple[str, Value | None]]:
    for parameter, value in swept.items():
        yield f"{name}/{safe_name(parameter)}", "none" if value is None else value
    yield f"{name}/explainer", choice.explainer
    yield f"{name}/decided", choice.decided
    yield f"{name}/reason", choice.reason
