"""The door to the alarms that called for a retrain: each once, with its reason and what became of it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from contender.contracts.contract import Contract
from contender.events import ALARMS, DRIFT
from contender.promotion.database import connected, tables
from contender.retraining.policy import Allowed, alarm_may_start
from contender.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

Outcome = Literal["pending", "started", "skipped"]


@dataclass(frozen=True)
class Trigger:
    """One event that called for a retrain. `at` is when it occurred, `flow_run` the id of the run that came of it."""

    use_case: str
    event_id: str
    at: datetime
    event: str
    reason: str
    outcome: Outcome
    why: str
    flow_run: str | None


def keep(settings: Settings, use_case: str, *, event_id: str, at: datetime, event: str, reason: str) -> bool:
    """Write an event down, once; whether it was new."""
    from sqlalchemy import update

    kept = tables().triggers
    with connected(settings, writes=True) as connection:
        new = _insert(connection, settings, use_case, event_id, at, event, reason)
        if not new:
            # The retrain was faster than whoever reads the events, and did not know what the event said.
            untold = _of(settings, use_case, event_id) & (kept.c.reason == "")
            connection.execute(update(kept).where(untold).values(event=event, reason=reason, at=_text(at)))
    return new


def settle(
    settings: Settings, use_case: str, event_id: str, outcome: Outcome, *, why: str = "", flow_run: str | None = None
) -> None:
    """Write down what became of an event, unless that is known already."""
    from sqlalchemy import update

    kept = tables().triggers
    with connected(settings, writes=True) as connection:
        unsettled = _of(settings, use_case, event_id) & (kept.c.outcome == "pending")
        connection.execute(update(kept).where(unsettled).values(outcome=outcome, why=why, flow_run=flow_run))


def may_start(
    settings: Settings,
    contract: Contract,
    event_id: str,
    at: datetime,
    *,
    event: str = DRIFT,
    flow_run: str = "",
    in_flight: str | None = None,
) -> Allowed:
    """Whether the retrain that an event called for may go on, written down in the same transaction.

    Of several calls, also at the same moment, with one event only the first is allowed, and of several events those
    that the contract's limits let through. The same flow run may ask again, as it does when it is tried again.

    Args:
        at: when the event occurred, or now.
        event: its name; only alarms count for the cool-down and the budget, and are held to them.
        flow_run: id of the run that asks; without it an event is taken for started when anybody has asked.
        in_flight: name of another retrain that runs; None when none does.

    Raises:
        Unavailable: the ledger's database does not answer.
    """
    from sqlalchemy import func, select, update

    kept, use_case = tables().triggers, contract.name
    mine = _of(settings, use_case, event_id)
    with connected(settings, writes=True) as connection:
        if connection.dialect.name == "postgresql":
            # Two transactions would not see each other's start; SQLite has one writer at a time.
            key = hashlib.sha256(f"triggers {settings.name_of(use_case)}".encode()).digest()[:8]
            connection.execute(select(func.pg_advisory_xact_lock(int.from_bytes(key, "big", signed=True))))
        _insert(connection, settings, use_case, event_id, at, event, "")
        row = connection.execute(select(kept).where(mine)).one()
        if row.outcome == "started" and (row.flow_run or "") != flow_run:
            return Allowed(False, f"this event started the retrain {row.flow_run or 'before this one'}")
        if row.outcome == "started" and not flow_run:
            return Allowed(False, "this event started a retrain before this one")
        others = (kept.c.use_case == settings.name_of(use_case)) & (kept.c.event_id != event_id)
        alarms = others & (kept.c.outcome == "started") & kept.c.event.in_(ALARMS)
        moments = list(connection.execute(select(kept.c.at).where(alarms)).scalars()) if event in ALARMS else []
        answer = alarm_may_start(
            contract.retraining, started=map(datetime.fromisoformat, moments), in_flight=in_flight, now=at
        )
        outcome: Outcome = "started" if answer.allowed else "skipped"
        connection.execute(
            update(kept).where(mine).values(outcome=outcome, why=answer.why, flow_run=flow_run or row.flow_run)
        )
    return answer


def pending(settings: Settings, use_case: str) -> list[Trigger]:
    """The events of which nobody knows yet what became, oldest first."""
    kept = tables().triggers
    return _read(settings, use_case, kept.c.outcome == "pending", kept.c.at.asc())


def started_before(settings: Settings, use_case: str, trigger: Trigger) -> list[datetime]:
    """When the alarms occurred that had started a retrain when this one came; of a burst, also those just after it."""
    kept, burst = tables().triggers, timedelta(minutes=1)
    earlier = (kept.c.at <= _text(trigger.at + burst)) & (kept.c.event_id != trigger.event_id)
    condition = (kept.c.outcome == "started") & kept.c.event.in_(ALARMS) & earlier
    if trigger.event not in ALARMS:
        return []
    return [one.at for one in _read(settings, use_case, condition, kept.c.at.asc())]


def newest(settings: Settings, use_case: str, limit: int = 10) -> list[Trigger]:
    """The last events that called for a retrain, newest first."""
    kept = tables().triggers
    return _read(settings, use_case, kept.c.event_id != "", kept.c.at.desc(), limit)


def _read(
    settings: Settings,
    use_case: str,
    condition: "ColumnElement[bool]",
    order: "ColumnElement[str]",
    limit: int | None = None,
) -> list[Trigger]:
    from sqlalchemy import select

    kept = tables().triggers
    wanted = select(kept).where((kept.c.use_case == settings.name_of(use_case)) & condition).order_by(order)
    with connected(settings) as connection:
        rows: Iterable[dict[str, str]] = connection.execute(wanted.limit(limit)).mappings().all()  # type: ignore[assignment]
    return [Trigger(**{**row, "at": datetime.fromisoformat(row["at"])}) for row in rows]  # type: ignore[arg-type]


def _of(settings: Settings, use_case: str, event_id: str) -> "ColumnElement[bool]":
    kept = tables().triggers
    return (kept.c.use_case == settings.name_of(use_case)) & (kept.c.event_id == event_id)


def _insert(
    connection: "Connection", settings: Settings, use_case: str, event_id: str, at: datetime, event: str, reason: str
) -> bool:
    from sqlalchemy.dialects import postgresql, sqlite

    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = {"use_case": settings.name_of(use_case), "event_id": event_id, "at": _text(at), "event": event}
    made = insert(tables().triggers).values(**row, reason=reason, outcome="pending", why="", flow_run=None)
    # The number of rows that were written is not told by every driver.
    written = made.on_conflict_do_nothing().returning(tables().triggers.c.event_id)
    return connection.execute(written).first() is not None


def _text(at: datetime) -> str:
    """ISO 8601 in UTC of always the same length, so that texts are in order when moments are."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
