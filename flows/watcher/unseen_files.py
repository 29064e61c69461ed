"""What has landed and is not in the lake, found by a process of its own: what reads the lake keeps 100 MB for ever."""

import json
import subprocess
import sys
from pathlib import Path

from contender import error_text
from contender.contracts.contract import Contract
from contender.errors import ContenderError, Unavailable
from contender.ingestion.settling import Look
from contender.settings import Settings

_SECONDS = 1800
"""How long it may take to read, for the first time, all of the files that have landed."""


def find_unseen(use_case: str) -> dict[str, Look]:
    """The files of a use case that are not in the lake yet, nor refused, and how they looked.

    Raises:
        Unavailable: they cannot be found out; says why.
    """
    command = [sys.executable, "-m", "flows.watcher.unseen_files", use_case]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"What has landed for {use_case} was not read within {_SECONDS // 60} minutes.") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Unavailable(f"What has landed for {use_case} cannot be compared with the lake: {said[-1]}")
    return {path: Look(size, modified) for path, size, modified in json.loads(done.stdout)}


def _tell(use_case: str) -> int:
    from contender.ingestion import batches

    settings = Settings()
    try:
        contract = Contract.of(use_case, settings.use_cases)
        found = batches.unseen(settings, contract, Path(contract.records.landing).expanduser().absolute())
    except (ContenderError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - read by `find_unseen`
        return 1
    print(json.dumps([[file.path, file.size, file.modified] for file in found]))  # noqa: T201 - read by `find_unseen`
    return 0


if __name__ == "__main__":
    with error_text.process("unseen"):
        sys.exit(_tell(sys.argv[1]))
