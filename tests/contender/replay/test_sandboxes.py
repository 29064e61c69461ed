"""Worlds of a replay: what arrives is shared, what a policy changes is each world's own."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from contender.contracts.contract import Contract
from contender.lake import tables
from contender.promotion import ledger
from contender.replay import sandboxes
from contender.settings import Settings

SCHEMA = pa.schema([("number", pa.int64())])


@pytest.fixture
def base(tmp_path):
    contract = Contract.of("payments", Path("data"))
    asks = contract.model_copy(update={"approval": contract.approval.model_copy(update={"required": True})})
    users = Settings(
        home=tmp_path / "users",
        environment="prod",
        lake="s3://bucket/lake",
        ledger_url="postgresql://elsewhere/x",
        tracking_uri="http://127.0.0.1:1",
    )
    return sandboxes.create(users, asks, tmp_path / "base")


def add(world, table, number):
    tables.append_small(world.settings, "payments", table, [{"number": number}], SCHEMA)


def numbers(world, table):
    found = tables.read_small(world.settings, "payments", table)
    return sorted(found["number"].to_pylist())


def test_whatever_a_world_writes_lies_below_its_folder(base, tmp_path):
    settings = base.settings
    for place in (settings.lake_of("payments"), settings.ledger, settings.tracking, str(settings.state)):
        assert str(tmp_path / "base") in place


def test_nobody_is_asked_for_approval_in_a_world(base):
    assert not base.contract.approval.required


def test_what_arrives_later_in_the_first_world_arrives_in_a_branch(base, tmp_path):
    add(base, "records", 1)
    ledger.history(base.settings, "payments")
    _database(base)
    other = sandboxes.branch(base, tmp_path / "other")
    add(base, "records", 2)
    assert numbers(other, "records") == [1, 2]


def test_what_a_branch_writes_is_its_own(base, tmp_path):
    add(base, "records", 1)
    add(base, "predictions", 1)
    ledger.count_comparison(base.settings, "payments", "a..b")
    _database(base)
    other = sandboxes.branch(base, tmp_path / "other")
    add(other, "predictions", 2)
    ledger.count_comparison(other.settings, "payments", "a..b")
    assert numbers(other, "predictions") == [1, 2]
    assert numbers(base, "predictions") == [1]
    assert ledger.count_comparison(base.settings, "payments", "a..b") == 2
    assert ledger.count_comparison(other.settings, "payments", "a..b") == 3


def _database(world):
    with closing(sqlite3.connect(world.settings.home / "mlflow.db")) as mlflow:
        mlflow.execute("CREATE TABLE runs (id TEXT)")
        mlflow.commit()
