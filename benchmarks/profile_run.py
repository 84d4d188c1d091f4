"""Where the time of the embedded run goes: ``python benchmarks/profile_run.py --precision bfloat16``.

Runs ``python -m evalkit run`` in this process, with a clock around its parts, and prints the seconds of each without
the parts inside it: in the thread that runs the model, and in others. Then it times the model alone on as many images
in batches of the same size, and prints CPU seconds, cores used and peak memory. Options after ``--`` are those of
``run``. It reads the parts by name, so it also runs on older commits: ``PYTHONPATH=OTHER python benchmarks/...``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import resource
import statistics
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable
from time import perf_counter
from typing import Any

START = perf_counter()
_BATCHES = 12  # of the model alone
_ENGINE = "evalkit.harness.engine"

_COMPOSED, _HIDDEN = "passes of composed images", "passes of region drops"

# What is timed: module, function or method in it, and the name of the part.
PARTS: tuple[tuple[str, str, str], ...] = (
    ("evalkit.harness.planning.prepare", "prepare", "start: model, images and checks"),
    (f"{_ENGINE}.driver", "compute", "engine, everything else"),
    ("evalkit.datasets.image_set", "ImageSource.read", "images read"),
    (f"{_ENGINE}.worker", "_Photo._explain", "maps: gradcam and controls"),
    ("evalkit.explainers.occlusion", "Occlusion.explain", "maps: occlusion"),
    ("evalkit.explainers.tf_explain", "TfExplainOcclusion.explain", "maps: tf-explain, occlusion"),
    ("evalkit.explainers.tf_explain", "TfExplainGradCam.explain", "maps: tf-explain, Grad-CAM"),
    (f"{_ENGINE}.worker", "_requests_of", "requests: ranks and cuts"),
    (f"{_ENGINE}.answers", "Answers.scores", "requests: canvases, scores of logits"),
    ("evalkit.models.inference.composition", "ComposedPass.logits", _COMPOSED),
    ("evalkit.models.inference.blended", "BlendedPass.logits", _HIDDEN),
    (f"{_ENGINE}.driver", "commit", "store"),
    ("evalkit.api.evaluate", "results_of", "analysis"),
    ("evalkit.report", "render", "tables"),
)


class Clock:
    """Exclusive seconds by thread and part."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.seconds: dict[tuple[bool, str], float] = defaultdict(float)
        self.images: dict[str, int] = defaultdict(int)
        self._open = threading.local()

    def around(self, function: Callable[..., Any], part: Callable[..., str]) -> Callable[..., Any]:
        """Return a function with the clock around it; ``part`` returns the part's name from the arguments."""

        def timed(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - of any function
            inner: list[float] = self._open.__dict__.setdefault("inner", [])
            inner.append(0.0)
            start = perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent = perf_counter() - start
                is_main = threading.current_thread() is threading.main_thread()
                self.seconds[is_main, part(*args)] += spent - inner.pop()
                if inner:
                    inner[-1] += spent

        return timed

    def install(self) -> None:
        """Put the clock around all parts that exist."""
        for module, path, part in PARTS:
            self._replace(module, path, lambda *_, part=part: part)
        self._replace(f"{_ENGINE}.worker", "_Photo._cell", lambda *given: f"metric: {given[2].name}")

    def _replace(self, module: str, path: str, part: Callable[..., str]) -> None:
        *owners, name = path.split(".")
        owner: Any = importlib.import_module(module)
        for step in owners:
            owner = getattr(owner, step)
        setattr(owner, name, self.around(getattr(owner, name), part))


def images_of(clock: Clock) -> None:
    """Count the images of the passes that can be compared with the model alone."""
    for module, path, part in PARTS:
        if part in (_COMPOSED, _HIDDEN):
            owner = getattr(importlib.import_module(module), path.partition(".")[0])
            owner.logits = counted(owner.logits, clock.images, part)


def counted(logits: Callable[..., Any], images: dict[str, int], part: str) -> Callable[..., Any]:
    """Return the function, which counts the rows that it returns."""

    def counting(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        rows = logits(*args, **kwargs)
        images[part] += len(rows)
        return rows

    return counting


def bare_seconds(precision: str) -> tuple[float, int]:
    """Return the median seconds of one batch through the model alone, on prepared images, and the batch size."""
    import numpy as np
    import tensorflow as tf

    from evalkit.models.classifier import Classifier
    from evalkit.models.zoo.vgg16_mini import load_vgg16_mini

    classifier = Classifier(load_vgg16_mini(), preprocess="vgg16", precision=precision)
    model = tf.function(classifier.graph.run_graph, autograph=False)
    pixels = np.random.default_rng(0).uniform(0, 255, (classifier.batch_size, 224, 224, 3))
    batch = tf.constant(classifier.graph.preprocessed(pixels))
    batch = tf.cast(batch, tf.bfloat16) if precision == "bfloat16" else batch
    seconds = []
    for _ in range(2 + _BATCHES):
        start = perf_counter()
        model(batch).numpy()
        seconds.append(perf_counter() - start)
    return statistics.median(seconds[2:]), classifier.batch_size


def main() -> None:
    """Run, and print the account."""
    parser = argparse.ArgumentParser(prog="python benchmarks/profile_run.py", description=__doc__)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("options", nargs="*", help="other options of run, after --")
    given = parser.parse_args()
    clock = Clock()
    clock.install()
    images_of(clock)
    imported = perf_counter() - START
    from evalkit.__main__ import main as evalkit

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        sys.argv = ["evalkit", "run", "--precision", given.precision, "--output", folder, "--fresh", *given.options]
        with contextlib.suppress(SystemExit):
            evalkit()
    wall, cpu = perf_counter() - START, sum(os.times()[:2])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    batch_seconds, size = bare_seconds(given.precision)
    clock.seconds[True, "start: imports"] = imported
    known = sum(seconds for (is_main, _), seconds in clock.seconds.items() if is_main)
    clock.seconds[True, "everything else"] = wall - known
    print(f"{'seconds':>8}  {'beside it':>9}  part")
    for part in sorted({part for _, part in clock.seconds}, key=lambda part: -clock.seconds[True, part]):
        beside = clock.seconds.get((False, part), 0.0)
        print(f"{clock.seconds.get((True, part), 0.0):8.2f}  {beside:9.2f}  {part}")
    n_images = sum(clock.images.values())
    print(f"{wall:8.2f}  seconds in all; {cpu:.1f} CPU seconds, {cpu / wall:.2f} cores; peak {peak:.2f} GB")
    print(
        f"{n_images / size * batch_seconds:8.2f}  seconds for {n_images} images through the model alone, "
        f"{size} at a time, {1 / batch_seconds * size:.0f} images/s"
    )


if __name__ == "__main__":
    main()
