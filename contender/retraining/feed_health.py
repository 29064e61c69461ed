"""How a window came in: as many rows as usual, and how many were refused, from the logs of files and quarantine.

A feed that stops leaves no window to look at; it is told by the clock, from the waits between its own arrivals.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from statistics import median

from contender.contracts.contract import Contract
from contender.drift import daily_samples
from contender.lake import tables
from contender.retraining.symptoms import Arrived
from contender.settings import Settings
from contender.values import BATCH, TIME

_SAME_DAYS, _FEWEST, _WINDOWS, _BATCHES = 8, 4, 28, 30
_EMPTY = 0.25
"""Where more of the windows before brought no rows, one more is no news."""

_LIVE, _LOOKED_BACK, _FEWEST_DAYS = timedelta(days=7), timedelta(days=56), 5
_ODD_WAITS, _OVERDUE = 2, 2.0
"""So many of the longest waits are odd, such as those of a feast or an earlier stop; overdue is twice the longest."""


def feed_of_window(settings: Settings, contract: Contract, start: date, end: date, batches: Sequence[int]) -> Arrived:
    """What is usual for a window `[start, end)` whose rows came with these batches."""
    now, before = _refused(settings, contract.name, batches)
    return Arrived(_usual_rows(settings, contract, start, end), now, before)


@dataclass(frozen=True)
class Stopped:
    """A feed of which nothing came since a moment (UTC), and that in words."""

    since: datetime
    why: str


def stopped_feed(settings: Settings, contract: Contract, now: datetime) -> Stopped | None:
    """That the feed has stopped; None while it is on time, or where it never came by itself for a few days.

    A history that was loaded in bulk, of records that were old when they arrived, says nothing of when more is due.

    Args:
        now: aware; the clock, not the moment that is looked from.
    """
    arrivals = [at for at in _live_arrivals(settings, contract.name) if at <= now]
    waits = overdue_wait(arrivals, now)
    if waits is None:
        return None
    waited, usual = (f"{wait / timedelta(hours=1):,.0f} hours" for wait in waits)
    since = arrivals[-1]
    return Stopped(
        since, f"nothing has come for {waited}, since {since:%Y-%m-%d %H:%M} UTC, where {usual} are the longest wait"
    )


def overdue_wait(arrivals: Sequence[datetime], now: datetime) -> tuple[timedelta, timedelta] | None:
    """For how long nothing came and the longest wait that is usual, where the first is more than twice the second.

    The longest wait, because nights and weekends are part of a feed; that of the last eight weeks, but for two odd
    ones. None where it is not overdue, or came on fewer than five days.

    Args:
        arrivals: aware, the oldest first.
    """
    recent = [at for at in arrivals if arrivals[-1] - at <= _LOOKED_BACK]
    if len({at.date() for at in recent}) < _FEWEST_DAYS:
        return None
    waits = sorted(later - earlier for earlier, later in pairwise(recent))
    usual, waited = waits[-1 - _ODD_WAITS], now - recent[-1]
    return (waited, usual) if waited > _OVERDUE * usual else None


def _live_arrivals(settings: Settings, use_case: str) -> list[datetime]:
    """When batches of records came that were new: their newest record was at most a week old."""
    where = [("source", "==", "records"), ("status", "==", "done")]
    files = tables.read_small(settings, use_case, "files", [BATCH, "at"], where=where)
    came = {row[BATCH]: row["at"].astimezone(UTC) for row in ([] if files is None else files.to_pylist())}
    newest = _newest_records(settings, use_case)
    return sorted(at for batch, at in came.items() if batch in newest and at - newest[batch] <= _LIVE)


def _newest_records(settings: Settings, use_case: str) -> dict[int, datetime]:
    """The time of the newest record of each batch, from the table's log."""
    delta = tables.opened(settings, use_case, "records")
    if delta is None:
        return {}
    log, names = tables.log_of(delta), (f"max.{BATCH}", f"max.{TIME}")
    if not {*names} <= {*log.column_names}:
        return {}
    found: dict[int, datetime] = {}
    for batch, time in zip(*(log[name].to_pylist() for name in names), strict=True):
        if batch is not None and time is not None:
            found[batch] = max(found.get(batch, time), time)
    return {batch: time if time.tzinfo else time.replace(tzinfo=UTC) for batch, time in found.items()}


def rows_received(settings: Settings, use_case: str) -> dict[int, int]:
    """Rows of the files of records of each batch that was taken in, the quarantined among them."""
    where = [("source", "==", "records"), ("status", "==", "done")]
    table = tables.read_small(settings, use_case, "files", [BATCH, "rows"], where=where)
    found: Counter[int] = Counter()
    for row in [] if table is None else table.to_pylist():
        found[row[BATCH]] += row["rows"] or 0
    return dict(found)


def _usual_rows(settings: Settings, contract: Contract, start: date, end: date) -> float | None:
    """The median of the windows of the same days of the season before, or of all windows where these are few.

    None where windows without any rows are nothing unusual either.
    """
    length, season = end - start, contract.drift.season
    longest = max(_SAME_DAYS * (season or length), _WINDOWS * length)
    by_day = daily_samples.rows_by_day(settings, contract, start - longest, start)
    if not by_day:
        return None
    first = min(by_day)

    def rows(back: timedelta, step: timedelta, most: int) -> list[int]:
        starts = [start - back - number * step for number in range(most)]
        return [
            sum(by_day.get(one + timedelta(days=day), 0) for day in range(length.days))
            for one in starts
            if one >= first
        ]

    alike = rows(season, season, _SAME_DAYS) if season is not None and season >= length else []
    found = alike if len(alike) >= _FEWEST else rows(length, length, _WINDOWS)
    if len(found) < _FEWEST or found.count(0) > len(found) * _EMPTY:
        return None
    return float(median(found))


def _refused(settings: Settings, use_case: str, batches: Sequence[int]) -> tuple[float, float]:
    """Share of the received records that is in quarantine: of these batches, and of those before them."""
    received = rows_received(settings, use_case)
    earlier = [batch for batch in sorted(received) if batches and batch < min(batches)][-_BATCHES:]
    wanted = [*batches, *earlier]
    if not wanted:
        return 0.0, 0.0
    where = [(BATCH, ">=", min(wanted)), (BATCH, "<=", max(wanted)), ("source", "==", "records")]
    table = tables.read_small(settings, use_case, "quarantine", [BATCH], where=where)
    refused = Counter(table[BATCH].to_pylist() if table is not None else [])

    def share(of: Sequence[int]) -> float:
        rows = sum(received.get(batch, 0) for batch in of)
        return min(sum(refused[batch] for batch in of) / rows, 1.0) if rows else 0.0

    return share(batches), share(earlier)
