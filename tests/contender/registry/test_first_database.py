"""MLflow's own database is whole or not there, whenever its first start was killed."""

import sqlite3
from contextlib import closing

import pytest

from contender.registry.first_database import make_database


def tables_of(path):
    with closing(sqlite3.connect(path)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@pytest.mark.slow
@pytest.mark.parametrize("left", [["_alembic_tmp_experiments"], ["_alembic_tmp_experiments", "runs"]])
def test_half_a_database_without_a_run_is_made_anew(tmp_path, left):
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        for name in left:
            database.execute(f"CREATE TABLE {name} (id INTEGER)")

    make_database(path)

    assert {"experiments", "runs", "registered_models"} <= tables_of(path)
    assert not any(name.startswith("_alembic_tmp") for name in tables_of(path))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.cut-off"]


@pytest.mark.parametrize("left", [["runs"], ["runs", "_alembic_tmp_runs"]])
def test_a_database_with_runs_is_left_as_it_is(tmp_path, left):
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        for name in left:
            database.execute(f"CREATE TABLE {name} (id INTEGER)")
        database.execute("INSERT INTO runs VALUES (1)")
        database.commit()
    before = path.read_bytes()

    make_database(path)

    assert path.read_bytes() == before
