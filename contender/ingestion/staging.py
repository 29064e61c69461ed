"""Turns the files of a batch into rows of strings in Parquet, and tells of what cannot be read."""

import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from contender.contracts.contract import Contract
from contender.contracts.expressions import cells_of
from contender.contracts.sections import Columns
from contender.errors import UnreadableFile
from contender.ingestion.batches import BatchPlan, LandedFile, Source
from contender.ingestion.file_format import FileForm, describe
from contender.ingestion.file_reader import BadRow, Chunk, read_chunks
from contender.ingestion.text_values import composed
from contender.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_SMALL = 16 << 20
"""Files up to so many bytes share one Parquet file: Spark opens a few large files much faster than many small ones."""


@dataclass(frozen=True)
class KeptRow:
    """A row that quarantine holds: its number in its file, and its values by column, or why it has none."""

    number: int
    raw: str
    values: Mapping[str, str | None] | None
    reason: str = ""


@dataclass(frozen=True)
class Take:
    """Which rows of a file are taken in: those after a row, and some before it; and where they are read.

    Without a path the file is gone, and there is what quarantine kept of it. `arrived` is when it came first, where
    that was in an earlier batch.
    """

    path: Path | None
    after: int = 0
    before: frozenset[int] = frozenset()
    kept: tuple[KeptRow, ...] = ()
    arrived: datetime | None = None

    def wants(self, number: int) -> bool:
        """Whether a row of the file is among them."""
        return number > self.after or number in self.before


@dataclass(frozen=True)
class Staged:
    """A batch as rows of strings in Parquet below `folder`; all else by the digest of a file.

    `rows` are those that were taken, `last_rows` the number of the last in the file, and `refused` says why nothing of
    a file can be read. `notes` are sentences about what was taken in although it is not as the contract has it, and
    `told` the columns that they are the first to tell of.
    """

    folder: Path
    rows: dict[str, int]
    last_rows: dict[str, int]
    refused: dict[str, str]
    notes: tuple[str, ...] = ()
    told: tuple[str, ...] = ()

    def has(self, part: str) -> bool:
        return any((self.folder / part).glob("*.parquet"))


def staged_before(folder: Path) -> Staged | None:
    """What is in the folder of a batch that was cut off after its files were read."""
    marker = folder / "staged.json"
    if not marker.is_file():
        return None
    kept = json.loads(marker.read_text(encoding="utf-8"))
    return Staged(folder, **kept | {name: tuple(kept[name]) for name in ("notes", "told")})


def stage(
    settings: Settings,
    contract: Contract,
    batch: BatchPlan,
    takes: Mapping[str, Take],
    folder: Path,
    progress: Callable[[str], None],
) -> Staged:
    """Read the files of a batch into a folder of its own; nothing else is written.

    Memory is bounded by 50,000 rows of a large file, or by one small file.

    Args:
        takes: what is wanted of each file, by its digest.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("records", "outcomes", "bad"):
        (folder / part).mkdir(parents=True)
    rows: dict[str, int] = {}
    last_rows: dict[str, int] = {}
    refused: dict[str, str] = {}
    fits: list[Fit] = []
    with ExitStack() as open_files:
        shared: dict[Source, pq.ParquetWriter] = {}
        for place, file in enumerate(batch.files, start=1):
            columns = declared(contract, file.source)
            names = contract.records.header if file.source == "records" else None
            read = _Reading(file.name, contract, columns, needed(contract, file.source), takes[file.digest], names)
            own = folder / file.source / f"{place:06}.parquet"
            try:
                if file.size > _SMALL:
                    with _writer(own, read.cells) as writer:
                        for table in read.tables():
                            writer.write_table(table)
                else:
                    tables = list(read.tables())
                    if tables and file.source not in shared:
                        shared[file.source] = open_files.enter_context(
                            _writer(folder / file.source / "small.parquet", read.cells)
                        )
                    for table in tables:
                        shared[file.source].write_table(table)
            except UnreadableFile as error:
                own.unlink(missing_ok=True)
                refused[file.digest] = _as_landed(str(error), file, takes[file.digest])
            else:
                rows[file.digest], last_rows[file.digest] = read.good + len(read.bad), read.last_row
                fits += [read.fit] if read.fit else []
                _write_bad(read.bad, file, folder / "bad" / f"{place:06}.parquet")
            if place % max(1, len(batch.files) // 4) == 0:
                progress(f"read {place:,} of {len(batch.files):,} files")
    notes, told = _told_once(settings, contract, fits)
    found = Staged(folder, rows, last_rows, refused, notes, told)
    kept = {name: value for name, value in vars(found).items() if name != "folder"}
    (folder / "staged.json").write_text(json.dumps(kept), encoding="utf-8")
    return found


def remember_told(settings: Settings, contract: Contract, staged: Staged) -> None:
    """Keep of which columns people were told: the next file that has them tells nothing new."""
    if staged.told:
        memory = _memory_of(settings, contract)
        memory.parent.mkdir(parents=True, exist_ok=True)
        known = _known(memory) | set(staged.told)
        memory.write_text(json.dumps(sorted(known), ensure_ascii=False), encoding="utf-8")


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


def _memory_of(settings: Settings, contract: Contract) -> Path:
    return settings.state / "told" / f"{contract.name}.json"


def _known(memory: Path) -> set[str]:
    return set(json.loads(memory.read_text(encoding="utf-8"))) if memory.is_file() else set()


def _told_once(settings: Settings, contract: Contract, fits: Sequence[Fit]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is to be told of files that are not as the contract has them, and the undeclared columns in it.

    Such a column is told of only the first time.
    """
    known = _known(_memory_of(settings, contract))
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
            sides = ((fit.form.above, "above its header"), (fit.form.below, "below it"))
            rows = [f"{n} row{'s' * (n > 1)} {where}" for n, where in sides if n]
            are = "are" if fit.form.above + fit.form.below > 1 else "is"
            notes.append(f"{fit.name}: {' and '.join(rows)} {are} no data.")
    return tuple(notes), tuple(sorted(new | unused))


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


def _as_landed(sentence: str, file: LandedFile, take: Take) -> str:
    """A sentence about a copy of a file, told of the file."""
    if take.path is None or str(take.path) == file.path:
        return sentence
    return sentence.replace(str(take.path), file.path).replace(take.path.name, file.name)


class _Reading:
    """One file on its way: gives its good rows chunk by chunk, and counts them and the bad ones."""

    def __init__(
        self,
        name: str,
        contract: Contract,
        columns: Columns,
        wanted: Collection[str],
        take: Take,
        names: Sequence[str] | None,
    ) -> None:
        self.name, self.columns, self.wanted, self.take, self.names = name, columns, wanted, take, names
        self.cells = {cell: contract.stored_names[cell] for cell in cells_of(columns)}
        self.good, self.bad, self.last_row = 0, list[BadRow](), take.after
        self.fit: Fit | None = None

    def tables(self) -> "Iterator[pa.Table]":
        """The good rows as strings.

        Raises:
            UnreadableFile: the file cannot be read, or has other columns than the contract.
        """
        for chunk in self._chunks():
            numbers = [*chunk.row_numbers, *(row.row_number for row in chunk.bad)]
            self.last_row = max([self.last_row, *numbers])
            chunk = self._taken(chunk)
            self.bad += chunk.bad
            self.good += len(chunk.row_numbers)
            yield _table(self.name, chunk.row_numbers, chunk.columns, self.cells)

    def _chunks(self) -> Iterator[Chunk]:
        if self.take.path is None:
            good = [row for row in self.take.kept if row.values is not None]
            columns = {name: [(row.values or {}).get(name) for row in good] for name in self.cells}
            bad = [BadRow(row.number, row.raw, row.reason) for row in self.take.kept if row.values is None]
            yield Chunk(columns, [row.number for row in good], bad)
            return
        form = describe(self.take.path, self.names)
        self.fit = replace(fitted(self.take.path, form, self.columns, self.wanted), name=self.name)
        yield from read_chunks(self.take.path, self.fit.form)

    def _taken(self, chunk: Chunk) -> Chunk:
        wants = self.take.wants
        if not self.take.after:
            return chunk
        places = [place for place, number in enumerate(chunk.row_numbers) if wants(number)]
        return Chunk(
            {name: [values[place] for place in places] for name, values in chunk.columns.items()},
            [chunk.row_numbers[place] for place in places],
            [row for row in chunk.bad if wants(row.row_number)],
        )


def _table(name: str, numbers: list[int], values: dict[str, list[str | None]], cells: Mapping[str, str]) -> "pa.Table":
    import pyarrow as pa

    found = {stored: composed(values.get(cell) or [None] * len(numbers)) for cell, stored in cells.items()}
    return pa.table({"_file": [name] * len(numbers), "_row": numbers, **found}, schema=_schema(cells))


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


def keep_refused(settings: Settings, use_case: str, file: LandedFile, take: Take | None = None) -> None:
    """Keep the content of a file that was refused: whoever landed it may take it away."""
    kept = refused_copy(settings, use_case, file)
    source = take.path if take and take.path else Path(file.path)
    kept.parent.mkdir(parents=True, exist_ok=True)
    if not kept.exists() and source.exists():
        try:
            os.link(source, kept)
        except OSError:
            shutil.copyfile(source, kept)
