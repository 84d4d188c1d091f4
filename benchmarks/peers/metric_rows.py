"""The rows of the table of ``benchmarks/metric_parity.py``: which score is compared with which, and why they differ."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ROWS", "MetricRow"]


@dataclass(frozen=True)
class MetricRow:
    """One comparison.

    Attributes:
        metric: evalkit's metric.
        peer: the peer's scores, as its script names them.
        title: library and class.
        settings: ``shipped``, or what is matched.
        why: the reason for the difference.
        sign: -1 where the peer's better end is the other one.
    """

    metric: str
    peer: str
    title: str
    settings: str
    why: str = ""
    sign: int = 1


_MPRT, _EMPRT = "mprt(draws_per_map=1, stages=4)", "emprt(draws_per_map=1)"

ROWS: tuple[MetricRow, ...] = (
    MetricRow(
        "mu_fidelity",
        "MuFidelity shipped",
        "xplique MuFidelity",
        "shipped",
        why="other masks; unseeded: two of its own draws differ by up to 0.13",
    ),
    MetricRow("mu_fidelity", "MuFidelity masks", "xplique MuFidelity", "same masks"),
    MetricRow(
        "mu_fidelity",
        "FaithfulnessCorrelation shipped",
        "Quantus FaithfulnessCorrelation",
        "shipped",
        why="hides 224 single values of single channels of 150,528, black; Pearson's correlation",
    ),
    MetricRow(
        "mu_fidelity",
        "FaithfulnessCorrelation masks",
        "Quantus FaithfulnessCorrelation",
        "same masks and color, Spearman's correlation",
    ),
    MetricRow(
        "sensitivity_n",
        "SensitivityN",
        "Quantus SensitivityN",
        "shipped, steps of 7,168 values",
        why="one score a step, none an image (below)",
    ),
    MetricRow(
        "infidelity",
        "captum infidelity, masks",
        "captum infidelity",
        "same masks",
        why="without the factor, its default: the map's scale",
    ),
    MetricRow(
        "infidelity",
        "captum infidelity, masks, factor",
        "captum infidelity",
        "same masks, `normalize=True`, which is the factor",
    ),
    MetricRow(
        "infidelity",
        "captum infidelity, changes of pixels, factor",
        "captum infidelity",
        "the same, sums weighted by the change of each pixel's values",
        why="for maps that are rates of change, as in the definition; ours are taken as shares of the score",
    ),
    MetricRow(
        "infidelity",
        "Infidelity, blocks of 56",
        "Quantus Infidelity",
        "blocks of 56 px, one sample",
        why="blocks hidden one after another, none shown again; sums weighted by changes; no factor",
    ),
    MetricRow(
        "road",
        "grad-cam ROAD shipped",
        "grad-cam ROADCombined",
        "shipped (2 photos)",
        why="noise of 0.01 in the model's space, 0..255 here; cuts at percentiles",
    ),
    MetricRow(
        "road",
        "grad-cam ROAD, noise of 2.55",
        "grad-cam ROADCombined",
        "same noise level (2 photos)",
        why="other noise, drawn for each image; cuts at percentiles",
    ),
    MetricRow(
        _MPRT,
        "MPRT, same maps",
        "Quantus MPRT",
        "same maps, signed, mean of the correlations",
        why="its mean has the model's own map in it, whose correlation is 1",
    ),
    MetricRow(_MPRT, "MPRT, same maps, original left out", "Quantus MPRT", "the same, without that"),
    MetricRow(_EMPRT, "EfficientMPRT, same maps", "Quantus EfficientMPRT", "same maps"),
)
