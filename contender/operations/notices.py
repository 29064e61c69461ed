"""The door to the notices: what people should know of, each once."""

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from contender import errors
from contender.promotion.database import connected, tables
from contender.redact import shortened, without_logins
from contender.settings import Settings

_NAMES = "|".join(sorted(name for name, kind in vars(errors).items() if isinstance(kind, type)))


LONGEST = 900
"""Characters of a sentence that are kept: a cause as long as `failures.MOST`, around it what was done, and a path."""


@dataclass(frozen=True)
class Notice:
    """One thing to know; `use_case` is empty where it concerns all, `link` where there is nothing to look at."""

    id: str
    use_case: str
    at: datetime
    kind: str
    sentence: str
    link: str


def keep(
    settings: Settings,
    kind: str,
    use_case: str,
    sentence: str,
    *,
    link: str = "",
    id: str = "",
    at: datetime | None = None,
) -> bool:
    """Write a notice down, once; whether it was new.

    Args:
        id: what the same notice has each time it comes, such as an event's id; without it every notice is new.
        at: when it happened; without it, now.

    Raises:
        Unavailable: the ledger's database does not answer.
    """
    from sqlalchemy.dialects import postgresql, sqlite

    row = {
        "id": id or str(uuid.uuid4()),
        "use_case": settings.name_of(use_case) if use_case else "",
        "at": (at or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds"),
        "kind": kind,
        "sentence": one_sentence(sentence),
        "link": link,
    }
    with connected(settings, writes=True) as connection:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        made = insert(tables().notices).values(**row).on_conflict_do_nothing().returning(tables().notices.c.id)
        return connection.execute(made).first() is not None


def newest(settings: Settings, use_case: str | None = None, limit: int = 10) -> list[Notice]:
    """The last notices of one use case, or of all and of what concerns all, newest first."""
    from sqlalchemy import select

    kept = tables().notices
    wanted = select(kept).order_by(kept.c.at.desc()).limit(limit)
    if use_case is not None:
        wanted = wanted.where(kept.c.use_case == settings.name_of(use_case))
    with connected(settings) as connection:
        rows = connection.execute(wanted).all()
    return [
        Notice(row.id, row.use_case, datetime.fromisoformat(row.at), row.kind, row.sentence, row.link) for row in rows
    ]


@dataclass(frozen=True)
class Failing:
    """A flow whose last run failed: when, in which sentence, and how often since its last success."""

    flow: str
    at: datetime
    sentence: str
    times: int

    @property
    def in_words(self) -> str:
        """All of it, for people."""
        often = f", {self.times:,} times in a row" if self.times > 1 else ""
        return f"'{self.flow}' failed at {self.at:%Y-%m-%d %H:%M} UTC{often}: {self.sentence}"


def keep_end(settings: Settings, use_case: str, flow: str, flow_run: str, sentence: str, at: datetime) -> None:
    """Write down how a run ended: with an empty sentence well, which settles the failures of its flow until then.

    A failure may be told twice, or after a success that came later; neither counts.

    Raises:
        Unavailable: the ledger's database does not answer.
    """
    from sqlalchemy.dialects import postgresql, sqlite

    kept, moment = tables().runs, at.astimezone(UTC).isoformat(timespec="microseconds")
    mine = (kept.c.use_case == settings.name_of(use_case)) & (kept.c.flow == flow)
    row = {"use_case": settings.name_of(use_case), "flow": flow, "flow_run": flow_run, "at": moment}
    with connected(settings, writes=True) as connection:
        if not sentence:
            connection.execute(kept.delete().where(mine & (kept.c.at <= moment)))
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        added = insert(kept).values(**row, sentence=one_sentence(sentence))
        connection.execute(added.on_conflict_do_nothing())


def failing(settings: Settings, use_case: str) -> list[Failing]:
    """The flows of a use case whose last run failed, the newest failure first."""
    kept = tables().runs
    with connected(settings) as connection:
        rows = connection.execute(kept.select().where(kept.c.use_case == settings.name_of(use_case))).all()
    found = []
    for flow in {row.flow for row in rows}:
        well = max((row.at for row in rows if row.flow == flow and not row.sentence), default="")
        failed = [row for row in rows if row.flow == flow and row.sentence and row.at > well]
        if failed:
            last = max(failed, key=lambda row: row.at)
            found.append(Failing(flow, datetime.fromisoformat(last.at), last.sentence, len(failed)))
    return sorted(found, key=lambda one: one.at, reverse=True)


def one_sentence(text: str) -> str:
    """What a message says, in one line that people read: of a page of Java, what went wrong."""
    lines = [
        line.strip(" \t:") for line in text.splitlines() if line.strip() and not re.match(r"\s+at |Traceback", line)
    ]
    if not lines:
        return ""
    first = re.sub(r"^(Flow|Task) run encountered an exception: ", "", lines[0])
    if "An error occurred while calling" in first and len(lines) > 1:
        first = lines[1]
    first = re.sub(rf"^(?:contender\.errors\.)?(?:{_NAMES}): ", "", first)
    return shortened(without_logins(first), LONGEST)
