"""Turns the files of a batch into rows of strings in Parquet, and sets aside what cannot be read."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from contender.contracts.contract import Contract
from contender.contracts.sections import Column, Columns
from contender.errors import DataError, UnreadableFile
from contender.ingestion.batches import BatchPlan, LandedFile, Source, abandon, staging_of
from contender.ingestion.file_format import FileForm, describe
from contender.ingestion.file_reader import BadRow, digest, read_chunks
from contender.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_SMALL = 16 << 20
"""Files up to so many bytes share one Parquet file: Spark opens a few large files much faster than many small ones."""


@dataclass(frozen=True)
class Staged:
    """A batch as rows of strings in Parquet below `folder`; `rows` and `refused` (the reasons) by file digest."""

    folder: Path
    rows: dict[str, int]
    refused: dict[str, str]

    def has(self, part: str) -> bool:
        return any((self.folder / part).glob("*.parquet"))


def stage(settings: Settings, contract: Contract, batch: BatchPlan, progress: Callable[[str], None]) -> Staged:
    """Read all files of a batch. One that was read before, and then cut off, is not read again.

    Memory is bounded by 50,000 rows of a large file, or by one small file.

    Raises:
        DataError: a file of the batch is no longer there, or is another; the batch is abandoned then.
    """
    folder = staging_of(settings, contract.name, batch.batch)
    marker = folder / "staged.json"
    if marker.is_file():
        return Staged(folder, **json.loads(marker.read_text(encoding="utf-8")))
    for file in batch.files:
        if not Path(file.path).is_file() or digest(Path(file.path)) != file.digest:
            reason = f"{file.path} has gone or changed since batch {batch.batch} was planned with it"
            abandon(settings, contract, batch, reason)
            raise DataError(
                f"{reason}; batch {batch.batch} is abandoned and nothing of it is kept: run again to take in what is "
                "there now."
            )
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("records", "outcomes", "bad"):
        (folder / part).mkdir(parents=True)
    rows: dict[str, int] = {}
    refused: dict[str, str] = {}
    with ExitStack() as open_files:
        shared: dict[Source, pq.ParquetWriter] = {}
        for place, file in enumerate(batch.files, start=1):
            path = Path(file.path)
            columns = declared(contract, file.source)
            own = folder / file.source / f"{place:06}.parquet"
            try:
                form = describe(path)
                must_fit(path, form, columns)
                if file.size > _SMALL:
                    good, bad = write_rows(path, form, columns, own)
                else:
                    tables, bad = _tables(path, form, columns)
                    good = sum(table.num_rows for table in tables)
                    if tables and file.source not in shared:
                        shared[file.source] = open_files.enter_context(
                            _writer(folder / file.source / "small.parquet", columns)
                        )
                    for table in tables:
                        shared[file.source].write_table(table)
            except UnreadableFile as error:
                own.unlink(missing_ok=True)
                refused[file.digest] = str(error)
                _keep_refused(settings, contract.name, file)
            else:
                rows[file.digest] = good + len(bad)
                _write_bad(bad, file, folder / "bad" / f"{place:06}.parquet")
            if place % max(1, len(batch.files) // 4) == 0:
                progress(f"read {place:,} of {len(batch.files):,} files")
    marker.write_text(json.dumps({"rows": rows, "refused": refused}), encoding="utf-8")
    return Staged(folder, rows, refused)


def stage_lookup(settings: Settings, contract: Contract, name: str, path: Path) -> Path:
    """The file of a look-up as rows of strings in one Parquet file.

    Raises:
        UnreadableFile: the file cannot be read, or a column is missing; look-ups have no quarantine.
    """
    columns = contract.lookups[name].columns
    form = describe(path)
    must_fit(path, form, columns | {extra: Column(type="text") for extra in form.header if extra not in columns})
    target = settings.scratch_of(contract.name) / "lookups" / f"{name}.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    bad = write_rows(path, form, columns, target)[1]
    if bad:
        raise UnreadableFile(
            f"{path.name}, row {bad[0].row_number}: {bad[0].reason}; a look-up must be readable throughout."
        )
    return target


def refused_copy(settings: Settings, use_case: str, file: LandedFile) -> Path:
    """Where the content of a refused file is kept."""
    return settings.state / "refused" / use_case / f"{file.digest[:12]}-{file.name}"


def declared(contract: Contract, source: Source) -> Columns:
    """The columns that a file must have."""
    if source == "outcomes":
        return contract.outcome.columns
    return contract.records.columns | (contract.outcome.columns if contract.outcome.files is None else {})


def must_fit(path: Path, form: FileForm, columns: Columns) -> None:
    """Make sure that a file has the declared columns and no others.

    Raises:
        UnreadableFile: it has not; names the column, and the nearest one.
    """
    # JSON lines name their keys row by row, so a key that no row has is a missing value, not a missing column.
    optional = form.format == "jsonl"
    missing = [
        name for name, column in columns.items() if name not in form.header and (column.required or not optional)
    ]
    extra = [name for name in form.header if name not in columns]
    if missing:
        near = get_close_matches(missing[0], extra, n=1, cutoff=0.6)
        hint = f"was it renamed to '{near[0]}'?" if near else f"found {', '.join(form.header[:8])}."
        raise UnreadableFile(f"{path.name} has no column '{missing[0]}', which the contract declares; {hint}")
    if extra:
        raise UnreadableFile(
            f"{path.name} has the column '{extra[0]}', which the contract does not declare; declare it, with 'exclude' "
            "where the model must not see it."
        )


def write_rows(path: Path, form: FileForm, columns: Columns, target: Path) -> tuple[int, list[BadRow]]:
    """Write the good rows of a file, chunk by chunk; how many they were, and the bad ones."""
    good, bad = 0, list[BadRow]()
    with _writer(target, columns) as writer:
        for chunk in read_chunks(path, form):
            table = _table(path.name, chunk.row_numbers, chunk.columns, columns)
            writer.write_table(table)
            good += table.num_rows
            bad += chunk.bad
    return good, bad


def _tables(path: Path, form: FileForm, columns: Columns) -> "tuple[list[pa.Table], list[BadRow]]":
    tables, bad = [], list[BadRow]()
    for chunk in read_chunks(path, form):
        tables.append(_table(path.name, chunk.row_numbers, chunk.columns, columns))
        bad += chunk.bad
    return tables, bad


def _table(name: str, numbers: list[int], values: dict[str, list[str | None]], columns: Columns) -> "pa.Table":
    import pyarrow as pa

    found = {column: values.get(column) or [None] * len(numbers) for column in columns}
    return pa.table({"_file": [name] * len(numbers), "_row": numbers, **found}, schema=_schema(columns))


def _schema(columns: Columns) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([("_file", pa.string()), ("_row", pa.int64()), *((column, pa.string()) for column in columns)])


def _writer(target: Path, columns: Columns) -> "pq.ParquetWriter":
    import pyarrow.parquet as pq

    return pq.ParquetWriter(target, _schema(columns))


def _write_bad(bad: list[BadRow], file: LandedFile, target: Path) -> None:
    if not bad:
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.string()
    schema = pa.schema([("_file", text), ("_source", text), ("_row", pa.int64()), ("raw", text), ("reason", text)])
    rows = [
        {"_file": file.name, "_source": file.source, "_row": row.row_number, "raw": row.raw, "reason": row.reason}
        for row in bad
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), target)


def _keep_refused(settings: Settings, use_case: str, file: LandedFile) -> None:
    kept = refused_copy(settings, use_case, file)
    kept.parent.mkdir(parents=True, exist_ok=True)
    if not kept.exists():
        try:
            os.link(file.path, kept)
        except OSError:
            shutil.copyfile(file.path, kept)
