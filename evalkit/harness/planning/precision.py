"""The choice of a run's precision, made once, and the default run folder, whose name contains it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Literal

import numpy as np

from evalkit.core.errors import ImageError, ModelError
from evalkit.core.settings import RunOptions
from evalkit.datasets.geometry import Geometry, fit
from evalkit.datasets.image import Pixels
from evalkit.datasets.image_set import ImageSet
from evalkit.harness.planning.plan import Plan
from evalkit.harness.planning.recipe import ModelRecipe
from evalkit.models.classifier import Classifier
from evalkit.models.devices import gpu_names, require_tf32
from evalkit.models.keras.agreement import agreement
from evalkit.models.keras.precision import has_bfloat16_units, has_fewer_digits, is_half
from evalkit.models.runner import Runner
from evalkit.store.run_folder import RunFolder

__all__ = ["default_folder", "default_run", "in_chosen_precision", "times_as_fast"]

Say = Callable[[str], None]
Photos = Sequence[Pixels]
_N_COMPARED = 3  # photos on which two precisions are compared
_FASTER = 1.2  # least gain of speed for which bfloat16's rounding is accepted
_ROUNDS = 3
_LARGEST_BATCH = 8  # as fast per image as larger ones


def in_chosen_precision(classifier: Classifier, options: RunOptions, images: ImageSet, say: Say) -> Classifier:
    """Return the classifier in the precision of a run.

    ``auto`` uses bfloat16 if the processor has units for it, the scores agree with float32, and it is at least 1.2
    times as fast. A resumed run keeps what was chosen when it began.

    Args:
        classifier: the model in its own precision.
        options: ``precision``, ``geometry``, ``output`` and ``fresh`` are used.
        images: the images; the first that can be read are compared.
        say: a function that prints why float32 is used where bfloat16 could be.
    """
    precision = _kept(options, classifier)
    if classifier.precision == "own" and has_fewer_digits(precision):
        return classifier.in_precision(precision)  # which says why there is none
    if classifier.precision != "float32":
        if precision not in ("auto", classifier.precision):
            say(f"model '{classifier.name}' was built for {classifier.precision} and keeps it, not {precision}")
        return classifier
    if precision == "float32":
        return classifier
    if precision == "tf32":
        require_tf32(precision, options.engine)
        return classifier.in_precision("tf32")
    if is_half(precision):
        if precision == "bfloat16" and not (has_bfloat16_units() or gpu_names()):
            say("this processor has no bfloat16 units: --precision bfloat16 will be slow; auto uses float32 here")
        if precision == "float16" and not gpu_names():
            say("float16 is for GPUs: without one it will be slow; auto uses float32 or bfloat16 here")
        return classifier.in_precision(precision)
    photos = _first_photos(images, classifier, options.geometry) if has_bfloat16_units() else []
    return _chosen(classifier, photos, say) if photos else classifier


def _chosen(classifier: Classifier, photos: Photos, say: Say) -> Classifier:
    try:
        fast = classifier.in_precision("bfloat16")
    except ModelError as error:
        say(f"float32 is used: {error}")
        return classifier
    comparison = agreement(classifier, fast, photos)
    if not comparison.close_enough:
        say(
            f"float32 is used: on {comparison.n_images} of these photos bfloat16 gives {comparison}; "
            "--precision bfloat16 uses it anyway"
        )
        return classifier
    gain = times_as_fast(classifier, fast, photos)
    if gain < _FASTER:
        say(
            f"float32 is used: bfloat16 is {gain:.2f} times as fast for model '{classifier.name}' (used from {_FASTER} "
            "times); --precision bfloat16 uses it anyway"
        )
        return classifier
    return fast


def times_as_fast(exact: Runner, fast: Runner, photos: Photos, clock: Callable[[], float] = perf_counter) -> float:
    """Return the speed of one classifier relative to another's, from the medians of a few passes in turns.

    Args:
        exact: the model in float32.
        fast: the same model in bfloat16.
        photos: one or more images at the model's input size; they fill a batch.
        clock: a function that returns seconds.
    """
    size = min(exact.batch_size, fast.batch_size, _LARGEST_BATCH)
    batch = np.stack([*islice(cycle(photos), size)])
    passes = exact.count.forward, fast.count.forward
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(1 + _ROUNDS):
        for runner, own in zip((exact, fast), seconds, strict=True):
            start = clock()
            runner.logits(batch)
            own.append(clock() - start)
    exact.count.forward, fast.count.forward = passes  # a check is not part of the job
    slow, quick = (median(own[1:]) for own in seconds)  # the first pass prepares memory and kernels
    return slow / quick if quick > 0 else 1.0


def _kept(options: RunOptions, classifier: Classifier) -> str:
    """Return the precision of the options; a resumed run keeps what ``auto`` chose before."""
    precision = options.precision
    if precision != "auto" or options.output is None or options.fresh:
        return precision
    earlier = RunFolder.manifest_at(Path(options.output))
    if earlier is None or earlier.model.fingerprint != classifier.fingerprint:
        return precision
    chosen = earlier.model.precision
    return chosen if chosen == "float32" or has_fewer_digits(chosen) else precision


def _first_photos(images: ImageSet, classifier: Classifier, geometry: Geometry) -> list[Pixels]:
    photos: list[Pixels] = []
    for entry in images.entries:
        try:
            photos.append(fit(images.read(entry), classifier.input_size, geometry, classifier.channels).pixels)
        except ImageError:
            continue
        if len(photos) == _N_COMPARED:
            break
    return photos


def default_run(plan: Plan, options: RunOptions) -> tuple[Plan, Path]:
    """Return a plan and its default folder, ``runs/<data>-<model>-<signature>``: a repeated command has the same one.

    Speeds vary from run to run, and with them what ``--precision auto`` chooses: a run that it began in the other
    precision is resumed in that.

    Args:
        plan: the plan.
        options: the options that it was made of.
    """
    path = default_folder(plan)
    again = options.precision == "auto" and not options.fresh and not options.only_correct and has_bfloat16_units()
    if not again or RunFolder.manifest_at(path) is not None:
        return plan, path
    other = _in_other_precision(plan)
    if other is not None and RunFolder.manifest_at(default_folder(other)) is not None:
        return other, default_folder(other)
    return plan, path


def _in_other_precision(plan: Plan) -> Plan | None:
    if plan.classifier.precision not in ("float32", "bfloat16"):
        return None
    precision: Literal["float32", "bfloat16"] = "bfloat16" if plan.classifier.precision == "float32" else "float32"
    try:
        classifier = plan.classifier.in_precision(precision)
    except ModelError:
        return None
    other = replace(plan, model=ModelRecipe.of(classifier, plan.model.source))
    return other if classifier.precision == precision else None


def default_folder(plan: Plan) -> Path:
    """Return ``runs/<data>-<model>-<signature>``; of a shard with ``-shard-2-of-8`` behind it."""
    # A built-in set with parameters is no file name: parentheses and commas would need quotes, a dot cuts it.
    built_in = re.sub(r"[^\w.]+", "-", plan.images.name).strip("-") if plan.images.kind == "scenes" else ""
    data, model = built_in or Path(plan.images.name).stem, Path(plan.classifier.name.replace(":", "-")).stem
    part = "" if plan.shard is None else f"-shard-{plan.shard.number}-of-{plan.shard.count}"
    return Path("runs") / f"{data}-{model}-{plan.digest()}{part}"
