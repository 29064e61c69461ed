"""What a model is given: a record's own columns, look-ups by key, and its entities' history as known at its time.

Computed once per record, when it arrives, and kept in `features`; training and every scoring read it from there, so
they cannot differ.
"""

import hashlib
import operator
from collections.abc import Mapping
from functools import reduce

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.window import WindowSpec

from contender.contracts.contract import Contract
from contender.contracts.sections import History
from contender.ingestion.file_order import with_natural
from contender.ingestion.row_checks import complete
from contender.values import BATCH, FILE, KEY, KNOWN_AT, RECEIVED, ROW, TARGET, TIME


def definition_of(contract: Contract) -> str:
    """Digest of all that decides what the features are; features made under another are made again."""
    parts = contract.model_dump_json(include={"kind": True, "records": {"columns"}, "lookups": True, "history": True})
    target = contract.outcome.model_dump_json() if any(f.of_outcome for f in contract.history.values()) else ""
    own = str(contract.own_features is not None)
    return hashlib.sha256((parts + target + own).encode()).hexdigest()[:16]


def known_outcomes(records: DataFrame, outcomes: DataFrame, contract: Contract) -> DataFrame:
    """The outcome of each record that counts, with `_time` and `_batch` of the record and `_known_at`.

    What arrives live is known when it is received. A record that was itself received after its outcome would have
    been known is history loaded in bulk: then the contract says when the outcome was known. Without a time column
    all that tells is when something arrived, unless the contract has an expression for it.

    Of several outcomes the one known last counts, where a column tells when each was known; else, and of those known
    at the same time, the one that arrived last, of files that arrived together the last by its name.
    """
    records = complete(records, contract.stored(contract.records.columns))
    outcomes = complete(outcomes, contract.stored(contract.outcome.columns))
    outcome_columns = [F.col(f"`{name}`") for name in contract.stored(contract.outcome.columns)]
    # A struct compares by its fields in order.
    arrival = (RECEIVED, BATCH, "_name", FILE, ROW)
    placed = with_natural(outcomes, FILE, "_name").select(
        KEY,
        TARGET,
        F.col(RECEIVED).alias("_outcome_received"),
        F.struct(*outcome_columns).alias("outcome"),
        F.struct(*[F.col(part).alias(f"_{place}") for place, part in enumerate(arrival)]).alias("_arrival"),
    )
    ours = F.struct("_arrival", TARGET, "_outcome_received", "outcome")
    of_outcome = (TARGET, "_outcome_received", "outcome")
    if contract.outcome.known_at is None:
        newest = placed.groupBy(KEY).agg(F.max(ours).alias("_newest"))
        chosen = newest.select(KEY, *[F.col(f"_newest.{name}").alias(name) for name in of_outcome])
        return _with_known_at(records.join(chosen, on=KEY, how="inner"), records, contract)
    # When an outcome was known may depend on its record.
    every = _with_known_at(records.join(placed, on=KEY, how="inner"), records, contract)
    latest = Window.partitionBy(KEY).orderBy(F.desc_nulls_last("_stated"), F.desc("_arrival"))
    return every.withColumn("_rank", F.row_number().over(latest)).where("_rank = 1").drop("_rank", "_arrival")


def every_outcome(records: DataFrame, outcomes: DataFrame, contract: Contract) -> DataFrame:
    """Each outcome as it was received, corrected later or not, with `_known_at`: `_key`, and the outcome's columns."""
    records = complete(records, contract.stored(contract.records.columns))
    outcomes = complete(outcomes, contract.stored(contract.outcome.columns))
    columns = [F.col(f"`{column}`") for column in contract.stored(contract.outcome.columns)]
    ours = outcomes.select(KEY, F.col(RECEIVED).alias("_outcome_received"), F.struct(*columns).alias("outcome"))
    known = _with_known_at(records.join(ours, on=KEY, how="inner"), records, contract)
    return known.select(KEY, KNOWN_AT, "outcome.*")


def _with_known_at(joined: DataFrame, records: DataFrame, contract: Contract) -> DataFrame:
    if contract.records.time is None and contract.outcome.known_at is None:
        return joined.withColumn(KNOWN_AT, F.col("_outcome_received"))
    if contract.outcome.known_after is not None:
        stated = F.col(TIME) + F.make_dt_interval(secs=F.lit(contract.outcome.known_after.total_seconds()))
    else:
        clear = [column for column in contract.stored(contract.outcome.columns) if column not in records.columns]
        named = joined.select("*", *[F.col(f"outcome.`{column}`").alias(column) for column in clear])
        assert contract.known_at is not None, "the contract has one of both"
        joined, stated = named, F.expr(contract.known_at.spark(contract.stored_names)).cast("timestamp")
    live = (F.col(RECEIVED) < stated) & F.lit(contract.records.time is not None)
    known = joined.withColumn("_stated", stated)
    return known.withColumn(KNOWN_AT, F.when(live, F.col("_outcome_received")).otherwise(F.col("_stated")))


def with_lookups(records: DataFrame, lookups: Mapping[str, DataFrame], contract: Contract) -> DataFrame:
    """Records with the columns of every look-up table, each under the look-up's name; unknown keys give nulls."""
    for name, lookup in contract.lookups.items():
        known = contract.stored_names
        keys = {column: f"_{name}_{place}" for place, column in enumerate(lookup.key)}
        facts = F.broadcast(
            lookups[name].select(
                *[F.col(f"`{known[column]}`").alias(key) for column, key in keys.items()],
                *[F.col(f"`{known[c]}`").alias(known[f"{name}_{c}"]) for c in lookup.columns if c not in lookup.key],
            )
        )
        derived = records.select(
            "*",
            *[
                F.expr(contract.lookup_key(name, column).spark(known)).alias(f"{key}_of")
                for column, key in keys.items()
            ],
        )
        same_key = [F.col(f"{key}_of") == F.col(key) for key in keys.values()]
        records = derived.join(facts, on=same_key, how="left").drop(*keys.values(), *[f"{k}_of" for k in keys.values()])
    return records


def with_history(wanted: DataFrame, records: DataFrame, outcomes: DataFrame | None, contract: Contract) -> DataFrame:
    """Records with every history feature, as known strictly before each record's time.

    A record counts from its own time on, an outcome from `_known_at` on; both for the feature's window. An outcome
    that took longer than the window to arrive no longer counts, so that looking back twice the window suffices.

    Args:
        wanted: the records that need features.
        records: all records that may count, `wanted` among them.
        outcomes: what `known_outcomes` gave for `records`; None when there is none.
    """
    groups: dict[tuple[str, ...], dict[str, History]] = {}
    for name, feature in contract.history.items():
        groups.setdefault(feature.by, {})[name] = feature
    answered = wanted
    for entity, features in groups.items():
        answers = _history_of(entity, features, wanted, records, outcomes, contract)
        answered = answered.join(answers, on=KEY, how="left")
    return answered


def of_the_same(wanted: DataFrame, events: DataFrame, contract: Contract) -> DataFrame:
    """The events of any entity that occurs in `wanted`, a small frame; no other can matter to its features."""
    marked = []
    for place, entity in enumerate(dict.fromkeys(feature.by for feature in contract.history.values())):
        flag = f"_has_{place}"
        by = [contract.stored_names[name] for name in entity]
        those = wanted.select(*[F.col(f"`{name}`") for name in by]).distinct().withColumn(flag, F.lit(True))
        events = events.join(F.broadcast(those), on=by, how="left")
        marked.append(flag)
    return events.where(F.coalesce(*marked)).drop(*marked)


def look_back(contract: Contract) -> float:
    """Seconds before a record that its history features may depend on."""
    return 2 * max((feature.over.total_seconds() for feature in contract.history.values()), default=0.0)


def model_input(frame: DataFrame, contract: Contract) -> DataFrame:
    """`_key`, `_time`, `_batch` and the model's columns: numbers and times as doubles, all else as plain strings."""
    columns = []
    for column in contract.model_columns:
        name = contract.stored_names[column.name]
        value = F.col(f"`{name}`")
        if column.kind == "time":
            value = F.unix_micros(value.cast("timestamp")) / 1e6
        columns.append(value.cast("string" if column.kind in ("category", "text", "words") else "double").alias(name))
    return frame.select(KEY, TIME, BATCH, *columns)


def _history_of(
    entity: tuple[str, ...],
    features: Mapping[str, History],
    wanted: DataFrame,
    records: DataFrame,
    outcomes: DataFrame | None,
    contract: Contract,
) -> DataFrame:
    """One row per wanted record: `_key` and the features of one entity.

    Every event enters with +1 and, per window, leaves with -1 once the window has passed; running sums over one sorted
    pass then give sums over sliding windows, whatever their length. Questions sort before events of the same moment,
    so nothing sees itself, and departures after questions, so a window is `[t - over, t)`.
    """
    entity = tuple(contract.stored_names[name] for name in entity)
    by = [F.col(f"`{name}`") for name in entity]
    of_records = {name: feature for name, feature in features.items() if not feature.of_outcome}
    of_outcomes = {name: feature for name, feature in features.items() if feature.of_outcome}
    nothing = _entries(features, {}, contract, leaving=None)
    stream = wanted.select(KEY, *by, F.unix_micros(TIME).alias("_us"), F.lit(0).alias("_order"), *nothing)
    if of_records:
        stream = stream.unionByName(_events(records, by, F.unix_micros(TIME), features, of_records, contract))
    if of_outcomes and outcomes is not None:
        stream = stream.unionByName(_events(outcomes, by, F.unix_micros(KNOWN_AT), features, of_outcomes, contract))
    # A missing name names nobody: such records share no history.
    named = reduce(operator.and_, [column.isNotNull() for column in by])
    stream = stream.where(named)
    sofar = Window.partitionBy(*entity).orderBy("_us", "_order", KEY)
    sofar = sofar.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    known_as = {name: contract.stored_names[name] for name in features}
    answers = [_answer(name, feature, sofar).alias(known_as[name]) for name, feature in features.items()]
    made = stream.select(KEY, "_order", *answers).where("_order = 0")
    return made.select(KEY, *[F.col(f"`{name}`") for name in known_as.values()])


def _events(
    source: DataFrame,
    by: list[SparkColumn],
    moment: SparkColumn,
    features: Mapping[str, History],
    mine: Mapping[str, History],
    contract: Contract,
) -> DataFrame:
    """What enters and leaves, from one pass over the source: per event one entry, and one departure per window."""
    widths = sorted({_width(feature) for feature in mine.values() if feature.take in _RUNNING})
    rows = [
        F.struct((moment + (width or 0)).alias("_us"), *_entries(features, mine, contract, leaving=width))
        for width in (None, *widths)
    ]
    spread = source.select(KEY, *by, F.explode(F.array(*rows)).alias("_event"))
    return spread.select(KEY, *by, F.lit(1).alias("_order"), "_event.*")


def _entries(
    features: Mapping[str, History], mine: Mapping[str, History], contract: Contract, *, leaving: int | None
) -> list[SparkColumn]:
    """Per feature its value (`|v`) and count (`|n`) in one row: null, or what enters, or minus what leaves."""
    columns = []
    for name, feature in features.items():
        concerned = name in mine and (leaving is None or (feature.take in _RUNNING and _width(feature) == leaving))
        value = _value(feature, contract) if concerned else F.lit(None)
        if concerned and feature.of_outcome:
            # What took longer than the window to be known is too old to count.
            value = F.when(F.unix_micros(KNOWN_AT) - F.unix_micros(TIME) <= _width(feature), value)
        count = F.when(value.isNotNull(), F.lit(1.0 if leaving is None else -1.0))
        signed = value * count if feature.take in _RUNNING else value
        columns += [
            signed.cast(_type_of(feature, contract)).alias(f"{name}|v"),
            count.cast("double").alias(f"{name}|n"),
        ]
    return columns


_RUNNING = ("avg", "count", "sum", "share")


def _width(feature: History) -> int:
    """The window in microseconds."""
    return int(feature.over.total_seconds() * 1_000_000)


def _type_of(feature: History, contract: Contract) -> str:
    if feature.take == "last" and feature.of is not None and not feature.of_outcome:
        kind = contract.records.columns[feature.of].type
        return {"category": "string", "text": "string", "timestamp": "timestamp"}.get(kind, "double")
    return "double"


def _value(feature: History, contract: Contract) -> SparkColumn:
    """What one event adds; null where it adds nothing."""
    if feature.of is None:
        return F.lit(1.0)
    if feature.of == "outcome":
        return F.col(TARGET)
    if feature.of_outcome:
        value = F.col(f"outcome.`{contract.stored_names[feature.of.removeprefix('outcome.')]}`")
    else:
        value = F.col(f"`{contract.stored_names[feature.of]}`")
    return value if feature.take == "last" else value.cast("double")


def _answer(name: str, feature: History, sofar: WindowSpec) -> SparkColumn:
    value, entered = F.col(f"{name}|v"), F.col(f"{name}|n")
    number = F.coalesce(F.sum(entered).over(sofar), F.lit(0.0))
    match feature.take:
        case "count":
            return number
        case "sum":
            return F.when(number > 0, F.sum(value).over(sofar)).otherwise(0.0)
        case "avg" | "share":
            return F.when(number > 0, F.sum(value).over(sofar) / number)
        case "time since" | "last":
            at = F.last(F.when(entered > 0, F.col("_us")), ignorenulls=True).over(sofar)
            recent = F.col("_us") - at <= _width(feature)
            if feature.take == "time since":
                return F.when(recent, (F.col("_us") - at) / 1e6)
            return F.when(recent, F.last(value, ignorenulls=True).over(sofar))
