"""What a champion was trained on, as a sample that is drawn once and kept, with the scores of its ordinary windows.

Features and outcomes are those of the training rows. Scores are those of the first rows that the champion had not
seen: on the rows it was trained on a model is surer of itself than it will ever be again.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from contender.contracts.contract import Contract
from contender.drift import daily_samples, spark_sampler
from contender.drift.baseline import DAY, Ordinary, Side, Source, ordinary_scores, window_starts
from contender.drift.daily_samples import SOURCES, watched_columns
from contender.drift.small_batch_sampler import HASH
from contender.features.training_keys import Hashes
from contender.lake import tables
from contender.settings import Settings
from contender.values import BATCH, KEY, ModelVersion

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ORDINARY = "reference_scores"
Scores = Callable[["pd.DataFrame"], "np.ndarray[Any, Any]"]
"""Turns rows of the model's columns into its scores, shape (rows,)."""


@dataclass(frozen=True)
class Reference:
    """What later windows are compared with, by table."""

    sides: Mapping[Source, Side]
    ordinary: Mapping[Source, Mapping[str, Ordinary]]


@dataclass(frozen=True)
class TrainedChampion:
    """A champion and its training: the first day, hashes of the keys, and how it scores rows."""

    model: ModelVersion
    first: date
    keys: Hashes
    scores: Scores

    @property
    def end(self) -> date:
        """The day after the last of the training."""
        return self.model.trained_until.date() + timedelta(days=1)


def find_reference(settings: Settings, contract: Contract, version: int) -> Reference | None:
    """The kept reference of a champion; None when none was made, or under other rules."""
    where = [("model_version", "==", version), ("rules", "==", _rules(settings, contract))]
    found = tables.read_small(settings, contract.name, ORDINARY, where=where)
    rows = [] if found is None else found.to_pylist()
    if not rows:
        return None
    sides: dict[Source, Side] = {}
    ordinary: dict[Source, dict[str, Ordinary]] = {}
    for source in SOURCES:
        of_source = {row["column"]: row for row in rows if row["source"] == source}
        if not of_source:
            continue
        one = next(iter(of_source.values()))
        missing = {name: row["reference_missing"] for name, row in of_source.items()}
        frame = _kept_rows(settings, contract, version, source) if one["reference_rows"] else _no_rows(contract, source)
        sides[source] = Side(one["start"], one["end"], frame, one["reference_rows"], missing)
        ordinary[source] = {
            name: Ordinary(
                row["expected"],
                row["spread"],
                row["missing_expected"],
                row["missing_spread"],
                row["rows"],
                row["windows"],
                row["season"],
                row["by"],
            )
            for name, row in of_source.items()
            if row["windows"]
        }
    return Reference(sides, ordinary)


def make_reference(settings: Settings, contract: Contract, trained: TrainedChampion, before: date) -> Reference:
    """Draw the reference of a champion from the daily samples and keep it; the one that is kept, where there is one.

    Args:
        before: first day of the window to be compared; scores are taken from unseen rows of earlier days only.
    """
    kept = find_reference(settings, contract, trained.model.version)
    if kept is not None:
        return kept
    sides: dict[Source, Side] = {}
    ordinary: dict[Source, dict[str, Ordinary]] = {}
    for source in SOURCES:
        first, end = _days(contract, trained, source, before)
        drawn = _drawn(settings, contract, trained, source, first, end)
        sides[source] = drawn
        windows = _windows(settings, contract, trained, source, first, end)
        columns = watched_columns(contract, source)
        ordinary[source] = ordinary_scores(windows, drawn, columns, contract.drift, settings.seed)
    found = Reference(sides, ordinary)
    if sides["features"].rows >= contract.drift.min_rows:
        _keep(settings, contract, trained.model.version, found)
    return found


def _days(contract: Contract, trained: TrainedChampion, source: Source, before: date) -> tuple[date, date]:
    """The days `[first, end)` that a table is compared with."""
    if source != "predictions":
        return trained.first, trained.end
    newest = contract.judging.newest
    unseen = newest if isinstance(newest, timedelta) else timedelta(days=28)
    wait = max(contract.judging.embargo, contract.outcome.matures_after)
    return trained.end, max(trained.end, min(before, trained.end + wait + unseen))


def _drawn(
    settings: Settings, contract: Contract, trained: TrainedChampion, source: Source, first: date, end: date
) -> Side:
    most = contract.drift.reference_rows
    if source == "predictions":
        return _scored(daily_samples.side_of(settings, contract, "features", first, end, most=most), trained)
    return daily_samples.side_of(
        settings,
        contract,
        source,
        first,
        end,
        most=most,
        only=lambda frame: _in_training(frame, trained.keys),
    )


def _in_training(frame: "pd.DataFrame", keys: Hashes) -> "np.ndarray[Any, Any]":
    """Which rows were trained on, looked up among the sorted hashes as `seen.hashes_of` makes them."""
    import pandas as pd

    hashes = pd.util.hash_array(frame[KEY].to_numpy(object), categorize=False)
    if not len(keys):
        return np.zeros(len(hashes), dtype=bool)
    found: np.ndarray[Any, Any] = keys[np.searchsorted(keys, hashes).clip(max=len(keys) - 1)] == hashes
    return found


def _no_rows(contract: Contract, source: Source) -> "pd.DataFrame":
    import pandas as pd

    types = daily_samples.types_of(watched_columns(contract, source))
    return pd.DataFrame({name: [] for name in (DAY, *types)}).astype(types)


def _kept_rows(settings: Settings, contract: Contract, version: int, source: Source) -> "pd.DataFrame":
    table = tables.read_small(settings, contract.name, _name(version, source))
    assert table is not None, "it is written before its scores"
    frame: pd.DataFrame = table.to_pandas()
    types = daily_samples.types_of(watched_columns(contract, source))
    others = {name: kind for name, kind in types.items() if frame[name].dtype != kind}
    return frame.astype(others) if others else frame


def _scored(side: Side, trained: TrainedChampion) -> Side:
    frame = side.frame[[KEY, DAY]].assign(score=trained.scores(side.frame) if len(side.frame) else np.zeros(0))
    return replace(side, frame=frame, rows=len(frame), missing={"score": int(frame["score"].isna().sum())})


def _windows(
    settings: Settings, contract: Contract, trained: TrainedChampion, source: Source, first: date, end: date
) -> Iterator[Side]:
    """Windows of the contract's length from those days; all are read in one go, at one rate."""
    length, rules = contract.drift.window.days, contract.drift
    starts = window_starts(first.toordinal(), end.toordinal(), length)
    by_day = daily_samples.rows_by_day(settings, contract, first, end)
    inside = {start + more for start in starts for more in range(length)}
    by_day = {day: rows for day, rows in by_day.items() if day.toordinal() in inside}
    busiest = max(by_day.values(), default=1) * length
    rate = daily_samples.rate_of(contract, by_day, rules.window_rows / busiest)
    of: Source = "features" if source == "predictions" else source
    every = Side(first, end, daily_samples.read_sample(settings, contract, of, list(by_day), rate), 0)
    if source == "predictions":
        every = _scored(every, trained)
    names = [column.name for column in watched_columns(contract, source)]
    places = every.frame.groupby(DAY).indices
    for start in map(date.fromordinal, starts):
        days = [start + timedelta(days=more) for more in range(length)]
        taken = [places[day] for day in days if day in places]
        if taken:
            frame = every.frame.iloc[np.concatenate(taken)]
            missing = {name: int(frame[name].isna().sum()) for name in names}
            yield Side(start, days[-1] + timedelta(days=1), frame, len(frame), missing)


def _keep(settings: Settings, contract: Contract, version: int, reference: Reference) -> None:
    """The samples first: whoever finds the scores finds them too."""
    import pyarrow as pa

    rows = []
    for source, side in reference.sides.items():
        kept = side.frame.drop(columns=[KEY, HASH, BATCH], errors="ignore")
        spark_sampler.replace_small(
            settings, contract, _name(version, source), pa.Table.from_pandas(kept, preserve_index=False)
        )
        for column in watched_columns(contract, source):
            nothing = Ordinary(0.0, 0.0, 0.0, 0.0, 0, 0)
            rows.append(
                {
                    **asdict(reference.ordinary[source].get(column.name, nothing)),
                    "model_version": version,
                    "rules": _rules(settings, contract),
                    "source": source,
                    "column": column.name,
                    "reference_rows": side.rows,
                    "start": side.start,
                    "end": side.end,
                    "reference_missing": side.missing.get(column.name, 0),
                }
            )
    tables.append_small(settings, contract.name, ORDINARY, rows, _schema())


def _name(version: int, source: Source) -> str:
    return f"references/v{version}-{source}"


def _rules(settings: Settings, contract: Contract) -> str:
    """Digest of all that the scores of ordinary windows depend on besides the champion."""
    text = contract.drift.model_dump_json() + daily_samples.definition(settings, contract)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _schema() -> "pa.Schema":
    import pyarrow as pa

    number = pa.float64()
    return pa.schema(
        {
            "model_version": pa.int64(),
            "rules": pa.string(),
            "source": pa.string(),
            "column": pa.string(),
            "expected": number,
            "spread": number,
            "missing_expected": number,
            "missing_spread": number,
            "rows": pa.int64(),
            "windows": pa.int64(),
            "season": pa.int64(),
            "by": pa.string(),
            "reference_rows": pa.int64(),
            "reference_missing": pa.int64(),
            "start": pa.date32(),
            "end": pa.date32(),
        }
    )
