"""Who is champion, and the verified copy of its files in the home: what answers when ledger and registry are gone.

One process, the keeper, reads the ledger and writes; workers read a file that is changed in one step, and need neither
SQL nor MLflow.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contender.errors import ContenderError, UntrustedModel
from contender.registry.model_files import digest_of
from contender.settings import Settings

_RECENT = 5
"""Champions whose copies are kept, so that a rollback waits for nothing."""
_AGAIN_SECONDS = 5.0
_CHECKED_SECONDS = 60.0


@dataclass(frozen=True)
class Title:
    """The champion as last seen in the ledger, and whether the ledger still answers.

    `version` is None where nobody was ever crowned. `silent_since` is ISO 8601 and None while the ledger answers;
    `behind` says why the newest champion cannot answer yet, where an earlier one does so in its place.
    """

    version: int | None = None
    digest: str = ""
    seq: int = 0
    crowned_at: str = ""
    seen_at: str = ""
    silent_since: str | None = None
    behind: str = ""
    recent: tuple[str, ...] = ()


def folder_of(settings: Settings, use_case: str) -> Path:
    """What is kept for one use case."""
    return settings.state / "serving" / use_case


def read(settings: Settings, use_case: str) -> Title:
    """The title as it was written last; nobody's where nothing was."""
    try:
        found = json.loads((folder_of(settings, use_case) / "title.json").read_text(encoding="utf-8"))
        return Title(**{**found, "recent": tuple(found["recent"])})
    except (OSError, ValueError, TypeError, KeyError):
        return Title()


def model_of(settings: Settings, use_case: str, digest: str) -> Path:
    """Folder of the copy of a model's files."""
    return folder_of(settings, use_case) / "models" / digest


class Keeper:
    """Follows the ledger of one use case, and keeps what workers need."""

    def __init__(self, settings: Settings, use_case: str, say: Callable[..., None]) -> None:
        self._settings, self._use_case, self._say = settings, use_case, say
        self._folder = folder_of(settings, use_case)
        self._title = read(settings, use_case)
        self._unwritten = False
        self._fetching: subprocess.Popen[bytes] | None = None
        self._fetched_at = self._checked_at = -1e9

    def look(self) -> Title:
        """Bring what is kept up to date with the ledger; cheap where nothing has changed."""
        if self._unwritten:
            self._write(self._title)
        try:
            entry = self._head()
        except ContenderError as error:
            self._keep_silence(str(error))
            return self._title
        if entry is None:
            # A ledger only grows: one that is empty after it was not has been lost.
            if self._title.version is not None:
                self._keep_silence("It has no entry any more; restore its database from a backup.")
            elif not self._title.seen_at:
                self._write(replace(self._title, seen_at=_now()))
            return self._title
        wanted = Title(
            entry.version, entry.model_digest, entry.seq, entry.at, _now(), recent=self._recent(entry.model_digest)
        )
        same = (wanted.version, wanted.digest, wanted.seq) == (
            self._title.version,
            self._title.digest,
            self._title.seq,
        )
        if self._has(entry.model_digest, entry.version):
            if not same or self._title.silent_since or self._title.behind:
                self._write(wanted)
                self._prune()
        else:
            why = f"Version {entry.version} is champion since {entry.at[:19]}; its files are not here yet."
            if self._title.behind != why:
                self._write(replace(self._title, behind=why, silent_since=None, seen_at=_now()))
        return self._title

    def close(self) -> None:
        """End what is still being fetched."""
        if self._fetching is not None and self._fetching.poll() is None:
            self._fetching.terminate()
            self._fetching.wait()

    def _head(self) -> Any:
        from contender.promotion import ledger

        url = self._settings.ledger
        if url.startswith("sqlite"):
            file = Path(url.partition(":///")[2])
            if not file.is_file():
                # Reading it would make an empty one.
                return None
        return ledger.head(self._settings, self._use_case)

    def _keep_silence(self, why: str) -> None:
        if self._title.silent_since is None:
            self._say("ledger silent", use_case=self._use_case, why=why)
            self._write(replace(self._title, silent_since=_now()))

    def _recent(self, digest: str) -> tuple[str, ...]:
        return (digest, *(one for one in self._title.recent if one != digest))[:_RECENT]

    def _has(self, digest: str, version: int) -> bool:
        """Whether the copy is there and whole; else it is fetched."""
        kept = model_of(self._settings, self._use_case, digest)
        now = time.monotonic()
        if kept.is_dir() and digest == self._title.digest and now - self._checked_at < _CHECKED_SECONDS:
            return True
        self._checked_at = now
        if _is_whole(kept, digest):
            return True
        source = self._settings.scratch_of(self._use_case) / "models" / digest
        if _is_whole(source, digest) and self._copy(source, kept, digest):
            return True
        self._fetch(version, digest)
        return False

    def _copy(self, source: Path, kept: Path, digest: str) -> bool:
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        coming = Path(tempfile.mkdtemp(prefix="coming-", dir=kept.parent))
        try:
            shutil.copytree(source, coming, dirs_exist_ok=True)
            if not _is_whole(coming, digest):
                return False
            if kept.exists():
                shutil.rmtree(kept)
            coming.rename(kept)
            return True
        except OSError as error:
            self._say("model not copied", use_case=self._use_case, why=str(error.strerror))
            return False
        finally:
            shutil.rmtree(coming, ignore_errors=True)

    def _fetch(self, version: int, digest: str) -> None:
        if self._fetching is not None and self._fetching.poll() is None:
            return
        if time.monotonic() - self._fetched_at < _AGAIN_SECONDS:
            return
        self._fetched_at = time.monotonic()
        self._say("fetching model", use_case=self._use_case, version=version)
        command = [sys.executable, "-m", "contender.serving.model_fetch", self._use_case, str(version), digest]
        here = f"CONTENDER_{self._settings.environment.upper()}"
        variables = {
            "CONTENDER_ENVIRONMENT": self._settings.environment,
            f"{here}_HOME": str(self._settings.home),
            f"{here}_USE_CASES": str(self._settings.use_cases),
        }
        self._fetching = subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.DEVNULL)

    def _prune(self) -> None:
        for kept in (self._folder / "models").glob("*"):
            if kept.name not in self._title.recent and not kept.name.startswith("coming-"):
                shutil.rmtree(kept, ignore_errors=True)

    def _write(self, title: Title) -> None:
        self._title = title
        # In one step, and under a name of its own: two servers may share a home.
        part = self._folder / f"title.{os.getpid()}.part"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.write_text(json.dumps(vars(title)), encoding="utf-8")
            part.replace(self._folder / "title.json")
        except OSError as error:
            # Workers read the file: until it can be written, each look tries again.
            if not self._unwritten:
                self._say("title not written", use_case=self._use_case, why=str(error.strerror))
            self._unwritten = True
        else:
            self._unwritten = False


def _is_whole(folder: Path, digest: str) -> bool:
    try:
        return folder.is_dir() and not folder.is_symlink() and digest_of(folder) == digest
    except (UntrustedModel, OSError):
        return False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
