"""What answers for a model: the place where the one fast scorer is put in."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contender.registry.model_files import Answering, Opened
from contender.values import ModelColumn


class Scorer:
    """Answers by the pipeline itself: probabilities of shape (rows, classes), or values (rows,).

    Attributes:
        columns: what the model is given, in order.
        classes: of a classifier; None for regression.
    """

    def __init__(self, opened: Opened) -> None:
        self._model = Answering(opened.model)
        self.columns = tuple(
            ModelColumn(one["name"], "number" if one["type"] == "double" else "category")
            for one in json.loads(opened.described["signature"]["inputs"])
        )
        found = getattr(opened.model, "classes_", None)
        self.classes: NDArray[Any] | None = None if found is None else np.asarray(found)

    def answer(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """What the model says of rows, columns by the names of `columns`."""
        return np.asarray(self._model.predict(frame), dtype=np.float64)

    def answer_record(self, values: Sequence[object]) -> NDArray[np.float64]:
        """The same for one record, values in the order of `columns`."""
        return self.answer(frame_of(self.columns, [[value] for value in values]))


def open_scorer(opened: Opened) -> Scorer:
    """What answers for a model whose files were the approved ones."""
    return Scorer(opened)


def frame_of(columns: Sequence[ModelColumn], values: Sequence[Sequence[object]]) -> pd.DataFrame:
    """Columns as a model takes them: floats (missing: NaN) and texts (missing: None)."""
    return pd.DataFrame(
        {
            column.name: np.array(cells, dtype=np.float64 if column.kind in ("number", "time") else object)
            for column, cells in zip(columns, values, strict=True)
        }
    )
