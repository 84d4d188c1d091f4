"""``explain`` and ``save``: maps of single photos, as values and as pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeGuard, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalkit.api.model_keywords import ModelKeywords
from evalkit.api.photos import photo_of
from evalkit.core.errors import ConfigError, DataError, nearest
from evalkit.core.options import described
from evalkit.core.registry import split_specs
from evalkit.core.settings import OPTIONS, RunOptions, merge
from evalkit.models.environment import require_keras

if TYPE_CHECKING:
    from evalkit.api.explanation import Explanation
    from evalkit.datasets.geometry import Geometry
    from evalkit.datasets.image import Pixels
    from evalkit.explainers.base import Explainer
    from evalkit.harness.explain import ExplainedPhoto

__all__ = ["Saved", "explain", "save"]

Photo = str | PathLike[str] | NDArray[np.generic]


class Saved(NamedTuple):
    """The files that ``save`` wrote: the picture, and the raw values."""

    picture: Path
    values: Path


class ExplainOptions(ModelKeywords, total=False):
    """The types of the options of ``explain``, for type checkers; ``core/settings.py`` declares the options."""

    geometry: Literal["squash", "center-crop"] | None
    batch_size: int | None


@overload
def explain(
    model: Any,  # noqa: ANN401
    image: Photo,
    explainer: str | Explainer = ...,
    *,
    class_index: int | str | None = ...,
    **options: Unpack[ExplainOptions],
) -> Explanation: ...
@overload
def explain(
    model: Any,  # noqa: ANN401
    image: Sequence[Photo],
    explainer: str | Explainer = ...,
    *,
    class_index: int | str | None = ...,
    **options: Unpack[ExplainOptions],
) -> list[Explanation]: ...
@described(OPTIONS, *ExplainOptions.__annotations__)
def explain(
    model: Any,
    image: Photo | Sequence[Photo],
    explainer: str | Explainer = "gradcam",
    *,
    class_index: int | str | None = None,
    **options: Unpack[ExplainOptions],
) -> Explanation | list[Explanation]:
    """Explain the model's decision on a photo.

    ``evalkit.save(evalkit.explain(model, "cat.jpg", "gradcam", preprocess="vgg16"), "pictures", "cat")`` writes
    ``pictures/cat.png`` and ``pictures/cat.npy``.

    Args:
        model: a Keras model, whose layers and weights are never changed; a ``BlackBox`` or function of images
            (docs/models.md); or a value of ``--model``. A Keras model is prepared once and kept with what was prepared;
            a value of ``--model`` is loaded in every call.
        image: a file, a Pillow image, an array (H, W, C) or (H, W) in 0..255, uint8 or float32; or a sequence of these;
            of any size.
        explainer: a spec such as ``"occlusion(patch_size=40)"``, or an ``Explainer`` object.
        class_index: the class to explain, by index or name; None = the class that the model predicts.
        {options}

    Returns:
        An ``Explanation`` (``saliency_map``, ``class_name``, ``probability``, ``top``, ...), or one for each photo.

    Raises:
        EvalkitError: an argument that is not allowed or does not fit the others, named as on the command line.
    """
    require_keras()
    from evalkit.api.explanation import Explanation
    from evalkit.harness.explain import build_explainers, class_index_of, explain_photos, read_photo
    from evalkit.models.zoo.load import load_classifier
    from evalkit.models.zoo.reuse import reused_classifier

    several = isinstance(image, Sequence) and not isinstance(image, str | bytes)
    given: Sequence[Any] = image if several else [image]  # type: ignore[assignment]
    photos = [read_photo(photo_of(one), f"image {number}" if several else "image") for number, one in enumerate(given)]
    if isinstance(explainer, Sequence) and (not isinstance(explainer, str) or len(split_specs(explainer)) != 1):
        raise ConfigError(
            f"explainer {explainer!r} is not one spec; write for example 'gradcam', and call once for each"
        )
    settings = _settings(options)
    given_options: dict[str, Any] = {**settings.model_options(), "class_names": options.get("class_names")}
    if isinstance(model, str | PathLike):
        model = load_classifier(os.fspath(model), batch_size=settings.batch_size, **given_options)
    with reused_classifier(model, batch_size=settings.batch_size, **given_options) as classifier:
        explainers = build_explainers([explainer], classifier)
        if len(explainers) > 1:
            raise ConfigError(
                f"explainer {explainer!r} stands for {len(explainers)} explainers; call once for each, or use evaluate"
            )
        explained = explain_photos(
            classifier,
            photos,
            explainers,
            class_index=class_index_of(classifier, class_index),
            geometry=settings.geometry,
        )
        made = [Explanation.of(one) for one in explained]
    return made if several else made[0]


def _settings(options: Mapping[str, object]) -> RunOptions:
    """Return the options, checked; names that ``explain`` does not have are refused."""
    for name in options.keys() - ExplainOptions.__annotations__.keys():
        allowed = nearest(name, ["class_index", *ExplainOptions.__annotations__])
        raise TypeError(f"explain() got an unexpected keyword argument '{name}': {allowed}")
    return merge({name: value for name, value in options.items() if name != "class_names"})


def save(
    map: ExplainedPhoto | ArrayLike,  # noqa: A002 - the natural name
    folder: str | PathLike[str],
    name: str,
    *,
    photo: NDArray[np.generic] | None = None,
    geometry: Geometry = "squash",
) -> Saved:
    """Write a map as ``<name>.png``, a picture with its scale, and ``<name>.npy``, the raw values as float32.

    Args:
        map: a result of ``explain``, or numbers (h, w).
        folder: the folder, created if it does not exist; files of the same names are replaced.
        name: the name of both files, without ending.
        photo: the photo to draw under a map of numbers, (H, W, C) or (H, W) in 0..255, uint8 or float32.
        geometry: how that photo was fitted to the model's input.

    Raises:
        ConfigError: the name is empty or contains a folder.
        DataError: the map is not numbers (h, w), or the photo is not an image in 0..255.
        StoreError: the files cannot be written.
    """
    from evalkit.report.images.figure import map_picture
    from evalkit.store.files import write_file

    if not name or Path(name).name != name or "\0" in name:
        raise ConfigError(f"name '{name}' is not allowed; write a file's name without folder and ending")
    if _is_explanation(map):
        values = map.saliency_map
        picture = map_picture(
            values, map.photo, geometry=map.geometry, region=map.region, title=map.explainer, about=map.about
        )
    else:
        values = _checked(map)
        picture = map_picture(values, _checked_photo(photo), geometry=geometry, title=name)
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    saved = Saved(Path(folder) / f"{name}.png", Path(folder) / f"{name}.npy")
    write_file(saved.picture, picture)
    write_file(saved.values, buffer.getvalue())
    return saved


def _is_explanation(given: object) -> TypeGuard[ExplainedPhoto]:
    return hasattr(given, "saliency_map")


def _checked(given: object) -> NDArray[np.float32]:
    try:
        values = np.asarray(given)
    except ValueError as error:  # rows of several lengths
        raise DataError(f"the map is no array ({error}); numbers (height, width) are needed") from error
    if values.ndim != 2 or not values.size or values.dtype.kind not in "fiub":
        raise DataError(f"the map is {values.dtype} {values.shape}; numbers (height, width) are needed")
    from evalkit.store.maps import as_float32

    return as_float32(values)


def _checked_photo(photo: object) -> Pixels | None:
    if photo is None:
        return None
    from evalkit.datasets.channels import checked_pixels, require_whole_range

    pixels = checked_pixels(photo, "photo")
    require_whole_range([pixels], "photo")
    return pixels
