"""Results as columns, for pandas and for Parquet files; each library is imported when it is used."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from evalkit.core.errors import ConfigError
from evalkit.store.scores import ScoreTable

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Column",
    "Frame",
    "Integers",
    "Names",
    "Objects",
    "Texts",
    "record_frame",
    "scores_frame",
    "to_pandas",
    "to_parquet",
]


_NESTED = ("parameters", "variant", "metrics")


@dataclass(frozen=True, eq=False)
class Names:
    """A column of few texts that are repeated many times.

    Attributes:
        codes: int32 (rows,), the position of each row's text in ``names``; -1 = no text.
        names: the texts.
    """

    codes: NDArray[np.int32]
    names: Sequence[str]


@dataclass(frozen=True)
class Integers:
    """A column of whole numbers; None = no number."""

    values: Sequence[int | None]


@dataclass(frozen=True)
class Texts:
    """A column of texts; None = no text."""

    values: Sequence[str | None]


@dataclass(frozen=True)
class Objects:
    """A column of other values: booleans, parameters of several types, lists of texts; None = no value."""

    values: Sequence[object]


Column = NDArray[np.float64] | Names | Integers | Texts | Objects
"""An array is a column of numbers; NaN = no number."""
Frame = Mapping[str, Column]
"""The columns of a table, by name, in order."""


def scores_frame(table: ScoreTable, unscored: Mapping[tuple[str, str], Mapping[str, str]]) -> Frame:
    """Return every image's scores in long form: a row for each image, explainer and metric, in this order.

    Metrics that score the image set as a whole are left out.

    Args:
        table: the scores.
        unscored: by (explainer, metric) and image id, the reason why a cell is not scored.
    """
    chosen = [place for place, metric in enumerate(table.metrics) if metric not in table.statistics]
    metrics = [table.metrics[place] for place in chosen]
    n_images, n_explainers, n_metrics = len(table.image_ids), len(table.explainers), len(metrics)
    reasons = {reason: 0 for of_cell in unscored.values() for reason in of_cell.values()}
    code_of = {reason: code for code, reason in enumerate(sorted(reasons))}
    row_of = {image: row for row, image in enumerate(table.image_ids)}
    codes = np.full((n_images, n_explainers, n_metrics), -1, dtype=np.int32)
    for column, explainer in enumerate(table.explainers):
        for place, metric in enumerate(metrics):
            for image, reason in unscored.get((explainer, metric), {}).items():
                if image in row_of:
                    codes[row_of[image], column, place] = code_of[reason]
    images, explainers, places = (
        axis.reshape(-1).astype(np.int32) for axis in np.indices((n_images, n_explainers, n_metrics), dtype=np.int32)
    )
    return {
        "image": Names(images, table.image_ids),
        "explainer": Names(explainers, table.explainers),
        "metric": Names(places, metrics),
        "value": table.values[:, :, chosen].reshape(-1),
        "reason": Names(codes.reshape(-1), list(code_of)),
    }


def record_frame(records: Sequence[msgspec.Struct], kind: type[msgspec.Struct]) -> Frame:
    """Return records as columns.

    Args:
        records: the records; one of another type has no value where it lacks an attribute.
        kind: the type whose attributes are the columns.
    """
    frame: dict[str, Column] = {}
    for field in msgspec.structs.fields(kind):
        values = [getattr(record, field.name, None) for record in records]
        if field.name not in _NESTED:
            frame[field.name] = _column(values, field.type)
    for nested in _NESTED:
        if nested in kind.__struct_fields__:
            frame.update(_columns_of(nested, [getattr(record, nested) for record in records]))
    return frame


def _columns_of(nested: str, of_rows: Sequence[dict[str, Any]]) -> dict[str, Column]:
    if nested == "metrics":
        return _metric_columns(of_rows)
    return {
        name: Objects([values.get(name) for values in of_rows])
        for name in dict.fromkeys(name for values in of_rows for name in values)
    }


def _metric_columns(of_rows: Sequence[dict[str, msgspec.Struct]]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for metric in dict.fromkeys(metric for scores in of_rows for metric in scores):
        for name in ("mean", "ci_low", "ci_high", "n_scored"):
            values = [getattr(scores.get(metric), name, None) for scores in of_rows]
            title = metric if name == "mean" else f"{metric} {name}"
            columns[title] = Integers(values) if name == "n_scored" else _numbers(values)
    return columns


def _column(values: Sequence[object], declared: object) -> Column:
    types = set(getattr(declared, "__args__", (declared,)))
    if float in types:
        return _numbers(values)
    if types <= {int, type(None)}:
        return Integers(values)  # type: ignore[arg-type]
    return Texts(values) if types <= {str, type(None)} else Objects(values)  # type: ignore[arg-type]


def _numbers(values: Sequence[object]) -> Column:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def to_pandas(frame: Frame) -> pd.DataFrame:
    """Return a pandas data frame: float64, categories for ``Names``, ``Int64`` for ``Integers``, else objects.

    Raises:
        ConfigError: pandas is not installed.
    """
    pandas = _library("pandas", "a data frame", "pandas")

    def series(column: Column) -> Any:  # noqa: ANN401 - arrays of pandas
        if isinstance(column, Names):
            return pandas.Categorical.from_codes(column.codes, list(column.names))
        if isinstance(column, Integers):
            return pandas.array(list(column.values), dtype="Int64")
        return np.array([*column.values, None], dtype=object)[:-1] if isinstance(column, Texts | Objects) else column

    made: pd.DataFrame = pandas.DataFrame({name: series(column) for name, column in frame.items()})
    return made


def to_parquet(frame: Frame, metadata: Mapping[str, str]) -> bytes:
    """Return a Parquet file; no value is null, in columns of numbers too.

    Args:
        frame: the columns; ``Objects`` must be of one type each.
        metadata: texts that are kept with the schema.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    arrow = _library("pyarrow", "--format parquet", "parquet")
    parquet = import_module("pyarrow.parquet")

    def array(column: Column) -> Any:  # noqa: ANN401 - arrays of pyarrow
        if isinstance(column, Names):
            codes = arrow.array(column.codes, mask=column.codes < 0)
            return arrow.DictionaryArray.from_arrays(codes, arrow.array(list(column.names), arrow.string()))
        if isinstance(column, Integers):
            return arrow.array(column.values, arrow.int64())
        if isinstance(column, Texts):
            return arrow.array(column.values, arrow.string())
        if isinstance(column, Objects):
            return arrow.array([list(value) if isinstance(value, tuple) else value for value in column.values])
        return arrow.array(column, from_pandas=True)  # NaN becomes null

    table = arrow.table({name: array(column) for name, column in frame.items()})
    stream = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata(dict(metadata)), stream)
    return stream.getvalue()


def _library(name: str, what: str, extra: str) -> Any:  # noqa: ANN401 - a module
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{what} needs {name}, which is not installed ({error}): pip install 'evalkit-saliency[{extra}]'"
        ) from error
