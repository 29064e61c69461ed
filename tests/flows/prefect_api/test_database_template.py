import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from contender.lake import java
from flows.prefect_api import database_template


@pytest.fixture
def share(tmp_path, monkeypatch):
    monkeypatch.setattr(java, "SHARE", tmp_path / "share")
    return tmp_path / "share"


def pretend(share, content=b"made by setup"):
    share.mkdir()
    database_template.template().write_bytes(content)


def test_a_home_begins_with_what_setup_made(share, tmp_path):
    pretend(share)
    database_template.begin(tmp_path / "prefect", {})
    assert (tmp_path / "prefect" / "prefect.db").read_bytes() == b"made by setup"
    assert [path.name for path in (tmp_path / "prefect").iterdir()] == ["prefect.db"]


def test_what_a_home_has_is_its_own(share, tmp_path):
    pretend(share)
    (tmp_path / "prefect.db").write_bytes(b"a year of runs")
    database_template.begin(tmp_path, {})
    assert (tmp_path / "prefect.db").read_bytes() == b"a year of runs"


@pytest.mark.parametrize("variable", ["PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL"])
def test_a_database_elsewhere_gets_no_copy_here(share, tmp_path, variable):
    pretend(share)
    database_template.begin(tmp_path / "prefect", {variable: "postgresql+asyncpg://db/prefect"})
    assert not (tmp_path / "prefect").exists()


def test_without_setup_a_server_makes_its_own(share, tmp_path):
    database_template.begin(tmp_path / "prefect", {})
    assert not (tmp_path / "prefect").exists()


def test_what_prefect_cannot_make_is_done_without(share, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    said = []
    database_template.make(said.append)
    assert said[1:] == ["That did not work out; Prefect will start without."]
    assert list(share.iterdir()) == []


@pytest.mark.slow
def test_it_is_what_all_of_prefects_migrations_give(share, tmp_path):
    said = []
    database_template.make(said.append)
    database_template.make(said.append)
    assert len(said) == 1, "the second call finds it done"

    database_template.begin(tmp_path / "prefect", {})
    before = schema(tmp_path / "prefect" / "prefect.db")
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
    environment = {"PREFECT_HOME": str(tmp_path / "prefect"), "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    subprocess.run(command, env=environment, capture_output=True, check=True)
    assert schema(tmp_path / "prefect" / "prefect.db") == before
    assert {"flow_run", "task_run", "automation", "events"} <= before[1].keys()


def schema(path):
    with closing(sqlite3.connect(path)) as database:
        migration = database.execute("SELECT * FROM alembic_version").fetchall()
        return migration, dict(database.execute("SELECT name, sql FROM sqlite_master").fetchall())
