"""The lines of progress where stderr is no terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from evalkit.harness.engine import progress
from evalkit.harness.engine.progress import RunProgress


@pytest.mark.parametrize(
    ("n_photos", "left"), [(10, "about 15 min left"), (2, "about 2 min left"), (1, "less than a minute left")]
)
def test_time_left_in_words(n_photos, left, monkeypatch):
    seconds = iter(range(0, 10_000, 50))
    monkeypatch.setattr(progress, "perf_counter", lambda: float(next(seconds)))
    text = io.StringIO()
    with RunProgress(Console(file=text, width=100), n_photos, 8.0 * n_photos, lambda: 0) as shown:
        shown.end_photo(8.0, "2 workers")
    assert text.getvalue() == f"photo 1/{n_photos}, 0.02 photos/s by 2 workers, {left}\n"


def test_no_time_left_is_claimed_before_anything_is_done(monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", -1.0)
    text = io.StringIO()
    with RunProgress(Console(file=text, width=100), 3, 30.0, lambda: 0) as shown:
        shown.begin_photo(10.0)
        shown.advance("gradcam", 0.0)
    assert text.getvalue().endswith("time left unknown\n")
