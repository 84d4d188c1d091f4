"""``ExplanationQuality``: a Keras callback that scores the model's explanations while it is trained."""

from __future__ import annotations

import inspect
import math
import sys
import warnings
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack

import keras
from numpy.typing import ArrayLike

from evalkit.analysis.service import gate_of
from evalkit.core.errors import ConfigError, EvalkitError, nearest
from evalkit.core.imports import first_line
from evalkit.core.options import described
from evalkit.core.settings import OPTIONS
from evalkit.datasets.class_names import read_classes
from evalkit.integrations.keras_options import QualityOptions, opened, run_options, whole
from evalkit.integrations.left_alone import left_alone
from evalkit.integrations.overlays import OverlayWriter
from evalkit.integrations.quality import Quality, QualityScorer
from evalkit.models.environment import require_tensorflow
from evalkit.store.baseline import read_baseline

if TYPE_CHECKING:
    from evalkit.analysis.gate.results import Gate
    from evalkit.datasets.image_set import ImageSet

__all__ = ["PREFIX", "EpochQuality", "ExplanationQuality"]

PREFIX = "explanation/"
"""What all names begin with that the callback adds to the logs of an epoch."""

_READERS = (keras.callbacks.CSVLogger, keras.callbacks.History, keras.callbacks.TensorBoard)

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class EpochQuality:
    """The scores after one epoch.

    Attributes:
        epoch: the epoch, from 0.
        quality: the scores, and what they cost.
        logs: what was added to the logs of the epoch.
    """

    epoch: int
    quality: Quality
    logs: Mapping[str, float]


@described(OPTIONS, *QualityOptions.__annotations__)
class ExplanationQuality(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """A Keras callback that scores the explanations of the model while it is trained.

    After the first epoch and after every ``every``-th it explains the same images, scores the maps, and adds the means
    to the logs of the epoch, as ``explanation/<metric>/<explainer>``. List it before the callbacks that use them
    (``EarlyStopping``, ``ModelCheckpoint``, ``CSVLogger``, ``TensorBoard``)::

        quality = ExplanationQuality((x_test, y_test), preprocess="0..1")
        stop = keras.callbacks.EarlyStopping(
            "explanation/symmetric_relevance_gain/gradcam", mode="max", patience=3
        )
        model.fit(x, y, epochs=20, callbacks=[quality, stop])

    Training is the same with it as without it: weights, optimizer and random numbers. What fails while it scores is a
    warning, once for each reason, and training goes on. docs/training.md describes all that it adds to the logs.

    Attributes:
        results: what each scoring found, in order.

    Args:
        images: labelled images, as for ``evalkit.evaluate``.
        explainers: specs or ``Explainer`` objects. [default: gradcam; with a baseline its explainers]
        metrics: specs or ``Metric`` objects. [default: symmetric_relevance_gain; with a baseline its metrics]
        every: after which epochs the model is scored: the first, and every one whose number this divides.
        limit: largest number of images, drawn evenly over the classes, the same in all epochs. [default: 16; with a
            baseline all]
        baseline: a file of ``python -m evalkit baseline``: the scores are also compared with it.
        pictures: number of images whose maps are written for TensorBoard.
        log_dir: TensorBoard's folder for these pictures.
        precision: number format of the model: float32 (that of the model itself), tf32, bfloat16, float16, or auto, as
            in ``evaluate``. [default: float32; with a baseline its precision]
        verbose: 1 prints what was decided about images and model, and verdicts; 0 nothing. Warnings are shown always.
        {options}

    Raises:
        EvalkitError: an argument that is not allowed, named as on the command line; files that cannot be read.
    """

    def __init__(  # noqa: PLR0913 - the arguments are those of a run, and of the callback
        self,
        images: ImageSet | str | PathLike[str] | tuple[ArrayLike, ArrayLike],
        explainers: str | Sequence[object] | None = None,
        metrics: str | Sequence[object] | None = None,
        *,
        every: int = 1,
        limit: int | None = None,
        baseline: str | PathLike[str] | None = None,
        pictures: int = 0,
        log_dir: str | PathLike[str] | None = None,
        precision: Literal["auto", "float32", "tf32", "bfloat16", "float16"] | None = None,
        verbose: int = 1,
        **options: Unpack[QualityOptions],
    ) -> None:
        """See the class."""
        super().__init__()
        require_tensorflow()
        for name in options.keys() - QualityOptions.__annotations__.keys():
            allowed = nearest(
                name, [*inspect.signature(ExplanationQuality).parameters, *QualityOptions.__annotations__]
            )
            raise TypeError(f"ExplanationQuality() got an unexpected keyword argument '{name}': {allowed}")
        self.every, self.verbose = whole("every", every, 1, "epochs"), verbose
        self.results: list[EpochQuality] = []
        self._baseline_file = None if baseline is None else Path(baseline)
        self._baseline = None if self._baseline_file is None else read_baseline(self._baseline_file)
        class_names = options.pop("class_names", None)
        given = {"explainers": explainers, "metrics": metrics, "limit": limit, "precision": precision}
        self._options = run_options(given, self._baseline, options)
        if class_names is not None:
            read_classes(class_names)
        self._overlays = _overlay_writer(whole("pictures", pictures, 0, "images"), log_dir)
        self._notes: list[str] = []
        self._scorer = QualityScorer(
            opened(images, self._options.data_format),
            self._options,
            class_names,
            self._notes.append,
            n_maps=pictures,
            gate_of=None if self._baseline is None else self._gate_of,
        )
        self._first_epoch: int | None = None
        self._known: set[str] = set()  # names of which some epoch had a score
        self._warned: set[str] = set()

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002 - Keras' signature
        """Warn if a callback that uses the scores is listed before, or if the model cannot be explained."""
        self._scorer.forget()  # what an interrupted training left, of another model perhaps
        self._first_epoch = None
        self._known.clear()
        self._warned.clear()
        early = [type(callback).__name__ for callback in _listed_before(self) if _uses_scores(callback)]
        if early:
            self._warn(
                f"{', '.join(early)} will not see the scores of ExplanationQuality, because callbacks are called in "
                "their order: list ExplanationQuality first"
            )
        self._guarded(lambda: self._scorer.check(self.model))

    def on_epoch_end(self, epoch: int, logs: MutableMapping[str, Any] | None = None) -> None:
        """Score the model, if it is due after this epoch, and add the scores to the logs."""
        if self._first_epoch is None:
            self._first_epoch = epoch
        if epoch != self._first_epoch and (epoch + 1) % self.every:
            return
        quality = self._guarded(lambda: self._scorer.score(self.model))
        if quality is not None:
            self._report(epoch, quality, {} if logs is None else logs)
        if quality is not None and self._overlays is not None:
            self._guarded(lambda: self._draw(epoch, quality))
        if self._notes and self.verbose:
            # The first line ends that of Keras' progress bar.
            sys.stdout.write("".join(f"{line}\n" for line in ("", *self._notes)))
        self._notes.clear()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002 - Keras' signature
        """Free what was made for the model."""
        self._scorer.forget()
        if self._overlays is not None:
            self._overlays.close()

    def _report(self, epoch: int, quality: Quality, logs: MutableMapping[str, Any]) -> None:
        """Add scores and verdicts to the logs, and warn of what failed."""
        for failure in quality.failures:
            self._warn(failure)
        if quality.gate_failed:
            self._warn(f"the scores are not compared with '{self._baseline_file}': {quality.gate_failed}")
        if quality.gate is not None:
            self._notes.append(f"Epoch {epoch + 1}: against '{self._baseline_file}': {quality.gate.summary}")
        added = self._named(quality)
        logs.update(added)
        self.results.append(EpochQuality(epoch, replace(quality, maps={}), added))

    def _named(self, quality: Quality) -> dict[str, float]:
        """Return what is added to the logs.

        A cell that no epoch scored yet has no name in them: EarlyStopping and ModelCheckpoint keep a first NaN as the
        best value for ever.
        """
        named = {f"{PREFIX}{metric}/{explainer}": mean for (metric, explainer), mean in quality.means.items()}
        self._known.update(name for name, mean in named.items() if math.isfinite(mean))
        added = {name: mean for name, mean in named.items() if name in self._known}
        added[f"{PREFIX}scored"] = quality.share_scored
        if quality.gate is not None:
            verdicts = [cell.verdict for cell in quality.gate.cells]
            added[f"{PREFIX}regressed"] = float(verdicts.count("regressed"))
            added[f"{PREFIX}not_comparable"] = float(verdicts.count("not comparable"))
        return added

    def _gate_of(self, run_folder: Path) -> Gate:
        options = self._options
        assert self._baseline is not None  # noqa: S101 - for the type checker
        return gate_of(
            run_folder, self._baseline, tolerance=options.tolerance, alpha=options.alpha, max_lost=options.max_lost
        )

    def _draw(self, epoch: int, quality: Quality) -> None:
        plan, overlays = self._scorer.plan, self._overlays
        if plan is not None and overlays is not None:
            entries = {entry.id: entry for entry in plan.images.entries}
            overlays.write(epoch, quality.maps, lambda image_id: plan.images.read(entries[image_id]), plan.geometry)

    def _guarded(self, action: Callable[[], Result]) -> Result | None:
        """Return what an action returns; None, and a warning, if it fails. It leaves training as it was."""
        try:
            with left_alone(self.model):
                return action()
        except EvalkitError as error:
            failure = str(error)
        except Exception as error:  # nothing here may stop a training
            failure = f"{type(error).__name__}: {first_line(error)}"
        self._warn(f"explanations are not scored: {failure}")
        return None

    def _warn(self, sentence: str) -> None:
        """Warn, once in each training."""
        if sentence not in self._warned:
            self._warned.add(sentence)
            warnings.warn(sentence, stacklevel=2)


def _overlay_writer(pictures: int, log_dir: str | PathLike[str] | None) -> OverlayWriter | None:
    if bool(pictures) != (log_dir is not None):
        raise ConfigError(
            f"pictures={pictures} and log_dir={log_dir!r} belong together: pictures of so many images are written into "
            "that folder for TensorBoard; give both, or neither"
        )
    return None if log_dir is None else OverlayWriter(Path(log_dir))


def _listed_before(callback: keras.callbacks.Callback) -> list[keras.callbacks.Callback]:
    """Return the callbacks that Keras calls before this one; only the list that calls it knows them."""
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList):
            listed = list(caller.callbacks)
            return listed[: listed.index(callback)] if callback in listed else []
        frame = frame.f_back
    return []


def _uses_scores(callback: keras.callbacks.Callback) -> bool:
    return isinstance(callback, _READERS) or str(getattr(callback, "monitor", "")).startswith(PREFIX)
