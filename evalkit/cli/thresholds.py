"""``thresholds``: the best thresholds of a run's images, to score other images at."""

from __future__ import annotations

from pathlib import Path

from evalkit.cli.console import stderr_console

__all__ = ["thresholds"]


def thresholds(run_folder: Path, /, *, output: Path) -> None:
    """Save the thresholds that MaxBoxAcc chose in a run, for `max_box_acc_v2(threshold_from=FILE)` on other images.

    Args:
        run_folder: Folder that `run` or `score` has written, of images that are not scored later.
        output: The file to write.
    """
    import msgspec

    from evalkit.analysis.thresholds import thresholds_of
    from evalkit.store.files import write_file
    from evalkit.store.run_folder import require_outside_runs

    require_outside_runs(output)
    saved = thresholds_of(run_folder)
    write_file(output, msgspec.json.format(msgspec.json.encode(saved), indent=2) + b"\n", "--output")
    counts = ", ".join(f"{metric} of {len(of)} explainers and controls" for metric, of in saved.thresholds.items())
    stderr_console().print(f"{output}: {counts}", markup=False, highlight=False, soft_wrap=True)
