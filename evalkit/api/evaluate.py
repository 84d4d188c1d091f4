"""``evaluate``: ``python -m evalkit run`` from Python."""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from os import PathLike, devnull
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, get_type_hints

from numpy.typing import ArrayLike
from rich.console import Console

from evalkit.analysis.results import Results
from evalkit.analysis.service import results_of
from evalkit.api.model_keywords import ModelKeywords
from evalkit.api.photos import image_set_of
from evalkit.api.run import Run
from evalkit.core.engine_options import EngineOptions
from evalkit.core.errors import nearest
from evalkit.core.options import described
from evalkit.core.settings import OPTIONS, merge
from evalkit.models.environment import require_keras
from evalkit.store.manifest import Manifest
from evalkit.store.run_folder import RunFolder

if TYPE_CHECKING:
    from evalkit.datasets.image_set import ImageSet
    from evalkit.harness.planning.plan import Plan
    from evalkit.models.classifier import Classifier

__all__ = ["EvaluateOptions", "evaluate", "run_plan"]


class EvaluateOptions(ModelKeywords, total=False):
    """The types of the options of ``evaluate``, for type checkers; ``core/settings.py`` declares the options.

    A spec is text; explainers and metrics may also be objects.
    """

    data_format: str | None
    class_map: str | PathLike[str] | None
    class_order: Literal["sorted", "numeric", "index", "index-from-1"] | None
    explainers: str | Sequence[object] | None
    patch_sizes: str | Sequence[int] | None
    strides: str | Sequence[int | str] | None
    metrics: str | Sequence[object] | None
    criterion: str | None
    margin: float | None
    steps: int | None
    limit: int | None
    shard: str | tuple[int, int] | None
    region_area: str | tuple[float, float] | None
    only_correct: bool | None
    target: Literal["label", "predicted"] | None
    geometry: Literal["squash", "center-crop"] | None
    precision: Literal["auto", "float32", "tf32", "bfloat16", "float16"] | None
    batch_size: int | None
    seed: int | None
    output: str | PathLike[str] | None
    fresh: bool | None
    keep_maps: str | int | None
    fail_on_error: bool | None
    engine: Literal["local", "ray"] | None
    ray_address: str | None
    workers: int | str | None
    threads_per_worker: int | None
    gpus_per_worker: float | None
    read_on: Literal["driver", "workers"] | None


@described(OPTIONS, *(name for name, option in OPTIONS.items() if not option.not_in_python))
def evaluate(
    model: Any,  # noqa: ANN401 - a keras.Model, which must not be imported to say so
    images: ImageSet | str | PathLike[str] | tuple[ArrayLike, ArrayLike],
    *,
    maps: Sequence[str | PathLike[str]] = (),
    progress: bool = True,
    **options: Unpack[EvaluateOptions],
) -> Run:
    """Explain every image, score the maps, and return the run: ``python -m evalkit run`` from Python.

    ``evalkit.evaluate(model, images, explainers=["gradcam", "occlusion"]).best_patch_size()`` recommends a patch size.
    Options that list several values take text, as on the command line, or a sequence. None is the default.

    Args:
        model: a Keras model, which is never changed; a ``BlackBox`` or function of images (docs/models.md); or a value
            of ``--model``.
        images: an ``ImageSet``, e.g. of ``ImageSet.from_arrays``; a value of ``--data``; or arrays of images and of
            their classes, ``(x, y)``, as ``keras.datasets`` gives them.
        maps: folders of maps from files, scored beside the explainers: see ``python -m evalkit score --help``.
        progress: show progress on stderr.
        {options}

    Raises:
        EvalkitError: an argument that is not allowed or does not fit the others, named as on the command line.
    """
    require_keras()
    from evalkit.harness.planning.prepare import prepare

    given: Mapping[str, object] = options
    for name in given.keys() - EvaluateOptions.__annotations__.keys():
        allowed = nearest(name, EvaluateOptions.__annotations__)
        raise TypeError(f"evaluate() got an unexpected keyword argument '{name}': {allowed}")
    class_names = options.pop("class_names", None)
    by_text = {"model": os.fspath(model)} if isinstance(model, str | PathLike) else {}
    image_set = image_set_of(images)
    if image_set is None:
        by_text["data"] = str(images)
    if isinstance(class_names, str | PathLike):
        by_text["class_names"] = os.fspath(class_names)
    settings = merge(by_text, given)
    with open(devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - no path on every system
        # In a notebook rich would show every line as an output of its own, whatever the file.
        shown = {"stderr": True} if progress else {"file": nowhere}
        console = Console(**shown, force_jupyter=False)
        plan = prepare(
            settings,
            lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True),
            model=None
            if isinstance(model, str | PathLike)
            else _classifier(model, {**settings.model_options(), "class_names": class_names}, settings.batch_size),
            images=image_set,
            class_names=class_names,
            maps=[Path(folder) for folder in maps],
        )
        temporary = Path(tempfile.mkdtemp(prefix="evalkit-")) if settings.output is None else None
        path = temporary / "run" if temporary else Path(str(settings.output))
        try:
            run_plan(plan, path, fresh=settings.fresh, console=console, engine=settings)
            return Run(path, temporary=temporary)
        except BaseException:
            if temporary:
                shutil.rmtree(temporary, ignore_errors=True)
            raise


def _with_options(signature: inspect.Signature) -> inspect.Signature:
    """Return the signature with every option as a keyword, for ``help`` and editors."""
    *own, _ = signature.parameters.values()
    hints = get_type_hints(EvaluateOptions)
    keywords = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=OPTIONS[name].value, annotation=hint)
        for name, hint in hints.items()
    ]
    return signature.replace(parameters=[*own, *keywords])


evaluate.__signature__ = _with_options(inspect.signature(evaluate))  # type: ignore[attr-defined]


def run_plan(
    plan: Plan, path: Path, *, fresh: bool, console: Console, engine: EngineOptions | None = None
) -> tuple[Manifest, Results]:
    """Compute what a run folder lacks of a plan, and analyse it.

    Args:
        plan: the plan, from ``evalkit.harness.planning.prepare``.
        path: the run folder.
        fresh: delete the results in the folder first.
        console: shows progress.
        engine: where it is computed; None = in this process.

    Raises:
        ConfigError: the workers cannot be started, or were lost.
        StoreError: the folder cannot be written.
        DataError: no photo can be read.
    """
    from evalkit.harness.engine.driver import compute, require_readable
    from evalkit.harness.engine.executors import executor_of

    RunFolder.check_writable(path)
    require_readable(plan)
    folder = RunFolder.write(path, fresh=fresh)
    try:
        compute(plan, folder, console, lambda planned, say: executor_of(planned, engine or EngineOptions(), say))
        return results_of(folder)
    finally:
        folder.close()


def _classifier(
    model: Any,  # noqa: ANN401 - a keras.Model
    options: Mapping[str, Any],
    batch_size: int | None,
) -> Classifier:
    from evalkit.models.zoo.load import as_classifier

    return as_classifier(model, batch_size=batch_size, **options)
