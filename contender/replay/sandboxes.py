"""Scratch homes in which a history is played again: nothing in them touches the use case's own.

What arrives is the same for all policies and is taken in once, in the first sandbox; the others look at its tables.
What a policy changes, predictions, checks, the title, the registry, each sandbox has for itself.
"""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from contender.contracts.contract import Contract
from contender.home_version import check_home
from contender.settings import Settings

_SHARED = ("records", "outcomes", "quarantine", "files", "features")


@dataclass(frozen=True)
class Sandbox:
    """A home of its own, and the contract that holds in it."""

    settings: Settings
    contract: Contract

    @property
    def landing(self) -> Path:
        return self.settings.home / "landing"


def create(settings: Settings, contract: Contract, folder: Path) -> Sandbox:
    """An empty sandbox in a folder; whatever it writes, tables, ledger or registry, is below it."""
    home = folder / "home"
    own = settings.model_copy(
        update={
            "home": home,
            "environment": "dev",
            "lake": "",
            "ledger_url": "",
            "tracking_uri": f"sqlite:///{home / 'mlflow.db'}",
        }
    )
    # Nobody is there to agree; the page tells of titles as the judge gives them.
    alone = contract.model_copy(update={"approval": contract.approval.model_copy(update={"required": False})})
    sandbox = Sandbox(own, alone)
    sandbox.landing.mkdir(parents=True)
    return sandbox


def branch(sandbox: Sandbox, folder: Path, *, shared: bool = True) -> Sandbox:
    """A sandbox in which all has gone as in this one.

    Args:
        shared: what arrives there arrives here; otherwise each goes its own way from now on.
    """
    other = create(sandbox.settings, sandbox.contract, folder)
    name = sandbox.contract.name
    here, there = Path(sandbox.settings.lake_of(name)), Path(other.settings.lake_of(name))
    there.mkdir(parents=True)
    for table in here.iterdir():
        if shared and (table.name in _SHARED or table.name.startswith("lookup_")):
            (there / table.name).symlink_to(table, target_is_directory=True)
        else:
            shutil.copytree(table, there / table.name)
    check_home(other.settings)
    for database in ("ledger.db", "mlflow.db"):
        _copy_database(sandbox.settings.home / database, other.settings.home / database)
    return other


def _copy_database(source: Path, target: Path) -> None:
    """Also what is still in the journal beside the file."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
