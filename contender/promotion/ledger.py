"""The ledger: who held the title, when, why and on which evidence, kept in SQL.

It is append-only and linear. An entry names the entry that it follows, and of two that follow the same one only the
first is written. Each carries the SHA-256 of its predecessor's digest and its own content, so a changed entry shows.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from contender.errors import TitleError
from contender.promotion.database import connected, tables
from contender.promotion.verdict_document import VerdictDocument
from contender.settings import Settings
from contender.values import ModelVersion

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row


@dataclass(frozen=True)
class LedgerEntry:
    """One change of the title. `follows` is the seq before it (0: none), `at` ISO 8601 in UTC, `evidence` JSON text."""

    use_case: str
    seq: int
    follows: int
    at: str
    action: str
    version: int
    previous_version: int | None
    reason: str
    by: str
    evidence: str
    model_digest: str
    digest: str

    def __str__(self) -> str:
        return f"entry {self.seq} (version {self.version} {self.action} by {self.by} at {self.at})"

    def chained(self, before: str) -> str:
        """What `digest` must be after an entry whose digest is `before` ("" for the first)."""
        content = {name: value for name, value in vars(self).items() if name != "digest"}
        text = json.dumps([before, content], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def take_title(
    settings: Settings,
    use_case: str,
    *,
    version: ModelVersion,
    after: LedgerEntry | None,
    action: str,
    reason: str,
    by: str,
    evidence: Mapping[str, Any],
) -> LedgerEntry:
    """The entry that makes `version` the champion, written in one transaction.

    Args:
        after: the last entry at the time of deciding; None when there was none.
        action: "crowned", "promoted", "rolled back", …
        evidence: what JSON can hold: verdict, data versions, git revision.

    Raises:
        TitleError: `after` is no longer the last entry: somebody else took the title in the meantime.
        Unavailable: the database does not answer.
    """
    from sqlalchemy import insert
    from sqlalchemy.exc import IntegrityError

    taken = LedgerEntry(
        use_case=settings.name_of(use_case),
        seq=after.seq + 1 if after else 1,
        follows=after.seq if after else 0,
        at=_now(),
        action=action,
        version=version.version,
        previous_version=after.version if after else None,
        reason=reason,
        by=by,
        evidence=json.dumps(evidence, sort_keys=True, default=str),
        model_digest=version.digest,
        digest="",
    )
    taken = LedgerEntry(**{**vars(taken), "digest": taken.chained(after.digest if after else "")})
    try:
        with connected(settings, writes=True) as connection:
            found = _head(connection, settings.name_of(use_case))
            if found != after:
                raise _somebody_was_faster(use_case, found=found, needed=after)
            connection.execute(insert(tables().title).values(vars(taken)))
    except IntegrityError:
        # Where a writer does not lock out the others (PostgreSQL), the unique pair of use case and predecessor decides.
        raise _somebody_was_faster(use_case, found=head(settings, use_case), needed=after) from None
    return taken


def head(settings: Settings, use_case: str) -> LedgerEntry | None:
    """The last entry, whose version holds the title; None when there was never a champion.

    Raises:
        Unavailable: the database does not answer, which says nothing about the champion.
    """
    with connected(settings) as connection:
        return _head(connection, settings.name_of(use_case))


def history(settings: Settings, use_case: str) -> list[LedgerEntry]:
    """Every entry, oldest first."""
    from sqlalchemy import select

    title = tables().title
    with connected(settings) as connection:
        mine = title.c.use_case == settings.name_of(use_case)
        rows = connection.execute(select(title).where(mine).order_by(title.c.seq))
        return [_entry(row) for row in rows]


def verify(settings: Settings, use_case: str) -> int:
    """The number of entries, after checking that none was changed, removed or put in between.

    The last entries can be cut off without a trace; who must exclude that compares `head` with a copy elsewhere.

    Raises:
        TitleError: the chain is broken; names the first entry that does not fit.
    """
    before, seq = "", 0
    for entry in history(settings, use_case):
        if (entry.seq, entry.follows) != (seq + 1, seq) or entry.digest != entry.chained(before):
            raise TitleError(
                f"The ledger of {use_case} was changed: {entry} does not fit to entry {seq} before it. Restore the "
                "ledger's database from a backup."
            )
        before, seq = entry.digest, entry.seq
    return seq


def approved_digest(settings: Settings, use_case: str, version: int) -> str | None:
    """Digest of the model's files when that version last took the title; None when it never did."""
    from sqlalchemy import select

    title = tables().title
    mine = (title.c.use_case == settings.name_of(use_case)) & (title.c.version == version)
    with connected(settings) as connection:
        newest = select(title.c.model_digest).where(mine).order_by(title.c.seq.desc()).limit(1)
        return connection.execute(newest).scalar_one_or_none()


def record_verdict(settings: Settings, use_case: str, document: VerdictDocument) -> None:
    """Keep a verdict, whatever it decided."""
    from sqlalchemy import insert

    row = {
        "use_case": settings.name_of(use_case),
        "at": document.at.isoformat(timespec="microseconds"),
        "challenger": document.challenger,
        "run_id": document.run_id,
        "window": document.window,
        "document": document.to_json(),
    }
    with connected(settings, writes=True) as connection:
        connection.execute(insert(tables().verdicts).values(row))


def last_verdict(settings: Settings, use_case: str) -> VerdictDocument | None:
    """The newest verdict; None when nothing was judged yet."""
    return next(iter(verdicts(settings, use_case, newest=1)), None)


def verdicts(settings: Settings, use_case: str, newest: int | None = 20) -> list[VerdictDocument]:
    """The newest verdicts, newest first.

    Args:
        newest: at most so many; None for all.

    Raises:
        OtherRelease: one was kept by another release.
    """
    from sqlalchemy import select

    kept = tables().verdicts
    mine = select(kept).where(kept.c.use_case == settings.name_of(use_case)).order_by(kept.c.id.desc()).limit(newest)
    with connected(settings) as connection:
        rows = connection.execute(mine).all()
    return [VerdictDocument.from_json(row.document, f"The verdict on {use_case} of {row.at[:16]}") for row in rows]


def count_comparison(settings: Settings, use_case: str, window: str, looks: int = 1) -> int:
    """Looks at a judging window so far, these included; exact also when two count at once."""
    from sqlalchemy.dialects import postgresql, sqlite

    comparisons = tables().comparisons
    with connected(settings, writes=True) as connection:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        row = insert(comparisons).values(use_case=settings.name_of(use_case), window=window, looks=looks)
        counted = row.on_conflict_do_update(
            index_elements=["use_case", "window"], set_={"looks": comparisons.c.looks + row.excluded.looks}
        ).returning(comparisons.c.looks)
        return int(connection.execute(counted).scalar_one())


def windows_looked_at(settings: Settings, use_case: str) -> dict[str, int]:
    """Looks by judging window, of all windows that were ever looked at."""
    from sqlalchemy import select

    comparisons = tables().comparisons
    with connected(settings) as connection:
        found = connection.execute(
            select(comparisons.c.window, comparisons.c.looks).where(
                comparisons.c.use_case == settings.name_of(use_case)
            )
        )
        return {window: int(looks) for window, looks in found}


def _head(connection: "Connection", use_case: str) -> LedgerEntry | None:
    from sqlalchemy import select

    title = tables().title
    newest = select(title).where(title.c.use_case == use_case).order_by(title.c.seq.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return None if row is None else _entry(row)


def _entry(row: "Row[Any]") -> LedgerEntry:
    return LedgerEntry(**row._mapping)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _somebody_was_faster(use_case: str, *, found: LedgerEntry | None, needed: LedgerEntry | None) -> TitleError:
    return TitleError(
        f"The title of {use_case} changed in the meantime: the ledger ends with {found or 'no entry'}, expected was "
        f"{needed or 'no entry'}. Decide again, against the champion of now, by running the same command."
    )
