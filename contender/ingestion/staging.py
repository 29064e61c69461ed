"""Turns the files of a batch into rows of strings in Parquet, and sets aside what cannot be read."""

import json
import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from contender.contracts.contract import Contract
from contender.contracts.expressions import cells_of
from contender.contracts.sections import Columns
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
    """A batch as rows of strings in Parquet below `folder`; `rows` and `refused` (the reasons) by file digest.

    `notes` are sentences about what was taken in although it is not as the contract has it.
    """

    folder: Path
    rows: dict[str, int]
    refused: dict[str, str]
    notes: tuple[str, ...] = ()

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
        kept = json.loads(marker.read_text(encoding="utf-8"))
        return Staged(folder, kept["rows"], kept["refused"], tuple(kept["notes"]))
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
    found: list[Fit] = []
    with ExitStack() as open_files:
        shared: dict[Source, pq.ParquetWriter] = {}
        for place, file in enumerate(batch.files, start=1):
            path = Path(file.path)
            columns = declared(contract, file.source)
            cells = {cell: contract.stored_names[cell] for cell in cells_of(columns)}
            own = folder / file.source / f"{place:06}.parquet"
            try:
                fit = fitted(path, describe(path), columns, needed(contract, file.source))
                if file.size > _SMALL:
                    good, bad = write_rows(path, fit.form, cells, own)
                else:
                    tables, bad = _tables(path, fit.form, cells)
                    good = sum(table.num_rows for table in tables)
                    if tables and file.source not in shared:
                        shared[file.source] = open_files.enter_context(
                            _writer(folder / file.source / "small.parquet", cells)
                        )
                    for table in tables:
                        shared[file.source].write_table(table)
            except UnreadableFile as error:
                own.unlink(missing_ok=True)
                refused[file.digest] = str(error)
                _keep_refused(settings, contract.name, file)
            else:
                rows[file.digest] = good + len(bad)
                found.append(fit)
                _write_bad(bad, file, folder / "bad" / f"{place:06}.parquet")
            if place % max(1, len(batch.files) // 4) == 0:
                progress(f"read {place:,} of {len(batch.files):,} files")
    notes = _told_once(settings, contract, found)
    marker.write_text(json.dumps({"rows": rows, "refused": refused, "notes": notes}), encoding="utf-8")
    return Staged(folder, rows, refused, notes)


def stage_lookup(settings: Settings, contract: Contract, name: str, path: Path) -> Path:
    """The file of a look-up as rows of strings in one Parquet file.

    Raises:
        UnreadableFile: the file cannot be read, or a column is missing; look-ups have no quarantine.
    """
    columns = contract.lookups[name].columns
    cells = {cell: contract.stored_names[cell] for cell in cells_of(columns)}
    form = fitted(path, describe(path), columns, cells).form
    target = settings.scratch_of(contract.name) / "lookups" / f"{name}.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    bad = write_rows(path, form, cells, target)[1]
    if bad:
        raise UnreadableFile(
            f"{path.name}, row {bad[0].row_number}: {bad[0].reason}; a look-up must be readable throughout."
        )
    return target


def refused_copy(settings: Settings, use_case: str, file: LandedFile) -> Path:
    """Where the content of a refused file is kept."""
    return settings.state / "refused" / use_case / f"{file.digest[:12]}-{file.name}"


def declared(contract: Contract, source: Source) -> Columns:
    """The columns that a file of a kind may have."""
    if source == "outcomes":
        return contract.outcome.columns
    return contract.records.columns | (contract.outcome.columns if contract.outcome.files is None else {})


def needed(contract: Contract, source: Source) -> list[str]:
    """The cells without which a file is of no use: of the key, the time, and what its rows are quarantined without."""
    columns = declared(contract, source)
    names = {name for name, column in columns.items() if column.required}
    if source == "outcomes":
        names |= {contract.outcome_key or "", *contract.target.names}
    else:
        names |= {contract.records.key or "", contract.records.time or ""}
    return [cell for name in columns if name in names for cell in cells_of({name: columns[name]})]


@dataclass(frozen=True)
class Fit:
    """How a file is read by a contract, what it has beside the declared columns, and which of them it has not."""

    name: str
    form: FileForm
    more: tuple[str, ...]
    less: tuple[str, ...]


def fitted(path: Path, form: FileForm, columns: Columns, wanted: Collection[str]) -> Fit:
    """The file with the contract's names for its columns; what it has more or less is no fault.

    Raises:
        UnreadableFile: it lacks a wanted cell, or has none of all; names the nearest one.
    """
    cells = cells_of(columns)
    usable = [name for name in form.header if name not in form.unused]
    # As it stands, else without regard to case: between two exports names change by no more.
    alike = {name.casefold(): name for name in usable if name not in cells}
    renamed = {alike[cell.casefold()]: cell for cell in cells if cell not in usable and cell.casefold() in alike}
    header = tuple(renamed.get(name, name) for name in form.header)
    there = {renamed.get(name, name) for name in usable}
    less = tuple(cell for cell in cells if cell not in there)
    more = tuple(name for name in there if name not in cells)
    # JSON names its keys row by row: one that no row has so far may be in a later one.
    if form.format in ("json", "jsonl"):
        header = (*header, *less)
    missing = [cell for cell in less if cell in wanted]
    if missing or len(less) == len(cells):
        lost = (missing or list(less))[0]
        near = get_close_matches(lost, more, n=1, cutoff=0.6)
        hint = f"was it renamed to '{near[0]}'?" if near else f"found {', '.join(form.header[:8])}."
        raise UnreadableFile(f"{path.name} has no column '{lost}', which the contract declares; {hint}")
    order = {name: place for place, name in enumerate(header)}
    return Fit(path.name, replace(form, header=header), tuple(sorted(more, key=order.__getitem__)), less)


def _told_once(settings: Settings, contract: Contract, fits: Sequence[Fit]) -> tuple[str, ...]:
    """What is to be told of files that are not as the contract has them; an undeclared column only the first time."""
    memory = settings.state / "told" / f"{contract.name}.json"
    known = set(json.loads(memory.read_text(encoding="utf-8"))) if memory.is_file() else set[str]()
    undeclared = {name for fit in fits for name in fit.more if not re.fullmatch(r"column_\d+", name)}
    new = undeclared - known
    unused = {name for fit in fits for name in fit.form.unused} - known
    notes = []
    for columns, files in _by_columns(fits, lambda fit: new.intersection(fit.more)):
        notes.append(f"{files}: not used are the columns {columns}, which the contract does not declare.")
    for columns, files in _by_columns(fits, lambda fit: unused.intersection(fit.form.unused)):
        notes.append(f"{files}: not used are the columns {columns}, which hold lists or structures.")
    for columns, files in _by_columns(fits, lambda fit: fit.less if fit.form.format in ("csv", "parquet") else ()):
        near = [
            f"was '{name}' renamed to '{close[0]}'?"
            for name in columns.strip("'").split("', '")
            if (close := get_close_matches(name, sorted(undeclared), n=1, cutoff=0.6))
        ]
        notes.append(f"{files}: missing are the columns {columns}{'; ' if near else '.'}{' '.join(near)}")
    for fit in fits:
        if fit.form.above or fit.form.below:
            lines = f"{fit.form.above} rows above and {fit.form.below} below its header are no data"
            notes.append(f"{fit.name}: {lines}.")
    if new | unused:
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(sorted(known | new | unused), ensure_ascii=False), encoding="utf-8")
    return tuple(notes)


def _by_columns(fits: Sequence[Fit], of: Callable[[Fit], Collection[str]]) -> list[tuple[str, str]]:
    """The columns that files have in common, and the files, each in words."""
    found: dict[tuple[str, ...], list[str]] = {}
    for fit in fits:
        if columns := tuple(name for name in (*fit.form.header, *fit.less) if name in of(fit)):
            found.setdefault(tuple(dict.fromkeys(columns)), []).append(fit.name)
    return [
        (
            ", ".join(f"'{name}'" for name in columns[:12])
            + (f" and {len(columns) - 12} more" if columns[12:] else ""),
            names[0] + (f" and {len(names) - 1:,} more files" if names[1:] else ""),
        )
        for columns, names in found.items()
    ]


def write_rows(path: Path, form: FileForm, cells: Mapping[str, str], target: Path) -> tuple[int, list[BadRow]]:
    """Write the good rows of a file, chunk by chunk; how many they were, and the bad ones.

    Args:
        cells: what to keep, with the name of each in the lake.
    """
    good, bad = 0, list[BadRow]()
    with _writer(target, cells) as writer:
        for chunk in read_chunks(path, form):
            table = _table(path.name, chunk.row_numbers, chunk.columns, cells)
            writer.write_table(table)
            good += table.num_rows
            bad += chunk.bad
    return good, bad


def _tables(path: Path, form: FileForm, cells: Mapping[str, str]) -> "tuple[list[pa.Table], list[BadRow]]":
    tables, bad = [], list[BadRow]()
    for chunk in read_chunks(path, form):
        tables.append(_table(path.name, chunk.row_numbers, chunk.columns, cells))
        bad += chunk.bad
    return tables, bad


def _table(name: str, numbers: list[int], values: dict[str, list[str | None]], cells: Mapping[str, str]) -> "pa.Table":
    import pyarrow as pa

    found = {stored: _composed(values.get(cell) or [None] * len(numbers)) for cell, stored in cells.items()}
    return pa.table({"_file": [name] * len(numbers), "_row": numbers, **found}, schema=_schema(cells))


def _composed(values: list[str | None]) -> list[str | None]:
    """Texts in Unicode's composed form: two that look the same are the same."""
    if all(value is None or value.isascii() for value in values):
        return values
    # Not by Arrow, whose NFC comes out decomposed.
    return [value if value is None or value.isascii() else unicodedata.normalize("NFC", value) for value in values]


def _schema(cells: Mapping[str, str]) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(
        [("_file", pa.string()), ("_row", pa.int64()), *((stored, pa.string()) for stored in cells.values())]
    )


def _writer(target: Path, cells: Mapping[str, str]) -> "pq.ParquetWriter":
    import pyarrow.parquet as pq

    return pq.ParquetWriter(target, _schema(cells))


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
