"""Share of a run that the maps of one pass take: ``python benchmarks/family_share.py --data D --model M [...]``.

Runs the CAM family, and those of the gradient family that need one pass forward and one back, over some photos with the
default metrics; prints the time of all maps as a share of the time of scoring them. Nothing else should be running.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from rich.console import Console
from timing import machine

from evalkit.core.settings import merge
from evalkit.harness.engine.driver import compute
from evalkit.harness.planning.plan import Plan
from evalkit.harness.planning.prepare import prepare
from evalkit.metrics.catalog import build_metrics
from evalkit.store.manifest import Manifest
from evalkit.store.run_folder import RunFolder

EXPLAINERS = "cams,gradient,gradient_x_input,guided_backprop"
TARGET = 0.10


def seconds_of(plan: Plan, folder: Path) -> tuple[float, Manifest]:
    """Compute what the folder lacks of a plan, and return the seconds and the manifest."""
    run = RunFolder.write(folder)
    start = perf_counter()
    manifest = compute(plan, run, Console(stderr=True, quiet=True))
    seconds = perf_counter() - start
    run.close()
    return seconds, manifest


def main() -> None:
    """Run with one metric that needs no passes, then with all, and print the share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option in ("--data", "--model", "--preprocess", "--class-names"):
        parser.add_argument(option)
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--limit", type=int, default=20)
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    plan = prepare(merge({"explainers": EXPLAINERS, **given}), lambda _: None)
    # Sparseness needs no passes, so that a run with it alone takes the time of the maps.
    only_maps = replace(plan, metrics=build_metrics("sparseness", steps=plan.steps))
    with tempfile.TemporaryDirectory() as folder:
        seconds_of(only_maps, Path(folder) / "warm-up")  # traces the model's functions
        maps, before = seconds_of(only_maps, Path(folder) / "run")
        scoring, after = seconds_of(plan, Path(folder) / "run")
    print(machine())
    print(f"{before.model.name}, {before.model.precision}, {len(plan.images)} photos; {EXPLAINERS}")
    print(f"maps: {maps:.1f} s, {before.forward_passes} F + {before.backward_passes} B")
    print(f"scoring the stored maps: {scoring:.1f} s, {after.forward_passes - before.forward_passes} F")
    print(f"share: {maps / scoring:.1%} (asked: under {TARGET:.0%})")


if __name__ == "__main__":
    main()
