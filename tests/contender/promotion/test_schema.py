"""Ledgers of other releases, on SQLite and PostgreSQL: brought up to date by migrations, or refused in one sentence."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime

import pytest

from contender.errors import OtherRelease
from contender.operations import database_checks
from contender.promotion import database, ledger, schema
from contender.promotion.verdict_document import verdict_in
from contender.settings import Settings
from contender.values import Decision, Interval, ModelVersion

NEXT = '''
"""A column more, for the title."""
from sqlalchemy import Column, Text
revision = "0003"
down_revision = "0002"


def upgrade(op):
    op.add_column("title", Column("seal", Text, nullable=False, server_default="none"))
'''


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def settings(request, tmp_path):
    if request.param == "sqlite":
        yield Settings(home=tmp_path)
    else:
        import psycopg

        url = request.getfixturevalue("postgres_url")
        # One schema each, so that a test finds nothing of the others.
        name = f"schema_{os.urandom(4).hex()}"
        with closing(psycopg.connect(url.replace("+psycopg", ""), autocommit=True)) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        yield Settings(home=tmp_path, ledger_url=f"{url}?options=-csearch_path%3D{name}")
    database._open.cache_clear()


@pytest.fixture
def next_release(monkeypatch, tmp_path):
    """Have the release after this one, whose ledger has a column more; it is called when it is installed."""

    def install(migration=NEXT):
        folder = tmp_path / "migrations"
        shutil.copytree(schema.MIGRATIONS, folder)
        (folder / "versions" / "r0003_next.py").write_text(migration)
        monkeypatch.setattr(schema, "MIGRATIONS", folder)
        monkeypatch.setattr(schema, "NEEDED", "0003")
        database._open.cache_clear()

    return install


def take(settings, version, after=None):
    made = ModelVersion("payments", version, "", "", f"digest{version}", datetime.fromisoformat("2026-01-01"))
    return ledger.take_title(
        settings, "payments", version=made, after=after, action="promoted", reason="better", by="judge", evidence={}
    )


def asked(settings, statement):
    with database.connected(settings, writes=True) as connection:
        found = connection.exec_driver_sql(statement)
        return found.all() if found.returns_rows else None


def test_migrations_make_the_tables_that_are_described(settings):
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import inspect

    described = database.tables().title.metadata
    with database.connected(settings) as connection:
        options = {"version_table": schema.VERSION_TABLE}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), described) == []
        for name, table in described.tables.items():
            found = inspect(connection).get_pk_constraint(name)["constrained_columns"]
            assert found == [column.name for column in table.primary_key]


def test_the_version_that_is_needed_is_that_of_the_newest_migration():
    from alembic.script import ScriptDirectory

    assert ScriptDirectory(str(schema.MIGRATIONS)).get_heads() == [schema.NEEDED]


def test_a_ledger_of_the_version_before_is_brought_up_to_date_with_all_its_entries(settings, next_release):
    first = take(settings, 1)
    next_release()

    assert asked(settings, "SELECT digest, seal FROM title") == [(first.digest, "none")]
    assert asked(settings, f"SELECT version_num FROM {schema.VERSION_TABLE}") == [("0003",)]


def test_a_ledger_of_a_later_release_is_refused(settings, next_release, monkeypatch):
    next_release()
    take(settings, 1)
    monkeypatch.undo()
    database._open.cache_clear()

    with pytest.raises(OtherRelease, match=r"has version 0003, needed is version 0002; a later release wrote it"):
        ledger.head(settings, "payments")


def test_a_ledger_of_before_versions_is_refused_and_stays_as_it_is(settings):
    take(settings, 1)
    asked(settings, f"DROP TABLE {schema.VERSION_TABLE}")
    database._open.cache_clear()

    for _ in range(2):
        with pytest.raises(
            OtherRelease, match=r"approvals, .*, verdicts without a version, needed is version 0002; .*move"
        ):
            ledger.head(settings, "payments")
    if settings.ledger_url:
        assert "of another release" in database_checks.ledger_answers(settings).found


def test_a_migration_that_breaks_leaves_the_ledger_as_it_was(settings, next_release, monkeypatch):
    first = take(settings, 1)
    next_release(f"{NEXT}    raise RuntimeError('half way')\n")
    with pytest.raises(RuntimeError, match="half way"):
        ledger.head(settings, "payments")
    monkeypatch.undo()

    assert ledger.head(settings, "payments") == first


def test_of_many_that_open_a_new_ledger_at_once_one_makes_it(settings):
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: ledger.head(settings, "payments"), range(8))) == [None] * 8
    assert asked(settings, f"SELECT version_num FROM {schema.VERSION_TABLE}") == [(schema.NEEDED,)]


def test_opening_a_ledger_that_is_up_to_date_loads_no_migrations(tmp_path):
    take(Settings(home=tmp_path), 1)
    program = (
        "import sys; from contender.promotion import ledger; from contender.settings import Settings; "
        "print(ledger.head(Settings(), 'payments').version, 'alembic' in sys.modules)"
    )
    environment = {"CONTENDER_HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["1", "False"]
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)


PLAIN = {"decision": "KEEP", "metric": "roc_auc", "champion_score": 0.8, "challenger_score": 0.81, "gain": 0.01}
PLAIN |= {"interval": [-0.1, 0.1], "interval_level": 0.9, "rows": 40, "reasons": ["a tie"], "against": "champion"}
PLAIN |= {"guardrails": [{"name": "latency", "value": None, "limit": 9.0, "holds": False}], "outcomes_needed": None}
PLAIN |= {"slice_gains": []}
WITHOUT_A_VERSION = PLAIN | {
    "challenger": 2,
    "champion": 1,
    "window": "2026-01-01 00:00..2026-02-01 00:00",
    "as_of": "2026-02-01T00:00:00",
    "versions": {"records": 3},
    "metrics": {"roc_auc": 0.81, "f1": float("nan")},
    "model_digest": "d",
    "slices": {"shop=a": {"rows": 3.0}},
    "latency_ms": {"p95": 2.0},
    "mode": "decay",
    "min_gain": 0.0,
    "looks": 2,
    "fairness": [
        {
            "column": "sex",
            "groups": [
                {
                    "group": "f",
                    "rows": 3,
                    "positives": 1,
                    "selection_rate": None,
                    "true_positive_rate": None,
                    "false_positive_rate": None,
                }
            ],
            "apart": {"selection_rate": {"difference": None, "ratio": None}},
            "limits": [],
        }
    ],
    "git_revision": None,
    "leaks_allowed": {},
    "calibration": {"challenger": [{"mean_score": 0.5, "rate": 0.4, "rows": 40, "low": 0.3, "high": 0.5}]},
    "outcomes": 90,
}


def test_verdicts_of_before_they_had_a_version_are_read_after_the_migration(settings, monkeypatch):
    monkeypatch.setattr(schema, "NEEDED", "0001")
    database._open.cache_clear()
    kept = database.tables().verdicts
    approvals = database.tables().approvals
    with database.connected(settings, writes=True) as connection:
        row = {
            "use_case": "payments",
            "at": "2026-02-02T00:00:00+00:00",
            "challenger": 2,
            "run_id": "run",
            "window": "w",
        }
        connection.execute(kept.insert().values(**row, document=json.dumps(WITHOUT_A_VERSION)))
        asked_for = {
            "use_case": "payments",
            "version": 2,
            "follows": 1,
            "asked_at": "a",
            "expires_at": "e",
            "state": "waiting",
        }
        connection.execute(approvals.insert().values(**asked_for, reason="", evidence=json.dumps({"verdict": PLAIN})))
    monkeypatch.undo()
    database._open.cache_clear()

    (found,) = ledger.verdicts(settings, "payments")

    assert (found.decision, found.interval, found.run_id) == (Decision.KEEP, Interval(-0.1, 0.1, 0.9), "run")
    assert (found.mode, found.allowed_loss, found.looks, found.outcomes) == ("decay", None, 2, 90)
    assert (found.metrics["f1"], found.fairness[0].groups[0].column) == (None, "sex")
    ((evidence,),) = asked(settings, "SELECT evidence FROM approvals")
    assert verdict_in(evidence).reasons == ("a tie",)
