"""The version of the home: written into it at first use, and asked before anything in it is used.

From then on the home is open to its owner only, as lake, ledger and models are nobody else's business.
"""

import json
import os
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from contender.errors import OtherRelease
from contender.settings import Settings

NEEDED = 1
"""Goes up with what this release could not read, or would read wrongly, in a home of the release before."""


def check_home(settings: Settings) -> None:
    """Return if the home is one of this release; a new one is marked as such, where it can be written.

    Raises:
        OtherRelease: it was made before homes had a version, or by another release.
    """
    file = settings.home / "home.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        _begin(settings.home, file)
    except (OSError, ValueError):
        # A place without rights is told of by whoever needs it, and half a file is written by nobody.
        if file.is_file():
            raise _other(file, "nothing that can be read") from None
    else:
        version = found.get("version") if isinstance(found, dict) else None
        if version != NEEDED:
            by = f" (of release {found['release']})" if isinstance(found, dict) and "release" in found else ""
            raise _other(file, f"version {version}{by}", newer=isinstance(version, int) and version > NEEDED)


def _begin(home: Path, file: Path) -> None:
    # Of several that are the first, another may have written it since it was looked for, and opened a ledger.
    if any((*home.glob("ledger.db"), *home.glob("environments/*/ledger.db"))) and not file.is_file():
        raise _other(home, "a ledger, and no home.json with a version")
    with suppress(OSError):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Whoever was first may have made a folder in it before; what somebody else has made is theirs.
        if home.stat().st_uid == os.geteuid():
            home.chmod(0o700)
        # In one step, as several may be the first.
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps({"version": NEEDED, "release": _release()}), encoding="utf-8")
        part.replace(file)


def _release() -> str:
    try:
        return metadata.version("contender")
    except metadata.PackageNotFoundError:
        return "unknown"


def _other(store: Path, found: str, *, newer: bool = False) -> OtherRelease:
    return OtherRelease.of(str(store), found, f"version {NEEDED}", newer=newer)
