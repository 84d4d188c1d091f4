"""Metrics of evalkit beside those of other libraries: one model, the same photos, the same maps.

    python benchmarks/metric_parity.py scores FOLDER              # evalkit's scores, and everything the peers need
    PEER/bin/python benchmarks/peers/torch_metrics.py FOLDER      # Quantus, captum, grad-cam
    PEER/bin/python benchmarks/peers/xplique_metrics.py FOLDER    # xplique
    python benchmarks/metric_parity.py table FOLDER               # Markdown, for docs/metrics.md

The model is the bundled vgg16-mini in float32, the photos are scenes, the class is the label. Rows of matched settings
give the library the masks that evalkit drew, and its substrate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers.command import run
from peers.metric_rows import ROWS, MetricRow

Array = NDArray[Any]

EXPLAINERS = ("gradcam", "gradient_x_input", "occlusion(patch_size=40)", "random")
_MPRT, _EMPRT = "mprt(draws_per_map=1, stages=4)", "emprt(draws_per_map=1)"
METRICS = ("mu_fidelity", "sensitivity_n", "infidelity", "saco", "road", _MPRT, _EMPRT)
_OF_CHANGED_MODELS = 2  # explainers whose maps of changed models are made, from the first


def write_scores(folder: Path, count: int) -> None:
    """Write the model, the inputs of the peers, and evalkit's scores.

    Args:
        folder: where they go.
        count: the number of photos.
    """
    from evalkit.datasets.scenes.scenes import scenes
    from evalkit.explainers.catalog import EXPLAINERS as CATALOG
    from evalkit.models.classifier import Classifier
    from evalkit.models.zoo.vgg16_mini import load_vgg16_mini

    folder.mkdir(parents=True, exist_ok=True)
    model = load_vgg16_mini()
    model.save(folder / "model.keras")
    classifier = Classifier(model, preprocess="vgg16")
    photos = [image for image, _ in zip(scenes(), range(count), strict=False)]
    pixels, targets = np.stack([photo.pixels for photo in photos]), [photo.class_index for photo in photos]
    explainers = [CATALOG.build(text) for text in EXPLAINERS]
    maps = np.stack(
        [
            [explainer.explain(classifier, photo[None], [target])[0] for explainer in explainers]
            for photo, target in zip(pixels, targets, strict=True)
        ]
    )
    inputs: dict[str, Any] = {"pixels": pixels, "targets": targets, "maps": maps, "logits": classifier.logits(pixels)}
    for layer in model.layers:
        for part, weights in zip(("kernel", "bias"), layer.get_weights(), strict=False):
            inputs[f"weights/{layer.name}/{part}"] = weights
    scores: dict[str, Array] = {}
    for text in METRICS:
        scores[text], drawn = _scores(text, classifier, photos, maps, explainers)
        inputs |= {f"{text} {name}": array for name, array in drawn.items()}
        print(text, scores[text].mean(axis=0), flush=True)
    np.savez_compressed(folder / "inputs.npz", **inputs)
    np.savez_compressed(folder / "ours.npz", **scores)


def _scores(
    text: str,
    classifier: Any,  # noqa: ANN401 - a Classifier, which is imported late
    photos: list[Any],
    maps: Array,
    explainers: list[Any],
) -> tuple[Array, dict[str, Array]]:
    """Return a metric's scores (photos, explainers), and what it draws for a photo, whatever the map.

    ``masks``: bool (photos, masks, h, w); ``maps``: those of changed models, (photos, explainers, models, H, W).
    """
    from evalkit.harness.engine.answers import Answers
    from evalkit.metrics.case import Case
    from evalkit.metrics.catalog import METRICS as CATALOG

    metric = CATALOG.build(text, steps=28)
    changed = text in (_MPRT, _EMPRT)
    scores, masks, changed_maps = np.full(maps.shape[:2], np.nan), [], []
    for index, photo in enumerate(photos):
        target, logits = (photo.class_index,), classifier.logits(photo.pixels[None])[0]
        clean = classifier.probabilities(photo.pixels[None])[0]
        case = Case(
            photo.id,
            photo.pixels,
            target,
            clean,
            float(clean[target[0]]),
            seed=0,
            content=photo.pixels.tobytes(),
            n_layers=classifier.n_layers,
        )
        engine = Answers(classifier, photo, target, logits, lambda _images: None)
        for number, explainer in enumerate(explainers[:_OF_CHANGED_MODELS] if changed else explainers):
            requests = metric.requests(maps[index, number], case)
            answers = engine.answer([(explainer, request) for request in requests])
            scores[index, number] = metric.score(maps[index, number], case, answers)
            changed_maps.append(answers)
        if all(request.kind == "masked" and request.hidden.shape[1] < len(photo.pixels) for request in requests):
            masks.append(np.concatenate([request.hidden for request in requests]))
    if changed:
        scores = scores[:, :_OF_CHANGED_MODELS]
        return scores, {"maps": np.reshape(changed_maps, (*scores.shape, -1, *maps.shape[2:]))}
    return scores, {"masks": np.stack(masks)} if masks else {}


def print_table(folder: Path) -> None:
    """Print one line a row in Markdown."""
    with np.load(folder / "ours.npz") as ours:
        mine = dict(ours)
    theirs: dict[str, Array] = {}
    for file in sorted(folder.glob("peer_*.npz")):
        with np.load(file) as scores:
            theirs |= dict(scores)
    print("| ours | peer | settings | correlation | largest difference | why |")
    print("|---|---|---|---|---|---|")
    for row in ROWS:
        print(_line(row, mine[row.metric], theirs[row.peer]))


def _line(row: MetricRow, ours: Array, theirs: Array) -> str:
    from scipy.stats import pearsonr

    both = ours[: len(theirs)]
    if theirs.shape != both.shape:
        return f"| `{row.metric}` | {row.title} | {row.settings} | - | - | {row.why} |"
    scored = np.isfinite(both) & np.isfinite(theirs)
    correlation = pearsonr(both[scored], theirs[scored]).statistic if scored.sum() > 1 else np.nan
    largest = np.abs(both[scored] - row.sign * theirs[scored]).max()
    difference = f"{largest:.1e}" if largest < 1e-3 else f"{largest:.3g}"
    return f"| `{row.metric}` | {row.title} | {row.settings} | {correlation:.4f} | {difference} | {row.why or '-'} |"


if __name__ == "__main__":
    run(__doc__, "scores", write_scores, print_table, photos=4)
