"""What has landed and is not in the lake yet: files known by content, planned as one batch, staged as rows of strings.

The log of files is the authority: a batch is planned in it before anything is written and closed in it after
everything is, so that work cut off in between is taken up again under the same number, with the same files.
"""

import fnmatch
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from contender import lake
from contender.contract import Column, Columns, Contract
from contender.errors import DataError, UnreadableFile
from contender.forms import FileForm, describe
from contender.reading import BadRow, digest, read_chunks
from contender.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

Source = Literal["records", "outcomes"]
Status = Literal["planned", "done", "refused", "abandoned"]


@dataclass(frozen=True)
class LandedFile:
    """One file as it was when its batch was planned; `modified` in nanoseconds since 1970."""

    source: Source
    path: str
    size: int
    modified: int
    digest: str

    @property
    def name(self) -> str:
        return Path(self.path).name


@dataclass(frozen=True)
class Plan:
    """The files of one batch, and when it was received (UTC)."""

    batch: int
    at: datetime
    files: tuple[LandedFile, ...]
    usual_rows_per_file: float | None


@dataclass(frozen=True)
class Staged:
    """A batch as rows of strings in Parquet below `folder`; `rows` by file digest, `refused` files with their reason."""

    folder: Path
    rows: dict[str, int]
    refused: dict[str, str]

    def has(self, part: str) -> bool:
        return any((self.folder / part).glob("*.parquet"))


def plan(settings: Settings, contract: Contract, landing: Path, at: datetime) -> Plan | None:
    """The batch to take in next: one that was cut off, else all files that are new; None when nothing is.

    Raises:
        DataError: the landing folder is not there.
    """
    log = _read_log(settings, contract.name)
    usual = _usual_rows(log)
    for batch in sorted({row["batch"] for row in log if row["status"] == "planned"}):
        if not any(row["batch"] == batch and row["status"] != "planned" for row in log):
            rows = [row for row in log if row["batch"] == batch]
            return Plan(batch, rows[0]["at"], tuple(_file_of(row) for row in rows), usual)
    files = tuple(_new_files(contract, landing, log))
    if not files:
        return None
    found = Plan(max((row["batch"] for row in log), default=0) + 1, at, files, usual)
    _write_log(settings, contract, found, "planned", {}, {})
    return found


def close(settings: Settings, contract: Contract, done: Plan, staged: Staged | None, status: Status) -> None:
    """Write down what became of a batch and forget its staging."""
    rows, refused = (staged.rows, staged.refused) if staged else ({}, {})
    _write_log(settings, contract, done, status, rows, refused)
    shutil.rmtree(_staging_of(settings, contract.name, done.batch), ignore_errors=True)


def stage(settings: Settings, contract: Contract, batch: Plan, progress: Callable[[str], None]) -> Staged:
    """Turn the files of a batch into rows of strings, one Parquet file each; what cannot be read is set aside.

    Memory is bounded by 50,000 rows whatever the files' size. A batch that was staged before is not read again.

    Raises:
        DataError: a file of a batch that was cut off is no longer there, or is another.
    """
    import json

    folder = _staging_of(settings, contract.name, batch.batch)
    marker = folder / "staged.json"
    if marker.is_file():
        return Staged(folder, **json.loads(marker.read_text(encoding="utf-8")))
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("records", "outcomes", "bad"):
        (folder / part).mkdir(parents=True)
    rows: dict[str, int] = {}
    refused: dict[str, str] = {}
    for place, file in enumerate(batch.files):
        path = Path(file.path)
        if not path.is_file() or digest(path) != file.digest:
            raise DataError(f"{file.path} has gone or changed since batch {batch.batch} was planned with it.")
        try:
            form = describe(path)
            _must_fit(path, form, _declared(contract, file.source))
            rows[file.digest] = _stage_file(path, form, file, contract, folder, place)
        except UnreadableFile as error:
            for part in ("records", "outcomes", "bad"):
                (folder / part / f"{place:06}.parquet").unlink(missing_ok=True)
            refused[file.digest] = str(error)
            _keep_refused(settings, contract.name, file)
        if (place + 1) % max(1, len(batch.files) // 4) == 0:
            progress(f"read {place + 1:,} of {len(batch.files):,} files")
    marker.write_text(json.dumps({"rows": rows, "refused": refused}), encoding="utf-8")
    return Staged(folder, rows, refused)


def stage_lookup(settings: Settings, contract: Contract, name: str, path: Path) -> Path:
    """The file of a look-up as rows of strings in one Parquet file.

    Raises:
        UnreadableFile: the file cannot be read, or a column is missing; look-ups have no quarantine.
    """
    columns = contract.lookups[name].columns
    form = describe(path)
    _must_fit(path, form, columns | {extra: Column(type="text") for extra in form.header if extra not in columns})
    folder = settings.scratch_of(contract.name) / "lookups" / name
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "rows.parquet"
    bad = _write_rows(path, form, path.name, columns, target)[1]
    if bad:
        raise UnreadableFile(f"{path.name}, row {bad[0].row_number}: {bad[0].reason}; a look-up must be readable throughout.")
    return target


def refused_copy(settings: Settings, use_case: str, file: LandedFile) -> Path:
    """Where the content of a refused file is kept."""
    return settings.home / "refused" / use_case / f"{file.digest[:12]}-{file.name}"


def _new_files(contract: Contract, landing: Path, log: list[dict[str, object]]) -> Iterator[LandedFile]:
    if not landing.is_dir():
        raise DataError(
            f"The landing folder {landing} is not there; create it, correct records.landing in the contract, "
            "or name another with --landing."
        )
    settled = [row for row in log if row["status"] == "done" or (row["status"] == "refused" and row["contract"] == _mark(contract))]
    seen = {(row["path"], row["size"], row["modified"]) for row in settled}
    digests = {row["digest"] for row in settled}
    for path in sorted(path for path in landing.iterdir() if path.is_file()):
        source = _source_of(contract, path.name)
        stat = path.stat()
        if source is None or (str(path), stat.st_size, stat.st_mtime_ns) in seen:
            continue
        content = digest(path)
        if content not in digests:
            digests.add(content)
            yield LandedFile(source, str(path), stat.st_size, stat.st_mtime_ns, content)


def _source_of(contract: Contract, name: str) -> Source | None:
    if any(name == lookup.file for lookup in contract.lookups.values()) or name.startswith("."):
        return None
    if contract.outcome.files is not None and fnmatch.fnmatch(name, contract.outcome.files):
        return "outcomes"
    return "records" if fnmatch.fnmatch(name, contract.records.files) else None


def _declared(contract: Contract, source: Source) -> Columns:
    if source == "outcomes":
        return contract.outcome.columns
    return contract.records.columns | (contract.outcome.columns if contract.outcome.files is None else {})


def _must_fit(path: Path, form: FileForm, declared: Columns) -> None:
    # JSON lines name their keys row by row, so a key that no row has is a missing value, not a missing column.
    optional = form.format == "jsonl"
    missing = [
        name for name, column in declared.items() if name not in form.header and (column.required or not optional)
    ]
    extra = [name for name in form.header if name not in declared]
    if missing:
        near = get_close_matches(missing[0], extra, n=1, cutoff=0.6)
        hint = f"was it renamed to '{near[0]}'?" if near else f"found {', '.join(form.header[:8])}."
        raise UnreadableFile(f"{path.name} has no column '{missing[0]}', which the contract declares; {hint}")
    if extra:
        raise UnreadableFile(
            f"{path.name} has the column '{extra[0]}', which the contract does not declare; declare it, with 'exclude' "
            "where the model must not see it."
        )


def _stage_file(path: Path, form: FileForm, file: LandedFile, contract: Contract, folder: Path, place: int) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    declared = _declared(contract, file.source)
    good, bad = _write_rows(path, form, file.name, declared, folder / file.source / f"{place:06}.parquet")
    if bad:
        rows = [
            {"_file": file.name, "_source": file.source, "_row": row.row_number, "raw": row.raw, "reason": row.reason}
            for row in bad
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=_bad_schema()), folder / "bad" / f"{place:06}.parquet")
    return good + len(bad)


def _write_rows(path: Path, form: FileForm, name: str, columns: Columns, target: Path) -> tuple[int, list[BadRow]]:
    """Write the good rows of a file; how many they were, and the bad ones."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("_file", pa.string()), ("_row", pa.int64()), *((column, pa.string()) for column in columns)])
    good, bad = 0, list[BadRow]()
    with pq.ParquetWriter(target, schema) as writer:
        for chunk in read_chunks(path, form):
            rows = len(chunk.row_numbers)
            values = {column: chunk.columns.get(column) or [None] * rows for column in columns}
            writer.write_table(pa.table({"_file": [name] * rows, "_row": chunk.row_numbers, **values}, schema=schema))
            good += rows
            bad += chunk.bad
    return good, bad


def _bad_schema() -> "pa.Schema":
    import pyarrow as pa

    text = ("_file", "_source"), ("raw", "reason")
    return pa.schema([*((n, pa.string()) for n in text[0]), ("_row", pa.int64()), *((n, pa.string()) for n in text[1])])


def _keep_refused(settings: Settings, use_case: str, file: LandedFile) -> None:
    kept = refused_copy(settings, use_case, file)
    kept.parent.mkdir(parents=True, exist_ok=True)
    if not kept.exists():
        try:
            os.link(file.path, kept)
        except OSError:
            shutil.copyfile(file.path, kept)


def _staging_of(settings: Settings, use_case: str, batch: int) -> Path:
    return settings.scratch_of(use_case) / f"batch-{batch}"


def _usual_rows(log: Iterable[dict[str, object]]) -> float | None:
    from statistics import median

    counts = [row["rows"] for row in log if row["status"] == "done" and row["source"] == "records" and row["rows"]]
    return float(median(counts)) if counts else None  # type: ignore[type-var]


def _mark(contract: Contract) -> str:
    """Changes when the contract changes: a file refused under another contract deserves another look."""
    return digest(contract.folder / "contract.toml")


def _log_schema() -> "pa.Schema":
    import pyarrow as pa

    kinds = {"_batch": pa.int64(), "size": pa.int64(), "modified": pa.int64(), "rows": pa.int64(), "at": pa.timestamp("us", "UTC")}
    names = ("_batch", "source", "path", "size", "modified", "digest", "status", "rows", "reason", "contract", "at")
    return pa.schema([(name, kinds.get(name, pa.string())) for name in names])


def _read_log(settings: Settings, use_case: str) -> list[dict[str, object]]:
    table = lake.read_small(settings, use_case, "files")
    rows = [] if table is None else table.to_pylist()
    return [row | {"batch": row["_batch"]} for row in rows]


def _write_log(
    settings: Settings, contract: Contract, batch: Plan, status: Status, rows: dict[str, int], refused: dict[str, str]
) -> None:
    lines = [
        asdict(file)
        | {
            "_batch": batch.batch,
            "status": "refused" if file.digest in refused else status,
            "rows": rows.get(file.digest),
            "reason": refused.get(file.digest),
            "contract": _mark(contract),
            "at": batch.at.astimezone(UTC),
        }
        for file in batch.files
    ]
    lake.append_small(settings, contract.name, "files", lines, _log_schema())


def _file_of(row: dict[str, object]) -> LandedFile:
    return LandedFile(*(row[name] for name in ("source", "path", "size", "modified", "digest")))  # type: ignore[arg-type]
