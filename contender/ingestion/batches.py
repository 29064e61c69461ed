"""What has landed and is not in the lake yet: files known by content, planned as one batch.

The log of files is the authority: a batch is planned in it before anything is written and closed in it after
everything is, so that work cut off in between is taken up again under the same number, with the same files.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from contender.contracts.contract import Contract
from contender.errors import DataError
from contender.ingestion import kept_meaning
from contender.ingestion.file_order import natural
from contender.ingestion.file_reader import digest
from contender.ingestion.settling import is_unfinished, matches
from contender.lake import tables
from contender.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

Source = Literal["records", "outcomes"]
Status = Literal["planned", "done", "refused", "abandoned"]


@dataclass(frozen=True)
class LandedFile:
    """One file as it was when its batch was planned; `modified` in nanoseconds since 1970.

    `extends` is the digest of the file that was taken in before and has grown into this one.
    """

    source: Source
    path: str
    size: int
    modified: int
    digest: str
    extends: str | None = None

    @property
    def name(self) -> str:
        return Path(self.path).name


@dataclass(frozen=True)
class BatchPlan:
    """The files of one batch, and when it was received (UTC)."""

    batch: int
    at: datetime
    files: tuple[LandedFile, ...]
    usual_rows_per_file: float | None


def plan(
    settings: Settings, contract: Contract, landing: Path, at: datetime, *, settled_seconds: float = 0
) -> BatchPlan | None:
    """The batch to take in next: one that was cut off, else all files that are new; None when nothing is.

    Args:
        settled_seconds: files that changed within so many seconds before `at` may still grow, and are left for later.

    Raises:
        ContractError: its rows would mean something else than those that are there.
        DataError: the landing folder is not there.
    """
    kept_meaning.refuse_changes(settings, contract)
    log = read_log(settings, contract.name)
    usual = _usual_rows(log)
    for batch in unfinished(log):
        rows = [row for row in log if row["batch"] == batch]
        cut_off = BatchPlan(batch, rows[0]["at"], tuple(file_of(row) for row in rows), usual)
        if all(row["contract"] == _mark(contract) for row in rows):
            return cut_off
        # Half of it by one contract and half by another would add up to nothing.
        abandon(settings, contract, cut_off, "the contract was changed before the batch was done")
    newest = (at.timestamp() - settled_seconds) * 1e9 if settled_seconds else math.inf
    files = tuple(file for file in _new_files(contract, landing, log) if file.modified <= newest)
    if not files:
        return None
    return begin(settings, contract, files, at, log)


def unfinished(log: Iterable[dict[str, Any]]) -> list[int]:
    """The batches that were planned, and of which it is not known what became of them."""
    statuses: dict[int, set[str]] = {}
    for row in log:
        statuses.setdefault(row["batch"], set()).add(row["status"])
    return sorted(batch for batch, found in statuses.items() if found == {"planned"})


def begin(
    settings: Settings, contract: Contract, files: Iterable[LandedFile], at: datetime, log: list[dict[str, Any]]
) -> BatchPlan:
    """The next batch with these files, written down before anything is done."""
    begun = would_be(files, at, log)
    _write_log(settings, contract, begun, "planned", {})
    return begun


def would_be(files: Iterable[LandedFile], at: datetime, log: list[dict[str, Any]]) -> BatchPlan:
    """The next batch, if it had these files."""
    return BatchPlan(max((row["batch"] for row in log), default=0) + 1, at, tuple(files), _usual_rows(log))


def unseen_bytes(settings: Settings, contract: Contract, landing: Path) -> int:
    """Size of the files that have not been looked at yet; 0 where there is no landing folder."""
    seen = {(row["path"], row["size"], row["modified"]) for row in read_log(settings, contract.name)}
    files = [(str(path), path.stat()) for path in landing.iterdir() if path.is_file()] if landing.is_dir() else []
    return sum(stat.st_size for path, stat in files if (path, stat.st_size, stat.st_mtime_ns) not in seen)


def unseen(settings: Settings, contract: Contract, landing: Path) -> tuple[LandedFile, ...]:
    """The files that are not in the lake yet, nor refused; nothing is planned or written.

    Raises:
        DataError: the landing folder is not there.
    """
    return tuple(_new_files(contract, landing, read_log(settings, contract.name), _digest))


@dataclass(frozen=True)
class FileResult:
    """What became of one file: rows received of it, the number of its last row, and why it was not taken in."""

    rows: int | None = None
    last_row: int | None = None
    refusal: str | None = None


def is_cut_off(settings: Settings, contract: Contract) -> bool:
    """Whether a batch was planned and is not closed."""
    return bool(unfinished(read_log(settings, contract.name)))


def close(
    settings: Settings, contract: Contract, done: BatchPlan, status: Status, results: Mapping[str, FileResult]
) -> None:
    """Write down what became of a batch, and forget its staging.

    Args:
        results: of each file, by its digest; in a batch that is done one with a refusal counts as refused.
    """
    _write_log(settings, contract, done, status, results)
    shutil.rmtree(staging_of(settings, contract.name, done.batch), ignore_errors=True)


def abandon(settings: Settings, contract: Contract, given_up: BatchPlan, reason: str) -> None:
    """Take back what a batch wrote; its files that are still there count as new."""
    for table in ("records", "outcomes", "quarantine"):
        tables.delete_batch(settings, contract.name, table, given_up.batch)
    given_up_for = dict.fromkeys((file.digest for file in given_up.files), FileResult(refusal=reason))
    close(settings, contract, given_up, "abandoned", given_up_for)


def _new_files(
    contract: Contract, landing: Path, log: list[dict[str, Any]], digest_of: Callable[[Path], str] = digest
) -> Iterator[LandedFile]:
    if not landing.is_dir():
        raise DataError(
            f"The landing folder {landing} is not there; create it, correct records.landing in the contract, "
            "or name another with --landing."
        )
    settled = _settled(contract, log)
    seen = {(row["path"], row["size"], row["modified"]) for row in settled}
    digests = {row["digest"] for row in settled}
    for path in sorted((path for path in landing.iterdir() if path.is_file()), key=lambda path: natural(path.name)):
        source = source_of(contract, path.name)
        stat = path.stat()
        if source is None or (str(path), stat.st_size, stat.st_mtime_ns) in seen:
            continue
        content = digest_of(path)
        if content not in digests:
            digests.add(content)
            yield landed(source, path, content, log)


def settled_digests(contract: Contract, log: list[dict[str, Any]]) -> set[str]:
    """The digests of all files that were taken in, or refused under a contract that asked the same of files."""
    return {row["digest"] for row in _settled(contract, log)}


def _settled(contract: Contract, log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    mark = _mark(contract)
    return [row for row in log if row["status"] == "done" or (row["status"] == "refused" and row["contract"] == mark)]


def landed(source: Source, path: Path, content: str, log: list[dict[str, Any]]) -> LandedFile:
    """A file as it lies there; `content` is its digest."""
    stat = path.stat()
    return LandedFile(source, str(path), stat.st_size, stat.st_mtime_ns, content, _grown_from(path, log))


def _grown_from(path: Path, log: list[dict[str, Any]]) -> str | None:
    """The digest of what was taken in under this path, where the file now begins with all of that and goes on."""
    size = path.stat().st_size
    before = [row for row in log if row["path"] == str(path) and row["status"] in ("done", "refused")]
    for row in reversed(before):
        if row["size"] < size and _digest_of_first(path, row["size"]) == row["digest"]:
            return str(row["digest"])
    return None


def _digest_of_first(path: Path, size: int) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while size and (part := file.read(min(size, 1 << 20))):
            found.update(part)
            size -= len(part)
    return found.hexdigest()


def _digest(path: Path) -> str:
    """The digest, remembered: a copy of what was taken in is in no log, and would be read at every look."""
    stat = path.stat()
    return _remembered(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _remembered(path: Path, size: int, modified: int) -> str:
    return digest(path)


def source_of(contract: Contract, name: str) -> Source | None:
    """What a file of that name holds; None where the contract wants none of that name."""
    if any(name == lookup.file for lookup in contract.lookups.values()) or is_unfinished(name):
        return None
    if contract.outcome.files is not None and matches(name, contract.outcome.files):
        return "outcomes"
    return "records" if matches(name, contract.records.files) else None


def unmatched(contract: Contract, landing: Path) -> tuple[str, ...]:
    """Names of what lies in the landing folder and is neither records nor outcomes nor a look-up, sorted."""
    if not landing.is_dir():
        return ()
    wanted = {lookup.file for lookup in contract.lookups.values()}
    return tuple(
        sorted(
            path.name + ("" if path.is_file() else "/")
            for path in landing.iterdir()
            if not is_unfinished(path.name) and path.name not in wanted
            if not path.is_file() or source_of(contract, path.name) is None
        )
    )


def staging_of(settings: Settings, use_case: str, batch: int) -> Path:
    """Where a batch is kept as rows of strings until it is in the lake."""
    return settings.scratch_of(use_case) / f"batch-{batch}"


def _usual_rows(log: Iterable[dict[str, Any]]) -> float | None:
    from statistics import median

    counts = [row["rows"] for row in log if row["status"] == "done" and row["source"] == "records" and row["rows"]]
    return float(median(counts)) if counts else None


def _mark(contract: Contract) -> str:
    """Changes when what the contract asks of files does: one refused under another deserves another look."""
    of_columns = {"__all__": {"unit", "exclude"}}
    asked = contract.model_dump(
        mode="json",
        include={
            "kind": True,
            "records": {"files", "key", "time", "missing", "columns"},
            "outcome": {"files", "key", "target", "columns"},
            "lookups": True,
            "batch": True,
        },
        exclude={
            "records": {"columns": of_columns},
            "outcome": {"columns": of_columns},
            "lookups": {"__all__": {"columns": of_columns}},
        },
    )
    # Without a key the order of the columns makes a record's own one.
    text = json.dumps(asked, sort_keys=contract.records.key is not None)
    return hashlib.sha256(text.encode()).hexdigest()


def _log_schema() -> "pa.Schema":
    import pyarrow as pa

    kinds = {
        "_batch": pa.int64(),
        "size": pa.int64(),
        "modified": pa.int64(),
        "rows": pa.int64(),
        "last_row": pa.int64(),
        "at": pa.timestamp("us", "UTC"),
    }
    file = ("source", "path", "size", "modified", "digest", "extends")
    names = ("_batch", *file, "status", "rows", "last_row", "reason", "contract", "at")
    return pa.schema([(name, kinds.get(name, pa.string())) for name in names])


def read_log(settings: Settings, use_case: str) -> list[dict[str, Any]]:
    """A row for each file of each batch that was planned, and one for what became of it, in this order."""
    table = tables.read_small(settings, use_case, "files")
    rows: list[dict[str, Any]] = [] if table is None else table.to_pylist()
    # Delta keeps no order of rows.
    rows.sort(key=lambda row: (row["_batch"], row["status"] != "planned"))
    return [{"extends": None, "last_row": None} | row | {"batch": row["_batch"]} for row in rows]


def _write_log(
    settings: Settings, contract: Contract, batch: BatchPlan, status: Status, results: Mapping[str, FileResult]
) -> None:
    found = [(file, results.get(file.digest, FileResult())) for file in batch.files]
    lines = [
        asdict(file)
        | {
            "_batch": batch.batch,
            "status": "refused" if status == "done" and result.refusal else status,
            "rows": result.rows,
            "last_row": result.last_row,
            "reason": result.refusal,
            "contract": _mark(contract),
            "at": batch.at.astimezone(UTC),
        }
        for file, result in found
    ]
    tables.append_small(settings, contract.name, "files", lines, _log_schema())


def file_of(row: Mapping[str, Any]) -> LandedFile:
    """The file that a row of the log is about."""
    return LandedFile(*(row[name] for name in ("source", "path", "size", "modified", "digest", "extends")))
