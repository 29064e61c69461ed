"""API keys: who may ask for scores, and who may look at the server; stored as hashes in a file of the home's owner.

A key is `ck_ID_SECRET`. Its secret is 256 random bits, so that a plain SHA-256 keeps it as well as a slow hash would.
Once there was a key, requests need one, also when all were revoked since.
"""

import fcntl
import hashlib
import hmac
import json
import mmap
import os
import re
import secrets
import struct
import tempfile
import time
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from contender.errors import UsageError
from contender.settings import Settings

Role = Literal["score", "operate"]
"""What a key is for: `score` asks for scores; `operate` may also read metrics."""

RANK: dict[str, int] = {"score": 1, "operate": 2}
_KEY = re.compile(r"ck_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class ApiKey:
    """One key. Times are ISO 8601 in UTC; `per_minute` requests are let through, as many at once; 0: any number."""

    id: str
    name: str
    role: Role
    hashed: str
    created_at: str
    expires_at: str | None = None
    per_minute: int = 0
    revoked_at: str | None = None

    def stands(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < datetime.fromisoformat(self.expires_at))


def path_of(settings: Settings) -> Path:
    """The file of all keys."""
    return settings.state / "serving" / "keys.json"


def read(settings: Settings) -> list[ApiKey]:
    """All keys, oldest first, those that stand no more too.

    Raises:
        UsageError: the file is damaged; nobody is let in by a file that cannot be read.
    """
    file = path_of(settings)
    try:
        return [ApiKey(**one) for one in json.loads(file.read_text(encoding="utf-8"))["keys"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError):
        raise UsageError(f"{file} cannot be read as the file of API keys; restore it, or move it away.") from None


def add(settings: Settings, name: str, role: Role, expires_in: timedelta | None, per_minute: int) -> str:
    """A new key, told this once.

    Raises:
        UsageError: one of that name stands already.
    """
    now = datetime.now(UTC)
    with _changing(settings) as keys:
        if any(one.name == name and one.stands(now) for one in keys):
            raise UsageError(f"There is a key '{name}' already; choose another name, or revoke it first.")
        identifier, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        expires = (now + expires_in).isoformat(timespec="seconds") if expires_in else None
        keys.append(
            ApiKey(identifier, name, role, _hash(secret), now.isoformat(timespec="seconds"), expires, per_minute)
        )
    return f"ck_{identifier}_{secret}"


def revoke(settings: Settings, name: str) -> ApiKey:
    """Let a key, told by name or id, open nothing any more, at once in every worker.

    Raises:
        UsageError: there is none that stands.
    """
    now = datetime.now(UTC)
    with _changing(settings) as keys:
        for place, one in enumerate(keys):
            if name in (one.name, one.id) and one.revoked_at is None:
                gone = ApiKey(**{**vars(one), "revoked_at": now.isoformat(timespec="seconds")})
                keys[place] = gone
                return gone
        raise UsageError(f"There is no key '{name}' that stands; 'contender keys list' shows those that do.")


@contextmanager
def _changing(settings: Settings) -> Iterator[list[ApiKey]]:
    """The keys, written back in one step where the block ends well; one process at a time."""
    file = path_of(settings)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (file.parent / "keys.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = read(settings)
        changed: list[ApiKey] = list(keys)
        try:
            yield changed
        finally:
            if changed != keys:
                part = file.with_suffix(".part")
                part.unlink(missing_ok=True)
                descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                    json.dump({"keys": [vars(one) for one in changed]}, opened)
                part.replace(file)


class Keys:
    """The keys as a server holds them: read anew when the file changes, asked by each request."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._file = path_of(settings)
        self._known: dict[str, ApiKey] = {}
        self._stamp: object = None
        self.needed = False
        self.look()

    def look(self) -> None:
        """Take over what was changed; a file that cannot be read lets nobody in until it can."""
        try:
            state = self._file.stat()
            stamp: object = (state.st_mtime_ns, state.st_size, state.st_ino)
        except FileNotFoundError:
            # Where keys were once needed they stay needed: a file that is lost opens nothing.
            stamp = None
        if stamp == self._stamp:
            return
        try:
            found = read(self._settings)
            self.needed = self.needed or bool(found)
        except UsageError:
            found, self.needed = [], True
        self._known, self._stamp = {one.id: one for one in found}, stamp

    def key_of(self, authorization: bytes) -> ApiKey | None:
        """The key in a header `Authorization: Bearer KEY`; None where it is none that stands."""
        scheme, _, given = authorization.partition(b" ")
        match = _KEY.fullmatch(given.strip().decode("latin-1")) if scheme.lower() == b"bearer" else None
        known = self._known.get(match[1]) if match else None
        # The same work for each: how long it takes does not tell which ids there are.
        same = hmac.compare_digest(_hash(match[2] if match else ""), known.hashed if known else _hash("nobody's"))
        return known if known is not None and same and known.stands(datetime.now(UTC)) else None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Rates:
    """How many requests each key has left: one bucket a key, shared by all workers that are forked from here."""

    _SLOTS = 4096
    _FORM = struct.Struct("dd")

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, self._SLOTS * self._FORM.size)
        # A lock of a file's bytes goes with a process that is killed.
        self._lock, name = tempfile.mkstemp(prefix="contender-rates-")
        Path(name).unlink()
        weakref.finalize(self, os.close, self._lock)

    def wait_seconds(self, key: ApiKey, now: float | None = None) -> float:
        """Zero where the request may go on, else after how long the next one may."""
        if key.per_minute <= 0:
            return 0.0
        now = time.monotonic() if now is None else now
        slot = zlib.crc32(key.id.encode()) % self._SLOTS
        rate = key.per_minute / 60
        fcntl.lockf(self._lock, fcntl.LOCK_EX, 1, slot)
        try:
            used, at = self._FORM.unpack_from(self._memory, slot * self._FORM.size)
            used = max(0.0, used - (now - at) * rate)
            wait = max(0.0, float(used + 1 - key.per_minute) / rate)
            if wait == 0:
                self._FORM.pack_into(self._memory, slot * self._FORM.size, used + 1, now)
            return wait
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN, 1, slot)
