"""How a window came in: as many rows as usual, and how many were refused, from the logs of files and quarantine."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from statistics import median

from contender import lake, sampling
from contender.contract import Contract
from contender.settings import Settings
from contender.signs import Arrived
from contender.values import BATCH

_SAME_DAYS, _FEWEST, _WINDOWS, _BATCHES = 8, 4, 28, 30


def arrived(settings: Settings, contract: Contract, start: date, end: date, batches: Sequence[int]) -> Arrived:
    """What is usual for a window `[start, end)` whose rows came with these batches."""
    now, before = _refused(settings, contract.name, batches)
    return Arrived(_usual_rows(settings, contract, start, end), now, before)


def rows_received(settings: Settings, use_case: str) -> dict[int, int]:
    """Rows of the files of records of each batch that was taken in, the quarantined among them."""
    where = [("source", "==", "records"), ("status", "==", "done")]
    table = lake.read_small(settings, use_case, "files", [BATCH, "rows"], where=where)
    found: Counter[int] = Counter()
    for row in [] if table is None else table.to_pylist():
        found[row[BATCH]] += row["rows"] or 0
    return dict(found)


def _usual_rows(settings: Settings, contract: Contract, start: date, end: date) -> float | None:
    """The median of the windows of the same days of the season before, or of all windows where these are few."""
    length, season = end - start, contract.drift.season
    longest = max(_SAME_DAYS * (season or length), _WINDOWS * length)
    by_day = sampling.rows_by_day(settings, contract, start - longest, start)
    if not len(by_day):
        return None
    first = min(by_day.index)

    def rows(back: timedelta, step: timedelta, most: int) -> list[int]:
        starts = [start - back - number * step for number in range(most)]
        return [
            sum(int(by_day.get(one + timedelta(days=day), 0)) for day in range(length.days))
            for one in starts
            if one >= first
        ]

    alike = rows(season, season, _SAME_DAYS) if season is not None and season >= length else []
    found = alike if len(alike) >= _FEWEST else rows(length, length, _WINDOWS)
    return float(median(found)) if len(found) >= _FEWEST else None


def _refused(settings: Settings, use_case: str, batches: Sequence[int]) -> tuple[float, float]:
    """Share of the received records that is in quarantine: of these batches, and of those before them."""
    received = rows_received(settings, use_case)
    earlier = [batch for batch in sorted(received) if batches and batch < min(batches)][-_BATCHES:]
    wanted = [*batches, *earlier]
    if not wanted:
        return 0.0, 0.0
    where = [(BATCH, ">=", min(wanted)), (BATCH, "<=", max(wanted)), ("source", "==", "records")]
    table = lake.read_small(settings, use_case, "quarantine", [BATCH], where=where)
    refused = Counter(table[BATCH].to_pylist() if table is not None else [])

    def share(of: Sequence[int]) -> float:
        rows = sum(received.get(batch, 0) for batch in of)
        return min(sum(refused[batch] for batch in of) / rows, 1.0) if rows else 0.0

    return share(batches), share(earlier)
