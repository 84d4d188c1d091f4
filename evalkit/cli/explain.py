"""``explain``: maps of single photos, as pictures and as numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from evalkit.cli.console import color_wanted, print_result, quiet_native_stderr, stderr_console, terminal_width
from evalkit.cli.options import MODEL, takes
from evalkit.core.errors import ConfigError, ModelError
from evalkit.core.names import escaped
from evalkit.core.settings import merge
from evalkit.models.environment import require_keras
from evalkit.report.formats import OutputFormat

if TYPE_CHECKING:
    from evalkit.datasets.image import LabelledImage
    from evalkit.explainers.base import Explainer
    from evalkit.harness.explain import ExplainedPhoto
    from evalkit.report.tables.explanations import Explained

__all__ = ["explain"]


@takes(*MODEL, "geometry", "batch_size", "seed")
def explain(
    *images: str,
    explainer: str = "gradcam",
    class_: Annotated[str | None, Parameter(name="--class")] = None,
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32",
    output: Path = Path("explanations"),
    name: str | None = None,
    format: OutputFormat = "table",  # noqa: A002 - the option's name
    **options: object,
) -> None:
    """Explain the model's decision on photos: each map as a picture (PNG) and as raw numbers (.npy).

    For example: python -m evalkit explain cat.jpg --model vgg16 --explainer "gradcam,occlusion(patch_size=40)"

    Args:
        images: Photos of any size, or embedded scenes, for example scene-00003.
        explainer: One or several of `list explainers`, with their parameters.
        class_: Class to explain, by number or name. [default: the class that the model predicts]
        precision: Number format of the model.
        output: Folder for the files; files of the same name are replaced.
        name: Name of the files, without ending. With several photos or explainers, the names of photo and explainer
            follow it. [default: PHOTO_EXPLAINER]
        format: Output format.
    """
    if not images:
        raise ConfigError("IMAGE is missing; name a photo, or an embedded scene such as scene-00003")
    if name is not None and (not name or Path(name).name != name):
        raise ConfigError(f"--name '{name}' is not allowed; write a file's name without folder and ending")
    if output.exists() and not output.is_dir():
        raise ConfigError(f"--output '{output}' is a file; name a folder")
    with quiet_native_stderr():
        require_keras()
        from evalkit.harness.explain import build_explainers, class_index_of, explain_photos, is_scene, read_photo
        from evalkit.harness.planning.fitting import shared_layers
        from evalkit.models.devices import require_tf32
        from evalkit.models.zoo.load import load_classifier
    from evalkit.api.explain import save
    from evalkit.models.applications import MINI
    from evalkit.report.tables.explanations import render_explained

    settings = merge(options)
    photos = _with_unique_ids(images, [read_photo(image) for image in images])
    if settings.model is None and not all(map(is_scene, images)):
        raise ConfigError(
            "--model is missing; give a .keras file, vgg16 or another keras.applications name, or module:function"
        )
    classifier = load_classifier(settings.model or MINI, batch_size=settings.batch_size, **settings.model_options())
    console, taken = stderr_console(), set[str]()
    for note in filter(None, (f"{classifier.name}: {classifier.facts}", classifier.size_note, classifier.doubt)):
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    if precision != "float32":
        require_tf32(precision)
        classifier = classifier.in_precision(precision)
    explainers = build_explainers(
        explainer, classifier, settings.seed, lambda note: console.print(note, markup=False, soft_wrap=True)
    )
    explained = partial(
        explain_photos, classifier, class_index=class_index_of(classifier, class_), geometry=settings.geometry
    )
    several = len(photos) * len(explainers) > 1
    rows: list[Explained] = []
    failed: list[str] = []
    with classifier.sharing(shared_layers(classifier, explainers)):
        for explanation in _explanations(product(photos, explainers), failed, explained):
            file = _file_name(name, Path(explanation.image).stem, explanation.explainer, several=several)
            saved = save(explanation, output, _unused(file, taken))
            rows.append(_row(explanation, saved))
            console.print(f"{saved.picture}", markup=False, highlight=False, soft_wrap=True)
    if rows:
        print_result(render_explained(rows, format, width=terminal_width(), color=color_wanted()))
    if failed:
        more = f" (and {len(failed) - 1} more maps failed)" if len(failed) > 1 else ""
        kept = f"; the other {len(rows)} maps are saved" if rows else ""
        raise ModelError(f"{failed[0]}{more}{kept}")


def _explanations(
    pairs: Iterable[tuple[LabelledImage, Explainer]],
    failed: list[str],
    explained: Callable[[Sequence[LabelledImage], Sequence[Explainer]], Iterator[ExplainedPhoto]],
) -> Iterator[ExplainedPhoto]:
    """Yield the explanation of each photo by each explainer; append the messages of failures to ``failed``."""
    for photo, explainer in pairs:
        try:
            explanation = next(explained([photo], [explainer]))
        except ModelError as error:
            failed.append(str(error))
        else:
            yield explanation


def _with_unique_ids(given: Sequence[str], photos: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Return the photos; those whose files have the same name get the given path as their id."""
    names = Counter(photo.id for photo in photos)
    return [
        photo if names[photo.id] == 1 else replace(photo, id=escaped(path))
        for path, photo in zip(given, photos, strict=True)
    ]


def _file_name(name: str | None, stem: str, explainer: str, *, several: bool) -> str:
    if name is not None and not several:
        return name
    parts = [stem, explainer] if name is None else [name, stem, explainer]
    return re.sub(r"[^\w.=-]+", "_", "_".join(parts)).strip("_")


def _unused(file: str, taken: set[str]) -> str:
    """Return the name, with a number if it is taken."""
    number, unused = 1, file
    while unused in taken:
        number += 1
        unused = f"{file}-{number}"
    taken.add(unused)
    return unused


def _row(explanation: ExplainedPhoto, saved: Sequence[Path]) -> Explained:
    from evalkit.report.images.colormap import peak_of, scale_of
    from evalkit.report.images.overlay import point_in_photo
    from evalkit.report.tables.explanations import Explained, TopClass

    peak = peak_of(explanation.saliency_map)
    maximum = None
    if peak is not None:
        size = explanation.photo.shape[:2]
        maximum = point_in_photo(peak, explanation.saliency_map.shape, size, explanation.geometry)
    return Explained(
        image=explanation.image,
        explainer=explanation.explainer,
        class_index=explanation.class_index,
        class_name=explanation.class_name,
        probability=explanation.probability,
        maximum=maximum,
        note="; ".join(filter(None, (scale_of(explanation.saliency_map).note, *explanation.notes))),
        seconds=explanation.seconds,
        picture=str(saved[0]),
        values=str(saved[1]),
        chosen=explanation.chosen,
        top=tuple(TopClass(top.class_index, top.name, top.probability) for top in explanation.top),
    )
