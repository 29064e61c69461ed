"""The interactive report of a check by Evidently, on the very samples that were compared."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contender.drift.drift_check import ColumnDrift, Comparison

if TYPE_CHECKING:
    import pandas as pd


def write_report(path: Path, comparisons: Sequence[Comparison], columns: Sequence[ColumnDrift]) -> dict[str, float]:
    """Write the page, and give Evidently's own value for each column that it compares.

    It computes with the method of the check and marks values from the check's threshold on, so that page and table
    agree. Columns of which nothing could be told are left out, because Evidently stops at the first of them; the page
    is not written when none is left. It knows neither of seasons nor of missing values.
    """
    compared = [column for column in columns if column.score is not None]
    if not compared:
        return {}
    # Set, it stops Evidently from telling its makers what was computed.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report
        from evidently.metrics import ValueDrift
        from evidently.presets import DataSummaryPreset

        definition = DataDefinition(
            numerical_columns=[str(column) for column in compared if column.kind == "number"],
            categorical_columns=[str(column) for column in compared if column.kind == "category"],
        )
        current, reference = (
            Dataset.from_pandas(_side_by_side(comparisons, compared, side), data_definition=definition)
            for side in ("current", "matched")
        )
        drifts = [ValueDrift(column=str(c), method=c.method, threshold=c.threshold) for c in compared]
        features = [str(column) for column in compared if column.table == "features"]
        summary = [DataSummaryPreset(columns=features)] if features else []
        report = Report([*drifts, *summary], include_tests=True).run(current, reference)
        path.parent.mkdir(parents=True, exist_ok=True)
        report.save_html(str(path))
    found = report.dict()["metrics"][: len(drifts)]
    return {str(column): float(metric["value"]) for column, metric in zip(compared, found, strict=True)}


def _side_by_side(comparisons: Sequence[Comparison], compared: Sequence[ColumnDrift], side: str) -> "pd.DataFrame":
    """One frame of all tables; the columns of a shorter table end in missing values, which Evidently leaves out."""
    import pandas as pd

    found: dict[str, Any] = {}
    for comparison in comparisons:
        frame = getattr(comparison, side).frame
        for column in compared:
            if column.table == comparison.source:
                values = frame[column.column].reset_index(drop=True)
                found[str(column)] = values.replace([np.inf, -np.inf], np.nan) if column.kind == "number" else values
    return pd.DataFrame(found)
