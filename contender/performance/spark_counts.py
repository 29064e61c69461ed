"""Counts in Spark how often which score came, and what came true of it, by model version and day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from contender.contracts.contract import Contract
from contender.contracts.sections import Kind
from contender.evaluation.probabilities import SMALLEST
from contender.features import transforms
from contender.lake import tables
from contender.lake.file_pruning import DataFiles
from contender.performance.daily_row import Day
from contender.performance.score_counts import BINS_PER_UNIT
from contender.settings import Settings
from contender.values import KEY, KNOWN_AT, RECEIVED, TARGET, TIME

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_DAYS_AT_ONCE = 400
_ORDER = ("model_version", "day", "said", "came", "bin", "flagged")


@dataclass(frozen=True)
class Moment:
    """What is taken as known: outcomes by `as_of`, final for records up to `mature`; from tables at their versions.

    `looks_back` says that records later than `as_of` are not to be known either; else only a clock may be wrong there.
    """

    as_of: datetime
    mature: datetime
    predictions: DataFiles
    records: DataFiles
    outcomes: DataFiles | None
    looks_back: bool = False


def requests_of(settings: Settings, contract: Contract) -> "DataFrame | None":
    """The live requests, where there are any that say when, by which version and how fast they were answered."""
    table = tables.find(settings, contract.name, "requests")
    if table is None:
        return None
    requests = tables.read(settings, table)
    return requests if {TIME, "model_version", "latency_ms"} <= set(requests.columns) else None


def count(
    settings: Settings, contract: Contract, now: Moment, days: Sequence[date], ends: Mapping[int, date]
) -> list[Day]:
    """The points of these days, by model version and day, a few hundred days at a time."""
    found: list[Day] = []
    for start in range(0, len(days), _DAYS_AT_ONCE):
        some = days[start : start + _DAYS_AT_ONCE]
        rows = sorted((row.asDict() for row in _points(contract, now, some).collect()), key=_place)
        latencies = _latencies(settings, contract, some)
        for (version, day), group in groupby(rows, key=lambda row: (row["model_version"], row["day"])):
            mine = list(group)
            points = [row for row in mine if row["said"] is None]
            named = {(row["said"], row["came"]): row["predictions"] for row in mine if row["said"] is not None}
            latency, until = latencies.get((version, day)), ends.get(version)
            found.append(Day.counted(contract.kind, points, named, latency, until))
    return found


def _points(contract: Contract, now: Moment, days: Sequence[date]) -> "DataFrame":
    """One row for each model version, day, bin of the score and decision; of several classes, for each pair too."""
    parts = now.predictions.on(days)
    within = _within(parts.read(), days)
    if now.looks_back:
        within = within.where(F.col(TIME) <= F.lit(now.as_of))
    # A batch that was scored twice by one version counts once.
    newest = F.max_by(F.struct(TIME, "score", "prediction", "band"), "scored_at").alias("newest")
    scored = within.groupBy(KEY, "model_version").agg(newest).select(KEY, "model_version", "newest.*")
    if now.outcomes is None:
        joined = scored.withColumns({TARGET: F.lit(None).cast("double"), KNOWN_AT: F.lit(None).cast("timestamp")})
    else:
        records = _within(now.records.on(days).read(), days)
        outcomes = now.outcomes.among(parts.keys).read()
        if now.looks_back:
            outcomes = _known_then(outcomes, records, now.as_of)
        known = transforms.known_outcomes(records, outcomes, contract).where(F.col(TARGET).isNotNull())
        joined = scored.join(known.select(KEY, TARGET, KNOWN_AT), on=KEY, how="left")
    in_time = F.col(KNOWN_AT) <= F.lit(now.as_of)
    mature = F.coalesce(in_time & (F.col(TIME) <= F.lit(now.mature)), F.lit(False))
    error = F.abs(F.col(TARGET).cast("double") - F.col("score")) if contract.kind == "regression" else F.lit(0.0)
    number = F.when(mature, F.col(TARGET).cast("double")) if contract.kind == "regression" else F.lit(None)
    several = contract.kind == "multiclass"
    placed = joined.withColumns(
        {
            "day": F.to_date(TIME),
            "bin": _bin(contract.kind),
            "flagged": _flagged(contract),
            "said": F.col("prediction") if several else F.lit(None).cast("string"),
            "came": F.when(mature, F.col(TARGET)) if several else F.lit(None).cast("string"),
        }
    )
    points, pairs = ["model_version", "day", "bin", "flagged"], ["model_version", "day", "said", "came"]
    sets = [points, pairs] if several else [points]
    return placed.groupingSets(sets, *points, "said", "came").agg(
        F.avg("score").alias("score"),
        F.count("*").alias("predictions"),
        F.count_if(in_time).alias("outcomes"),
        F.count_if(mature).alias("mature"),
        F.count_if(mature & _hit(contract.kind)).alias("hits"),
        *[
            F.coalesce(F.sum(F.when(mature, error**power)), F.lit(0.0)).alias(name)
            for power, name in ((1, "absolute"), (2, "squared"), (4, "quartic"))
        ],
        F.avg(number.cast("double")).alias("mean"),
        F.var_pop(number.cast("double")).alias("variance"),
        F.unix_micros(F.min(F.when(~in_time, F.col(KNOWN_AT)))).alias("next_known_at"),
    )


def _known_then(outcomes: "DataFrame", records: "DataFrame", as_of: datetime) -> "DataFrame":
    """The outcomes without corrections that came later; of records that came later, loaded in bulk, all of them."""
    here = records.where(F.col(RECEIVED) <= F.lit(as_of)).select(KEY)
    later = outcomes.where(F.col(RECEIVED) > F.lit(as_of)).join(here, on=KEY, how="left_anti")
    return outcomes.where(F.col(RECEIVED) <= F.lit(as_of)).unionByName(later)


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple((row[name] is not None, row[name]) for name in _ORDER)


def _within(rows: "DataFrame", days: Sequence[date]) -> "DataFrame":
    """Rows of these days; the bounds let Spark skip what a file keeps together."""
    bounded = rows.where((F.col(TIME) >= F.lit(days[0])) & (F.col(TIME) < F.lit(days[-1] + timedelta(days=1))))
    return bounded.where(F.to_date(TIME).isin(list(days)))


def _bin(kind: Kind) -> "Column":
    """As `tally.bin_of`."""
    if kind == "regression":
        return F.floor(F.asinh("score") * BINS_PER_UNIT)
    inside = F.least(F.greatest(F.col("score"), F.lit(SMALLEST)), F.lit(1 - SMALLEST))
    return F.floor(F.ln(inside / (1 - inside)) * BINS_PER_UNIT)


def _flagged(contract: Contract) -> "Column":
    """What says "yes": two classes by the prediction, else the bands that alert."""
    if contract.kind == "binary":
        return F.col("prediction") == 1
    return F.col("band").isin("CRITICAL", contract.scoring.alert)


def _hit(kind: Kind) -> "Column":
    if kind == "multiclass":
        return F.col(TARGET) == F.col("prediction")
    return F.col(TARGET) == 1 if kind == "binary" else F.lit(False)


def _latencies(settings: Settings, contract: Contract, days: Sequence[date]) -> dict[tuple[int, date], float]:
    """95th percentile of live answers in milliseconds, by model version and day."""
    requests = requests_of(settings, contract)
    if requests is None:
        return {}
    by = _within(requests, days).groupBy("model_version", F.to_date(TIME).alias("day"))
    rows = by.agg(F.percentile_approx("latency_ms", 0.95, 10_000).cast("double").alias("p95")).collect()
    return {(int(row["model_version"]), row["day"]): float(row["p95"]) for row in rows if row["p95"] is not None}
