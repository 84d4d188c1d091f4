"""One sample an image for FiftyOne, as plain values: the photo's file, class, region, maps over the photo, scores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.core.signature import digest
from evalkit.datasets.channels import shown
from evalkit.datasets.geometry import Geometry, geometry_of, seen_window
from evalkit.datasets.image import LabelledImage
from evalkit.integrations.names import safe_name
from evalkit.integrations.numbers import metric_names
from evalkit.report.html.gallery import label_of
from evalkit.report.html.photos import Photos
from evalkit.report.images.colormap import scale_of
from evalkit.store.database import ImageRow
from evalkit.store.manifest import Manifest
from evalkit.store.maps import load_map
from evalkit.store.run_folder import RunFolder
from evalkit.store.scores import ScoreTable

__all__ = ["Heat", "PhotoSample", "map_over_photo", "photo_name", "samples"]

_LONGEST = 60


class Heat(NamedTuple):
    """A map over a whole photo.

    Attributes:
        values: float32 (h, w); 0 where the model did not see the photo, and where the map is not finite.
        low: value of the first color.
        high: value of the last color, above ``low``.
        note: what is unusual about the map; empty if nothing is.
    """

    values: NDArray[np.float32]
    low: float
    high: float
    note: str


class PhotoSample(NamedTuple):
    """One image.

    Attributes:
        image_id: id of the image in the run.
        path: file of the photo.
        pixels: uint8 (H, W, 3), the photo if its file is to be written; else None.
        label: name of the class; its index as text if the name is unknown; empty if unlabelled.
        predicted: the model's first choice in the same way; empty if unknown.
        confidence: the model's score of its first choice, 0..1; None if it was not stored.
        correct: whether the first choice is the label; None if not known.
        boxes: float64 (K, 4), left, top, width, height as fractions of the photo; None if there is no region or a mask.
        mask: uint8 (H, W), 1 = object, 0 = not; None if the region is unknown or given by boxes.
        maps: kept maps by the explainer's name.
        scores: scores by ``<metric>/<explainer>``; what is not scored is left out.
    """

    image_id: str
    path: Path
    pixels: NDArray[np.uint8] | None
    label: str
    predicted: str
    confidence: float | None
    correct: bool | None
    boxes: NDArray[np.float64] | None
    mask: NDArray[np.uint8] | None
    maps: Mapping[str, Heat]
    scores: Mapping[str, float]


def samples(
    folder: RunFolder, manifest: Manifest, table: ScoreTable, photos: Photos, into: Path | None
) -> Iterator[PhotoSample]:
    """Yield the images of a run whose photos are unchanged, in its order; each photo is read again.

    Args:
        folder: the run folder, open for reading.
        manifest: the manifest of the run.
        table: the scores of the run.
        photos: reads the photos.
        into: folder for photos that are in no file; None = every photo is in a file.
    """
    geometry = geometry_of(manifest.settings.geometry)
    names = {metric: name for metric, name in metric_names(manifest).items() if metric in table.metrics}
    explainers = [safe_name(text) for text in table.explainers]
    classes = manifest.model.class_names
    for index, row in enumerate(folder.database.planned_images()):
        photo = photos.original(row)
        if photo is None:
            continue
        file = photos.file_of(row)
        scores = {
            f"{names[metric]}/{explainer}": float(value)
            for column, explainer in enumerate(explainers)
            for metric, value in zip(table.metrics, table.values[index, column], strict=True)
            if np.isfinite(value)
        }
        yield PhotoSample(
            image_id=row.image_id,
            path=file if file is not None else (into or Path()) / photo_name(row.image_id),
            pixels=shown(photo.pixels) if file is None else None,
            label=label_of(row, classes) or (str(row.class_index) if row.class_index >= 0 else ""),
            predicted="" if row.predicted is None else classes.get(row.predicted, str(row.predicted)),
            confidence=row.clean_score if row.predicted is not None and row.predicted == row.target else None,
            correct=None if row.correct is None else bool(row.correct),
            boxes=_fractions(photo),
            mask=photo.region.astype(np.uint8) if photo.exact and photo.region is not None else None,
            maps=_maps(folder, row, table.explainers, photo, geometry),
            scores=scores,
        )


def photo_name(image_id: str) -> str:
    """Return a file name that is safe and unique for any id.

    >>> photo_name("scene-00012")
    'scene-00012-20b0d92a.png'
    """
    return f"{re.sub(r'[^A-Za-z0-9-]+', '_', image_id).strip('_')[:_LONGEST]}-{digest(image_id, 8)}.png"


def _fractions(photo: LabelledImage) -> NDArray[np.float64] | None:
    if photo.boxes is None or photo.exact:
        return None
    height, width = photo.pixels.shape[:2]
    inside = np.clip(photo.boxes, 0, [width, height, width, height]) / [width, height, width, height]
    return np.concatenate([inside[:, :2], inside[:, 2:] - inside[:, :2]], axis=1)


def _maps(
    folder: RunFolder, row: ImageRow, explainers: Sequence[str], photo: LabelledImage, geometry: Geometry
) -> dict[str, Heat]:
    heats = {}
    stored = folder.database.maps_of(row.image_id)
    for text in (text for text in explainers if text in stored):
        saliency_map = load_map(folder.path, stored[text].file, stored[text].sha256, text)
        if saliency_map is not None and np.isfinite(saliency_map).any():
            heats[safe_name(text)] = map_over_photo(saliency_map, photo.pixels.shape[:2], geometry)
    return heats


def map_over_photo(saliency_map: NDArray[np.float32], photo_size: tuple[int, ...], geometry: Geometry) -> Heat:
    """Return a map that covers the whole photo, which viewers stretch over it.

    Args:
        saliency_map: float32 (h, w), with a finite value.
        photo_size: height and width of the photo.
        geometry: how the photo was fitted to the model's input; after ``center-crop`` the map covers the middle only.
    """
    scale = scale_of(saliency_map)
    values = np.where(np.isfinite(saliency_map), saliency_map, np.float32(0))
    margins = []
    for (start, end), size, pixels in zip(
        seen_window(photo_size, saliency_map.shape, geometry), photo_size, saliency_map.shape, strict=True
    ):
        in_pixel = (end - start) / pixels  # of the photo, in one pixel of the map
        margins.append((round(start / in_pixel), round((size - end) / in_pixel)))
    low, high = scale.low, scale.high
    if low == high:
        low, high = min(low, 0.0), max(high, 0.0)
    return Heat(np.pad(values, margins), low, high if high > low else low + 1.0, scale.note)
