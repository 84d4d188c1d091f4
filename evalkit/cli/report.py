"""``report``: a run as one HTML page."""

from __future__ import annotations

from pathlib import Path

from evalkit.cli.console import print_result
from evalkit.cli.options import takes
from evalkit.cli.photos import photos_at
from evalkit.core.errors import ConfigError
from evalkit.core.settings import parsed

__all__ = ["report"]


_OWN = "that of the run"


@takes("criterion", "margin", defaults={"criterion": _OWN, "margin": _OWN})
def report(
    run_folder: Path,
    /,
    *,
    data: str | None = None,
    output: Path | None = None,
    figures: Path | None = None,
    maps: Path | None = None,
    **options: object,
) -> None:
    """Write a run as one HTML page that needs no network: leaderboards, patch size, curves, a gallery, the signature.

    The photos of the gallery are read again and must be unchanged; if they are missing, the maps are shown without
    them.

    Args:
        run_folder: Folder that `run` or `score` has written.
        data: Where the photos are now, if they have moved. [default: where the run read them]
        output: HTML file to write. [default: report.html in the run folder]
        figures: Folder for the plots as PNG files: curves, patch sizes, object sizes.
        maps: Folder for the run's maps as .npy files, one folder an explainer, for other programs and for `score`.
    """
    from evalkit.report.html.export import write_figures, write_report
    from evalkit.store.export import export_maps
    from evalkit.store.run_folder import RunFolder, require_outside_runs

    if output is not None and output.is_dir():
        raise ConfigError(f"--output '{output}' is a folder; name a file, for example {output / 'report.html'}")
    if output is not None:
        require_outside_runs(output)
    for option, into in (("--figures", figures), ("--maps", maps)):
        if into is not None and into.exists() and not into.is_dir():
            raise ConfigError(f"{option} '{into}' is a file; name a folder")
    images = photos_at(run_folder, data)
    folder = RunFolder.read(run_folder)
    try:
        written = [write_report(folder, output, images, **parsed(options))]
        written += write_figures(folder, figures, **parsed(options)) if figures is not None else []
        n_maps = len(export_maps(folder, maps)) if maps is not None else 0
    finally:
        folder.close()
    lines = [*map(str, written), *([f"{maps}: {n_maps} maps"] if maps is not None else [])]
    print_result("\n".join(lines))
