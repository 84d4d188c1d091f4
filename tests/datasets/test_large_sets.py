"""Opening 50,000 entries: seconds and memory, each set in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "open_sets.py"
SECONDS, MEGABYTES = 25, 500  # a few seconds on most processors; minutes if work grew with the square


@pytest.mark.slow
def test_large_sets_open_within_time_and_memory() -> None:
    done = subprocess.run([sys.executable, str(BENCHMARK)], capture_output=True, text=True, check=True)
    print(done.stdout)  # noqa: T201 - the figures, with -s
    found = re.findall(r"(\S+): (\d+) entries in [\d.]+ s \(([\d.]+) s of CPU time\), (\d+) MB", done.stdout)
    assert [name for name, *_ in found] == ["large.json", "large.csv"]
    for _, entries, seconds, megabytes in found:  # CPU time, because the machine may be busy
        assert int(entries) == 50_000
        assert float(seconds) < SECONDS
        assert int(megabytes) < MEGABYTES
