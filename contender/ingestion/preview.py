"""What would become of files if they were taken in now, told by the very steps that take them in; nothing is kept."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from contender.contracts.contract import Contract
from contender.errors import UsageError
from contender.ingestion import batches, intake, quarantine, retries, staging
from contender.ingestion.batches import BatchPlan, LandedFile, Source
from contender.ingestion.file_reader import digest
from contender.ingestion.intake import Examined, Progress
from contender.ingestion.repeats import REPEATED
from contender.ingestion.retries import HeldReason
from contender.ingestion.settling import is_unfinished
from contender.lake import queries
from contender.settings import Settings
from contender.values import BATCH, FILE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class FilePreview:
    """What would become of one file: its rows by what happens to them, or why nothing of it would be taken in."""

    path: str
    source: Source
    rows: int
    taken: int
    quarantined: int
    repeated: int
    refusal: str | None


@dataclass(frozen=True)
class Preview:
    """What would become of files. `known` were taken in before, `unmatched` are for no part of the contract.

    `notes` are sentences about what would be taken in although it is not as the contract has it.
    """

    files: tuple[FilePreview, ...]
    reasons: tuple[HeldReason, ...]
    refusal: str | None
    known: tuple[str, ...]
    unmatched: tuple[str, ...]
    unfinished: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Chosen:
    new: tuple[LandedFile, ...]
    known: tuple[str, ...]
    unmatched: tuple[str, ...]
    unfinished: tuple[str, ...]


def preview(
    settings: Settings, contract: Contract, landing: Path, files: Sequence[Path], at: datetime, progress: Progress
) -> Preview:
    """What would become of these files, or without any of what has landed and was not looked at yet.

    Raises:
        UsageError: a file is not there.
        DataError: no file is named, and the landing folder is not there.
    """
    log = batches.read_log(settings, contract.name)
    chosen = _choose(settings, contract, landing, files)
    if not chosen.new:
        return Preview((), (), None, chosen.known, chosen.unmatched, chosen.unfinished)
    plan = batches.would_be(chosen.new, at, log)
    scratch = settings.scratch_of(contract.name)
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="check-", dir=scratch))
    try:
        takes = retries.takes_of(settings, contract, plan)
        staged = staging.stage(settings, contract, plan, takes, folder, progress)
        examined = intake.examine(settings, contract, plan, staged, progress)
        held = examined.quarantine_frame(settings, contract)
        refusal = quarantine.refusal_told(examined.refusals, examined.parts) if examined.refusals else None
        return Preview(
            _of_files(plan, examined, held),
            _reasons(settings, contract, folder, held),
            refusal,
            chosen.known,
            chosen.unmatched,
            chosen.unfinished,
            staged.notes,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _choose(settings: Settings, contract: Contract, landing: Path, files: Sequence[Path]) -> _Chosen:
    lookups = {lookup.file for lookup in contract.lookups.values()}
    if gone := next((path for path in files if not path.is_file()), None):
        raise UsageError(f"{gone} is not there, or is no file; name files that 'contender ingest' would take in.")
    new = batches.unseen(settings, contract, landing) if not files else ()
    paths = [path.absolute() for path in files] or sorted(path for path in landing.iterdir() if path.is_file())
    unfinished = [path for path in paths if is_unfinished(path.name)]
    wanted = {path: batches.source_of(contract, path.name) for path in paths if path not in unfinished}
    unmatched = [path for path, source in wanted.items() if source is None and path.name not in lookups]
    if files:
        log = batches.read_log(settings, contract.name)
        seen = batches.settled_digests(contract, log)
        found = [
            batches.landed(source, path, content, log)
            for path, source in wanted.items()
            if source and (content := digest(path)) not in seen
        ]
        new = tuple({file.digest: file for file in found}.values())
    unknown = {file.path for file in new}
    known = [path for path, source in wanted.items() if source and str(path) not in unknown]
    return _Chosen(new, *(tuple(map(str, some)) for some in (known, unmatched, unfinished)))


def _of_files(plan: BatchPlan, examined: Examined, held: "DataFrame | None") -> tuple[FilePreview, ...]:
    in_quarantine = _counted(held.where("kind <> 'file'")) if held is not None else {}
    repeated: dict[str, int] = {}
    for part in examined.parts:
        if part.repeated and part.source not in examined.refusals:
            repeated |= _counted(part.rows.where(F.col(REPEATED)))
    found = []
    for file in plan.files:
        rows = examined.staged.rows.get(file.digest, 0)
        bad, again = in_quarantine.get(file.name, 0), repeated.get(file.name, 0)
        refusal = examined.staged.refused.get(file.digest)
        found.append(FilePreview(file.path, file.source, rows, rows - bad - again, bad, again, refusal))
    return tuple(found)


def _counted(rows: "DataFrame") -> dict[str, int]:
    return {name: int(count) for name, count in rows.groupBy(FILE).count().collect()}


def _reasons(settings: Settings, contract: Contract, folder: Path, held: "DataFrame | None") -> tuple[HeldReason, ...]:
    if held is None:
        return ()
    held.write.parquet(str(folder / "held"))
    with queries.database(settings, contract.name) as database:
        files = queries.list_of(sorted(str(path) for path in (folder / "held").glob("*.parquet")))
        database.execute(f"CREATE VIEW held AS SELECT *, 0 AS {BATCH} FROM read_parquet({files})")
        return tuple(retries.reasons_in(database))
