"""One at a time at a kind of work on a use case: of one home, or of all that share a ledger on PostgreSQL.

A file in the home keeps apart those of one home. With PostgreSQL an advisory lock keeps apart all others as well; it
lasts as long as its connection, so that a process that is killed, or a machine that is gone, lets the next one in.
"""

import hashlib
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from contender.errors import Busy
from contender.lake.locks import Work, hold_file, is_file_held
from contender.promotion.database import answering, connected, session
from contender.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

_BLINK_SECONDS = 0.25
_LONGEST_NAME = 63
"""Bytes of a session's name that PostgreSQL keeps, and in which others read who holds a lock."""


@dataclass
class _Held:
    """What this process holds of one lock for one home; whoever comes while it is taken waits, and holds it too."""

    mutex: threading.Lock = field(default_factory=threading.Lock)
    count: int = 0
    session: ExitStack = field(default_factory=ExitStack)


_here: dict[tuple[str, Path, int], _Held] = defaultdict(_Held)


@contextmanager
def at_work(settings: Settings, use_case: str, work: Work = "data", *, wait_seconds: float = 0) -> Iterator[None]:
    """Hold one kind of work on the use case; within one process it may be held again.

    Args:
        wait_seconds: how long to wait for another process that holds it.

    Raises:
        Busy: another process holds it; says which, where the ledger knows.
        OtherRelease: the home, or the ledger, is not one of this release.
        Unavailable: what a killed process left at work does not end, or the ledger does not answer.
    """
    until = time.monotonic() + wait_seconds
    with hold_file(settings, use_case, work, wait_seconds=wait_seconds):
        if settings.ledger.startswith("sqlite"):
            yield
            return
        key = _key(settings, use_case, work)
        held = _here[settings.ledger, settings.state, key]
        with held.mutex:
            if not held.count:
                held.session = _take(settings, use_case, key, until)
            held.count += 1
        try:
            yield
        finally:
            with held.mutex:
                held.count -= 1
                if not held.count:
                    held.session.close()


def is_at_work(settings: Settings, use_case: str, work: Work = "data") -> bool:
    """Whether anybody is at that work now, as far as can be told here; a look that makes nothing and ends nothing."""
    if is_file_held(settings, use_case, work):
        return True
    if settings.ledger.startswith("sqlite"):
        return False
    with connected(settings) as connection:
        return _holder(connection, _key(settings, use_case, work)) is not None


def _take(settings: Settings, use_case: str, key: int, until: float) -> ExitStack:
    """A session that holds the lock until it is closed."""
    with ExitStack() as opened:
        connection = opened.enter_context(session(settings))
        with answering(settings):
            while not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({key})").scalar():
                if time.monotonic() >= until:
                    raise Busy.with_use_case(use_case, _holder(connection, key) or "")
                time.sleep(_BLINK_SECONDS)
            name = f"process {os.getpid()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC on {socket.gethostname()}"
            name = name.encode()[:_LONGEST_NAME].decode(errors="ignore")
            connection.exec_driver_sql("SELECT set_config('application_name', %(name)s, false)", {"name": name})
        return opened.pop_all()


def _holder(connection: "Connection", key: int) -> str | None:
    """Process, beginning and machine of who holds a lock; None when nobody does."""
    # PostgreSQL shows the key in two halves.
    found = connection.exec_driver_sql(
        "SELECT coalesce(a.application_name, '') FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        f" AND ((l.classid::bigint << 32) | l.objid::bigint) = {key}"
    )
    name: str | None = found.scalar()
    return name


def _key(settings: Settings, use_case: str, work: Work) -> int:
    """The lock's number, the same on every machine."""
    name = f"{settings.name_of(use_case)}.{work}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
