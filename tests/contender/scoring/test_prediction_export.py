"""Predictions as people get them: beside the record's own columns, whole, and never over another file in silence."""

import csv
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from contender.errors import UsageError
from contender.lake import queries, tables
from contender.scoring import prediction_export

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)


def put(home, table: str, rows: list[dict]) -> None:
    location = tables.path_of(home.settings, "orders", table)
    Path(location).mkdir(parents=True, exist_ok=True)
    write_deltalake(location, pa.Table.from_pylist(rows), mode="append", schema_mode="merge")


def record(number: int, batch: int, **own) -> dict:
    at = NOON + timedelta(hours=number)
    columns = {
        "order_id": f"o{number}",
        "ordered_at": at,
        "shop": "a",
        "colour": 'r"e,d',
        "amount": 0.1,
        "express": True,
    }
    return {"_key": f"o{number}", "_time": at, "_file": "f", "_row": number, "_batch": batch} | columns | own


def prediction(number: int, batch: int, version: int = 1) -> dict:
    made = NOON + timedelta(days=batch)
    return {
        "_key": f"o{number}",
        "_time": NOON + timedelta(hours=number),
        "score": number / 10,
        "prediction": int(number >= 5),
        "band": "NORMAL",
        "model_version": version,
        "run_id": "run",
        "scored_at": made,
        "_batch": batch,
    }


@pytest.fixture
def home(make_home):
    """Six orders in two batches; the second brought a column that the first had not, and was scored by version 2."""
    found = make_home()
    put(found, "records", [record(number, 1) for number in (3, 1, 2)])
    put(found, "records", [record(number, 2, items=2**53 + 1) for number in (6, 4, 5)])
    put(found, "predictions", [prediction(number, 1) for number in (1, 2, 3)])
    put(found, "predictions", [prediction(number, 2, version=2) for number in (4, 5, 6)])
    return found


def lines(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_home_may_have_blanks_and_other_letters_in_its_path(home, tmp_path):
    moved = replace(home, settings=home.settings.model_copy(update={"home": tmp_path / "Déjà vu"}))
    put(moved, "records", [record(1, 1)])
    put(moved, "predictions", [prediction(1, 1)])

    written = prediction_export.write(moved.settings, moved.contract, tmp_path / "a b.csv")

    assert [row["order_id"] for row in lines(written.path)] == ["o1"]
    assert all(Path(file).is_file() for file in tables.files_of(moved.settings, "orders", "records"))


def test_a_file_has_the_records_own_columns_and_ours_oldest_first(home, tmp_path):
    written = prediction_export.write(home.settings, home.contract, tmp_path / "new" / "all.csv")

    found = lines(written.path)
    assert (written.rows, len(found), written.size) == (6, 6, written.path.stat().st_size)
    assert [*found[0]] == [*home.contract.records.columns, *prediction_export.OURS]
    assert [row["order_id"] for row in found] == ["o1", "o2", "o3", "o4", "o5", "o6"]
    assert found[0] == {
        "order_id": "o1",
        "ordered_at": "2026-01-10 13:00:00",
        "shop": "a",
        "colour": 'r"e,d',
        "amount": "0.1",
        "items": "",
        "express": "true",
        "score": "0.1",
        "prediction": "0",
        "band": "NORMAL",
        "model_version": "1",
        "scored_at": "2026-01-11 12:00:00",
    }
    assert (found[5]["items"], found[5]["model_version"]) == ("9007199254740993", "2")


def test_parquet_keeps_the_types(home, tmp_path):
    path = prediction_export.write(home.settings, home.contract, tmp_path / "all.parquet").path

    found = pq.read_table(path)
    assert found.schema.field("ordered_at").type == pa.timestamp("us")
    assert found.schema.field("items").type == pa.int64()
    assert found["items"].to_pylist()[3:] == [2**53 + 1] * 3
    assert found["score"].to_pylist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def test_since_counts_from_when_a_prediction_was_made(home, tmp_path):
    since = datetime(2026, 1, 12)  # noqa: DTZ001 - as the command line gives it, in UTC
    path = prediction_export.write(home.settings, home.contract, tmp_path / "new.csv.gz", since).path

    assert path.read_bytes()[:2] == b"\x1f\x8b"
    totals = [prediction_export.newest(home.settings, home.contract, 9, moment).total for moment in (None, since)]
    assert totals == [6, 3]
    assert prediction_export.newest(home.settings, home.contract, 9, since + timedelta(days=9)).rows == []


def test_the_newest_come_first(home):
    found = prediction_export.newest(home.settings, home.contract, 4).rows

    assert [(row["order_id"], row["model_version"]) for row in found] == [("o6", 2), ("o5", 2), ("o4", 2), ("o3", 1)]


def test_a_records_column_keeps_its_name_and_ours_gives_way(make_home, tmp_path):
    found = make_home(('items = { type = "integer" }', 'Score = { type = "integer" }\nband = { type = "text" }'))
    put(found, "records", [record(1, 1, Score=7, band="low")])
    put(found, "predictions", [prediction(1, 1)])

    written = prediction_export.write(found.settings, found.contract, tmp_path / "all.csv")

    (row,) = lines(written.path)
    assert (row["Score"], row["band"]) == ("7", "low")
    assert (row["contender_score"], row["contender_band"], row["prediction"]) == ("0.1", "NORMAL", "0")
    assert prediction_export.names_of(found.contract)["score"] == "contender_score"


def test_records_without_a_key_are_named_by_ours(make_home, tmp_path):
    found = make_home(
        ('key = "order_id"\n', ""),
        ('files = "returns-*"\n', ""),
        ('order_id = { type = "text", required = true }\nreturned', "returned"),
    )
    put(found, "records", [record(1, 1)])
    put(found, "predictions", [prediction(1, 1)])

    (row,) = lines(prediction_export.write(found.settings, found.contract, tmp_path / "all.csv").path)

    assert row["key"] == "o1"


def test_a_file_that_is_there_is_replaced_only_when_told_to(home, tmp_path):
    path = tmp_path / "all.csv"
    path.write_text("mine")

    with pytest.raises(UsageError, match="is there; name another file with --to, or replace it with --overwrite"):
        prediction_export.write(home.settings, home.contract, path)
    assert path.read_text() == "mine"
    assert prediction_export.write(home.settings, home.contract, path, overwrite=True).rows == 6
    assert len(lines(path)) == 6


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("all.xlsx", "end it with one of .csv, .csv.gz, .parquet"),
        ("", "names no format"),
        ("in/a-file/all.csv", "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_told_and_leaves_nothing(home, tmp_path, name, said):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a-file").touch()

    with pytest.raises(UsageError, match=said):
        prediction_export.write(home.settings, home.contract, tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a-file", "in"]


def test_a_write_that_breaks_off_leaves_the_file_of_before(home, tmp_path, monkeypatch):
    path = tmp_path / "all.csv"
    path.write_text("mine")
    monkeypatch.setattr(queries.Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))

    with pytest.raises(UsageError, match="cannot be written .No space left.; name another file"):
        prediction_export.write(home.settings, home.contract, path, overwrite=True)
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("all.csv", "mine")]


def test_before_the_first_prediction_it_says_how_to_get_one(make_home, tmp_path):
    found = make_home()
    with pytest.raises(UsageError, match="no predictions of orders yet; 'contender run orders' makes them"):
        prediction_export.write(found.settings, found.contract, tmp_path / "all.csv")
    assert not [*tmp_path.iterdir()]
