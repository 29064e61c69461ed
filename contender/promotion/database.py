"""The ledger's tables and the connection to them, on SQLite or PostgreSQL alike."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from contender.errors import Busy, Unavailable, UsageError
from contender.home_version import check_home
from contender.promotion.schema import bring_up_to_date
from contender.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

BUSY_SECONDS = 10
"""How long a writer waits for another one; the transactions of the ledger take milliseconds."""

MIRROR_SECONDS = 60
"""How long a mirroring waits for those before it; a registry that hangs is given up after 15 s."""

_KEEP_ALIVE = {"tcp_keepalives_idle": 60, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}
"""Of a session: seconds of silence, seconds between questions, and how many of them stay without an answer."""


class Tables(NamedTuple):
    """Who held the title, what the judge said, how often a window was looked at, and what happened around it.

    `triggers` has one row per event that called for a retrain, `approvals` one per title that waits for a person,
    `notices` one per thing that people should know of, `runs` one per flow's last success and per failure since.
    """

    title: "Table"
    verdicts: "Table"
    comparisons: "Table"
    triggers: "Table"
    approvals: "Table"
    notices: "Table"
    runs: "Table"


@cache
def tables() -> Tables:
    """The tables, defined late because importing SQLAlchemy costs a second."""
    from sqlalchemy import Column, Integer, MetaData, PrimaryKeyConstraint, String, Table, Text, UniqueConstraint

    def text(name: str) -> Column[str]:
        return Column(name, Text, nullable=False)

    metadata = MetaData()
    title = Table(
        "title",
        metadata,
        Column("use_case", String(200), nullable=False),
        Column("seq", Integer, nullable=False, autoincrement=False),
        # Zero instead of NULL for "follows nothing": in SQL two NULLs are not a duplicate, two first entries must be.
        Column("follows", Integer, nullable=False),
        text("at"),
        text("action"),
        Column("version", Integer, nullable=False),
        Column("previous_version", Integer),
        text("reason"),
        text("by"),
        text("evidence"),
        text("model_digest"),
        text("digest"),
        PrimaryKeyConstraint("use_case", "seq"),
        UniqueConstraint("use_case", "follows"),
    )
    verdicts = Table(
        "verdicts",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("use_case", String(200), nullable=False, index=True),
        text("at"),
        Column("challenger", Integer, nullable=False),
        text("run_id"),
        text("window"),
        text("document"),
    )
    comparisons = Table(
        "comparisons",
        metadata,
        Column("use_case", String(200), nullable=False),
        Column("window", String(200), nullable=False),
        Column("looks", Integer, nullable=False),
        PrimaryKeyConstraint("use_case", "window"),
    )
    triggers = Table(
        "triggers",
        metadata,
        Column("use_case", String(200), nullable=False),
        Column("event_id", String(64), nullable=False),
        text("at"),
        text("event"),
        text("reason"),
        # "started", "skipped" or, as long as nobody knows, "pending".
        Column("outcome", String(20), nullable=False),
        text("why"),
        Column("flow_run", String(64)),
        PrimaryKeyConstraint("use_case", "event_id"),
    )
    approvals = Table(
        "approvals",
        metadata,
        Column("use_case", String(200), nullable=False),
        # The challenger's version: it is asked about once.
        Column("version", Integer, nullable=False),
        # The entry of the title that the verdict was made against; 0 where nobody held it.
        Column("follows", Integer, nullable=False),
        text("asked_at"),
        text("expires_at"),
        # "waiting", "approved", "rejected", "expired" or "superseded".
        Column("state", String(20), nullable=False),
        text("evidence"),
        text("reason"),
        Column("decided_at", Text),
        Column("decided_by", Text),
        Column("flow_run", String(64)),
        PrimaryKeyConstraint("use_case", "version"),
    )
    notices = Table(
        "notices",
        metadata,
        Column("id", String(64), primary_key=True),
        Column("use_case", String(200), nullable=False, index=True),
        text("at"),
        text("kind"),
        text("sentence"),
        text("link"),
    )
    runs = Table(
        "runs",
        metadata,
        Column("use_case", String(200), nullable=False),
        Column("flow_run", String(64), nullable=False),
        Column("flow", String(64), nullable=False),
        text("at"),
        # Empty where it did what it should.
        text("sentence"),
        PrimaryKeyConstraint("use_case", "flow", "flow_run"),
    )
    return Tables(title, verdicts, comparisons, triggers, approvals, notices, runs)


@contextmanager
def connected(settings: Settings, *, writes: bool = False) -> Iterator["Connection"]:
    """A transaction on the ledger: committed at the end of the block, undone by any error in it.

    Raises:
        as `answering`.
    """
    with answering(settings):
        engine = _engine(settings)
        with engine.connect().execution_options(writes=writes) as connection, connection.begin():
            yield connection


@contextmanager
def session(settings: Settings) -> Iterator["Connection"]:
    """A connection without a transaction, for what lasts as long as it is open.

    The server is told to look every minute whether this machine is still there.

    Raises:
        as `answering`, until the block begins.
    """
    with answering(settings):
        connection = _engine(settings).connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            for name, value in _KEEP_ALIVE.items():
                connection.exec_driver_sql(f"SET {name} = {value}")
        except BaseException:
            connection.close()
            raise
    try:
        yield connection
    finally:
        # What it held ended with it, where the server is gone.
        with suppress(Exception):
            connection.close()


@contextmanager
def answering(settings: Settings) -> Iterator[None]:
    """Tell in one sentence that the database did not do what the block asked of it.

    Raises:
        OtherRelease: it, or the home, was made before ledgers had a version, or by a later release.
        Unavailable: the database does not answer, cannot be opened, or its driver is not installed.
        UsageError: the address is not one that SQLAlchemy understands.
    """
    from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, OperationalError, SQLAlchemyError

    try:
        yield
    except ArgumentError:
        raise UsageError("CONTENDER_LEDGER_URL is not an address that SQLAlchemy understands.") from None
    except (ModuleNotFoundError, OSError) as error:
        raise Unavailable(f"The ledger {_name(settings)} cannot be opened ({error}).") from error
    except SQLAlchemyError as error:
        if isinstance(error, OperationalError | InterfaceError) or type(error) is DatabaseError:
            cause = str(getattr(error, "orig", error)).strip().splitlines() or [type(error).__name__]
            raise Unavailable(f"The ledger {_name(settings)} does not answer ({cause[0]}).") from error
        raise


@contextmanager
def alone(settings: Settings, use_case: str) -> Iterator[None]:
    """One process at a time, of all that share this ledger; who is killed lets the next one in.

    It does not keep anybody from writing entries: PostgreSQL holds an advisory lock, SQLite's is a file beside it.

    Raises:
        Busy: those before it take too long.
        Unavailable: the database does not answer, or it is PostgreSQL and they take too long.
    """
    from sqlalchemy import make_url, text

    if not settings.ledger.startswith("sqlite"):
        key = int.from_bytes(hashlib.sha256(settings.name_of(use_case).encode()).digest()[:8], "big", signed=True)
        with connected(settings) as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = '{MIRROR_SECONDS}s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
            yield
        return
    from filelock import FileLock, Timeout

    folder = Path(make_url(settings.ledger).database or settings.home / "ledger.db").parent / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / f"{settings.name_of(use_case)}.title.lock").acquire(timeout=MIRROR_SECONDS)
    except Timeout:
        raise Busy.with_use_case(use_case) from None
    with lock:
        yield


def _name(settings: Settings) -> str:
    """The address without its password."""
    from sqlalchemy import make_url

    return make_url(settings.ledger).render_as_string(hide_password=True)


def _engine(settings: Settings) -> "Engine":
    check_home(settings)
    url = settings.ledger
    if url.startswith("sqlite") and not Path(url.partition(":///")[2]).is_file():
        _open.cache_clear()
    return _open(url)


@cache
def _open(url: str) -> "Engine":
    from sqlalchemy import NullPool, create_engine, event, make_url

    address = make_url(url)
    lite = address.get_backend_name() == "sqlite"
    if lite and address.database:
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    arguments = {"timeout": BUSY_SECONDS} if lite else {"connect_timeout": 5}
    # No pool: a connection that was open when Prefect or Spark forked a process would corrupt a SQLite file.
    engine = create_engine(address, poolclass=NullPool, connect_args=arguments)
    if lite:
        event.listen(engine, "connect", _leave_transactions_to_us)
        event.listen(engine, "begin", _begin)
    bring_up_to_date(engine, tables().title.metadata, address.render_as_string(hide_password=True))
    return engine


def _leave_transactions_to_us(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")


def _begin(connection: "Connection") -> None:
    # A writer locks at its start: one that reads first and locks later fails at once instead of waiting its turn.
    writes = connection.get_execution_options().get("writes", True)
    if writes is not None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
