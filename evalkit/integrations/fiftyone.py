"""Export of a run to FiftyOne: a dataset with one sample an image, its maps as heatmaps, its scores as fields."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.analysis.load import table_of
from evalkit.core.errors import ConfigError, StoreError
from evalkit.integrations.libraries import errors_as_sentences, library
from evalkit.integrations.parameters import nested, parameters_of
from evalkit.integrations.photo_samples import PhotoSample, samples
from evalkit.integrations.pictures import png_of
from evalkit.integrations.record import Exported, default_name, digest_of, opened
from evalkit.report.cite import methods
from evalkit.report.html.photos import Photos
from evalkit.store.files import write_file
from evalkit.store.run_folder import RunFolder

if TYPE_CHECKING:
    from evalkit.api.run import Run
    from evalkit.datasets.image_set import ImageSet

__all__ = ["export", "sample_of"]

_TITLE = "FiftyOne"
_WHAT_NEXT = "FiftyOne needs a MongoDB server: its own, or one that FIFTYONE_DATABASE_URI names"
_INFO = "evalkit"  # the key of a dataset's info that says what wrote it
_PARTIAL = "being written by evalkit"
_NO_PHOTO = "FiftyOne shows photos, and every photo of the run is missing or has changed; name them with --data"
_AT_ONCE = 64  # samples with their maps in memory


def export(
    run: Run | str | PathLike[str],
    *,
    name: str | None = None,
    photos: str | PathLike[str] | None = None,
    overwrite: bool = False,
    images: ImageSet | None = None,
) -> Exported:
    """Write a finished run as a FiftyOne dataset, which stays until it is deleted.

    One sample an image: a photo with several classes to explain is there once for each. Fields: ``image_id``,
    ``ground_truth``, ``prediction``, ``correct``, ``boxes`` or ``region``, ``map_<explainer>`` for every kept map, and
    ``<metric>/<explainer>`` for every score. Photos that are missing or have changed are left out.

    Args:
        run: a run of ``evalkit.evaluate`` or ``evalkit.open_run``, or a run folder.
        name: the dataset's name; None = the name of the run's folder.
        photos: a new or empty folder for photos that are in no file, such as arrays and scenes; they are written there
            as PNG files, which the dataset needs from then on.
        overwrite: whether to replace a dataset of this name, if evalkit has written it.
        images: the photos, if they were in memory or have moved.

    Returns:
        The dataset's name, and notes.

    Raises:
        MissingPackageError: FiftyOne is not installed.
        StoreError: there is no finished run, no photo can be read, or FiftyOne refuses the export.
        ConfigError: the dataset exists, ``photos`` is missing or not wanted, or the run is a shard.
    """
    fo = library("fiftyone", _TITLE, "fiftyone")
    with opened(run) as (folder, manifest, results):
        dataset_name = name or default_name(run)
        reader = Photos(manifest, images)
        into = _photo_folder(folder, reader, photos)
        with errors_as_sentences(_TITLE, _WHAT_NEXT):
            _require_free(fo, dataset_name, overwrite)
        info = {
            "digest": digest_of(manifest),
            "signature": manifest.signature.run,
            "methods": methods(manifest, results),
            **nested(parameters_of(manifest, results)),
        }
        found = samples(folder, manifest, table_of(folder, manifest), reader, into)
        try:
            with errors_as_sentences(_TITLE, _WHAT_NEXT):
                count = _write(fo, dataset_name, _saved(found), info)
        except BaseException:
            if into is not None:  # it was new or empty
                shutil.rmtree(into, ignore_errors=True)
            raise
        n_images = len(folder.database.planned_images())
    lost = f"{n_images - count} of {n_images} images left out: their photos are missing or have changed"
    lost_notes = (lost,) if count < n_images else ()
    written = (f"The photos are in {into}; the dataset shows these files.",) if into is not None else ()
    return Exported(dataset_name, (f"{count} samples", *lost_notes, *written, "Look at it: fiftyone app launch"))


def _photo_folder(folder: RunFolder, photos: Photos, into: str | PathLike[str] | None) -> Path | None:
    """Return the folder for photos that are in no file; None if all are in files.

    Raises:
        StoreError: no photo can be read.
        ConfigError: the folder is missing, not wanted, or not empty.
    """
    if photos.problem:
        raise StoreError(f"FiftyOne shows photos, and those of the run cannot be read: {photos.problem}")
    rows = folder.database.planned_images()
    n_without = sum(photos.file_of(row) is None for row in rows)
    if not n_without:
        if into is not None:
            raise ConfigError(f"--photos '{into}' has no effect: every photo is in a file; leave it out")
        return None
    if into is None:
        raise ConfigError(
            f"--photos is missing: {n_without} of {len(rows)} photos are in no file, and FiftyOne shows files; name a "
            "new or empty folder, into which they are written as PNG files"
        )
    path = Path(into)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"--photos '{into}' is a file; name a new or empty folder")
    if path.is_dir() and any(path.iterdir()):
        raise ConfigError(f"--photos '{into}' is not empty; name a new or empty folder")
    return path.absolute()


def _require_free(fo: Any, name: str, overwrite: bool) -> None:  # noqa: ANN401
    """Raise ConfigError if there is a dataset that may not be replaced."""
    if not fo.dataset_exists(name):
        return
    if not overwrite:
        raise ConfigError(f"the FiftyOne dataset '{name}' exists; give another --name, or --overwrite to replace it")
    if _INFO not in fo.load_dataset(name).info:
        raise ConfigError(
            f"the FiftyOne dataset '{name}' was not written by evalkit, and is not replaced; give another --name"
        )


def _saved(found: Iterable[PhotoSample]) -> Iterator[PhotoSample]:
    """Yield samples; write the photos that are in no file."""
    for photo in found:
        if photo.pixels is not None:
            write_file(photo.path, png_of(photo.pixels), "--photos")
        yield photo


def _write(fo: Any, name: str, found: Iterable[PhotoSample], info: dict[str, object]) -> int:  # noqa: ANN401
    """Write a dataset under another name, and give it its own when it is complete; return the number of samples."""
    partial = f"{name} {_PARTIAL}"
    if fo.dataset_exists(partial):  # of an export that was killed
        fo.delete_dataset(partial)
    dataset = fo.Dataset(partial)
    try:
        count = 0
        for some in _in_parts(found):
            dataset.add_samples([sample_of(fo, photo) for photo in some], progress=False)
            count += len(some)
        if not count:
            raise StoreError(_NO_PHOTO)  # noqa: TRY301 - the dataset is deleted below
        dataset.info = {_INFO: info}
        dataset.save()
        if fo.dataset_exists(name):
            fo.delete_dataset(name)
        dataset.name = name
        dataset.persistent = True
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to show
            dataset.delete()
        raise
    return count


def _in_parts(found: Iterable[PhotoSample]) -> Iterator[Sequence[PhotoSample]]:
    part = []
    for photo in found:
        part.append(photo)
        if len(part) == _AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def sample_of(fo: Any, photo: PhotoSample) -> Any:  # noqa: ANN401
    """Return one image as a FiftyOne sample, in no dataset yet.

    Args:
        fo: the module ``fiftyone``.
        photo: the image.
    """
    sample = fo.Sample(filepath=str(photo.path), image_id=photo.image_id)
    if photo.label:
        sample["ground_truth"] = fo.Classification(label=photo.label)
    if photo.predicted:
        sample["prediction"] = fo.Classification(label=photo.predicted, confidence=photo.confidence)
    if photo.correct is not None:
        sample["correct"] = photo.correct
    if photo.boxes is not None:
        detections = [fo.Detection(label=photo.label, bounding_box=box) for box in photo.boxes.tolist()]
        sample["boxes"] = fo.Detections(detections=detections)
    if photo.mask is not None:
        sample["region"] = fo.Segmentation(mask=photo.mask)
    for explainer, heat in photo.maps.items():
        sample[f"map_{explainer}"] = fo.Heatmap(map=heat.values, range=[heat.low, heat.high], note=heat.note)
    for field, score in photo.scores.items():
        sample[field] = score
    return sample
