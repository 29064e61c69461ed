"""A home that was moved or copied finds its models, and writes beside its own database."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from contender.registry.moved_home import follow_home

TABLES = {
    "experiments": ("name", "artifact_location"),
    "runs": ("run_uuid", "artifact_uri"),
    "logged_models": ("model_id", "artifact_location"),
    "model_versions": ("name", "storage_location"),
}


def made(home: Path) -> Path:
    """A home with a database as MLflow writes it, cut down to what is asked for."""
    (home / "artifacts" / "sales").mkdir(parents=True)
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        for table, columns in TABLES.items():
            database.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        ours = (home / "artifacts" / "sales").as_uri()
        database.execute("INSERT INTO experiments VALUES ('contender/sales', ?)", (ours,))
        database.execute("INSERT INTO experiments VALUES ('mine', 'file:///elsewhere/artifacts/x')")
        for table in ("runs", "logged_models", "model_versions"):
            database.execute(f"INSERT INTO {table} VALUES ('one', ?)", (f"{ours}/r1/artifacts",))
            database.execute(f"INSERT INTO {table} VALUES ('other', 'file:///elsewhere/artifacts/x/r2/artifacts')")
        database.commit()
    return home / "mlflow.db"


def addresses(path: Path) -> dict[str, list[str]]:
    with closing(sqlite3.connect(path)) as database:
        return {
            table: [place for (place,) in database.execute(f"SELECT {columns[1]} FROM {table} ORDER BY 1")]
            for table, columns in TABLES.items()
        }


@pytest.mark.parametrize("name", ["moved", "Déjà vu 100%"])
@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_artifacts_are_looked_for_beside_the_database(tmp_path, name, move):
    made(tmp_path / "home")
    move(tmp_path / "home", tmp_path / name)
    path = tmp_path / name / "mlflow.db"

    follow_home(path)

    ours = (tmp_path / name / "artifacts" / "sales").as_uri()
    for table, places in addresses(path).items():
        assert f"{ours}/r1/artifacts" in places or table == "experiments"
        assert [place for place in places if not place.startswith(ours)] == [
            "file:///elsewhere/artifacts/x" + ("/r2/artifacts" if table != "experiments" else "")
        ]


def test_a_home_that_stayed_or_goes_by_another_name_is_left_alone(tmp_path):
    path = made(tmp_path / "home")
    before = addresses(path)
    (tmp_path / "link").symlink_to(tmp_path / "home")

    follow_home(path)
    follow_home(tmp_path / "link" / "mlflow.db")

    assert addresses(path) == before


def test_a_file_that_is_no_database_is_left_to_mlflow(tmp_path):
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 100)
    follow_home(tmp_path / "mlflow.db")
