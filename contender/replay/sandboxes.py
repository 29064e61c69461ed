"""Scratch homes in which a history is played again: nothing in them touches the use case's own.

What arrives is the same for all policies and is taken in once, in the first world; the others look at its tables. What
a policy changes, predictions, checks, the title, the registry, each world has for itself.
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
class World:
    """A home of its own, and the contract that holds in it."""

    settings: Settings
    contract: Contract

    @property
    def landing(self) -> Path:
        return self.settings.home / "landing"


def found(settings: Settings, contract: Contract, folder: Path) -> World:
    """An empty world in a folder; whatever it writes, tables, ledger or registry, is below it."""
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
    world = World(own, alone)
    world.landing.mkdir(parents=True)
    return world


def branch(world: World, folder: Path, *, shared: bool = True) -> World:
    """A world in which all has gone as in this one.

    Args:
        shared: what arrives there arrives here; otherwise each goes its own way from now on.
    """
    other = found(world.settings, world.contract, folder)
    here, there = Path(world.settings.lake_of(world.contract.name)), Path(other.settings.lake_of(world.contract.name))
    there.mkdir(parents=True)
    for table in here.iterdir():
        if shared and (table.name in _SHARED or table.name.startswith("lookup_")):
            (there / table.name).symlink_to(table, target_is_directory=True)
        else:
            shutil.copytree(table, there / table.name)
    check_home(other.settings)
    for name in ("ledger.db", "mlflow.db"):
        _copy_database(world.settings.home / name, other.settings.home / name)
    return other


def _copy_database(source: Path, target: Path) -> None:
    """Also what is still in the journal beside the file."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
