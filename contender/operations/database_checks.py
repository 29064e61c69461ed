"""The databases of the ledger and of MLflow: SQLite files that can be written, or PostgreSQL that answers."""

import os
import shlex
import sqlite3
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

from contender.operations.findings import Finding, extra_command
from contender.operations.server_checks import host_answers, server_answers
from contender.operations.storage_checks import nearest, owning
from contender.redact import without_login
from contender.settings import Settings


def ledger_answers(settings: Settings) -> Finding:
    """The database that keeps who holds the title: it can be written, or it answers."""
    if settings.ledger.startswith("sqlite"):
        return file_answers("ledger", Path(settings.ledger.partition(":///")[2].partition("?")[0]))
    known = host_answers("ledger", settings.ledger, 5432, "CONTENDER_LEDGER_URL")
    return known if known.status == "failed" else _database_answers(settings)


def mlflow_answers(settings: Settings) -> Finding:
    """The server, or the SQLite file, that keeps runs and models."""
    address = settings.tracking
    scheme = address.partition(":")[0].partition("+")[0]
    variable = "CONTENDER_TRACKING_URI" if settings.tracking_uri else "MLFLOW_TRACKING_URI"
    if not address:
        return file_answers("MLflow", settings.state / "mlflow.db")
    if scheme == "sqlite":
        return file_answers("MLflow", Path(address.partition(":///")[2].partition("?")[0]))
    if scheme in ("http", "https"):
        return server_answers("MLflow", address, f"{address.rstrip('/')}/health", variable, "mlflow server")
    if scheme == "postgresql":
        return host_answers("MLflow", address, 5432, variable)
    return Finding("MLflow", "ok", f"{without_login(address)}, which is not probed")


def file_answers(name: str, file: Path) -> Finding:
    """A SQLite file that can be locked for writing, or that is not there yet."""
    needed = "a SQLite file that can be written"
    if not file.exists():
        place = nearest(file)
        if place.is_dir() and os.access(place, os.W_OK):
            return Finding(name, "ok", f"{file}, made by the first run", needed)
        return Finding(name, "failed", f"{file} cannot be made in {place}", needed, owning(place))
    try:
        connection = sqlite3.connect(f"file:{urllib.request.pathname2url(str(file))}?mode=rw", uri=True, timeout=1)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.rollback()
        finally:
            connection.close()
    except sqlite3.Error as error:
        if "locked" in str(error):
            who = f"fuser -v {shlex.quote(str(file))}"
            return Finding(name, "warning", f"{file} is being written by another process", needed, who)
        mend = f"{owning(file.parent)}, or bring the file back from a backup"
        return Finding(name, "failed", f"{file} cannot be opened for writing ({error})", needed, mend)
    return Finding(name, "ok", str(file), needed)


def _database_answers(settings: Settings) -> Finding:
    from contender.errors import ContenderError, OtherRelease
    from contender.promotion.database import connected, tables
    from contender.promotion.schema import VERSION_TABLE

    shown, needed = without_login(settings.ledger), "a database that answers"
    names = [table.name for table in tables()]
    every = ", ".join((*names, VERSION_TABLE))
    granting = f"GRANT SELECT, INSERT, UPDATE ON {every} TO the ledger's user, by the tables' owner"
    try:
        with connected(settings) as connection:
            asked = ", ".join(f"has_table_privilege('{name}', 'INSERT')" for name in names)
            may = connection.exec_driver_sql(f"SELECT {asked}").one()
            read_only = connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
    except Exception as error:
        # Of SQLAlchemy's own errors, those that come from the database, such as one of rights.
        if not isinstance(error, ContenderError) and not hasattr(error, "orig"):
            raise
        if isinstance(error, OtherRelease):
            mend = "export CONTENDER_LEDGER_URL=the address of an empty database"
            return Finding("ledger", "failed", f"{shown} is of another release", "a ledger of this release", mend)
        cause = error.__cause__ if isinstance(error, ContenderError) and error.__cause__ else error
        if isinstance(cause, ModuleNotFoundError):
            return _driver_missing(settings.ledger, cause)
        told = (str(getattr(cause, "orig", cause)).strip().splitlines() or ["no reason given"])[0]
        password = unquote(urlsplit(settings.ledger).password or "")
        told = told.replace(password, "***") if password else told
        # The ledger's version is read before anything else, so that a user without any rights on the tables ends here.
        denied = getattr(getattr(cause, "orig", cause), "sqlstate", None) == "42501" and "for table" in told
        mend = granting if denied else "export CONTENDER_LEDGER_URL=the right address, or mend the database's rights"
        return Finding("ledger", "failed", f"{shown} does not let us in ({told})", needed, mend)
    if read_only:
        mend = "export CONTENDER_LEDGER_URL=the address of the primary server"
        return Finding("ledger", "failed", f"{shown} can only be read", "a database that can be written", mend)
    if not all(may):
        return Finding("ledger", "failed", f"{shown} does not let us write", "a user that may insert", granting)
    return Finding("ledger", "ok", f"{shown} answers", needed)


def _driver_missing(url: str, error: ModuleNotFoundError) -> Finding:
    scheme, _, rest = url.partition("://")
    if scheme in ("postgresql", "postgres"):
        # SQLAlchemy takes another driver than ours when none is named.
        place = without_login(f"x://{rest}").removeprefix("x://")
        mend = f"export CONTENDER_LEDGER_URL=postgresql+psycopg://{place}, with the login as before"
    else:
        mend = extra_command("postgres", "psycopg[binary]>=3.2,<4")
    return Finding("ledger", "failed", f"the driver '{error.name}' is not installed", "PostgreSQL's driver", mend)
