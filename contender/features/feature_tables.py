"""Brings the tables of look-ups and of features up to date with what was taken in."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from contender.contracts.contract import Contract
from contender.errors import DataError
from contender.features import transforms
from contender.ingestion import staging
from contender.ingestion.file_reader import digest
from contender.ingestion.row_checks import complete, conform
from contender.lake import spark_session, tables
from contender.settings import Settings
from contender.values import BATCH, KEY, ROW, TIME, TableVersion

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def update_lookups(settings: Settings, contract: Contract, folder: Path) -> list[TableVersion]:
    """Write each look-up whose file is new or has changed; the first row of a key counts.

    Raises:
        DataError: a look-up has neither a file in the landing folder nor a table from before.
    """
    written = []
    for name, lookup in contract.lookups.items():
        path, table = folder / lookup.file, f"lookup_{name}"
        if not path.is_file():
            if tables.find(settings, contract.name, table) is None:
                raise DataError(f"{folder} has no file {lookup.file}, which the look-up '{name}' needs; put it there.")
            continue
        # Other columns or types make another table of the same file.
        content = hashlib.sha256((digest(path) + lookup.model_dump_json()).encode()).hexdigest()
        if tables.note_of(settings, contract.name, table) == {"content": content}:
            continue
        staged = staging.stage_lookup(settings, contract, name, path)
        columns, key = contract.stored(lookup.columns), [contract.stored_names[column] for column in lookup.key]
        landed = spark_session.session(settings).read.parquet(str(staged))
        arrived, made = datetime.now(UTC), contract.made(lookup.columns)
        rows = conform(landed, columns, [], contract.records.missing, arrived, made)
        keys = [F.col(f"`{column}`") for column in key]
        first = rows.withColumn("_rank", F.row_number().over(Window.partitionBy(*keys).orderBy(ROW))).where("_rank = 1")
        facts = first.dropna(subset=key).select(*[F.col(f"`{column}`") for column in columns])
        written.append(tables.replace(settings, contract.name, table, facts, note={"content": content}))
    return written


def update_features(settings: Settings, contract: Contract) -> TableVersion | None:
    """Compute the features of every accepted record that has none yet; None while there are no records.

    After a change of the contract that touches features, those of all records are computed again.
    """
    records = tables.find(settings, contract.name, "records")
    if records is None:
        return None
    until = tables.last_transaction(settings, contract.name, "records", "ingest")
    definition = transforms.definition_of(contract)
    note = tables.note_of(settings, contract.name, "features")
    done = int(note["until"]) if note.get("definition") == definition else -1
    if done >= until:
        return tables.find(settings, contract.name, "features")
    every = complete(tables.read(settings, records), contract.stored(contract.records.columns))
    wanted = every.where(F.col(BATCH) > done)
    made = transforms.model_input(_joined(settings, contract, wanted, every, whole=done < 0), contract)
    note_now = {"definition": definition, "until": until}
    if done < 0:
        return tables.replace(settings, contract.name, "features", made, note=note_now)
    return tables.append(
        settings,
        contract.name,
        "features",
        made,
        application=f"features-{definition}",
        transaction=until,
        note=note_now,
    )


def newest_batch(settings: Settings, use_case: str) -> int:
    """The newest batch whose records all have features; -1 when there is none.

    Records may be ahead of it, where the work on a batch was cut off.
    """
    return int(tables.note_of(settings, use_case, "features").get("until", -1))


def _joined(
    settings: Settings, contract: Contract, wanted: "DataFrame", every: "DataFrame", *, whole: bool
) -> "DataFrame":
    lookups = {}
    for name in contract.lookups:
        table = tables.find(settings, contract.name, f"lookup_{name}")
        assert table is not None, "update_lookups comes first"
        lookups[name] = tables.read(settings, table)
    joined = transforms.with_lookups(wanted, lookups, contract)
    if not contract.history:
        return joined
    outcomes = tables.find(settings, contract.name, "outcomes")
    of_outcome = any(feature.of_outcome for feature in contract.history.values())
    received = tables.read(settings, outcomes) if outcomes is not None and of_outcome else None
    recent = every
    if not whole:
        # Only what a window can still reach: Delta skips the files of older times, and of other keys.
        first, last = wanted.agg(F.min(TIME), F.max(TIME)).head() or (None, None)
        since = F.lit(first) - F.make_dt_interval(secs=F.lit(transforms.look_back(contract)))
        recent = every.where((F.col(TIME) >= since) & (F.col(TIME) <= F.lit(last)))
        recent = transforms.of_the_same(wanted, recent, contract).persist()
        if received is not None:
            low, high = recent.agg(F.min(KEY), F.max(KEY)).head() or ("", "")
            received = received.where(F.col(KEY).between(low, high))
    known = transforms.known_outcomes(recent, received, contract).persist() if received is not None else None
    return transforms.with_history(joined, recent, known, contract)
