"""How each model version did on each day: the table `performance`, kept up to date as outcomes arrive and change.

A day is that of the record's time. Only days that something new is about are computed again, from what the tables say
now, in one commit: an update that was killed, or is repeated, changes nothing. An estimate stays what was to be
expected when its day was last computed. Spark counts; the driver holds at most 3,224 points (of numbers about as many)
for each model version and day that is computed again or estimated from, whatever the volume.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from contender import lake
from contender.contract import Contract
from contender.counting import Moment, count, requests_of
from contender.daily import CALIBRATION_DAYS, before, row_of, schema
from contender.readings import TABLE, days_of
from contender.settings import Settings
from contender.values import KEY, TIME, TableVersion

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Updated:
    """What one update wrote: rows of `performance`, and the days that were computed again, oldest first."""

    rows: int
    days: tuple[date, ...]
    whole: bool


def update(
    settings: Settings, contract: Contract, as_of: datetime, trained_until: Mapping[int, datetime] | None = None
) -> Updated:
    """Bring `performance` up to date with predictions, outcomes and requests, as known at `as_of` (UTC).

    Args:
        trained_until: newest record time that each model version was trained on; its quality up to there is that of
            rows it knows by heart, and is marked so.
    """
    predictions, records = (lake.find(settings, contract.name, name) for name in ("predictions", "records"))
    if predictions is None or records is None:
        return Updated(0, (), whole=False)
    done = json.loads(lake.note_of(settings, contract.name, TABLE) or "{}")
    definition, ends = _definition(contract), {v: until.date() for v, until in (trained_until or {}).items()}
    whole = done.get("definition") != definition or as_of < datetime.fromisoformat(done["as_of"])
    since = None if whole else datetime.fromisoformat(done["mature"]) + contract.outcome.matures_after
    now = _moment(settings, contract, as_of, predictions, records, since)
    days = None if whole else _touched(settings, contract, now, done, ends)
    whole = days is None
    if days is None:
        days = _days_of(lake.read(settings, predictions))
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
    note = json.dumps(
        {"definition": definition, "predictions": now.predictions.version, "as_of": as_of.isoformat(),
         "outcomes": now.outcomes.version if now.outcomes else None, "mature": now.mature.isoformat()}
    )  # fmt: skip
    _write(settings, contract, rows, None if whole else days, note)
    return Updated(len(rows), tuple(days), whole=whole)


def _moment(
    settings: Settings, contract: Contract, as_of: datetime, predictions: TableVersion, records: TableVersion,
    since: datetime | None,
) -> Moment:  # fmt: skip
    """As for training: a record matures against the newest one that there is, not against a clock that ran on.

    Args:
        since: the time of the newest record at the last update; None where all have to be looked at.
    """
    happened = lake.read(settings, records).where(F.col(TIME) <= F.lit(as_of))
    if since is not None:
        happened = happened.where(F.col(TIME) >= F.lit(since))
    newest = happened.agg(F.unix_micros(F.max(TIME))).head()
    microseconds = newest[0] if newest else None
    epoch = datetime.fromtimestamp(0, UTC)
    horizon = since or as_of if microseconds is None else epoch + timedelta(microseconds=microseconds)
    outcomes = lake.find(settings, contract.name, "outcomes")
    return Moment(as_of, horizon - contract.outcome.matures_after, predictions, records, outcomes)


def _touched(
    settings: Settings, contract: Contract, now: Moment, done: Mapping[str, Any], ends: Mapping[int, date]
) -> list[date] | None:
    """Days whose rows may differ from what was written; None when that cannot be told."""
    seen_as_of, seen_mature = (datetime.fromisoformat(done[name]) for name in ("as_of", "mature"))
    predictions = lake.read(settings, now.predictions)
    days: set[date] = set()
    for table, since in ((now.predictions, done["predictions"]), (now.outcomes, done["outcomes"])):
        if table is None or table.version == since:
            continue
        files = lake.changed_files(settings, table, since) if since is not None else []
        if files is None:
            return None
        changed = lake.read(settings, table) if since is None else _read_files(settings, files)
        if changed is None:
            continue
        if table is now.outcomes:
            low, high = changed.agg(F.min(KEY), F.max(KEY)).head() or ("", "")
            changed = predictions.where(F.col(KEY).between(low, high)).join(changed, on=KEY, how="left_semi")
        days |= set(_days_of(changed))
    written = lake.read_small(
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
    # One schema may lack a column that a later file has; key and time are in all of them.
    return lake.session(settings).read.parquet(*files)


def _days_of(rows: "DataFrame") -> list[date]:
    return sorted(row[0] for row in rows.select(F.to_date(TIME)).distinct().collect())


def _days_asked(settings: Settings, contract: Contract, since: datetime) -> set[date]:
    """Days of the live requests that came since the last update."""
    requests = requests_of(settings, contract)
    return set(_days_of(requests.where(F.col(TIME) >= F.lit(since)))) if requests is not None else set()


def _write(
    settings: Settings, contract: Contract, rows: Sequence[Mapping[str, Any]], days: Sequence[date] | None, note: str
) -> None:
    import pyarrow as pa

    named = ", ".join(f"'{day}'" for day in days or ())
    where = None if days is None else f"day IN ({named})"
    table = pa.Table.from_pylist(list(rows), schema=schema())
    lake.replace_rows(settings, contract.name, TABLE, table, where=where, note=note)


def _definition(contract: Contract) -> str:
    """Digest of all that a row depends on beside the tables; rows made under another are all made again."""
    parts = contract.model_dump_json(include={"kind", "outcome", "judging", "scoring", "costs"})
    return hashlib.sha256(parts.encode()).hexdigest()[:16]
