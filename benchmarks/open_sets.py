"""Time and memory to open a large COCO JSON or CSV manifest: ``python benchmarks/open_sets.py``.

Writes both with 50,000 entries, whose photos do not exist because none may be read, and opens each in a separate
process. CPU seconds are printed too; on a shared machine they are more reliable than wall time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time

from evalkit.datasets.open import open_image_set

CORNERS = 30  # per outline, COCO's average


def write_coco(path: Path, count: int) -> None:
    """Write ``count`` photos, each with one outlined object."""
    outline = [round(100.5 + 3.37 * (corner % 17), 2) for corner in range(2 * CORNERS)]
    document = {
        "images": [
            {
                "id": number,
                "file_name": f"{number:012d}.jpg",
                "height": 480,
                "width": 640,
                "date_captured": "2013-11-14",
            }
            for number in range(count)
        ],
        "categories": [{"id": number, "name": f"category {number}"} for number in range(80)],
        "annotations": [
            {
                "id": number,
                "image_id": number,
                "category_id": number % 80,
                "iscrowd": 0,
                "area": 1234.5,
                "bbox": [100.5, 100.5, 60.25, 60.25],
                "segmentation": [outline],
            }
            for number in range(count)
        ],
    }
    path.write_text(json.dumps(document), encoding="utf-8")


def write_csv(path: Path, count: int) -> None:
    """Write ``count`` photos, each with one box."""
    rows = [f"photos/{number:012d}.jpg,{number % 1000},class {number % 1000},10,20,300,400" for number in range(count)]
    path.write_text("\n".join(["image,class_index,label,x0,y0,x1,y1", *rows]) + "\n", encoding="utf-8")


def opened(path: Path) -> dict[str, float]:
    """Open a set in this process; return entries, wall seconds, CPU seconds and peak memory in MB."""
    start, start_busy = perf_counter(), process_time()
    images = open_image_set(path)
    return {
        "entries": len(images),
        "seconds": perf_counter() - start,
        "busy": process_time() - start_busy,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure(count: int) -> dict[str, dict[str, float]]:
    """Write and open both kinds; return the measurements."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in (("large.json", write_coco), ("large.csv", write_csv)):
            path = Path(folder) / name
            write(path, count)
            command = [sys.executable, __file__, "--open", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results[name] = json.loads(done.stdout)
    return results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--open", type=Path)
    arguments = parser.parse_args()
    if arguments.open:
        print(json.dumps(opened(arguments.open)))
        return
    for name, facts in measure(arguments.count).items():
        print(
            f"{name}: {facts['entries']:.0f} entries in {facts['seconds']:.1f} s ({facts['busy']:.1f} s of "
            f"CPU time), {facts['megabytes']:.0f} MB at most"
        )


if __name__ == "__main__":
    main()
