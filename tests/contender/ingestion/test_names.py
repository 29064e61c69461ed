"""Names are the user's: what stands in the header is what contract, reasons, features and samples call a column."""

import csv
import io

import pytest

from contender import column_names
from contender.contracts.contract import Contract
from contender.contracts.expressions import Expression
from contender.contracts.sections import Column
from contender.drift import daily_samples, spark_sampler
from contender.features import dataset, feature_tables
from contender.ingestion import validation
from tests.contender.ingestion.test_file_reader import NAMES

OLD = ("shop", "colour", "amount", "items", "express")


@pytest.mark.parametrize("name", [*NAMES, "_time", "a%20b", "x%~2", "two\nlines", "select", "größe; cm"])
def test_a_name_is_stored_so_that_it_can_be_told_again(name):
    stored = column_names.stored(name)
    assert column_names.exact(stored) == name
    assert not set(stored) & set(" ,;{}()\n\t=.`")
    assert not stored.startswith("_")


def test_names_that_differ_by_case_are_stored_apart():
    found = column_names.stored_names(["Age", "age", "AGE", "a b", "A B"])
    assert len({stored.lower() for stored in found.values()}) == 5
    assert found["Age"] == "Age", "the first keeps its name"
    assert [column_names.exact(stored) for stored in found.values()] == list(found)


COLUMNS = {
    "y": Column(type="boolean"),
    "Net price (EUR)": Column(type="number"),
    "customer.age": Column(type="integer"),
    "at": Column(type="timestamp"),
    'a"b`c': Column(type="number"),
    "won": Column(type="boolean", yes=("gewonnen",), no=("verloren",)),
}


@pytest.mark.parametrize(
    ("text", "spark"),
    [
        pytest.param("Net price (EUR)", "`Net%20price%20%28EUR%29`", id="a header cell is that column"),
        pytest.param('"Net price (EUR)" > 5', "`Net%20price%20%28EUR%29` > 5", id="quoted in an expression"),
        pytest.param("customer.age >= 30", "`customer%2Eage` >= 30", id="a dot"),
        pytest.param('"a""b`c" < 1', '`a"b%60c` < 1', id="quotes in a name"),
        pytest.param("y = 'Yes'", "`y` = TRUE", id="a boolean as people write it"),
        pytest.param("Y <> 'nein'", "`y` <> FALSE", id="another case, another language"),
        pytest.param("won = 'verloren'", "`won` = FALSE", id="a column's own spelling"),
        pytest.param("at + interval 2 day", "`at` + INTERVAL '2' DAY", id="DuckDB's dialect"),
    ],
)
def test_an_expression_is_told_to_spark_by_stored_names(text, spark):
    assert Expression.parse(text, COLUMNS).spark(column_names.stored_names(COLUMNS)) == spark


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("custmer.age > 3", "did you mean 'customer.age'?", id="a name nearly right"),
        pytest.param("y = yes", "single quotes: 'yes'", id="a text without quotes"),
        pytest.param("y = 'perhaps'", "neither true nor false", id="no spelling of a boolean"),
        pytest.param("sum(customer.age)", "an aggregate", id="an aggregate"),
        pytest.param("Net price > 3", "in double quotes", id="blanks without quotes"),
    ],
)
def test_a_wrong_expression_says_what_is_wrong(text, says):
    with pytest.raises(ValueError, match="expected|did you mean|names|neither") as told:
        Expression.parse(text, COLUMNS)
    assert says in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.slow
def test_names_of_all_kinds_go_from_the_file_to_the_samples(spark, make_home, monkeypatch):
    new = ("Shop", "shop", "Net price (EUR)", "customer.age", "_time")
    monkeypatch.setattr(validation, "expect", lambda *_, **__: [])
    home = make_home(
        *[(f"\n{old} =", f'\n"{name}" =') for old, name in zip(OLD, new, strict=True)],
        ("max_bad_share = 0.2", "max_bad_share = 0.9"),
    )
    contract = Contract.read(home.contract.folder / "contract.toml")
    text = io.StringIO()
    csv.writer(text).writerows(
        [
            ["order_id", "ordered_at", *new],
            ["k1", "2026-01-10T08:00:00", "a", "red", "10", "30", "true"],
            ["k2", "2026-01-10T09:00:00", "b", "blue", "20", "40", "false"],
            ["k3", "2026-01-10T09:00:00", "b", "blue", "much", "old", "false"],
        ]
    )
    home.land_bytes("orders-1.csv", text.getvalue().encode())
    home.land("returns-1.csv", "k1,true,1", "k2,false,2")
    ingested, _ = home.take_in()
    assert ingested.reasons == {
        "Net price (EUR): not a finite number": 1,
        "customer.age: not a whole number of 64 bits": 1,
    }
    assert '"customer.age":"old"' in next(row["raw"] for row in home.rows("quarantine"))

    feature_tables.update_features(home.settings, contract)
    split = dataset.split(home.settings, contract, home.noon)
    frame = dataset.load(home.settings, contract, split.judging).set_index("_key")
    names = ["Shop", "shop", "Net price (EUR)", "customer.age", "_time of the file"]
    assert [column.name for column in contract.model_columns] == ["ordered_at", *names]
    expected = {"k1": ["a", "red", 10.0, 30.0, 1.0], "k2": ["b", "blue", 20.0, 40.0, 0.0]}
    assert {key: list(frame.loc[key, names]) for key in frame.index}.items() <= expected.items()
    assert len(frame)

    spark_sampler.update_samples(home.settings, contract)
    day = home.noon.date()
    sample = daily_samples.read_sample(home.settings, contract, "features", [day]).set_index("_key")
    assert {key: list(sample.loc[key, names]) for key in sample.index} == expected
