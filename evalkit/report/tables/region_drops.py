"""Sentences on how far the model looks at the object, above the tables of localization."""

from __future__ import annotations

from evalkit.analysis.results import RegionDrops, Results

__all__ = ["region_lines", "region_warnings"]

_MOST = 0.5


def region_lines(results: Results) -> tuple[str, ...]:
    """Return a sentence with the drops of the model's score, and a warning where it does not look at the object."""
    drops = results.region_drops
    if drops is None:
        return ()
    share = f"{100 * drops.share_inside_more:.0f} %"
    line = (
        f"Does the model look at the object? Its score drops by {_drop(drops, 'inside')} when the region is hidden by "
        f"the mean color, by {_drop(drops, 'outside')} when everything else is; the region counts more on {share} of "
        f"{_images(drops)}."
    )
    return (line, *_warnings(drops, "these images"))


def region_warnings(results: Results) -> tuple[str, ...]:
    """Return a warning where the model does not look at the object on most images; else nothing."""
    drops = results.region_drops
    return () if drops is None else _warnings(drops, _images(drops))


def _images(drops: RegionDrops) -> str:
    counted = "1 image" if drops.n_images == 1 else f"{drops.n_images} images"
    return f"{counted} (with a region, and the model right)"


def _warnings(drops: RegionDrops, images: str) -> tuple[str, ...]:
    if drops.share_inside_more >= _MOST:
        return ()
    others = f"{100 * (1 - drops.share_inside_more):.0f} %"
    warning = (
        f"Warning: on {others} of {images} hiding the region costs the model no more than hiding everything else: "
        "localization then says where the object is, not what the model uses."
    )
    return (warning,)


def _drop(drops: RegionDrops, where: str) -> str:
    mean, low, high = (getattr(drops, name) for name in (where, f"{where}_low", f"{where}_high"))
    return f"{mean:.2f}" if low is None or high is None else f"{mean:.2f} [{low:.2f}, {high:.2f}]"
