"""Speed of evalkit as ratios to other ways of doing the same job: ``python benchmarks/speed.py --json FILE``.

VGG16 with its full top and random weights, because times do not depend on the weights. About half an hour on two cores.
Every figure is a ratio of medians; the two ways run in turns in this process. Nothing else should be running.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import baseline_script
import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table
from timing import Ratio, machine, ratio

from evalkit.datasets.image_set import ImageSet
from evalkit.datasets.scenes.scenes import make_scene
from evalkit.explainers.catalog import EXPLAINERS, expand
from evalkit.explainers.occlusion import corners
from evalkit.harness.engine.driver import compute
from evalkit.harness.planning.plan import Plan
from evalkit.harness.planning.recipe import ModelRecipe
from evalkit.metrics.case import Case
from evalkit.metrics.catalog import DEFAULT_METRICS, METRICS
from evalkit.models.classifier import Classifier
from evalkit.models.inference.perturbation import PhotoScores
from evalkit.models.keras.precision import has_bfloat16_units
from evalkit.models.probabilities import softmax
from evalkit.store.run_folder import RunFolder

SIDE = 224
GRIDS = ((16, 8), (32, 16), (40, 20), (56, 28))
SIZES = (16, 32, 40, 56)
SCORED = (*DEFAULT_METRICS, "average_drop", "increase_in_confidence")


def vgg16() -> keras.Model:
    """Return the full VGG16 with fixed random weights."""
    keras.utils.set_random_seed(0)
    return keras.applications.VGG16(weights=None)


def windowed(classifier: Classifier, repeats: int) -> Iterator[Ratio]:
    """Occlusion by windows against full passes of the same positions."""
    photo = make_scene(0, 0).pixels.astype(np.float32)
    black, full = np.zeros_like(photo), classifier.occluded
    for patch_size, stride in GRIDS:
        rows = columns = corners(SIDE, patch_size, stride)
        places = list(product(rows.tolist(), columns.tolist()))
        by_full = lambda: full.in_full(photo, black, places, patch_size)  # noqa: B023, E731
        by_windows = lambda: full.logits(photo, black, rows, columns, patch_size)  # noqa: B023, E731
        expected, result = by_full(), by_windows()
        difference = float(np.abs(result - expected).max() / np.ptp(expected))
        yield ratio(
            f"occlusion {patch_size}/{stride}, {len(places)} positions",
            (f"full pass, {classifier.precision}", by_full),
            ("windowed", by_windows),
            repeats,
            f"logits differ by {difference:.0e} of their range",
        )


def against_tf_explain(classifier: Classifier, repeats: int) -> Ratio:
    """The same 196 positions by tf-explain, which runs the user's model."""
    photo = make_scene(0, 0).pixels
    explainer, prepared = EXPLAINERS.build("occlusion(patch_size=16)"), classifier.graph.preprocessed(photo[None])[0]
    return ratio(
        "occlusion map, patch 16, 196 positions",
        ("tf-explain get_sensitivity_map", lambda: baseline_script.occlusion(classifier.model, prepared, 0, 16)),
        (f"evalkit, {classifier.precision}", lambda: explainer.explain(classifier, photo[None], [0])),
        repeats,
    )


def against_bare_model(classifier: Classifier, repeats: int) -> Ratio:
    """Deletion, insertion and gain of eight maps against the compiled model on as many prepared images."""
    photo, rng = make_scene(0, 0).pixels, np.random.default_rng(0)
    metrics = [METRICS.build(name) for name in ("deletion", "insertion", "symmetric_relevance_gain")]
    maps = [rng.random((SIDE, SIDE)).astype(np.float32) for _ in range(8)]
    logits = classifier.logits(photo[None])
    scores = softmax(logits)[0]
    case = Case("scene", photo, (0,), scores, float(scores[0]))

    def score() -> None:
        requests = [
            request for saliency_map in maps for metric in metrics for request in metric.requests(saliency_map, case)
        ]
        PhotoScores(classifier, photo, 0, logits[0]).scores(requests)

    before = classifier.passes
    score()
    n_images = classifier.passes - before
    batch = tf.constant(np.stack([photo] * classifier.batch_size).astype(np.float32))

    def bare() -> None:
        for _ in range(n_images // classifier.batch_size):
            classifier._logits(batch).numpy()
        if n_images % classifier.batch_size:
            classifier._logits(batch[: n_images % classifier.batch_size]).numpy()

    result = ratio(
        f"deletion, insertion and gain of 8 maps, {n_images} images",
        (f"bare compiled model, {classifier.precision}", bare),
        ("evalkit", score),
        repeats,
    )
    return Ratio(
        **{**vars(result), "note": f"{result.fast_seconds / result.slow_seconds - 1:+.1%} over the bare model"}
    )


def whole_job(classifier: Classifier, n_photos: int) -> Ratio:
    """All explainers and metrics on a few photos, against the simple script; one run each."""
    photos = np.stack([make_scene(0, index).pixels for index in range(n_photos)])
    targets = classifier.probabilities(photos).argmax(axis=1)
    texts = [
        "gradcam",
        "occlusion",
        "tf_explain.gradcam",
        "tf_explain.occlusion",
        "uniform",
        "random",
        "center",
        "edges",
    ]
    explainers = expand(texts, SIZES, 0)
    regions = [make_scene(0, index).mask for index in range(n_photos)]

    def ours() -> None:
        images = ImageSet.from_arrays(photos, targets, regions=regions)
        metrics = [METRICS.build(name, steps=28) for name in SCORED]
        plan = Plan(
            images, ModelRecipe.live(classifier), explainers, metrics, "label", "squash", steps=28, seed=0, limit=None
        )
        with tempfile.TemporaryDirectory() as temporary:
            folder = RunFolder.write(Path(temporary) / "run", fresh=False)
            compute(plan, folder, Console(quiet=True))
            folder.close()

    def plain() -> None:
        model = classifier.model
        for photo, target in zip(photos, targets.tolist(), strict=True):
            prepared = classifier.graph.preprocessed(photo[None])[0]
            maps = [baseline_script.gradcam(model, prepared, target, "block5_pool") for _ in range(2)]
            maps += [baseline_script.occlusion(model, prepared, target, size) for size in (*SIZES, 40)]
            maps += [control.explain(classifier, photo[None], [target])[0] for control in explainers if control.control]
            for saliency_map in maps:
                baseline_script.scored(model, photo, saliency_map, target)

    return ratio(
        f"the whole job, {n_photos} photos, {len(explainers)} maps, {len(SCORED)} metrics",
        ("plain script: tf-explain and RISE's loop, float32", plain),
        (f"evalkit, {classifier.precision}", ours),
        1,
    )


def peak_memory(precision: str, n_photos: int) -> float:
    """Return the peak memory of a run in a separate process, in GB."""
    done = subprocess.run(
        [sys.executable, __file__, "--memory-of", precision, str(n_photos)], check=True, capture_output=True, text=True
    )
    return float(done.stdout.split()[-1])


def _memory_of(precision: str, n_photos: int) -> None:
    model = vgg16()
    classifier = Classifier(model, preprocess="vgg16", precision="bfloat16" if precision == "bfloat16" else "float32")
    photos = np.stack([make_scene(0, index).pixels for index in range(n_photos)])
    images = ImageSet.from_arrays(photos, classifier.probabilities(photos).argmax(axis=1))
    metrics = [METRICS.build("symmetric_relevance_gain", steps=28)]
    explainers = expand("gradcam,occlusion,random", (16, 56), 0)
    plan = Plan(
        images, ModelRecipe.live(classifier), explainers, metrics, "label", "squash", steps=28, seed=0, limit=None
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = RunFolder.write(Path(temporary) / "run", fresh=False)
        compute(plan, folder, Console(quiet=True))
        folder.close()
    print(_own_peak_gb())


def _own_peak_gb() -> float:
    """Return this process's peak memory; on Linux ``ru_maxrss`` includes the peak of the parent process."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return next(float(line.split()[1]) / 1e6 for line in lines if line.startswith("VmHWM"))


def embedded_run() -> tuple[float, float]:
    """Return wall seconds and GB of ``python -m evalkit run`` in a new folder; the second of two runs."""
    with tempfile.TemporaryDirectory() as temporary:
        for turn in range(2):
            command = [sys.executable, "-m", "evalkit", "run", "--output", f"{temporary}/{turn}"]
            start = tf.timestamp().numpy()
            subprocess.run(command, check=True, capture_output=True)
            seconds = float(tf.timestamp().numpy() - start)
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6


def measure(repeats: int, n_photos: int, say: Callable[[str], None]) -> tuple[list[Ratio], dict[str, float]]:
    """Measure everything."""
    ratios: list[Ratio] = []

    def keep(result: Ratio) -> None:
        ratios.append(result)
        say(f"{result.what}: {result.fast} {result.times:.2f} times as fast as {result.slow} {result.note}")

    facts: dict[str, float] = {}
    facts["embedded run, seconds"], facts["embedded run, peak GB"] = embedded_run()
    say(str(facts))
    for precision in ("float32", "bfloat16") if has_bfloat16_units() else ("float32",):
        classifier = Classifier(vgg16(), preprocess="vgg16", precision=precision)  # type: ignore[arg-type]
        for result in windowed(classifier, repeats):
            keep(result)
        keep(against_tf_explain(classifier, repeats))
        keep(against_bare_model(classifier, repeats))
        keep(whole_job(classifier, n_photos))
        for count in (2, 6):
            facts[f"VGG16 {precision}, {count} photos, peak GB"] = peak_memory(precision, count)
        say(str(facts))
    return ratios, facts


def shown(ratios: Sequence[Ratio], facts: dict[str, float], about: dict[str, str]) -> None:
    """Print the table."""
    table = Table(title="evalkit against other ways", title_justify="left", box=None)
    for heading in ("what", "against", "with", "times faster", "seconds", "note"):
        table.add_column(heading, justify="right" if heading in ("times faster", "seconds") else "left")
    for row in ratios:
        seconds = f"{row.slow_seconds:.2f} / {row.fast_seconds:.2f}"
        table.add_row(row.what, row.slow, row.fast, f"{row.times:.2f}", seconds, row.note)
    console = Console(width=180)
    console.print(table)
    for name, value in facts.items():
        console.print(f"{name}: {value:.2f}", highlight=False)
    console.print(", ".join(f"{name} {value}" for name, value in about.items()), highlight=False)


def main() -> None:
    """Measure, print, and write JSON with ``--json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="turns of each comparison (default: 3)")
    parser.add_argument("--photos", type=int, default=1, help="photos of the whole job (default: 1)")
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory_of:
        _memory_of(given.memory_of[0], int(given.memory_of[1]))
        return
    ratios, facts = measure(given.repeats, given.photos, lambda text: print(text, file=sys.stderr, flush=True))
    shown(ratios, facts, machine())
    if given.json:
        document = {"machine": machine(), "ratios": [row.as_dict() for row in ratios], "facts": facts}
        given.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
