"""Answers by the caller's own request id: a request that comes again is answered as it was, and not scored twice."""

import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_MOST = 20_000
_LARGEST = 1 << 18
"""Longer answers are not kept: scored again, they are the same but for a champion of since."""


@dataclass(frozen=True)
class Kept:
    """An answer as it was sent, and the fingerprint of what was asked."""

    asked: bytes
    version: int
    body: bytes


class Answers:
    """The newest answers of all workers of a server, in a file that does not outlive it."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._opened: sqlite3.Connection | None = None
        self._written = 0

    def get(self, key: str) -> Kept | None:
        """What was answered under a key; None where nothing is known of it."""
        # Who cannot remember scores again: that is slower, and not wrong.
        with suppress(sqlite3.OperationalError):
            asked = "SELECT asked, version, body FROM answers WHERE key = ?"
            if found := self._database.execute(asked, (key,)).fetchone():
                return Kept(*found)
        return None

    def put(self, key: str, kept: Kept) -> None:
        """Keep an answer, and forget the oldest ones."""
        if len(kept.body) > _LARGEST:
            return
        row = (key, kept.asked, kept.version, kept.body)
        with suppress(sqlite3.OperationalError):
            self._database.execute("INSERT OR IGNORE INTO answers VALUES (NULL, ?, ?, ?, ?)", row)
            self._written += 1
            if self._written % 1_000 == 0:
                self._database.execute("DELETE FROM answers WHERE id <= (SELECT max(id) FROM answers) - ?", (_MOST,))

    @property
    def _database(self) -> sqlite3.Connection:
        if self._opened is None:
            # Opened after the fork: a connection must not be shared by processes.
            self._opened = sqlite3.connect(self._path or ":memory:", isolation_level=None, timeout=0.1)
            self._opened.execute("PRAGMA journal_mode = WAL")
            self._opened.execute("PRAGMA synchronous = OFF")
            self._opened.execute(
                "CREATE TABLE IF NOT EXISTS answers "
                "(id INTEGER PRIMARY KEY, key TEXT UNIQUE, asked BLOB, version INTEGER, body BLOB)"
            )
        return self._opened
