"""The door to the diagnoses: one for each check of a window, with what was done about it and why."""

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from contender.lake import tables
from contender.retraining.triage import Diagnosis, Name
from contender.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "diagnoses"


@dataclass(frozen=True)
class Kept:
    """One diagnosis of the window `[start, end)` as seen from `at`, and when it was made.

    `columns` alarmed. `action` is "retrain", "hold out", "watch", "wait" or "nothing", and `why` tells of it; `event`
    is what was sent to have it done, "" where nothing was. `told` says whether people were notified.
    """

    at: datetime
    start: date
    end: date
    model_version: int
    diagnosis: Diagnosis
    columns: tuple[str, ...]
    action: str
    why: str
    event: str = ""
    told: bool = False
    made_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def repeats(self, other: "Kept") -> bool:
        """Whether both say the same of the same window."""
        return self._what == other._what

    def lasts_from(self, other: "Kept", windows: int) -> bool:
        """Whether what the other found, at most so many windows ago, only goes on."""
        mine, others = ((one.model_version, one.diagnosis.name, frozenset(one.columns)) for one in (self, other))
        return mine == others and timedelta(0) < self.end - other.end <= windows * (self.end - self.start)

    @property
    def _what(self) -> tuple[date, date, int, Name]:
        return self.start, self.end, self.model_version, self.diagnosis.name


def keep(settings: Settings, use_case: str, kept: Kept) -> None:
    """Add one to the table `diagnoses`."""
    found = kept.diagnosis
    row = {
        "at": kept.at,
        "window_start": kept.start,
        "window_end": kept.end,
        "model_version": kept.model_version,
        "name": found.name,
        "sentence": found.sentence,
        "reasons": json.dumps(found.reasons),
        "retrain": found.retrain,
        "decayed": found.decayed,
        "hold_out": found.hold_out,
        "columns": json.dumps(kept.columns),
        "action": kept.action,
        "why": kept.why,
        "event": kept.event,
        "told": kept.told,
        "made_at": kept.made_at,
    }
    tables.append_small(settings, use_case, TABLE, [row], _schema())


def newest(settings: Settings, use_case: str, limit: int = 1, version: int | None = None) -> list[Kept]:
    """The diagnoses of the newest windows, the newest first; of one champion where its version is given. No Spark."""
    where = None if version is None else [("model_version", "==", version)]
    table = tables.read_small(settings, use_case, TABLE, where=where)
    rows = [] if table is None else table.to_pylist()
    return [
        _kept(row) for row in sorted(rows, key=lambda row: (row["window_end"], row["made_at"]), reverse=True)[:limit]
    ]


def first_decay(settings: Settings, use_case: str, version: int) -> Kept | None:
    """The diagnosis by which a champion was first found decayed; None while it never was. No Spark."""
    where: list[tuple[str, str, object]] = [("model_version", "==", version), ("decayed", "==", True)]
    table = tables.read_small(settings, use_case, TABLE, where=where)
    rows = [] if table is None else table.to_pylist()
    return _kept(min(rows, key=lambda row: (row["window_end"], row["made_at"]))) if rows else None


def _kept(row: dict[str, Any]) -> Kept:
    fields = {name: row[name] for name in ("at", "model_version", "action", "why", "event", "told", "made_at")}
    found = {name: row[name] for name in ("name", "sentence", "retrain", "decayed", "hold_out")}
    diagnosis = Diagnosis(**found, reasons=tuple(json.loads(row["reasons"])))
    return Kept(
        **fields,
        start=row["window_start"],
        end=row["window_end"],
        diagnosis=diagnosis,
        columns=tuple(json.loads(row["columns"])),
    )


def _schema() -> "pa.Schema":
    import pyarrow as pa

    text, flag, day = pa.string(), pa.bool_(), pa.date32()
    return pa.schema(
        {
            "at": pa.timestamp("us", tz="UTC"),
            "window_start": day,
            "window_end": day,
            "model_version": pa.int64(),
            "name": text,
            "sentence": text,
            "reasons": text,
            "retrain": flag,
            "decayed": flag,
            "hold_out": flag,
            "columns": text,
            "action": text,
            "why": text,
            "event": text,
            "told": flag,
            "made_at": pa.timestamp("us", tz="UTC"),
        }
    )
