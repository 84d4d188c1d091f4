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


ROWS: tuple[MetricRow, ...] = ()
