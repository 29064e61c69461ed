"""What answers for a model: its arrays where they were proven equal to scikit-learn, else its pipeline as it is."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contender.errors import ModelError
from contender.registry.model_files import Opened
from contender.values import ModelColumn

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class Scorer(ABC):
    """Answers for one model: probabilities of shape (rows, classes) in the order of `classes`, or values (rows,).

    It may be asked by several threads at once.

    Attributes:
        columns: what the model is given, by the names that users see, in order.
        classes: of a classifier, as texts or integers; None for regression.
        lowered: whether arrays answer, and not the pipeline.
        why_plain: why the pipeline answers, in one sentence; None where arrays do.
    """

    columns: tuple[ModelColumn, ...]
    classes: NDArray[Any] | None
    why_plain: str | None

    @property
    def lowered(self) -> bool:
        return self.why_plain is None

    @abstractmethod
    def answer(self, frame: "pd.DataFrame") -> NDArray[np.float64]:
        """What the model says of rows, columns by the names of `columns`; others are passed over.

        Raises:
            ModelError: a column is lacking, or holds what the model was never trained with, such as text for numbers.
        """

    @abstractmethod
    def answer_columns(self, columns: Mapping[str, "pa.Array"]) -> NDArray[np.float64]:
        """The same for Arrow's columns by name; texts that are dictionary-encoded stay so.

        Raises:
            ModelError: as `answer`.
        """

    @abstractmethod
    def answer_record(self, values: Sequence[object]) -> NDArray[np.float64]:
        """The same for one record: shape (1, classes) or (1,).

        Args:
            values: in the order of `columns`; numbers as int, float or bool, times as datetime (naive ones are UTC) or
                seconds since 1970, texts as str, what is missing as None or NaN.

        Raises:
            ModelError: a value is of another type, or there are more or fewer.
        """


class PlainScorer(Scorer):
    """Answers by the pipeline itself."""

    def __init__(self, opened: Opened, why: str) -> None:
        self._opened = opened
        self.why_plain = why
        self.columns = columns_of(opened)
        found = getattr(opened.model, "classes_", None)
        self.classes = None if found is None else np.asarray(found)

    def answer(self, frame: "pd.DataFrame") -> NDArray[np.float64]:
        return self._opened.answer(frame)

    def answer_columns(self, columns: Mapping[str, "pa.Array"]) -> NDArray[np.float64]:
        import pandas as pd

        wanted = [column.name for column in self.columns if column.name in columns]
        return self.answer(pd.DataFrame({name: columns[name].to_pandas() for name in wanted}))

    def answer_record(self, values: Sequence[object]) -> NDArray[np.float64]:
        import pandas as pd

        cells = [np.array([cell], dtype=kind) for cell, kind in zip(*cells_of(self.columns, values), strict=True)]
        return self.answer(pd.DataFrame({c.name: cell for c, cell in zip(self.columns, cells, strict=True)}))


def open_scorer(opened: Opened) -> Scorer:
    """What answers for a model whose files were the approved ones."""
    return PlainScorer(opened, "It has no arrays beside it.")


def columns_of(opened: Opened) -> tuple[ModelColumn, ...]:
    """A model's input, in order: names by its signature, kinds as its pipeline was told."""
    pipeline = getattr(opened.model, "model", opened.model)
    kinds = getattr(getattr(pipeline, "named_steps", {}).get("features"), "kinds", {})
    types = {one["name"]: one["type"] for one in json.loads(opened.described["signature"]["inputs"])}
    usual = {"string": "category"}
    return tuple(ModelColumn(name, kinds.get(name, usual.get(told, "number"))) for name, told in types.items())


def cells_of(columns: Sequence[ModelColumn], values: Sequence[object]) -> tuple[list[object], list[type]]:
    """One record's values as a model takes them: floats (missing: NaN) and texts (missing: None), and their types.

    Raises:
        ModelError: a value is of another type, or there are more or fewer than columns.
    """
    if len(values) != len(columns):
        raise ModelError(f"A record has {len(values)} values, needed are {len(columns)}: one for each column.")
    cells: list[object] = []
    for column, value in zip(columns, values, strict=True):
        if column.kind in ("number", "time"):
            cells.append(number_of(column, value))
        elif value is None or isinstance(value, str) or value != value:
            cells.append(value if isinstance(value, str) else None)
        else:
            raise unlike(column, value, "a text")
    return cells, [float if column.kind in ("number", "time") else object for column in columns]


def number_of(column: ModelColumn, value: object) -> float:
    """A number or a time as a model takes it: a float, missing as NaN.

    Raises:
        ModelError: it is neither.
    """
    if value is None:
        return np.nan
    if isinstance(value, (int, float, np.number, np.bool_)):
        return float(value)
    if isinstance(value, datetime) and column.kind == "time":
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (aware - _EPOCH) / _SECOND
    raise unlike(column, value, "a number" if column.kind == "number" else "a time, or seconds since 1970")


def unlike(column: ModelColumn, value: object, needed: str) -> ModelError:
    """The error that a value is of a type which a column does not have."""
    return ModelError(f"'{column.name}' is {value!r:.60} ({type(value).__name__}), needed is {needed}, or nothing.")
