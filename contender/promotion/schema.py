"""The version of the ledger's schema: migrations make a new ledger, and bring an older one up to date."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from contender.errors import OtherRelease

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Connection, Engine, MetaData

NEEDED = "0002"
"""The newest revision in `migrations/versions`, written here because reading those takes Alembic."""

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "ledger_version"
"""Not Alembic's usual name: where the ledger shares a database with MLflow, that one is MLflow's."""

_LOCK = int.from_bytes(b"contendr", "big")
"""Of those who migrate one PostgreSQL database at once; SQLite locks its whole file."""

_ATTEMPTS = 5


def bring_up_to_date(engine: "Engine", metadata: "MetaData", name: str) -> None:
    """Return when the ledger has the schema of this release, which is one SELECT where it has it already.

    Args:
        metadata: the tables of the ledger.
        name: how an error calls it.

    Raises:
        OtherRelease: it was made before ledgers had a version, or by a later release.
    """
    if not _is_up_to_date(engine):
        _migrate(engine, metadata, name)


def _is_up_to_date(engine: "Engine") -> bool:
    from sqlalchemy.exc import OperationalError, ProgrammingError

    try:
        with engine.connect().execution_options(writes=False) as connection, connection.begin():
            found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}")
            return [row[0] for row in found] == [NEEDED]
    except (OperationalError, ProgrammingError) as error:
        # Of a table that is not there SQLite speaks as PostgreSQL does of a server that is not there.
        if isinstance(error, OperationalError) and engine.dialect.name != "sqlite":
            raise
        return False


def _migrate(engine: "Engine", metadata: "MetaData", name: str) -> None:
    """All of it or nothing, by one process at a time; whoever waited for another one finds it done."""
    from sqlalchemy.exc import OperationalError

    lite = engine.dialect.name == "sqlite"
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            if lite:
                # The journal's mode cannot be changed inside a transaction.
                with engine.connect().execution_options(writes=None) as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            with engine.begin() as connection:
                if not lite:
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
                _upgrade(connection, metadata, name)
            return
        except OperationalError:
            # Two that change the journal's mode collide without waiting; on PostgreSQL nobody answers.
            if attempt == _ATTEMPTS or not lite:
                raise
        time.sleep(0.1 * attempt)


def _upgrade(connection: "Connection", metadata: "MetaData", name: str) -> None:
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    found = _version(context, connection, metadata, name)
    if found == NEEDED:
        return
    scripts = ScriptDirectory(str(MIGRATIONS))
    # Each is handed what it works with: `alembic.op` is one for the whole process, in which MLflow may migrate as well.
    for revision in reversed(list(scripts.iterate_revisions(NEEDED, found))):
        revision.module.upgrade(Operations(context))
    context.stamp(scripts, NEEDED)


def _version(context: "MigrationContext", connection: "Connection", metadata: "MetaData", name: str) -> str | None:
    """The version that is there; None in an empty database."""
    from sqlalchemy import inspect

    found = context.get_current_revision()
    if found is None and (there := sorted(set(metadata.tables) & set(inspect(connection).get_table_names()))):
        raise OtherRelease.of(
            f"The ledger {name}", f"the tables {', '.join(there)} without a version", f"version {NEEDED}"
        )
    if found is not None and found > NEEDED:
        raise OtherRelease.of(f"The ledger {name}", f"version {found}", f"version {NEEDED}", newer=True)
    return found
