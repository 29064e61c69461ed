"""What is new in a database or a Delta table lands once, exactly as it stands there."""

import sqlite3
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from pydantic import ValidationError

from contender.contracts.contract import Contract
from contender.contracts.sections import Source
from contender.errors import DataError, Unavailable, UsageError
from contender.ingestion import batches, sources

SECRET = "opensesame"


@pytest.fixture
def made(make_home, monkeypatch):
    """A home whose records come from a source; `made(source)` gives it, and what a fetch lands."""

    def make(source: str, *changes):
        home = make_home(('files = "orders-*"', f"source = {source}"), *changes)
        return home, lambda: fetched(home)

    return make


def fetched(home) -> list[dict]:
    """Rows that one fetch lands, in order."""
    before = set(home.landing.iterdir())
    sources.fetch(home.settings, home.contract, home.landing, lambda _: None)
    return [row for path in sorted(set(home.landing.iterdir()) - before) for row in pq.read_table(path).to_pylist()]


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A small SQLite database, and its address in a variable."""
    path = tmp_path / "shop.db"
    monkeypatch.setenv("CONTENDER_SHOP_URL", f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        connection.execute('CREATE TABLE orders (order_id INTEGER, "a:mount" REAL, changed_at TEXT)')
        connection.execute(
            "INSERT INTO orders VALUES (9007199254740993, 1.5, '2026-01-01 10:00'), (2, NULL, '2026-01-02')"
        )

    def execute(statement: str) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute(statement)

    return execute


QUERY = """{ sql = "SELECT * FROM orders;", url_from = "CONTENDER_SHOP_URL", newer_than = "changed_at" }"""


def test_rows_of_a_query_land_once_and_whole(made, shop):
    _, fetch = made(QUERY)

    assert fetch() == [
        {"order_id": "9007199254740993", "a:mount": "1.5", "changed_at": "2026-01-01 10:00"},
        {"order_id": "2", "a:mount": None, "changed_at": "2026-01-02"},
    ]
    assert fetch() == []
    shop("INSERT INTO orders VALUES (3, 0.1, '2026-01-03')")
    assert [row["order_id"] for row in fetch()] == ["3"]
    assert fetch() == []


def test_a_row_of_the_newest_moment_that_came_later_is_not_lost_and_no_other_comes_twice(made, shop):
    _, fetch = made(QUERY)
    fetch()
    shop("INSERT INTO orders VALUES (4, 4, '2026-01-02'), (5, 5, '2026-01-02')")

    assert [row["order_id"] for row in fetch()] == ["4", "5"]
    assert fetch() == []


def test_a_fetch_that_was_killed_leaves_nothing_and_loses_nothing(made, shop, monkeypatch):
    home, fetch = made(QUERY)
    with monkeypatch.context() as patch:
        patch.setattr(sources._Writer, "close", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fetch()
    assert list(home.landing.iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr(sources, "_keep", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fetch()

    assert len(list(home.landing.iterdir())) == 1, "landed, and the home does not know it"
    assert fetch() == []


def test_how_far_it_came_is_known_when_the_landing_folder_was_cleared(made, shop):
    home, fetch = made(QUERY)
    fetch()
    for path in home.landing.iterdir():
        path.unlink()

    assert fetch() == []
    shop("INSERT INTO orders VALUES (3, 0.1, '2026-01-03')")
    fetch()
    assert [path.name for path in home.landing.iterdir()] == ["fetched-records-000002.parquet"]


def test_what_is_fetched_is_planned_as_a_batch_of_records(made, shop):
    home, fetch = made(QUERY)
    fetch()
    (file,) = batches.unseen(home.settings, home.contract, home.landing)

    assert (file.source, file.name) == ("records", "fetched-records-000001.parquet")


def test_without_a_rising_column_a_query_lands_whole_each_time(made, shop):
    _, fetch = made("""{ sql = "SELECT * FROM orders", url_from = "CONTENDER_SHOP_URL" }""")

    assert len(fetch()) == len(fetch()) == 2


def test_a_row_without_the_rising_column_is_refused_because_nobody_could_tell_it_new(made, shop):
    home, fetch = made(QUERY)
    fetch()
    shop("INSERT INTO orders VALUES (6, 6, NULL)")

    with pytest.raises(DataError, match="a row without 'changed_at'.*nothing was fetched"):
        fetch()
    assert len(list(home.landing.iterdir())) == 1


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELEC 1", 'The query of CONTENDER_SHOP_URL cannot be carried out (near "1": syntax error)'),
        ("SELECT order_id, order_id FROM orders", "gives the column 'order_id' twice"),
        ("SELECT order_id FROM orders", "no such column: source.changed_at"),
    ],
)
def test_a_query_that_cannot_be_used_is_told_in_one_sentence(made, shop, query, said):
    newer = "" if "order_id, order_id" in query else ', newer_than = "changed_at"'
    _, fetch = made(f'{{ sql = "{query}", url_from = "CONTENDER_SHOP_URL"{newer} }}')

    with pytest.raises(DataError) as told:
        fetch()
    assert said in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        (None, UsageError, "CONTENDER_SHOP_URL is not set"),
        (f"postgres//ada:{SECRET}@nowhere/shop", UsageError, "not hold an address"),
        (f"nosuch://ada:{SECRET}@nowhere/shop", UsageError, "not hold an address"),
        (f"mysql+pymysql://ada:{SECRET}@127.0.0.1/shop", Unavailable, "The driver pymysql"),
        (f"postgresql+psycopg://ada:{SECRET}@127.0.0.1:1/shop", Unavailable, "does not answer"),
    ],
)
def test_an_address_that_does_not_serve_is_told_without_its_password(made, monkeypatch, address, error, said):
    _, fetch = made(QUERY)
    monkeypatch.delenv("CONTENDER_SHOP_URL", raising=False)
    if address:
        monkeypatch.setenv("CONTENDER_SHOP_URL", address)

    with pytest.raises(error) as told:
        fetch()
    assert said in str(told.value)
    assert SECRET not in str(told.value)


@pytest.mark.slow
def test_postgresql_gives_its_times_and_decimals_exactly(made, postgres_url, monkeypatch):
    from sqlalchemy import create_engine, text

    table = f"orders_{uuid.uuid4().hex}"
    engine = create_engine(postgres_url)
    monkeypatch.setenv("CONTENDER_SHOP_URL", postgres_url)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {table} (id bigint, price numeric(30,10), changed timestamptz)"))
        connection.execute(text(f"INSERT INTO {table} VALUES (1, 0.1234567890, '2026-01-01 10:00:00.000001+02')"))
    _, fetch = made(
        f"""{{ sql = "SELECT *, 1::int AS one FROM {table}", url_from = "CONTENDER_SHOP_URL", newer_than = "changed" }}"""
    )
    first = fetch()
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO {table} VALUES (2, 2, '2026-01-01 08:00:00.000002Z')"))
    second = fetch()

    assert datetime.fromisoformat(first[0]["changed"]) == datetime(2026, 1, 1, 8, microsecond=1, tzinfo=UTC)
    assert Decimal(first[0]["price"]) == Decimal("0.1234567890")
    assert (first[0]["id"], first[0]["one"]) == ("1", "1")
    assert [row["id"] for row in second] == ["2"]
    assert fetch() == []
    engine.dispose()


def orders(*numbers: int) -> pa.Table:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return pa.table(
        {
            "order_id": [str(number) for number in numbers],
            "shop": ["a b" if number % 2 else "c%d" for number in numbers],
            "at": [start + timedelta(hours=number) for number in numbers],
        }
    )


@pytest.mark.parametrize("how", ["log", "change feed", "time"])
def test_what_a_delta_table_gets_lands_once(made, tmp_path, how):
    place = str(tmp_path / "a table")
    configuration = {"delta.enableChangeDataFeed": "true"} if how == "change feed" else None
    # delta-rs cannot read its change feed where a value that divides the table has a blank.
    parts = None if how == "change feed" else ["shop"]
    write_deltalake(place, orders(1, 2), partition_by=parts, configuration=configuration)
    newer = ', newer_than = "at"' if how == "time" else ""
    _, fetch = made(f'{{ delta = "{place}"{newer} }}')

    first = fetch()
    assert sorted((row["order_id"], row["shop"]) for row in first) == [("1", "a b"), ("2", "c%d")]
    assert fetch() == []
    write_deltalake(place, orders(3), mode="append")
    write_deltalake(place, orders(4), mode="append")
    assert sorted((row["order_id"], row["shop"]) for row in fetch()) == [("3", "a b"), ("4", "c%d")]
    DeltaTable(place).optimize.compact()
    assert fetch() == []
    write_deltalake(place, orders(5), mode="append")
    DeltaTable(place).optimize.compact()
    assert [row["order_id"] for row in fetch()] == ["5"]


def test_a_row_changed_in_a_table_with_a_change_feed_lands_as_it_is_now(made, tmp_path):
    place = str(tmp_path / "table")
    write_deltalake(place, orders(1, 2, 3), configuration={"delta.enableChangeDataFeed": "true"})
    _, fetch = made(f'{{ delta = "{place}" }}')
    fetch()
    DeltaTable(place).update(predicate="order_id = '2'", updates={"shop": "'new'"})
    DeltaTable(place).delete("order_id = '3'")

    assert [(row["order_id"], row["shop"]) for row in fetch()] == [("2", "new")]


def test_a_table_that_was_rewritten_and_keeps_no_change_feed_is_told_and_not_guessed_at(made, tmp_path):
    place = str(tmp_path / "table")
    write_deltalake(place, orders(1, 2))
    home, fetch = made(f'{{ delta = "{place}" }}')
    fetch()
    DeltaTable(place).delete("order_id = '2'")

    with pytest.raises(DataError, match=r"rewritten at version 1 .*enableChangeDataFeed, or 'newer_than'"):
        fetch()
    assert len(list(home.landing.iterdir())) == 1


def test_a_change_feed_that_cannot_be_read_is_told(made, tmp_path):
    place = str(tmp_path / "table")
    write_deltalake(place, orders(1), partition_by=["shop"], configuration={"delta.enableChangeDataFeed": "true"})
    _, fetch = made(f'{{ delta = "{place}" }}')
    fetch()
    write_deltalake(place, orders(3), mode="append")

    with pytest.raises(DataError, match="change feed .* cannot be read since version 0 .*; state 'newer_than'"):
        fetch()


def test_no_table_is_told(made, tmp_path):
    _, fetch = made(f'{{ delta = "{tmp_path}" }}')

    with pytest.raises(DataError, match="is no Delta table"):
        fetch()


def test_another_table_in_the_contract_is_fetched_from_its_start(made, tmp_path):
    for name in ("one", "two"):
        write_deltalake(str(tmp_path / name), orders(1, 2))
    home, fetch = made(f'{{ delta = "{tmp_path / "one"}" }}')
    assert len(fetch()) == 2
    home = home.changed((f'"{tmp_path / "one"}"', f'"{tmp_path / "two"}"'))

    assert len(fetched(home)) == 2


def test_a_fault_of_one_source_does_not_hold_back_the_other(made, tmp_path):
    write_deltalake(str(tmp_path / "returns"), orders(1))
    home, _ = made(QUERY, ('files = "returns-*"', f'source = {{ delta = "{tmp_path / "returns"}" }}'))

    with pytest.raises(UsageError, match="is not set"):
        sources.fetch(home.settings, home.contract, home.landing, lambda _: None)
    assert [path.name for path in home.landing.iterdir()] == ["fetched-outcomes-000001.parquet"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "exactly one of 'delta' and 'sql'"),
        ({"delta": "a", "sql": "b", "url_from": "CONTENDER_A"}, "exactly one of 'delta' and 'sql'"),
        ({"sql": "SELECT 1"}, "needs 'url_from'"),
        ({"sql": "SELECT 1", "url_from": "postgresql://ada:secret@host/db"}, "should match pattern"),
        ({"delta": "a", "url_from": "CONTENDER_A"}, "belongs to 'sql'"),
    ],
)
def test_a_source_is_one_thing(settings, said):
    with pytest.raises(ValidationError, match=said):
        Source.model_validate(settings)


def test_files_beside_a_source_need_room_for_a_number(make_home):
    home = make_home()
    path = home.contract.folder / "contract.toml"
    path.write_text(path.read_text().replace('files = "orders-*"', 'files = "orders"\nsource = { delta = "x" }'))

    with pytest.raises(Exception, match=r"such as 'sales-\*.parquet'"):
        Contract.read(path)
