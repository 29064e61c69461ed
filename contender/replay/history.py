"""What came when, to be played again: the rows of a lake, or days that are simulated, as files that land.

Records come in the period that they lie in; an outcome comes in the period in which it was known.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from contender import column_names
from contender.contracts.contract import Contract
from contender.contracts.sections import Column, Columns
from contender.errors import DataError, UsageError
from contender.features import feature_tables, transforms
from contender.lake import tables
from contender.replay import scenarios
from contender.replay.payments_simulator import Simulation
from contender.settings import Settings
from contender.values import KEY, KNOWN_AT, TIME

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

SIMULATED = "payments"
"""The use case whose history is made here, and into which scenarios can be injected."""

_OUTCOMES = "every_outcome"
_WAIT_DAYS = 31
"""Days after the last one in which outcomes of simulated payments may still come: thrice the longest wait."""


class History(Protocol):
    """The days `[first, last)`, and the contract by which the files that land are to be read."""

    @property
    def contract(self) -> Contract: ...
    @property
    def first(self) -> date: ...
    @property
    def last(self) -> date: ...

    def prepare(self, settings: Settings) -> None:
        """Put into a lake what does not come by and by: look-ups."""

    def land(self, folder: Path, start: date, end: date) -> None:
        """Put what came in `[start, end)` into a folder, each file whole."""

    def settle(self, folder: Path) -> datetime:
        """Put the outcomes there that were known only after the last day; the moment when all were known."""


def earliest_champion(contract: Contract, first: date, last: date) -> date:
    """The day on which there is as much to train the first champion on as to judge it by.

    Raises:
        UsageError: the days end before it.
    """
    newest = contract.judging.newest
    if isinstance(newest, float):
        needed = (last - first) * 2 * newest
    else:
        gap = max(contract.judging.embargo, contract.outcome.matures_after)
        needed = 2 * newest + gap + contract.outcome.matures_after
    day = first + timedelta(days=ceil(needed / timedelta(days=1)))
    if day >= last:
        raise UsageError(
            f"The history from {first} to {last} has {(last - first).days} days; {(day - first).days} are needed "
            f"before the first champion of {contract.name}, and some after it: take a longer one, or shorten "
            "judging.newest."
        )
    return day


def take_lookups(settings: Settings, contract: Contract, landing: Path) -> None:
    """The look-ups of a landing folder, as tables."""
    feature_tables.update_lookups(settings, contract, landing)


@dataclass(frozen=True)
class SimulatedHistory:
    """Card payments, one file a day, as they lie in a folder of their own."""

    contract: Contract
    first: date
    last: date
    folder: Path

    @classmethod
    def make(cls, contract: Contract, simulation: Simulation, scenario: str, injected: date, folder: Path) -> Self:
        """Simulate all days, with what a scenario does from `injected` on."""
        longer = replace(simulation, days=simulation.days + _WAIT_DAYS)
        scenarios.write(scenarios.scenario_days(longer, scenario, (injected - simulation.start).days), folder)
        return cls(contract, simulation.start, simulation.date_of(simulation.days), folder)

    def prepare(self, settings: Settings) -> None:
        """Payments have no look-ups."""

    def land(self, folder: Path, start: date, end: date) -> None:
        self._link(folder, ("payments", "outcomes"), start, end)

    def settle(self, folder: Path) -> datetime:
        end = self.last + timedelta(days=_WAIT_DAYS)
        self._link(folder, ("outcomes",), self.last, end)
        return _midnight(end)

    def _link(self, folder: Path, kinds: Sequence[str], start: date, end: date) -> None:
        for kind in kinds:
            for day in range((end - start).days):
                file = self.folder / f"{kind}-{start + timedelta(days=day)}.csv"
                if file.is_file():
                    os.link(file, folder / file.name)


@dataclass(frozen=True)
class LakeHistory:
    """The accepted records of a lake and their outcomes, each when it was known, corrections too.

    `records` and `outcomes` are addresses of Delta tables; a period's rows are in memory at once.
    """

    contract: Contract
    first: date
    last: date
    source: Settings
    records: str
    outcomes: str

    @classmethod
    def find(cls, settings: Settings, contract: Contract, scratch: Settings) -> Self:
        """The history that is in a lake; when which outcome was known is written down in the scratch one.

        Raises:
            UsageError: the contract names no time, so that nothing tells what came when.
            DataError: there are no records, or no outcomes.
        """
        name = contract.name
        if contract.records.time is None:
            raise UsageError(
                f"The contract of {name} has no records.time, so nothing tells what came when; a replay needs it."
            )
        records, outcomes = (tables.find(settings, name, table) for table in ("records", "outcomes"))
        if records is None or outcomes is None:
            raise DataError(
                f"{name} has no {'records' if records is None else 'outcomes'} to play again; land files and run "
                f"'contender ingest {name}', or name their folder with --landing."
            )
        known = transforms.every_outcome(tables.read(settings, records), tables.read(settings, outcomes), contract)
        tables.replace(scratch, name, _OUTCOMES, known.orderBy(KNOWN_AT))
        first, last = _span(tables.path_of(settings, name, "records"))
        return cls(
            _as_exported(contract),
            first,
            last,
            settings,
            tables.path_of(settings, name, "records"),
            tables.path_of(scratch, name, _OUTCOMES),
        )

    def prepare(self, settings: Settings) -> None:
        name = self.contract.name
        for table in (f"lookup_{lookup}" for lookup in self.contract.lookups):
            found = tables.find(self.source, name, table)
            if found is None:
                raise DataError(f"{name} has no table '{table}' yet; 'contender ingest {name}' makes it from its file.")
            tables.replace(settings, name, table, tables.read(self.source, found))

    def land(self, folder: Path, start: date, end: date) -> None:
        import pyarrow.dataset as ds

        within = (ds.field(TIME) >= _midnight(start)) & (ds.field(TIME) < _midnight(end))
        columns = list(self.contract.stored(self.contract.records.columns))
        records = _read(self.records, within, [KEY, *columns]).sort_by(KEY)
        if self.contract.outcome.files is None:
            own = [name for name in self.contract.stored(self.contract.outcome.columns) if name not in columns]
            known = _read(self.outcomes, ds.field(KEY).isin(records[KEY]), [KEY, *own])
            records = records.join(known, keys=KEY, join_type="left outer").sort_by(KEY)
            columns += own
        _place(_named(records.select(columns)), folder / f"records-{end}.parquet")
        self._land_outcomes(
            folder,
            f"outcomes-{end}.parquet",
            (ds.field(KNOWN_AT) >= _midnight(start)) & (ds.field(KNOWN_AT) < _midnight(end)),
        )

    def settle(self, folder: Path) -> datetime:
        import pyarrow.compute as pc
        import pyarrow.dataset as ds

        self._land_outcomes(folder, "outcomes-settled.parquet", ds.field(KNOWN_AT) >= _midnight(self.last))
        newest: datetime = pc.max(_read(self.outcomes, None, [KNOWN_AT])[KNOWN_AT]).as_py()
        return max(newest, _midnight(self.last)) + timedelta(seconds=1)

    def _land_outcomes(self, folder: Path, name: str, wanted: "ds.Expression") -> None:
        if self.contract.outcome.files is not None:
            columns = list(self.contract.stored(self.contract.outcome.columns))
            rows = _read(self.outcomes, wanted, [KNOWN_AT, *columns]).sort_by(KNOWN_AT)
            _place(_named(rows.select(columns)), folder / name)


def _as_exported(contract: Contract) -> Contract:
    """The contract for files of ours: their names, and times as ISO 8601."""
    records = {"files": "records-*.parquet", "columns": _plain(contract.records.columns)}
    outcome: dict[str, Any] = {"columns": _plain(contract.outcome.columns)}
    if contract.outcome.files is not None:
        outcome["files"] = "outcomes-*.parquet"
    return contract.model_copy(
        update={
            "records": contract.records.model_copy(update=records),
            "outcome": contract.outcome.model_copy(update=outcome),
        }
    )


def _plain(columns: Columns) -> Columns:
    """Columns as our own files write them, whatever their first files did."""
    kept = ("type", "unit", "min", "max", "values", "unseen", "required", "exclude")
    return {name: Column(**{setting: getattr(column, setting) for setting in kept}) for name, column in columns.items()}


def _named(rows: "pa.Table") -> "pa.Table":
    """Rows of the lake under the names that the contract has."""
    return rows.rename_columns([column_names.exact(name) for name in rows.column_names])


def _span(location: str) -> tuple[date, date]:
    """The days `[first, last)` of which there are records."""
    import pyarrow.compute as pc

    times = _read(location, None, [TIME])[TIME]
    ends = pc.min_max(times).as_py()
    return ends["min"].date(), ends["max"].date() + timedelta(days=1)


def _read(location: str, wanted: "ds.Expression | None", columns: Sequence[str]) -> "pa.Table":
    delta = tables.opened_at(location)
    assert delta is not None
    return tables.dataset_of(delta).to_table(columns=list(columns), filter=wanted)


def _place(rows: "pa.Table", path: Path) -> None:
    import pyarrow.parquet as pq

    if len(rows):
        pq.write_table(rows, path)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
