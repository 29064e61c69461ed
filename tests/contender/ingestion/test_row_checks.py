"""Spark's reasons and Great Expectations' findings, made from the same rules, are about the same rows."""

from datetime import timedelta

import pytest
from pyspark.sql import functions as F

from contender.contracts.sections import Column
from contender.ingestion import row_checks
from contender.ingestion.expectations import row_expectations
from contender.values import FILE, KEY, ROW, TIME

pytestmark = pytest.mark.slow

COLUMNS = {
    "id": Column(type="text"),
    "at": Column(type="timestamp"),
    "amount": Column(type="number", required=True, min=0, max=100),
    "items": Column(type="integer", min=1),
    "express": Column(type="boolean", required=True),
    "shop": Column(type="category", values=("a", "b"), unseen="quarantine", required=True),
    "colour": Column(type="category", values=("red",), unseen="accept"),
}
AT = "2026-01-10T10:00:00"
GOOD = {"id": "", "at": AT, "amount": "5", "items": "2", "express": "yes", "shop": "a", "colour": "red"}
ROWS = [
    {},
    {"amount": "0", "items": "", "colour": "mauve"},
    {"amount": "100", "at": "2026-01-10T13:00:00"},
    {"amount": "-0.01"},
    {"amount": "100.01"},
    {"amount": "ten"},
    {"amount": ""},
    {"amount": "inf", "express": "perhaps"},
    {"express": ""},
    {"items": "1.5"},
    {"items": "0"},
    {"shop": "z"},
    {"shop": ""},
    {"at": "noon"},
    {"at": ""},
    {"at": "2026-01-10T13:00:01"},
    {"id": None},
    {"id": "k0"},
    {"id": "k0"},
    {"id": "k0", "amount": "6"},
    {"id": "old"},
    {"id": "old", "amount": "7"},
    {"id": "k3", "amount": "-0.01", "shop": "z", "at": "2027-01-01T00:00:00"},
]


@pytest.fixture(scope="module")
def conformed(spark, make_home):
    """Rows with every kind of fault, with the reasons that Spark gives; and the checks."""
    checks = row_checks.checks_of(COLUMNS, key="id", time="at", at=make_home().noon, skew=timedelta(hours=1))
    lines = [GOOD | {"id": f"k{n}"} | row for n, row in enumerate(ROWS)]
    fields = ", ".join(f"{name} string" for name in COLUMNS)
    staged = spark.createDataFrame(
        [("f", n, *line.values()) for n, line in enumerate(lines)], f"{FILE} string, {ROW} bigint, {fields}"
    )

    def keyed(frame):
        return frame.withColumn(KEY, F.col("id")).withColumn(TIME, F.col("at"))

    known = keyed(
        row_checks.conform(
            spark.createDataFrame([("f", 0, *(GOOD | {"id": "old"}).values())], staged.schema), COLUMNS, [], [""]
        )
    )
    rows = row_checks.mark_repeated(keyed(row_checks.conform(staged, COLUMNS, checks, [""])), known, COLUMNS, "id")
    return rows.persist(), [*checks, *row_checks.key_checks("id")]


def test_great_expectations_finds_against_the_same_rows_what_spark_does(conformed):
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    rows, checks = conformed
    reasons = {row[ROW]: row["_reasons"] for row in rows.select(ROW, "_reasons").collect()}
    by_spark = {check.reason: sorted(n for n, found in reasons.items() if check.reason in found) for check in checks}
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    batch = context.data_sources.add_spark("rows", persist=False).add_dataframe_asset("rows")
    batch = batch.add_batch_definition_whole_dataframe("rows").get_batch({"dataframe": rows})
    format_ = {"result_format": "COMPLETE", "unexpected_index_column_names": [ROW]}
    by_expectations = {}
    for check, expectation in zip(checks, row_expectations(checks), strict=True):
        found = batch.validate(expectation, result_format=format_)
        assert not (found.exception_info or {}).get("raised_exception"), found.exception_info
        by_expectations[check.reason] = sorted(one[ROW] for one in found.result["unexpected_index_list"] or [])

    assert by_expectations == by_spark
    assert all(by_spark.values()), "every check has a row that fails it"
    assert {check.kind for check in checks} == set(row_checks.RULES), "of every kind"
    assert [n for n, found in reasons.items() if not found] == [0, 1, 2]
