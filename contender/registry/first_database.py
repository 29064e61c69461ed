"""MLflow's SQLite file, made whole before anybody sees it: a first start that is killed leaves no half of one."""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

_HALF = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name LIKE '\\_alembic\\_tmp\\_%' ESCAPE '\\'"


def make_database(path: Path) -> None:
    """Make the file with MLflow's tables where there is none, or only half of one without a single run in it.

    Such a half is kept beside it. Two processes may make it at once: the first one's is taken.
    """
    if path.exists() and _is_half_made(path):
        path.replace(path.with_name(f"{path.name}.cut-off"))
    if path.exists():
        return
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    engine = create_sqlalchemy_engine(f"sqlite:///{new}")  # type: ignore[no-untyped-call]
    try:
        _initialize_tables(engine)  # type: ignore[no-untyped-call]
        engine.dispose()
        # By a link, because it never takes the place of what is there.
        with suppress(FileExistsError):
            try:
                os.link(new, path)
            except OSError:
                if not path.exists():
                    new.rename(path)
    finally:
        engine.dispose()
        new.unlink(missing_ok=True)


def _is_half_made(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            if not database.execute(_HALF).fetchone()[0]:
                return False
            return not database.execute("SELECT count(*) FROM runs").fetchone()[0]
    except sqlite3.OperationalError as error:
        # Cut off before there was a table of runs.
        return "no such table: runs" in str(error)
    except sqlite3.DatabaseError:
        return False
