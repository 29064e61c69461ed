"""All about a title on one page that any browser opens without a network: who held it, and on what evidence."""

from collections.abc import Sequence
from datetime import UTC, datetime

from markupsafe import Markup

from contender.contracts.contract import Contract
from contender.markup import render
from contender.promotion.ledger import LedgerEntry
from contender.promotion.verdict_document import VerdictDocument
from contender.reports.verdict_sections import forests_of, newest_of
from contender.svg import Scale, axis, mark, row
from contender.values import ModelVersion

_MOST_REIGNS = 40
"""Changes of the title that are drawn; the ledger has them all."""


def page_of(
    verdicts: Sequence[VerdictDocument],
    history: Sequence[LedgerEntry],
    contract: Contract,
    *,
    champion: ModelVersion | None = None,
    now: datetime | None = None,
) -> str:
    """The page on a use case, as self-contained HTML in which every value is escaped.

    Args:
        verdicts: newest first.
        history: oldest first.
        champion: who holds the title, where more of it is known than the ledger says.
        now: where the last reign is drawn to; without it, the newest moment in the verdicts and the history.
    """
    until = now or max(
        [_moment(entry.at) for entry in history] + [one.at for one in verdicts], default=datetime.now(UTC)
    )
    return render(
        "title.html",
        contract=contract,
        facts=_facts(verdicts, history, contract, champion, until),
        reigns=_reigns(history, until),
        earlier=max(0, len(history) - _MOST_REIGNS),
        verdicts=verdicts,
        forests=forests_of(verdicts),
        **(newest_of(verdicts[0], contract) if verdicts else {"newest": None}),
    )


def _facts(
    verdicts: Sequence[VerdictDocument],
    history: Sequence[LedgerEntry],
    contract: Contract,
    champion: ModelVersion | None,
    until: datetime,
) -> dict[str, str]:
    found = {"owner": contract.owner or "not named", "champion now": "nobody yet"}
    if history:
        found |= {
            "champion now": f"version {history[-1].version}",
            "since (UTC)": f"{_moment(history[-1].at):%Y-%m-%d %H:%M}",
            "family": champion.family if champion and champion.family else "not recorded",
            "trained until": f"{champion.trained_until:%Y-%m-%d %H:%M}" if champion else "not recorded",
        }
    return found | {
        "last verdict": verdicts[0].decision.value if verdicts else "none yet",
        "this page (UTC)": f"{until:%Y-%m-%d %H:%M}",
    }


def _reigns(history: Sequence[LedgerEntry], until: datetime) -> list[Markup]:
    """A line for each reign, newest first, and their axis."""
    if not history:
        return []
    starts = [_moment(entry.at) for entry in history]
    ends = [*starts[1:], max(until, starts[-1])]
    shown = range(max(0, len(history) - _MOST_REIGNS), len(history))
    first, last = starts[shown[0]].timestamp(), ends[-1].timestamp()
    scale = Scale(first, max(last, first + 60))
    form = "%Y-%m-%d" if last - first > 3 * 86_400 else "%m-%d %H:%M"
    dates = [(at, f"{datetime.fromtimestamp(at, UTC):{form}}") for at in (first, (first + last) / 2, last)]
    return [
        *(_reign(history[place], starts[place], ends[place], scale, place == shown[-1]) for place in reversed(shown)),
        axis(scale, "time (UTC)", dates if last > first + 60 else dates[:1]),
    ]


def _reign(entry: LedgerEntry, start: datetime, end: datetime, scale: Scale, now: bool) -> Markup:
    shape = "back" if "roll" in entry.action else "promote" if entry.action in ("crowned", "promoted") else "keep"
    left, right = 100 * scale.share(start.timestamp()), 100 * scale.share(end.timestamp())
    drawn = Markup(
        '<g class="{}"><rect class="reign" x="{:.3f}%" width="{:.3f}%" y="25%" height="50%" rx="3"/></g>{}'
    ).format(shape, left, right - left, mark(shape, f"{left:.3f}%", start.isoformat()))
    lasted = _lasted((end - start).total_seconds())
    told = f"{start:%Y-%m-%d %H:%M}, {lasted}{' so far' if now else ''}, by {entry.by}"
    label = Markup('<b>version {}</b> <span class="{} tone">{}</span>').format(entry.version, shape, entry.action)
    said = f"version {entry.version} {entry.action} at {start:%Y-%m-%d %H:%M} UTC, for {lasted}"
    return row(label, drawn, told, said, entry.reason)


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _lasted(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
