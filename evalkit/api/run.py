"""The way in from Python: ``evalkit.evaluate`` and the ``Run`` that it returns."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from os import PathLike, devnull
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from evalkit.analysis.load import table_of
from evalkit.analysis.results import LeaderboardCell, PatchSizeChoice, Results, SweepRow
from evalkit.analysis.service import results_of
from evalkit.core.settings import DEFAULTS, RunOptions, merge
from evalkit.report import OutputFormat, render
from evalkit.store.manifest import Manifest
from evalkit.store.run_folder import RunFolder
from evalkit.store.scores import ScoreTable

if TYPE_CHECKING:
    from evalkit.datasets.image_set import ImageSet
    from evalkit.harness.planning.plan import Plan
    from evalkit.models.classifier import Classifier

__all__ = ["Run", "evaluate", "open_run", "run_plan"]

_WIDTH = 120


class Run:
    """A finished run: its leaderboard, its patch-size choice, every score.

    Attributes:
        path: the run folder.
        manifest: what was asked, with what.
        results: everything that analysis says, as plain values.
    """

    def __init__(self, path: Path, *, temporary: Path | None = None) -> None:
        """Open a run folder.

        Args:
            path: the folder.
            temporary: a folder that is removed with this object.

        Raises:
            StoreError: there is no finished run, or it is damaged.
        """
        self.path = path
        if temporary is not None:
            weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)
        self.manifest, self.results = self._analysed()

    def leaderboard(self, metric: str | None = None) -> tuple[LeaderboardCell, ...]:
        """Return every explainer under every metric: mean, 95 % interval, rank, what it beats.

        Args:
            metric: only this one, best first; None = all, in the run's order.
        """
        if metric is None:
            return self.results.leaderboard
        cells = [cell for cell in self.results.leaderboard if cell.metric == metric]
        return tuple(sorted(cells, key=lambda cell: float("inf") if cell.rank is None else cell.rank))

    def patch_sweep(self) -> tuple[SweepRow, ...]:
        """Return every (patch size, stride) of ``occlusion``: its scores beside its cost."""
        return self.results.patch_sweep

    def best_patch_size(self, criterion: str | None = None, margin: float | None = None) -> PatchSizeChoice | None:
        """Return the recommended patch size and stride; None where nothing can be chosen from.

        Args:
            criterion: the metric that decides, instead of the run's own.
            margin: the loss of it that is accepted, instead of the run's own.

        Raises:
            ConfigError: the criterion is not among the run's metrics, or the margin is not above 0.
        """
        if criterion is None and margin is None:
            return self.results.best_patch_size
        margin = merge(RunOptions(margin=margin)).margin
        return self._analysed(criterion=criterion, margin=margin)[1].best_patch_size

    def scores(self) -> ScoreTable:
        """Return the score of every image: ``values`` float64 (images, explainers, metrics), NaN = not scored."""
        folder = RunFolder.read(self.path)
        try:
            return table_of(folder, self.manifest)
        finally:
            folder.close()

    def report(self, path: str | PathLike[str] | None = None, images: ImageSet | None = None) -> Path:
        """Write everything as one HTML page, as ``python -m evalkit report`` does, and return its path.

        Args:
            path: the file; None = ``report.html`` in the run folder.
            images: the photos, where the run was made of images in memory; others are read where the run read them.
        """
        from evalkit.report.html.export import write_report

        folder = RunFolder.read(self.path)
        try:
            return write_report(folder, None if path is None else Path(path), images)
        finally:
            folder.close()

    def figures(self, folder: str | PathLike[str]) -> list[Path]:
        """Write the plots as PNG files, as ``python -m evalkit report --figures`` does, and return their paths."""
        from evalkit.report.html.export import write_figures

        opened = RunFolder.read(self.path)
        try:
            return write_figures(opened, Path(folder))
        finally:
            opened.close()

    def render(self, form: OutputFormat = "table", *, width: int = _WIDTH) -> str:
        """Return everything that ``python -m evalkit show`` prints.

        Args:
            form: table, json, csv, markdown or latex.
            width: columns of the table.
        """
        return render(self.manifest, self.results, form, width=width, wide=False, color=False)

    def __str__(self) -> str:
        """Return the tables."""
        return self.render()

    def __repr__(self) -> str:
        """Name the folder, and how much is in it."""
        manifest = self.manifest
        return (
            f"Run('{self.path}': {self.results.n_images} images, {len(manifest.explainers)} explainers, "
            f"{len(manifest.metrics)} metrics)"
        )

    def _repr_markdown_(self) -> str:
        """Show the tables in a notebook."""
        return self.render("markdown")

    def _analysed(self, criterion: str | None = None, margin: float | None = None) -> tuple[Manifest, Results]:
        folder = RunFolder.read(self.path)
        try:
            return results_of(folder, criterion=criterion, margin=margin)
        finally:
            folder.close()


def open_run(path: str | PathLike[str]) -> Run:
    """Open a run folder that ``evaluate`` or ``python -m evalkit run`` has finished; TensorFlow is not needed.

    Raises:
        StoreError: there is no finished run, or it is damaged.
    """
    return Run(Path(path))


def evaluate(  # noqa: PLR0913 - one parameter an option
    model: Any,  # noqa: ANN401 - a keras.Model, which must not be imported to say so
    images: ImageSet | str | PathLike[str],
    *,
    preprocess: str | None = None,
    class_names: Sequence[str] | None = None,
    class_map: str | PathLike[str] | None = None,
    data_format: str | None = None,
    explainers: str | Sequence[str] | None = None,
    maps: Sequence[str | PathLike[str]] = (),
    patch_sizes: Sequence[int] | None = None,
    strides: Sequence[int | str] | None = None,
    metrics: str | Sequence[str] | None = None,
    criterion: str | None = None,
    margin: float | None = None,
    steps: int | None = None,
    limit: int | None = None,
    region_area: str | None = None,
    only_correct: bool = False,
    target: Literal["label", "predicted"] | None = None,
    geometry: Literal["squash", "center-crop"] | None = None,
    precision: Literal["auto", "float32", "bfloat16"] | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    output: str | PathLike[str] | None = None,
    fresh: bool = False,
    fail_on_error: bool = False,
    progress: bool = True,
) -> Run:
    """Explain every image, score the maps, and return the run: ``python -m evalkit run`` from Python.

    ``evalkit.evaluate(model, images, explainers=["gradcam", "occlusion"]).best_patch_size()`` says which patch size.

    Args:
        model: a Keras model, which is never changed, or whatever ``--model`` takes.
        images: an ``ImageSet``, e.g. of ``ImageSet.from_arrays``, or whatever ``--data`` takes.
        preprocess: how the model wants its input: a ``keras.applications`` family, or ``none`` for RGB in 0..255.
            Needed unless the model begins with a ``Rescaling`` or ``Normalization`` layer.
        class_names: names of the model's outputs, in their order.
        class_map: a file that says what classes of the images stand for.
        data_format: which reader takes a path; None = the one that fits what stands there.
        explainers: specs such as ``"occlusion(stride=half)"``; None = all that fit the model.
        maps: folders of maps made elsewhere, scored beside the explainers: see ``python -m evalkit score --help``.
        patch_sizes: pixels, for occlusion without a patch_size of its own.
        strides: ``patch``, ``half`` or pixels, for occlusion without a stride of its own.
        metrics: specs such as ``"deletion"``; None = all.
        criterion: the metric that decides the patch size.
        margin: the loss of it that is accepted for fewer passes.
        steps: of deletion and insertion.
        limit: the most images, evenly over the classes.
        region_area: only images of whose area the object takes such a share, e.g. ``"0.02..0.5"``.
        only_correct: only images that the model gets right.
        target: explain the labelled class, or the one that the model predicts.
        geometry: how photos are fitted to the model's input.
        precision: auto takes bfloat16 where the processor has units for it and the first photos score alike.
        batch_size: the most images in one pass.
        seed: of everything random.
        output: the run folder, kept and gone on with; None = a temporary one that goes with the returned object.
        fresh: forget what ``output`` holds.
        fail_on_error: stop at the first photo, explainer or metric that fails.
        progress: show progress on stderr.

    Raises:
        EvalkitError: whatever does not fit, in one sentence that names the option as on the command line.
    """
    from evalkit.harness.planning.prepare import prepare

    given = RunOptions(
        data=None if _is_image_set(images) else str(images),
        model=model if isinstance(model, str) else None,
        preprocess=preprocess,
        class_map=None if class_map is None else str(class_map),
        data_format=data_format,
        explainers=_plain(explainers),
        patch_sizes=_plain(patch_sizes),
        strides=_plain(strides),
        metrics=_plain(metrics),
        criterion=criterion,
        margin=margin,
        steps=steps,
        limit=limit,
        region_area=region_area,
        only_correct=only_correct,
        target=target,
        geometry=geometry,
        precision=precision,
        batch_size=batch_size,
        seed=seed,
        output=None if output is None else str(output),
        fresh=fresh,
        fail_on_error=fail_on_error,
    )
    with open(devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - no path on every system
        console = Console(stderr=True) if progress else Console(file=nowhere)
        plan = prepare(
            merge(DEFAULTS, given),
            lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True),
            model=None if isinstance(model, str) else _classifier(model, preprocess, class_names, batch_size),
            images=images if _is_image_set(images) else None,  # type: ignore[arg-type]
            class_names=class_names,
            maps=[Path(folder) for folder in maps],
        )
        temporary = Path(tempfile.mkdtemp(prefix="evalkit-")) if output is None else None
        path = temporary / "run" if temporary else Path(str(output))
        try:
            run_plan(plan, path, fresh=fresh, console=console)
            return Run(path, temporary=temporary)
        except BaseException:
            if temporary:
                shutil.rmtree(temporary, ignore_errors=True)
            raise


def run_plan(plan: Plan, path: Path, *, fresh: bool, console: Console) -> tuple[Manifest, Results]:
    """Compute what a run folder lacks of a plan, and analyse it.

    Args:
        plan: from ``evalkit.harness.planning.prepare``.
        path: the run folder.
        fresh: forget what it holds.
        console: for progress.

    Raises:
        StoreError: the folder cannot be written.
        DataError: no photo can be read.
    """
    from evalkit.harness.engine.driver import compute, require_readable

    RunFolder.check_writable(path)
    require_readable(plan)
    folder = RunFolder.write(path, fresh=fresh)
    try:
        compute(plan, folder, console)
        return results_of(folder)
    finally:
        folder.close()


def _is_image_set(images: object) -> bool:
    return hasattr(images, "entries")


def _plain(given: str | Sequence[Any] | None) -> Any:  # noqa: ANN401 - whatever the option holds
    return given if given is None or isinstance(given, str) else list(given)


def _classifier(
    model: Any,  # noqa: ANN401 - a keras.Model
    preprocess: str | None,
    class_names: Sequence[str] | None,
    batch_size: int | None,
) -> Classifier:
    from evalkit.models.zoo.load import as_classifier

    return as_classifier(model, preprocess=preprocess, class_names=class_names, batch_size=batch_size)
