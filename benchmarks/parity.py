"""Maps of evalkit beside those of other libraries, on one model and the same photos.

    python benchmarks/parity.py maps FOLDER                 # evalkit's maps, and everything the peers need
    PEER/bin/python benchmarks/peers/xplique_maps.py FOLDER # in xplique's own environment
    python benchmarks/peers/cam_formulas.py FOLDER          # grad-cam's and torch-cam's formulas
    python benchmarks/parity.py table FOLDER                # Markdown, for docs/explainers.md

The model is the bundled vgg16-mini in float32, the photos are scenes, the class is the label. Rows of matched settings
give the library the numbers that evalkit drew (noise, masks, coalitions), its segments, or its reduction over channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from peers.command import run
from peers.rows import ROWS, Row

Array = NDArray[Any]

_PATCH = 32
_SMOOTHGRAD, _RISE = "smoothgrad(samples=10)", "rise(masks=200, tolerance=0)"
_LIME, _SHAP = "lime(samples=500, segments=8)", "kernel_shap(samples=2000, segments=8)"
# Of these the peers get what the model was given.
_RECORDED = {_SMOOTHGRAD: "input_gradients", _RISE: "blended", _LIME: "blended", _SHAP: "blended"}


class Recorder:
    """Stands before a part of a classifier and keeps what it is given."""

    def __init__(self, part: Any) -> None:  # noqa: ANN401 - two kinds of parts
        self.part = part
        self.images: list[Array] = []
        self.weights: list[Array] = []

    def at_each(self, count: int, make: Any, target: int, use: Any) -> Any:  # noqa: ANN401
        self.images.extend(make(0, count))
        return self.part.at_each(count, make, target, use)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self.part, name)

    def logits(self, image: Array, substrate: Array, count: int, make: Any) -> Array:  # noqa: ANN401
        self.weights.extend(make(0, count))
        return np.asarray(self.part.logits(image, substrate, count, make))


def write_maps(folder: Path, count: int) -> None:
    """Write the model, the inputs of the peers, and evalkit's maps.

    Args:
        folder: where they go.
        count: the number of photos.
    """
    from evalkit.datasets.scenes.scenes import scenes
    from evalkit.models.classifier import Classifier
    from evalkit.models.zoo.vgg16_mini import load_vgg16_mini

    folder.mkdir(parents=True, exist_ok=True)
    model = load_vgg16_mini()
    model.save(folder / "model.keras")
    photos = [image for image, _ in zip(scenes(), range(count), strict=False)]
    pixels, targets = np.stack([photo.pixels for photo in photos]), [photo.class_index for photo in photos]
    classifier = Classifier(model, preprocess="vgg16")
    inputs: dict[str, Any] = {
        "pixels": pixels, "targets": targets, "logits": classifier.logits(pixels), "layer": classifier.target_layer,
        "patch_size": _PATCH,
    }  # fmt: skip
    maps = {}
    for spec in dict.fromkeys(row.spec for row in ROWS):
        drawn: list[Recorder] = []
        needed = max(row.photos or count for row in ROWS if row.spec == spec)
        maps[spec] = np.stack(
            [_recorded(spec, classifier, *one, drawn) for one in list(zip(pixels, targets, strict=True))[:needed]]
        )
        inputs |= dict(_drawn_inputs(spec, pixels, drawn))
        print(spec, flush=True)
    np.savez_compressed(folder / "inputs.npz", **inputs)
    np.savez_compressed(folder / "ours.npz", **maps)


def _recorded(spec: str, classifier: Any, photo: Array, target: int, drawn: list[Recorder]) -> Array:  # noqa: ANN401
    """Return the map of one photo, and keep what the model is given for the specs of ``_RECORDED``."""
    from evalkit.explainers.catalog import EXPLAINERS

    part = _RECORDED.get(spec)
    if part is not None:
        drawn.append(Recorder(getattr(classifier, part)))
        classifier.__dict__[part] = drawn[-1]
    try:
        return np.asarray(EXPLAINERS.build(spec).explain(classifier, photo[None], [target])[0])
    finally:
        if part is not None:
            classifier.__dict__[part] = drawn[-1].part


def _drawn_inputs(spec: str, pixels: Array, drawn: Sequence[Recorder]) -> Iterator[tuple[str, Array]]:
    """Yield what the peers are given instead of what they would draw, for the specs of matched settings."""
    if spec == _SMOOTHGRAD:
        yield "noise", np.stack([np.stack(one.images) - photo for one, photo in zip(drawn, pixels, strict=True)])
    if spec == _RISE:
        yield "masks", np.stack([np.stack(one.weights) for one in drawn]).astype(np.float32)
    if spec in (_LIME, _SHAP):
        name = spec.partition("(")[0]
        both = [_segments(np.stack(one.weights)) for one in drawn]
        yield f"{name} segments", np.stack([labels for labels, _ in both])
        for index, (_, coalitions) in enumerate(both):
            yield f"{name} coalitions {index}", coalitions


def _segments(weights: Array) -> tuple[Array, Array]:
    """Return the segments that no mask divides, (H, W), and which of them each mask keeps, (N, M)."""
    coalitions, labels = np.unique(weights.reshape(len(weights), -1), axis=1, return_inverse=True)
    return labels.reshape(weights.shape[1:]).astype(np.int32), coalitions.astype(np.int32)


class Agreement(NamedTuple):
    """How equal two sets of maps are.

    Attributes:
        pearson: the lowest over photos.
        spearman: the lowest over photos.
        difference: the largest of any pixel, both maps scaled from their minimum to their maximum.
    """

    pearson: float
    spearman: float
    difference: float


def agreement(ours: Array, theirs: Array) -> Agreement:
    """Compare maps (N, H, W)."""
    from scipy.stats import pearsonr, spearmanr

    found = []
    for one, other in zip(ours, theirs, strict=False):  # some of the library's are of fewer photos
        mine, peers = (np.asarray(values, dtype=np.float64).ravel() for values in (one, other))
        scaled = [(values - values.min()) / np.ptp(values) for values in (mine, peers)]
        pearson, spearman = pearsonr(mine, peers).statistic, spearmanr(mine, peers).statistic
        found.append((pearson, spearman, np.abs(scaled[0] - scaled[1]).max()))
    pearsons, spearmans, differences = zip(*found, strict=True)
    return Agreement(min(pearsons), min(spearmans), max(differences))


def reduced(values: Array, how: str) -> Array:
    """Return the library's unreduced values (N, H, W, 3) as (N, H, W)."""
    if how == "abs_max":
        return np.asarray(np.abs(values).max(axis=-1))
    return np.asarray(values.sum(axis=-1)) if how == "sum" else values


def print_table(folder: Path) -> None:
    """Print one line a row in Markdown."""
    with (
        np.load(folder / "ours.npz") as ours,
        np.load(folder / "xplique.npz") as first,
        np.load(folder / "cams.npz") as second,
    ):
        theirs = {**first, **second}
        print("| ours | peer | settings | Pearson | Spearman | largest difference | why |")
        print("|---|---|---|---|---|---|---|")
        for row in ROWS:
            found = agreement(ours[row.spec], reduced(theirs[row.peer], row.reduce))
            print(_line(row, found))


def _line(row: Row, found: Agreement) -> str:
    difference = f"{found.difference:.1e}" if found.difference < 1e-3 else f"{found.difference:.3f}"
    few = "" if row.photos is None else f" ({row.photos} photo{'s' if row.photos > 1 else ''})"
    numbers = f"{found.pearson:.4f} | {found.spearman:.4f} | {difference}"
    return f"| `{row.spec}` | {row.title} | {row.settings}{few} | {numbers} | {row.why or '-'} |"


if __name__ == "__main__":
    run(__doc__, "maps", write_maps, print_table, photos=6)
