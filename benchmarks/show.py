"""Time of the first and of later ``show`` commands of a large run: ``python benchmarks/show.py``.

Writes a run folder of simulated scores, 2,000 images x 30 explainers x all metrics of ``list metrics`` and two more,
and runs ``python -m evalkit show`` on it three times, each in a separate process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import numpy as np

from evalkit.metrics.catalog import DEFAULT_METRICS, METRICS, needs_scores
from evalkit.metrics.spec import Metric
from evalkit.store.database import Database, ImageRow, ScoreRow
from evalkit.store.files import write_bytes
from evalkit.store.manifest import (
    SCHEMA_VERSION,
    DataFacts,
    ExplainerFacts,
    Manifest,
    ModelFacts,
    Settings,
    Signatures,
)

SIZES = (16, 24, 32, 40, 48, 56, 64)
SCORED = (*DEFAULT_METRICS, "average_drop", "increase_in_confidence", "deletion(steps=14)", "insertion(steps=14)")
UNSCORED_SHARE = 0.05


def explainers(count: int) -> list[ExplainerFacts]:
    """Return the facts of occlusion at all sizes and two strides, of four controls, and of Grad-CAM on other layers."""
    facts = [
        ExplainerFacts(
            f"occlusion(patch_size={size}, stride={stride})",
            "occlusion",
            {"patch_size": size, "stride": stride},
            False,
            (224 // stride) ** 2,
            (224 // stride) ** 2 + 1,
            "windowed",
            1.0,
            1,
        )
        for size in SIZES
        for stride in (size, size // 2)
    ]
    facts += [
        ExplainerFacts(name, name, {}, True, None, 0, "no pass", 1.0, 1)
        for name in ("uniform", "random", "center", "edges")
    ]
    facts += [
        ExplainerFacts(
            f"gradcam(layer=block{index})", "gradcam", {"layer": f"block{index}"}, False, None, 1, "full pass"
        )
        for index in range(count - len(facts))
    ]
    return facts[:count]


def statistics(metric: Metric, rng: np.random.Generator, better: float) -> np.ndarray:
    """Simulate the statistics of one image for a set-level metric."""
    if metric.name == "pxap":
        return np.concatenate([rng.poisson(20 + 20 * better, 256), rng.poisson(180, 256)]).astype(np.float64)
    length = {"max_box_acc_v1": 100, "max_box_acc_v2": 300}[metric.name]
    return (rng.random(length) < 0.3 + 0.4 * better).astype(np.float64)


def fill(folder: Path, n_images: int, n_explainers: int) -> None:
    """Write a finished run of simulated scores."""
    rng = np.random.default_rng(0)
    metrics: list[Metric] = [METRICS.build(text, steps=28) for text in SCORED]
    described = explainers(n_explainers)
    ids = [f"{index:05d}.jpg" for index in range(n_images)]
    folder.mkdir(parents=True, exist_ok=True)
    database = Database(folder / "results.sqlite", create=True)
    with database:
        database.plan_images(
            [
                ImageRow(
                    image_id, position, position % 10, "", "", 1, 1, "", f"{position}", None, 0, 0, 0.9, 1, "", 0.2
                )
                for position, image_id in enumerate(ids)
            ]
        )
        for image_id in ids:
            wrong = rng.random() < UNSCORED_SHARE
            rows = []
            for number, explainer in enumerate(described):
                for metric in metrics:
                    value, reason, numbers = None, None, None
                    if metric.set_level:
                        numbers = statistics(metric, rng, number / n_explainers)
                    elif wrong and needs_scores(metric):
                        reason = "misclassified"
                    else:
                        value = float(rng.beta(2 + number / 10, 2))
                    rows.append(ScoreRow(image_id, explainer.text, metric.text, value, reason, numbers, "k"))
            database.put_scores(rows)
        database.touch()
    database.close()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        signature=Signatures(
            run="made up",
            metrics={metric.text: metric.signature for metric in metrics},
            explainers={explainer.text: explainer.text for explainer in described},
        ),
        model=ModelFacts("made-up", "0" * 64, "none", (224, 224), 10, None, "float32", 0.95, int(0.95 * n_images)),
        data=DataFacts("made-up", "arrays", n_images, n_regions=n_images, fingerprint="0" * 64),
        settings=Settings(target="label", geometry="squash", steps=28, seed=0, batch_size=32, limit=None),
        explainers=tuple(described),
        metrics=tuple(metric.text for metric in metrics),
        versions={},
        created=now,
        finished=now,
    )
    import msgspec

    write_bytes(folder / "manifest.json", msgspec.json.encode(manifest))


def show(folder: Path) -> dict[str, float]:
    """Run ``show`` once and return its seconds and peak memory in MB."""
    before = perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "evalkit", "show", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = process.stdout.read() if process.stdout else b""
    _, status, usage = os_wait(process)
    if status:
        raise SystemExit(output.decode())
    return {"seconds": perf_counter() - before, "peak_mb": usage.ru_maxrss / 1024, "lines": output.count(b"\n")}


def os_wait(process: subprocess.Popen[bytes]) -> tuple[int, int, resource.struct_rusage]:
    """Wait for a process and return its resource usage."""
    import os

    return os.wait4(process.pid, 0)


def main() -> None:
    """Write a run folder, show it three times, and print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--explainers", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        fill(folder, given.images, given.explainers)
        size = (folder / "results.sqlite").stat().st_size / 1e6
        print(f"{given.images} images x {given.explainers} explainers x {len(SCORED)} metrics, {size:.0f} MB")
        for name in ("first", "next", "next again"):
            print(f"{name}: {json.dumps({key: round(value, 2) for key, value in show(folder).items()})}")


if __name__ == "__main__":
    main()
