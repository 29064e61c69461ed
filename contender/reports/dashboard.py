"""Reads from lake and ledger what the dashboard shows; what cannot be read is said, and the rest is shown."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from contender import error_text
from contender.contracts.contract import Contract, known_use_cases
from contender.errors import ContenderError, OtherRelease
from contender.lake.tables import unreadable
from contender.operations import notices
from contender.promotion import ledger
from contender.promotion.approval_request import WAITING, Request, what_became_of
from contender.promotion.database import connected, tables
from contender.registry import ui_links
from contender.reports import dashboard_queries
from contender.reports.dashboard_model import (
    MOST_HAPPENINGS,
    MOST_VERDICTS,
    Batch,
    Champion,
    Happening,
    UseCase,
    within_a_year,
)
from contender.reports.dashboard_page import page_of
from contender.retraining import triggers
from contender.settings import Settings

Found = TypeVar("Found")


def path_of(settings: Settings) -> Path:
    """Where the page is, unless somebody wanted it elsewhere."""
    return settings.state / "reports" / "dashboard.html"


def page(settings: Settings, *, beside: Path | None = None, renews: bool | None = None) -> tuple[str, list[str]]:
    """The dashboard of every use case as one HTML document, and what could not be read, for a log.

    Args:
        beside: folder of the page, so that links lead from there; None where it is served with the reports below it.
        renews: see `dashboard_page.page_of`.
    """
    shown = [read(settings, name, beside=beside) for name in known_use_cases(settings.use_cases)]
    return page_of(shown, at=datetime.now(UTC), renews=renews), [cause for one in shown for cause in one.causes]


def read(settings: Settings, name: str, *, beside: Path | None = None) -> UseCase:
    """All that is shown of one use case."""
    try:
        contract = Contract.of(name, settings.use_cases)
    except ContenderError as error:
        sentence = "Its contract cannot be read; 'contender doctor' says what is wrong with it."
        return UseCase(name, troubles=(sentence,), causes=(f"{name}: {error}",))
    tries = _Tries(name)
    champion = tries.ledger(None, lambda: _champion(settings, name))
    predictions = tries.table("predictions", dashboard_queries.Counts({}, 0), settings, dashboard_queries.count_days)
    alerts = tries.table("alerts", dashboard_queries.Counts({}, 0), settings, dashboard_queries.count_days)
    nothing: tuple[list[Batch], int] = ([], 0)
    quality = tries.lake(
        "performance", dashboard_queries.NO_QUALITY, lambda: dashboard_queries.read_quality(settings, contract)
    )
    batches, quarantined = tries.lake("quarantine", nothing, lambda: dashboard_queries.read_quarantine(settings, name))
    return within_a_year(
        UseCase(
            name,
            question=contract.question,
            champion=champion,
            verdicts=tries.ledger([], lambda: ledger.verdicts(settings, name, newest=MOST_VERDICTS)),
            waiting=tries.ledger("", lambda: _waiting(settings, name)),
            failing=tries.ledger([], lambda: [one.in_words for one in notices.failing(settings, name)]),
            quality=quality.days,
            windows=quality.windows,
            point=quality.point,
            heat=tries.lake("drift", None, lambda: dashboard_queries.read_drift(settings, name)),
            predictions=predictions.days,
            predictions_in_all=predictions.in_all,
            alerts=alerts.days,
            alerts_in_all=alerts.in_all,
            batches=batches,
            quarantined_in_all=quarantined,
            notices=tries.ledger([], lambda: _notices(settings, name)),
            triggers=tries.ledger([], lambda: _triggers(settings, name)),
            report=_report(settings, name, beside),
            troubles=tuple(dict.fromkeys(tries.troubles)),
            causes=tuple(dict.fromkeys(tries.causes)),
        )
    )


class _Tries:
    """Reads one thing after the other, and notes what could not be read."""

    def __init__(self, use_case: str) -> None:
        self._use_case = use_case
        self.troubles: list[str] = []
        self.causes: list[str] = []

    def ledger(self, otherwise: Found, read: Callable[[], Found]) -> Found:
        try:
            return read()
        except OtherRelease as error:
            # The error itself tells where the ledger is, which is nothing for a page.
            self._note("The ledger is of another release; 'contender doctor' says what to do.", error)
            return otherwise
        except ContenderError as error:
            self._note("The ledger does not answer; 'contender doctor' says why.", error)
            return otherwise

    def lake(self, table: str, otherwise: Found, read: Callable[[], Found]) -> Found:
        try:
            return read()
        # Arrow's errors are these, or of these; a table of another release lacks columns.
        except (unreadable(), ContenderError, OSError, ValueError, KeyError) as error:
            self._note(f"The table '{table}' cannot be read just now; 'contender doctor' may say why.", error)
            return otherwise

    def table(
        self, table: str, otherwise: Found, settings: Settings, count: Callable[[Settings, str, str], Found]
    ) -> Found:
        return self.lake(table, otherwise, lambda: count(settings, self._use_case, table))

    def _note(self, sentence: str, error: Exception) -> None:
        self.troubles.append(sentence)
        self.causes.append(f"{self._use_case}: {error_text.brief(error)}")


def _champion(settings: Settings, name: str) -> Champion | None:
    entry = ledger.head(settings, name)
    if entry is None:
        return None
    link = ui_links.of_version(settings, settings.name_of(name), entry.version) or ""
    return Champion(
        entry.version, datetime.fromisoformat(entry.at), entry.action, entry.reason, entry.by, entry.seq, link
    )


def _waiting(settings: Settings, name: str) -> str:
    """What waits for a person; a look at it changes nothing, so that whoever marks what expired still finds it."""
    kept, mine = tables().approvals, settings.name_of(name)
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    wanted = kept.select().where((kept.c.use_case == mine) & (kept.c.state == WAITING) & (kept.c.expires_at > now))
    with connected(settings) as connection:
        row = connection.execute(wanted.order_by(kept.c.asked_at.desc()).limit(1)).first()
    if row is None:
        return ""
    head = ledger.head(settings, name)
    request = Request(**row._mapping)
    return what_became_of(name, request) if request.follows == (head.seq if head else 0) else ""


def _notices(settings: Settings, name: str) -> list[Happening]:
    return [Happening(one.at, one.kind, one.sentence) for one in notices.newest(settings, name, MOST_HAPPENINGS)]


def _triggers(settings: Settings, name: str) -> list[Happening]:
    found = triggers.newest(settings, name, MOST_HAPPENINGS)
    return [
        Happening(one.at, one.outcome, f"{one.reason or one.event}{f' ({one.why})' * bool(one.why)}") for one in found
    ]


def _report(settings: Settings, name: str, beside: Path | None) -> str:
    """The way to the use case's own page; empty where there is none."""
    from contender.reports import publication

    path = publication.path_of(settings, name)
    if not path.is_file():
        return ""
    return f"reports/{name}/{path.name}" if beside is None else Path(os.path.relpath(path, beside)).as_posix()
