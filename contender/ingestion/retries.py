"""What quarantine holds now, and how it is sent through again: once, whatever is cut off in between.

The log of files says it all. A row is held until a later batch has taken its file again, or the file that its own has
grown into; what that batch did with it is all that counts then. So the tables need no mark, and what was said of a
batch stays said of it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.contracts.contract import Contract
from contender.errors import UsageError
from contender.ingestion import batches, kept_meaning
from contender.ingestion.batches import BatchPlan, LandedFile
from contender.ingestion.file_reader import digest
from contender.ingestion.staging import KeptRow, Take, refused_copy
from contender.lake import queries, tables
from contender.settings import Settings
from contender.values import BATCH, FILE, ROW, TableVersion

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_CLOSED = ("done", "refused")
_SAMPLES = 3


@dataclass(frozen=True)
class HeldFile:
    """A file of a batch of which something is held: so many rows, or the file itself where it could not be read."""

    batch: int
    at: datetime
    file: LandedFile
    rows: int
    refusal: str | None

    @property
    def whole(self) -> bool:
        """Whether nothing of it could be read at all."""
        return self.refusal is not None and self.rows == 0


@dataclass(frozen=True)
class Sample:
    """One row that is held: where it stood, and the value that the reason is about, else the row as it landed."""

    file: str
    row: int
    value: str


@dataclass(frozen=True)
class HeldReason:
    """Rows of one kind of file that are held for the same reason, with the first of them."""

    source: str
    reason: str
    rows: int
    samples: tuple[Sample, ...]


def held_files(settings: Settings, use_case: str) -> list[HeldFile]:
    """Every file of which something is held now, oldest batch first."""
    log = batches.read_log(settings, use_case)
    rows = _rows_by_file(settings, use_case)
    found = []
    for line in _standing(log):
        count = rows.get((line["batch"], line["path"].rpartition("/")[2]), 0)
        unread = line["status"] == "refused" and line["rows"] is None
        if count or unread:
            file = batches.file_of(line)
            found.append(HeldFile(line["batch"], line["at"].astimezone(UTC), file, count, line["reason"]))
    return found


def held_rows(settings: Settings, use_case: str) -> int:
    """How many rows and unreadable files are held now."""
    return sum(max(held.rows, 1) for held in held_files(settings, use_case))


def held_reasons(settings: Settings, use_case: str, held: Iterable[HeldFile]) -> list[HeldReason]:
    """Why rows are held, the most frequent reason first. A row with two reasons counts for both."""
    table = tables.find(settings, use_case, "quarantine")
    if table is None:
        return []
    with queries.database(settings, use_case) as database:
        _show_held(database, settings, table, held)
        return reasons_in(database)


def reasons_in(database: "DuckDBPyConnection") -> list[HeldReason]:
    """The reasons in the view `held` of a database, the most frequent one first."""
    place = f"{BATCH}, {FILE}, {ROW}"
    found = database.execute(
        f"SELECT source, reason, count(*), min_by({{'file': {FILE}, 'row': {ROW}, 'raw': raw}}, ({place}), {_SAMPLES}) "
        "FROM (SELECT *, unnest(reasons) AS reason FROM held WHERE kind <> 'file') GROUP BY source, reason "
        "ORDER BY count(*) DESC, source, reason"
    ).fetchall()
    return [
        HeldReason(source, reason, rows, tuple(_sample(reason, first) for first in firsts))
        for source, reason, rows, firsts in found
    ]


def write(
    settings: Settings, use_case: str, held: Iterable[HeldFile], path: Path, *, overwrite: bool = False
) -> queries.WrittenFile:
    """All that is held as a file: a row for each row, with its reasons and its text.

    Raises:
        UsageError: nothing was ever quarantined, or `queries.write` says why it cannot be.
    """
    table = tables.find(settings, use_case, "quarantine")
    if table is None:
        raise UsageError(f"Nothing of {use_case} is in quarantine, so there is nothing to write.")
    with queries.database(settings, use_case) as database:
        _show_held(database, settings, table, held)
        query = (
            f"SELECT {BATCH} AS batch, _received_at::TIMESTAMP AS received_at, source, {FILE} AS file, {ROW} AS row, "
            f"array_to_string(reasons, '; ') AS reasons, raw FROM held ORDER BY {BATCH}, {FILE}, {ROW}"
        )
        return queries.write(database, query, path, overwrite=overwrite)


def plan_again(settings: Settings, contract: Contract, at: datetime) -> BatchPlan | None:
    """A batch of all that is held, written down to be taken in next; None when nothing is held.

    A file that could not be read is left where it is when its content is nowhere any more.

    Raises:
        ContractError: its rows would mean something else than those that are there.
        UsageError: another batch is not done yet.
    """
    kept_meaning.refuse_changes(settings, contract)
    log = batches.read_log(settings, contract.name)
    if unfinished := batches.unfinished(log):
        raise UsageError(
            f"Batch {unfinished[0]} of {contract.name} is not done yet; run 'contender ingest {contract.name}' first, "
            "then this again."
        )
    files = {
        held.file.digest: held.file
        for held in held_files(settings, contract.name)
        if held.rows or _content(settings, contract, held.file)
    }
    return batches.begin(settings, contract, files.values(), at, log) if files else None


def takes_of(settings: Settings, contract: Contract, batch: BatchPlan) -> dict[str, Take]:
    """What is wanted of each file of a batch, by its digest: of one that was taken in before, only what is not there.

    A file that is gone, and is not in quarantine either, has no path and nothing that was kept of it.
    """
    log = [line for line in batches.read_log(settings, contract.name) if line["batch"] < batch.batch]
    known = {digest for line in log for digest in (line["digest"], line["extends"])}
    if not any(file.digest in known or file.extends for file in batch.files):
        # Nearly always.
        return {file.digest: _new(file) for file in batch.files}
    standing = [line for line in _standing(log) if line["rows"] is not None]
    return {file.digest: _take(settings, contract, file, log, standing) for file in batch.files}


def _new(file: LandedFile) -> Take:
    path = Path(file.path)
    return Take(path if path.is_file() and digest(path) == file.digest else None)


def _take(
    settings: Settings,
    contract: Contract,
    file: LandedFile,
    log: list[dict[str, Any]],
    standing: list[dict[str, Any]],
) -> Take:
    before = [line for line in log if line["digest"] in (file.digest, file.extends) and line["status"] in _CLOSED]
    if not before:
        return _new(file)
    path = _content(settings, contract, file)
    arrived = min((line["at"] for line in before if line["digest"] == file.digest), default=None)
    accepted = [line for line in before if line["status"] == "done"]
    held_in = [line for line in standing if line["digest"] in (file.digest, file.extends)]
    if not accepted:
        kept = () if path else _kept(settings, contract, held_in)
        return Take(path, kept=kept, arrived=arrived)
    after = max(line["last_row"] or line["rows"] or 0 for line in accepted)
    numbers = {row.number for row in _kept(settings, contract, held_in, [ROW])}
    if path and file.extends and _is_cut(path, next(line for line in accepted if line["digest"] == file.extends)):
        # Its last line may have been half of what it is now.
        numbers.add(after)
    kept = () if path else _kept(settings, contract, held_in)
    return Take(path, after=after, before=frozenset(numbers), kept=kept, arrived=arrived)


def _content(settings: Settings, contract: Contract, file: LandedFile) -> Path | None:
    """Where the file's content lies: where it landed, or where it is kept since it was refused."""
    for path in (Path(file.path), refused_copy(settings, contract.name, file)):
        if path.is_file() and digest(path) == file.digest:
            return path
    return None


def _is_cut(path: Path, line: Mapping[str, Any]) -> bool:
    """Whether the file of before ended in the middle of a line."""
    with path.open("rb") as file:
        magic = file.read(2)
        file.seek(line["size"] - 1)
        return magic != b"\x1f\x8b" and file.read(1) != b"\n"


def _standing(log: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The lines of closed batches that no later batch has made good, by the rule at the top."""
    closed = [dict(line) for line in log if line["status"] in _CLOSED]
    read_again: dict[str, int] = {}
    tried_again: dict[str, int] = {}
    for line in closed:
        for one in filter(None, (line["digest"], line["extends"])):
            newest = tried_again if line["rows"] is None else read_again
            newest[one] = max(newest.get(one, 0), line["batch"])

    def stands(line: Mapping[str, Any]) -> bool:
        if read_again.get(line["digest"], 0) > line["batch"]:
            return False
        # A file that cannot be read holds back what is held of it as rows, which nobody has looked at again.
        return line["rows"] is not None or tried_again.get(line["digest"], 0) <= line["batch"]

    return [line for line in closed if stands(line)]


def _rows_by_file(settings: Settings, use_case: str) -> dict[tuple[int, str], int]:
    """Rows in quarantine by batch and name of file, whether they are still held or not."""
    table = tables.find(settings, use_case, "quarantine")
    if table is None:
        return {}
    with queries.database(settings, use_case) as database:
        queries.show(database, settings, table)
        found = database.execute(
            f"SELECT {BATCH}, {FILE}, count(*) FROM quarantine WHERE kind <> 'file' GROUP BY ALL"
        ).fetchall()
    return {(batch, name): rows for batch, name, rows in found}


def _show_held(
    database: "DuckDBPyConnection", settings: Settings, table: TableVersion, held: Iterable[HeldFile]
) -> None:
    """The rows that are held as the view `held`."""
    queries.show(database, settings, table)
    database.execute("CREATE TEMP TABLE standing (batch BIGINT, name VARCHAR)")
    if places := [(one.batch, one.file.name) for one in held]:
        database.executemany("INSERT INTO standing VALUES (?, ?)", places)
    database.execute(
        f"CREATE VIEW held AS FROM quarantine SEMI JOIN standing ON {BATCH} = standing.batch AND {FILE} = standing.name"
    )


def _kept(
    settings: Settings, contract: Contract, lines: Iterable[Mapping[str, Any]], columns: list[str] | None = None
) -> tuple[KeptRow, ...]:
    """The rows in quarantine of a file's batches."""
    found = list[KeptRow]()
    made = bool(contract.made(contract.records.columns | contract.outcome.columns))
    for line in lines:
        name = line["path"].rpartition("/")[2]
        table = tables.read_small(
            settings,
            contract.name,
            "quarantine",
            columns or [ROW, "kind", "raw", "reasons"],
            where=[(BATCH, "==", line["batch"]), (FILE, "==", name), ("kind", "!=", "file")],
        )
        for row in [] if table is None else table.to_pylist():
            # What was made of cells does not tell them.
            values = json.loads(row["raw"]) if row.get("kind") == "row" and not made else None
            found.append(KeptRow(row[ROW], row.get("raw") or "", values, (row.get("reasons") or [""])[0]))
    return tuple(sorted(found, key=lambda row: row.number))


def _sample(reason: str, first: Mapping[str, Any]) -> Sample:
    value = str(first["raw"])
    try:
        cells = json.loads(value)
    except ValueError:
        cells = None
    if isinstance(cells, dict):
        about = [name for name in cells if reason.startswith(f"{name}: ")]
        value = str(cells[max(about, key=len)]) if about else ", ".join(map(str, cells.values()))
    return Sample(first["file"], first["row"], value)
