"""Rows with outcomes for training and judging: which ones, by time, and the frame of them on the driver.

The newest part of the mature rows is held out for judging; training ends an embargo before it, and sees only outcomes
that were known when the judging window began. So nothing of the judging window, not even a late outcome, is learnt.
Records without a time of their own have a drawn one, so that a cut within their delivery is a random one.
Batches and windows that are held out, because what brought them was broken, are in neither.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from contender.contracts.contract import Contract
from contender.errors import TooFewOutcomes
from contender.features import exclusions, transforms
from contender.ingestion import kept_meaning
from contender.lake import tables
from contender.settings import Settings
from contender.values import BATCH, KEY, KNOWN_AT, TARGET, TIME, Rows, TableVersion

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

BEGINNING = datetime(1, 1, 1)  # noqa: DTZ001 - naive UTC, as all times of `Rows` are
"""Start of rows that reach back as far as there are any."""

_MOST_TO_JUDGE = 2 / 3
"""Share of all records that a delivery may be and still judge as a whole."""

TABLES = ("records", "outcomes", "features")
"""What rows are made of, in the order of `Rows.versions`; where something is held out, `held_out` is there too."""


@dataclass(frozen=True)
class Split:
    """The rows to train on and, later in time, the rows to judge on; `outcomes` is how many outcomes there are."""

    training: Rows
    judging: Rows
    outcomes: int


def split(settings: Settings, contract: Contract, as_of: datetime) -> Split:
    """Cut the mature rows into training and judging, by the contract's windows. Times are UTC.

    Raises:
        ContractError: what is there means something else than the contract says.
        TooFewOutcomes: there are no mature rows with an outcome at all.
    """
    kept_meaning.refuse_changes(settings, contract)
    found = [tables.find(settings, contract.name, name) for name in (*TABLES[:2], exclusions.TABLE, TABLES[2])]
    versions = tuple(table for table in found if table)
    if not {table.table for table in versions}.issuperset(TABLES):
        raise TooFewOutcomes.none_at_all(contract.name)
    records = tables.read(settings, versions[0])
    # Newest first: of records that have not happened yet in `as_of`'s eyes nothing is known.
    newest = records.where(F.col(TIME) <= F.lit(as_of)).agg(F.unix_micros(F.max(TIME))).head()
    horizon = _moment(newest[0]) if newest and newest[0] is not None else as_of
    end = horizon - contract.outcome.matures_after + timedelta(microseconds=1)
    every = Rows(BEGINNING, _naive(end), _naive(as_of), versions)
    known = _known(settings, contract, every)
    if isinstance(contract.judging.newest, float):
        cut = known.agg(F.percentile(F.unix_micros(TIME), 1 - contract.judging.newest)).head()
        start = _moment(int(cut[0])) if cut and cut[0] is not None else end
    else:
        start = end - contract.judging.newest
    timeless = contract.records.time is None
    if timeless:
        start = min(start, _newest_delivery(known) or start)
    gap = max(contract.judging.embargo, contract.outcome.matures_after)
    first = start - gap - contract.training.window if contract.training.window else None
    # Where nothing tells what came first, what is known by now is what is known.
    known_by = as_of if timeless else min(start, as_of)
    training = Rows(_naive(first) if first else BEGINNING, _naive(start - gap), _naive(known_by), versions)
    return Split(
        training,
        Rows(_naive(start), _naive(end), _naive(as_of), versions),
        tables.count(settings, contract.name, "outcomes"),
    )


def _newest_delivery(known: "DataFrame") -> datetime | None:
    """Where the newest delivery of records without a time begins: it judges as a whole before it is learnt from.

    None for the first delivery, and for one that is so much larger than all before it that too little would be left to
    learn from; a random part of it judges then.
    """
    found = known.groupBy(BATCH).agg(F.count("*").alias("rows"), F.unix_micros(F.min(TIME)).alias("first")).collect()
    deliveries = sorted((row["first"], row["rows"]) for row in found)
    if len(deliveries) < 2 or deliveries[-1][1] > _MOST_TO_JUDGE * sum(rows for _, rows in deliveries):
        return None
    return _moment(deliveries[-1][0])


def load(settings: Settings, contract: Contract, rows: Rows, *, newest: int | None = None) -> "pd.DataFrame":
    """The rows in time order: `_key`, `_time`, `_target`, the model's columns, and others that rows are grouped by.

    Args:
        newest: at most so many rows, the newest ones; bounds the driver's memory.

    Times are naive UTC; missing numbers are NaN, missing strings None.
    """
    text = f"{contract.model_dump_json()} {contract.own_features is not None}"
    return _load(_Asked(settings, rows, newest, text, contract)).copy(deep=False)


@dataclass(frozen=True)
class _Asked:
    """The rows that are asked for; a contract is the same where its text is, wherever it came from."""

    settings: Settings
    rows: Rows
    newest: int | None
    text: str
    contract: Contract = field(compare=False)


@lru_cache(maxsize=2)
def _load(asked: _Asked) -> "pd.DataFrame":
    """Kept for the two windows of one run, because judging looks at the same rows several times."""
    settings, contract, rows, newest = asked.settings, asked.contract, asked.rows, asked.newest
    known = _known(settings, contract, rows)
    groups = (*contract.judging.slices, *contract.fairness.columns)
    extra = dict.fromkeys([*groups, *filter(None, [contract.judging.cluster])])
    known_as = contract.stored_names
    by = [F.col(f"`{known_as[name]}`").cast("string").alias(f"by:{place}") for place, name in enumerate(extra)]
    made = tables.read(settings, _version(rows, "features"))
    model = [known_as[column.name] for column in contract.model_columns]
    joined = known.select(KEY, TARGET, *by).join(
        made.select(KEY, TIME, *[f"`{name}`" for name in model]), on=KEY, how="inner"
    )
    if newest is not None:
        joined = joined.orderBy(F.desc(TIME), F.desc(KEY)).limit(newest)
    frame = joined.toPandas().sort_values([TIME, KEY], ignore_index=True)
    shown = {known_as[column.name]: column.name for column in contract.model_columns}
    frame = frame.rename(columns=shown | {f"by:{place}": f"by:{name}" for place, name in enumerate(extra)})
    texts = [column.name for column in contract.model_columns if column.kind in ("category", "text", "words")]
    return frame.astype(dict.fromkeys(texts, object))


def refuse_strangers(settings: Settings, contract: Contract, rows: Rows) -> None:
    """Return if there is an outcome that names a record of ours, or no outcome at all.

    Raises:
        TooFewOutcomes: none does; with some keys of both.
    """
    records, outcomes = (tables.read(settings, _version(rows, table)).select(KEY) for table in TABLES[:2])
    if contract.outcome.files is None or outcomes.join(records, on=KEY, how="left_semi").head():
        return
    some = [[row[KEY] for row in table.orderBy(KEY).head(2)] for table in (outcomes, records)]
    if all(some):
        raise TooFewOutcomes.of_no_record(outcomes.count(), *some)


def _known(settings: Settings, contract: Contract, rows: Rows) -> "DataFrame":
    """Records in the window with an outcome known by `as_of`, but for those that are held out."""
    records, outcomes = (tables.read(settings, _version(rows, table)) for table in TABLES[:2])
    moment = F.col(TIME)
    within = records.where(moment < F.lit(_aware(rows.end)))
    if rows.start > BEGINNING:
        within = within.where(moment >= F.lit(_aware(rows.start)))
    for held in _held(settings, contract, rows):
        if held.batch is not None:
            within = within.where(F.col(BATCH) != held.batch)
        else:
            within = within.where((moment < F.lit(held.start)) | (moment >= F.lit(held.end)))
    known = transforms.known_outcomes(within, outcomes, contract)
    return known.where((F.col(KNOWN_AT) <= F.lit(_aware(rows.as_of))) & F.col(TARGET).isNotNull())


def _version(rows: Rows, name: str) -> TableVersion:
    return next(table for table in rows.versions if table.table == name)


def _held(settings: Settings, contract: Contract, rows: Rows) -> list[exclusions.HeldOut]:
    """What was held out when these rows were chosen, so that the same rows can be read again later."""
    table = next((table for table in rows.versions if table.table == exclusions.TABLE), None)
    return exclusions.held_out(settings, contract.name, table) if table is not None else []


def name_of(rows: Rows, table: TableVersion) -> str:
    """How MLflow names these rows: table, version and window."""
    start = "" if rows.start == BEGINNING else f"{rows.start:%Y-%m-%d}"
    return f"{table} {start}..{rows.end:%Y-%m-%d}"


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
