"""Titles that wait for a person's answer, kept in the ledger: asked about once, answered once, or expired.

Each change of a request names the state it leaves, and of two that leave the same one only the first happens.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from contender.promotion.approval_request import APPROVED, EXPIRED, NOBODY, SUPERSEDED, WAITING, Request, refusal
from contender.promotion.database import connected, tables
from contender.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

_UNANSWERED = "nobody answered in time"


def ask(
    settings: Settings,
    use_case: str,
    *,
    version: int,
    follows: int,
    evidence: str,
    expires_after: timedelta,
    at: datetime | None = None,
) -> tuple[Request, list[Request]]:
    """The request about a version, and the older ones whose place it takes; asked again, it is the same one.

    Args:
        follows: seq of the entry that the verdict was made against; 0 when there was none.
        evidence: JSON text that goes with the title.
        at: now.
    """
    from sqlalchemy import insert

    moment = at or datetime.now(UTC)
    name = settings.name_of(use_case)
    request = Request(
        name, version, follows, _text(moment), _text(moment + expires_after), WAITING, evidence, "", None, None, None
    )
    with connected(settings, writes=True) as connection:
        known = _read(connection, _of(name, version))
        if known:
            return known[0], []
        replaced = _change(connection, _of(name), SUPERSEDED, f"version {version} was asked about", NOBODY, moment)
        connection.execute(insert(tables().approvals).values(vars(request)))
    return request, replaced


def waiting(settings: Settings, use_case: str, at: datetime | None = None) -> Request | None:
    """The request that still can be answered; None when there is none."""
    found = newest(settings, use_case, at)
    return found if found and found.state == WAITING else None


def newest(settings: Settings, use_case: str, at: datetime | None = None) -> Request | None:
    """The last request of a use case, whatever became of it; None when nobody was ever asked."""
    return _current(settings, use_case, None, at)


def find(settings: Settings, use_case: str, version: int, at: datetime | None = None) -> Request | None:
    """The request about a version, as it stands now; None when nobody was asked about it."""
    return _current(settings, use_case, version, at)


def decide(
    settings: Settings, use_case: str, request: Request, state: str, *, reason: str, by: str, at: datetime | None = None
) -> Request:
    """The request with a person's answer, which is the only one it gets.

    Raises:
        TitleError: it does not wait any more.
    """
    moment = at or datetime.now(UTC)
    table = tables().approvals
    in_time = _of(request.use_case, request.version) & (table.c.expires_at > _text(moment))
    with connected(settings, writes=True) as connection:
        done = _change(connection, in_time, state, reason, by, moment)
    if not done:
        raise refusal(use_case, find(settings, use_case, request.version, moment) or request)
    return done[0]


def void(settings: Settings, request: Request, why: str, at: datetime | None = None) -> Request:
    """The request after the title went elsewhere, whether it had been answered or not."""
    with connected(settings, writes=True) as connection:
        mine = _of(request.use_case, request.version)
        done = _change(connection, mine, SUPERSEDED, why, NOBODY, at or datetime.now(UTC), leaves=(WAITING, APPROVED))
    return done[0] if done else request


def expire(settings: Settings, at: datetime | None = None) -> list[Request]:
    """Mark every request of this ledger that nobody answered in time; those that were marked by this call."""
    moment = at or datetime.now(UTC)
    with connected(settings) as connection:
        overdue = _read(connection, _overdue(moment))
    if not overdue:
        return []
    with connected(settings, writes=True) as connection:
        return _change(connection, _overdue(moment), EXPIRED, _UNANSWERED, NOBODY, moment)


def link(settings: Settings, request: Request, flow_run: str) -> Request:
    """The request with the Prefect run that shows it, which is ended when somebody answers elsewhere."""
    from sqlalchemy import update

    with connected(settings, writes=True) as connection:
        mine = _of(request.use_case, request.version)
        connection.execute(update(tables().approvals).where(mine).values(flow_run=flow_run))
    return replace(request, flow_run=flow_run)


def _current(settings: Settings, use_case: str, version: int | None, at: datetime | None) -> Request | None:
    """As it was left, after what time and title have done to it since."""
    moment, name = at or datetime.now(UTC), settings.name_of(use_case)
    with connected(settings) as connection:
        found = _read(connection, _of(name, version))
        request = found[0] if found else None
        holder = _holder(connection, name)
    if request is None or request.state != WAITING:
        return request
    state, why = SUPERSEDED, f"entry {holder} of the title came after the verdict"
    if request.expires_at <= _text(moment):
        state, why = EXPIRED, _UNANSWERED
    elif holder == request.follows:
        return request
    with connected(settings, writes=True) as connection:
        done = _change(connection, _of(name, request.version), state, why, NOBODY, moment)
        return done[0] if done else _read(connection, _of(name, request.version))[0]


def _of(name: str, version: int | None = None) -> "ColumnElement[bool]":
    table = tables().approvals
    mine: ColumnElement[bool] = table.c.use_case == name
    return mine if version is None else mine & (table.c.version == version)


def _overdue(moment: datetime) -> "ColumnElement[bool]":
    table = tables().approvals
    due: ColumnElement[bool] = (table.c.state == WAITING) & (table.c.expires_at <= _text(moment))
    return due


def _read(connection: "Connection", which: "ColumnElement[bool]") -> list[Request]:
    """Newest first."""
    from sqlalchemy import select

    table = tables().approvals
    rows = connection.execute(select(table).where(which).order_by(table.c.asked_at.desc(), table.c.version.desc()))
    return [Request(**row._mapping) for row in rows]


def _change(
    connection: "Connection",
    which: "ColumnElement[bool]",
    state: str,
    reason: str,
    by: str,
    moment: datetime,
    leaves: Sequence[str] = (WAITING,),
) -> list[Request]:
    from sqlalchemy import update

    table = tables().approvals
    changed = (
        update(table)
        .where(which, table.c.state.in_(leaves))
        .values(state=state, reason=reason, decided_by=by, decided_at=_text(moment))
        .returning(table)
    )
    return [Request(**row._mapping) for row in connection.execute(changed)]


def _holder(connection: "Connection", name: str) -> int:
    from sqlalchemy import func, select

    title = tables().title
    return int(connection.execute(select(func.max(title.c.seq)).where(title.c.use_case == name)).scalar() or 0)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
