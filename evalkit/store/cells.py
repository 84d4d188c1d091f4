"""Rows of the table ``scores`` as arrays; a run of 50,000 images has millions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.store.statistics import Statistics, unpack

__all__ = ["Cells"]


Indices = NDArray[np.int64]


class Cells:
    """The cells of a run, filled from blocks of rows.

    Attributes:
        values: float64 (N, E, M), NaN = not scored.
        codes: int32 (N, E, M), from 1 the code of the reason why a cell is not scored; -1 = scored, 0 = no such cell.
        code_of: the code of every reason, and -1 of None.
        statistics: the statistics of each set-level metric.

    Args:
        image_ids: ids of the images.
        explainers: specs of the explainers.
        metrics: specs of the metrics.
    """

    def __init__(self, image_ids: Sequence[str], explainers: Sequence[str], metrics: Sequence[str]) -> None:
        """Begin without any cell."""
        shape = len(image_ids), len(explainers), len(metrics)
        self.values = np.full(shape, np.nan)
        self.codes = np.zeros(shape, dtype=np.int32)
        self.code_of: dict[str | None, int] = {None: -1}
        self.statistics: dict[str, Statistics] = {}
        self._metrics = metrics
        self._row_of = {image_id: index for index, image_id in enumerate(image_ids)}
        self._cell_of = {
            (explainer, metric): column * len(metrics) + place
            for column, explainer in enumerate(explainers)
            for place, metric in enumerate(metrics)
        }

    def read(self, block: Sequence[tuple[Any, ...]]) -> None:
        """Add rows (image id, explainer, metric, value, reason, statistics); those of other images are left out.

        Raises:
            ValueError: the statistics of the metric in the message are damaged.
        """
        ids, explainers, metrics, values, reasons, blobs = zip(*block, strict=True)
        for reason in dict.fromkeys(reasons):
            self.code_of.setdefault(reason, len(self.code_of))
        # Loops in C: in Python they take longer than SQLite.
        rows = _numbers(map(self._row_of.get, ids, repeat(-1)), len(block))
        cells = _numbers(map(self._cell_of.get, zip(explainers, metrics, strict=True), repeat(-1)), len(block))
        codes = _numbers(map(self.code_of.__getitem__, reasons), len(block))
        known = (rows >= 0) & (cells >= 0)
        rows, cells = rows[known], cells[known]
        n_metrics = len(self._metrics)
        self.values.reshape(len(self.values), -1)[rows, cells] = np.array(values, dtype=np.float64)[known]
        self.codes.reshape(len(self.codes), -1)[rows, cells] = codes[known]
        packed = np.array(blobs, dtype=object)[known]
        filled = packed != None  # noqa: E711 - of every element
        for place in np.unique(cells[filled] % n_metrics).tolist():
            chosen = np.flatnonzero(filled & (cells % n_metrics == place))
            self._put(self._metrics[place], rows[chosen], cells[chosen] // n_metrics, packed[chosen].tolist())

    def _put(self, metric: str, rows: Indices, columns: Indices, blobs: Sequence[bytes]) -> None:
        try:
            numbers = unpack(blobs)
            if metric not in self.statistics:
                self.statistics[metric] = Statistics.empty(*self.values.shape[:2], numbers.shape[1])
            self.statistics[metric].put(rows, columns, numbers)
        except ValueError as error:
            raise ValueError(metric) from error


def _numbers(numbers: Iterable[int], count: int) -> Indices:
    return np.fromiter(numbers, dtype=np.int64, count=count)
