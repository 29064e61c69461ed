"""Fetches what is new in the contract's sources into the landing folder, as Parquet files of strings, once each.

A file bears in its own metadata how far it reaches, so that a fetch that was cut off is either whole or not there. The
same is kept in the home, for whoever clears the landing folder.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.contracts.contract import Contract
from contender.contracts.sections import Source
from contender.errors import DataError
from contender.ingestion import sql_source
from contender.ingestion.text_values import render
from contender.lake import table_changes
from contender.settings import Settings

if TYPE_CHECKING:
    pass

_MARK = b"contender.fetched"
Rows = Iterator[tuple[list[str], list[tuple[Any, ...]]]]


@dataclass(frozen=True)
class Fetched:
    """How far fetching has come: the number of the last file, and what a source showed of its newest rows.

    `version` is that of a Delta table; `newest` the largest value of `newer_than` as kind and text, and `boundary` the
    digests of the rows that have it: more of them may come.
    """

    origin: str = ""
    number: int = 0
    version: int | None = None
    newest: tuple[str, str] | None = None
    boundary: frozenset[str] = field(default_factory=frozenset)

    def as_json(self) -> str:
        return json.dumps(asdict(self) | {"boundary": sorted(self.boundary)})

    @classmethod
    def from_json(cls, text: str) -> "Fetched":
        found = json.loads(text)
        newest = tuple(found["newest"]) if found["newest"] else None
        return cls(**found | {"newest": newest, "boundary": frozenset(found["boundary"])})


def fetch(settings: Settings, contract: Contract, landing: Path, tell: Callable[[str], None]) -> None:
    """Land what is new in the sources of records and outcomes; a fault of one does not hold back the other.

    Raises:
        UsageError, DataError, Unavailable: the first fault, after both were tried.
    """
    faults: list[Exception] = []
    for kind, source in (("records", contract.records.source), ("outcomes", contract.outcome.source)):
        if source is None:
            continue
        try:
            rows = _fetch(settings, contract, kind, source, landing)
        except Exception as error:  # noqa: BLE001 - raised below
            faults.append(error)
        else:
            tell(f"{rows:,} new rows of {kind} from {source.delta or source.url_from}")
    if faults:
        raise faults[0]


def _fetch(settings: Settings, contract: Contract, kind: str, source: Source, landing: Path) -> int:
    before = _last(settings, contract, kind, source, landing)
    version = table_changes.version_of(source.delta) if source.delta else None
    if version is not None and version == before.version:
        return 0
    landing.mkdir(parents=True, exist_ok=True)
    number = before.number + 1
    target = landing / _name(contract, kind, number)
    part = target.with_name(f".{target.name}.part")
    writer = _Writer(part, source, before)
    try:
        for names, rows in _rows_of(source, before, version):
            writer.add(names, rows)
        now = Fetched(_origin(source), number if writer.rows else before.number, version, *writer.reach)
        writer.close(now)
    except BaseException:
        writer.abandon()
        raise
    if writer.rows:
        part.replace(target)
    part.unlink(missing_ok=True)
    _keep(settings, contract, kind, now)
    return writer.rows


def _rows_of(source: Source, before: Fetched, version: int | None) -> Rows:
    since = _value(before.newest) if before.newest else None
    if source.delta is None:
        yield from sql_source.rows_of(source, since)
        return
    assert version is not None
    if source.newer_than is not None:
        batches = table_changes.rows_from(source.delta, version, source.newer_than, since)
    else:
        batches = table_changes.rows_since(source.delta, before.version, version)
    for batch in batches:
        yield batch.schema.names, list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


class _Writer:
    """Writes new rows as strings, and keeps track of the newest."""

    def __init__(self, path: Path, source: Source, before: Fetched) -> None:
        self.path, self.source, self.before, self.rows = path, source, before, 0
        self._file: Any = None
        self._seen = self._newest = _value(before.newest) if before.newest else None
        self._boundary = set(before.boundary)

    @property
    def reach(self) -> tuple[tuple[str, str] | None, frozenset[str]]:
        return (_kept(self._newest) if self._newest is not None else None), frozenset(self._boundary)

    def add(self, names: list[str], rows: list[tuple[Any, ...]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        place = self._place_in(names)
        fresh = [row for row in rows if place is None or self._is_new(row, place)]
        if not fresh:
            return
        schema = pa.schema([(name, pa.string()) for name in names])
        if self._file is None:
            self._file = pq.ParquetWriter(self.path, schema)
        columns = [[render(value) for value in column] for column in zip(*fresh, strict=True)]
        self._file.write_table(pa.table(columns, schema=schema))
        self.rows += len(fresh)

    def close(self, reached: Fetched) -> None:
        if self._file is not None:
            self._file.add_key_value_metadata({_MARK.decode(): reached.as_json()})
            self._file.close()

    def abandon(self) -> None:
        if self._file is not None:
            self._file.close()
        self.path.unlink(missing_ok=True)

    def _place_in(self, names: list[str]) -> int | None:
        if self.source.newer_than is None:
            return None
        if self.source.newer_than not in names:
            raise DataError(
                f"{self.source.delta or self.source.url_from} gives no column '{self.source.newer_than}', which "
                f"'newer_than' names; it gives {', '.join(names[:12])}."
            )
        return names.index(self.source.newer_than)

    def _is_new(self, row: tuple[Any, ...], place: int) -> bool:
        value = row[place]
        if value is None:
            raise DataError(
                f"{self.source.delta or self.source.url_from} has a row without '{self.source.newer_than}', so that "
                "nobody can tell whether it is new; nothing was fetched: give each row one, or leave such rows out."
            )
        digest = _digest(row)
        if value == self._newest:
            self._boundary.add(digest)
        elif self._newest is None or self.source.sql is not None or value > self._newest:
            # A database gives them in its own order, which for texts need not be Python's.
            self._newest, self._boundary = value, {digest}
        # Of the newest value of the fetch before, more rows may have come; equal rows of one fetch are each a row.
        return not (value == self._seen and digest in self.before.boundary)


def _last(settings: Settings, contract: Contract, kind: str, source: Source, landing: Path) -> Fetched:
    """How far the last fetch came; from the start where the source is another now."""
    found = [Fetched()]
    kept = _kept_at(settings, contract, kind)
    if kept.is_file():
        found.append(Fetched.from_json(kept.read_text(encoding="utf-8")))
    found += [reach for path in landing.glob(_name(contract, kind, None)) if (reach := _reach_of(path)) is not None]
    last = max(found, key=lambda one: (one.number, one.version or 0))
    return last if last.origin == _origin(source) else Fetched(number=last.number)


def _reach_of(path: Path) -> Fetched | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError):
        return None
    text = metadata.get(_MARK)
    return Fetched.from_json(text.decode()) if text else None


def _keep(settings: Settings, contract: Contract, kind: str, now: Fetched) -> None:
    path = _kept_at(settings, contract, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(now.as_json(), encoding="utf-8")
    part.replace(path)


def _kept_at(settings: Settings, contract: Contract, kind: str) -> Path:
    return settings.state / "sources" / contract.name / f"{kind}.json"


def _name(contract: Contract, kind: str, number: int | None) -> str:
    """Name of a fetched file, which the contract's pattern of names matches; of all of them without a number."""
    pattern = contract.records.files if kind == "records" else contract.outcome.files or ""
    return pattern if number is None else pattern.replace("*", f"{number:06}", 1)


def _origin(source: Source) -> str:
    """What must be fetched from the start again when it changes; another address of the same database need not."""
    return json.dumps([source.delta, source.newer_than])


def _digest(row: tuple[Any, ...]) -> str:
    return hashlib.sha1(json.dumps([render(value) for value in row]).encode(), usedforsecurity=False).hexdigest()


def _kept(value: Any) -> tuple[str, str]:
    """A value of `newer_than` as kind and text.

    Raises:
        DataError: it is of a kind that has no order.
    """
    if isinstance(value, datetime):
        return "time", value.isoformat()
    if isinstance(value, date):
        return "date", value.isoformat()
    if isinstance(value, int) and not isinstance(value, bool):
        return "whole", str(value)
    if isinstance(value, Decimal):
        return "decimal", str(value)
    if isinstance(value, float):
        return "number", repr(value)
    if isinstance(value, str):
        return "text", value
    raise DataError(f"'newer_than' names a column of {type(value).__name__}; needed times, dates, numbers or texts.")


def _value(kept: tuple[str, str]) -> Any:
    kind, text = kept
    read: dict[str, Callable[[str], Any]] = {
        "time": datetime.fromisoformat,
        "date": date.fromisoformat,
        "whole": int,
        "decimal": Decimal,
        "number": float,
        "text": str,
    }
    return read[kind](text)
