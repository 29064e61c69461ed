"""Views that a person can query: `model_performance` and `ab_test`, in Spark SQL and in DuckDB alike.

The two speak one SQL but for where the rows are: Spark reads the Delta table, DuckDB the Parquet files that make it up
now. DuckDB's own Delta reader has to be downloaded first, so that it would not work without internet; the file of
views is written anew with each update instead.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from contender.lake import tables
from contender.performance.daily_row import schema
from contender.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TABLE = "performance"
_KEPT_BACK = ("points", "classes", "next_known_at", "outcome_mean", "outcome_variance")
"""Columns for computing on, not for reading."""


def create_views(
    session: "SparkSession", settings: Settings, use_case: str, titles: Mapping[int, str] | None = None
) -> tuple[str, ...]:
    """Register both views in a Spark session, and give their names; none while nothing was measured.

    Args:
        titles: what to call model versions, such as champion and challenger, as they are now.
    """
    if tables.find(settings, use_case, TABLE) is None:
        return ()
    source = f"delta.`{tables.path_of(settings, use_case, TABLE)}`"
    views = sql_of(source, titles or {})
    for name, query in views.items():
        session.sql(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {query}")
    return tuple(views)


def write_duckdb(settings: Settings, use_case: str, titles: Mapping[int, str] | None = None) -> Path | None:
    """Write `performance.sql` with both views for DuckDB, and give its path; None while nothing was measured.

    To be read by `duckdb -init PATH`, or by `.read PATH` at its prompt.
    """
    files = tables.files_of(settings, use_case, TABLE)
    if not files:
        return None
    named = ", ".join(f"'{file.replace(chr(39), 2 * chr(39))}'" for file in files)
    views = sql_of(f"read_parquet([{named}])", titles or {})
    path = settings.state / "views" / use_case / "performance.sql"
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = "".join(f"CREATE OR REPLACE VIEW {name} AS {query};\n" for name, query in views.items())
    scratch = path.with_suffix(".new")
    scratch.write_text(whole, encoding="utf-8")
    scratch.replace(path)
    return path


def sql_of(source: str, titles: Mapping[int, str]) -> dict[str, str]:
    """The query behind each view, over a table or function that gives the rows of `performance`."""
    return {"model_performance": _model_performance(source, titles), "ab_test": _ab_test(source, titles)}


def _model_performance(source: str, titles: Mapping[int, str]) -> str:
    """One row for each model version and day: what is known of its quality, and what was expected of it."""
    columns = ", ".join(name for name in schema().names if name not in _KEPT_BACK)
    error = "CASE WHEN quality IS NOT NULL THEN estimated_quality - quality END AS estimate_error"
    return f"SELECT {_title('model_version', titles)} AS title, {columns}, {error} FROM {source}"


def _ab_test(source: str, titles: Mapping[int, str]) -> str:
    """Two model versions on the days that both scored, the newer as B, and a row without a day for all of them.

    The difference is B minus A. Its 90 % interval takes the two for independent; where both scored the same records it
    is wider than it need be, never narrower. Over all days, each counts by its smaller number of mature outcomes.
    """
    half = {arm: f"(({arm}.quality_high - {arm}.quality_low) / 2)" for arm in "ab"}
    told = (
        "model_version",
        "predictions",
        "mature",
        "quality",
        "quality_low",
        "quality_high",
        "mean_score",
        "flagged_share",
        "p95_latency_ms",
        "realised_cost",
    )
    sides = ", ".join(f"{arm}.{name} AS {name}_{arm}" for arm in "ab" for name in told)
    daily = (
        f"SELECT a.day AS day, a.metric AS metric, {sides}, b.quality - a.quality AS difference, "
        f"sqrt({half['a']} * {half['a']} + {half['b']} * {half['b']}) AS away, "
        f"CAST(least(a.mature, b.mature) AS DOUBLE) AS weight "
        f"FROM {source} a JOIN {source} b "
        "ON a.day = b.day AND a.metric = b.metric AND a.model_version < b.model_version"
    )
    counted = "CASE WHEN difference IS NOT NULL AND away IS NOT NULL THEN weight END"
    names = f"{_title('model_version_a', titles)} AS title_a, {_title('model_version_b', titles)} AS title_b"
    one = (
        f"SELECT day, metric, {names}, model_version_a, model_version_b, predictions_a, predictions_b, mature_a, "
        "mature_b, quality_a, quality_b, difference, difference - away AS difference_low, difference + away AS "
        "difference_high, flagged_share_a, flagged_share_b, p95_latency_ms_a, p95_latency_ms_b, realised_cost_a, "
        "realised_cost_b FROM daily"
    )
    means = ", ".join(f"sum({counted} * quality_{arm}) / nullif(sum({counted}), 0) AS quality_{arm}" for arm in "ab")
    shares = ", ".join(
        f"sum(flagged_share_{arm} * predictions_{arm}) / sum(predictions_{arm}) AS flagged_share_{arm}" for arm in "ab"
    )
    whole = (
        f"SELECT model_version_a, model_version_b, metric, sum(predictions_a) AS predictions_a, "
        f"sum(predictions_b) AS predictions_b, sum(mature_a) AS mature_a, sum(mature_b) AS mature_b, {means}, "
        f"sum({counted} * difference) / nullif(sum({counted}), 0) AS difference, "
        f"sqrt(sum({counted} * {counted} * away * away)) / nullif(sum({counted}), 0) AS away, {shares}, "
        "max(p95_latency_ms_a) AS p95_latency_ms_a, max(p95_latency_ms_b) AS p95_latency_ms_b, "
        "sum(realised_cost_a) AS realised_cost_a, sum(realised_cost_b) AS realised_cost_b "
        "FROM daily GROUP BY model_version_a, model_version_b, metric"
    )
    every = one.replace("SELECT day,", "SELECT CAST(NULL AS DATE) AS day,").replace("FROM daily", "FROM whole")
    return f"WITH daily AS ({daily}), whole AS ({whole}) {one} UNION ALL {every}"


def _title(column: str, titles: Mapping[int, str]) -> str:
    """The version's title as it was when the view was made; empty without one."""
    cases = " ".join(f"WHEN {int(version)} THEN '{title.replace(chr(39), '')}'" for version, title in titles.items())
    return f"CASE {column} {cases} ELSE '' END" if cases else "''"
