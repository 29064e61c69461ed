"""How each model version did on each day: the table `performance`, kept up to date as outcomes arrive and change.

A day is that of the record's time. Only days that something new is about are computed again, from what the tables say
now, in one commit: an update that was killed, or is repeated, changes nothing. An estimate stays what was to be
expected when its day was last computed. A look from before the last update is computed and given, but not written: the
table keeps what is known now. Spark counts; the driver holds at most 3,224 points (of numbers about as many)
for each model version and day that is computed again or estimated from, whatever the volume.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from contender.contracts.contract import Contract
from contender.lake import spark_session, tables
from contender.lake.file_pruning import DataFiles, data_files_of
from contender.performance.daily_row import CALIBRATION_DAYS, Day, before, row_of, schema
from contender.performance.quality_readings import TABLE, days_of, reach_of
from contender.performance.spark_counts import Moment, count, requests_of
from contender.settings import Settings
from contender.values import KEY, TIME

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Updated:
    """What one update wrote: rows of `performance`, and the days that were computed again, oldest first.

    `seen` are the days as they were known then, where the update was asked to look from before the last one: nothing is
    written then. Else it is None, and the table says how the days are known.
    """

    rows: int
    days: tuple[date, ...]
    whole: bool
    seen: tuple[Day, ...] | None = None


def update(
    settings: Settings, contract: Contract, as_of: datetime, trained_until: Mapping[int, datetime] | None = None
) -> Updated:
    """Bring `performance` up to date with predictions, outcomes and requests, as known at `as_of` (UTC).

    Args:
        trained_until: newest record time that each model version was trained on; its quality up to there is that of
            rows it knows by heart, and is marked so.
    """
    predictions, records, outcomes = (
        tables.find(settings, contract.name, name) for name in ("predictions", "records", "outcomes")
    )
    if predictions is None or records is None:
        return Updated(0, (), whole=False)
    done = tables.note_of(settings, contract.name, TABLE)
    definition, ends = _definition(contract), {v: until.date() for v, until in (trained_until or {}).items()}
    now = _moment(
        contract,
        as_of,
        data_files_of(settings, predictions),
        data_files_of(settings, records),
        data_files_of(settings, outcomes) if outcomes else None,
    )
    if done and as_of < datetime.fromisoformat(done["as_of"]):
        return Updated(0, (), whole=False, seen=_look_back(settings, contract, now, ends))
    days = _touched(settings, contract, now, done, ends) if done.get("definition") == definition else None
    whole = days is None
    if days is None:
        days = _days_of(now.predictions.read())
    if not days:
        return Updated(0, (), whole=False)
    counted = count(settings, contract, now, days, ends)
    matures_after, again = contract.outcome.matures_after, set(days)
    first = days[0] - matures_after - timedelta(days=CALIBRATION_DAYS + 1)
    kept = [] if whole else [day for day in days_of(settings, contract, first, days[-1]) if day.day not in again]
    every = [*kept, *counted]
    rows = [
        row_of(contract, day, before(day, every, matures_after), as_of=as_of, seed=settings.seed) for day in counted
    ]
    note = {
        "definition": definition,
        "predictions": predictions.version,
        "as_of": as_of.isoformat(),
        "outcomes": outcomes.version if outcomes else None,
        "mature": now.mature.isoformat(),
    }
    _write(settings, contract, rows, None if whole else days, note)
    return Updated(len(rows), tuple(days), whole=whole)


def _look_back(settings: Settings, contract: Contract, then: Moment, ends: Mapping[int, date]) -> tuple[Day, ...]:
    """The days that a reading from then depends on; records that came later are left out."""
    newest = then.mature + contract.outcome.matures_after
    first = newest - reach_of(contract) - timedelta(days=1)
    within = then.predictions.read().where(F.col(TIME).between(F.lit(first), F.lit(newest)))
    return tuple(count(settings, contract, replace(then, looks_back=True), _days_of(within), ends))


def _moment(
    contract: Contract, as_of: datetime, predictions: DataFiles, records: DataFiles, outcomes: DataFiles | None
) -> Moment:
    """As for training: a record matures against the newest one that there is, not against a clock that ran on."""
    happened = records.newest(as_of).read().where(F.col(TIME) <= F.lit(as_of))
    newest = happened.agg(F.unix_micros(F.max(TIME))).head()
    microseconds = newest[0] if newest else None
    epoch = datetime.fromtimestamp(0, UTC)
    horizon = as_of if microseconds is None else epoch + timedelta(microseconds=microseconds)
    return Moment(as_of, horizon - contract.outcome.matures_after, predictions, records, outcomes)


def _touched(
    settings: Settings, contract: Contract, now: Moment, done: Mapping[str, Any], ends: Mapping[int, date]
) -> list[date] | None:
    """Days whose rows may differ from what was written; None when that cannot be told."""
    seen_as_of, seen_mature = (datetime.fromisoformat(done[name]) for name in ("as_of", "mature"))
    days: set[date] = set()
    for parts, since in ((now.predictions, done["predictions"]), (now.outcomes, done["outcomes"])):
        if parts is None or parts.table.version == since:
            continue
        files = tables.changed_files(settings, parts.table, since) if since is not None else []
        if files is None:
            return None
        changed = parts.read() if since is None else _read_files(settings, files)
        if changed is None:
            continue
        if parts is now.outcomes:
            low, high = changed.agg(F.min(KEY), F.max(KEY)).head() or ("", "")
            scored = now.predictions.among((low, high)).read().where(F.col(KEY).between(low, high))
            changed = scored.join(changed, on=KEY, how="left_semi")
        days |= set(_days_of(changed))
    written = tables.read_small(
        settings, contract.name, TABLE, ["model_version", "day", "in_training", "outcomes", "mature", "next_known_at"]
    )
    for row in written.to_pylist() if written is not None else []:
        due = row["next_known_at"] is not None and row["next_known_at"] <= now.as_of
        ripens = now.mature > seen_mature and seen_mature.date() <= row["day"] <= now.mature.date()
        matured = ripens and row["outcomes"] > row["mature"]
        if due or matured or (row["in_training"] is None and row["model_version"] in ends):
            days.add(row["day"])
    return sorted(days | _days_asked(settings, contract, seen_as_of))


def _read_files(settings: Settings, files: Sequence[str]) -> "DataFrame | None":
    if not files:
        return None
    # Named, because Spark would open a file to learn them; outcomes have no time, and get none.
    return spark_session.session(settings).read.schema(f"{KEY} string, {TIME} timestamp").parquet(*files)


def _days_of(rows: "DataFrame") -> list[date]:
    return sorted(row[0] for row in rows.select(F.to_date(TIME)).distinct().collect())


def _days_asked(settings: Settings, contract: Contract, since: datetime) -> set[date]:
    """Days of the live requests that came since the last update."""
    requests = requests_of(settings, contract)
    return set(_days_of(requests.where(F.col(TIME) >= F.lit(since)))) if requests is not None else set()


def _write(
    settings: Settings,
    contract: Contract,
    rows: Sequence[Mapping[str, Any]],
    days: Sequence[date] | None,
    note: tables.Note,
) -> None:
    import pyarrow as pa

    named = ", ".join(f"'{day}'" for day in days or ())
    where = None if days is None else f"day IN ({named})"
    table = pa.Table.from_pylist(list(rows), schema=schema())
    tables.replace_rows(settings, contract.name, TABLE, table, where=where, note=note)


def _definition(contract: Contract) -> str:
    """Digest of all that a row depends on beside the tables; rows made under another are all made again."""
    parts = contract.model_dump_json(include={"kind", "outcome", "judging", "scoring", "costs"})
    return hashlib.sha256(f"{parts} {schema()}".encode()).hexdigest()[:16]
