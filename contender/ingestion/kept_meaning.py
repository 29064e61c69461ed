"""What the rows in the lake were read as: rows of another key, time or target are none to learn from beside them."""

from contender.contracts.contract import Contract
from contender.errors import ContractError
from contender.lake import tables
from contender.lake.tables import Note
from contender.settings import Settings

_TABLE = "records"
_MARK = "target"


def note(contract: Contract) -> Note:
    """The part of a contract that gives every accepted row its meaning, to be kept with the rows."""
    return {
        "key": contract.records.key or "none",
        "time": contract.records.time or "none",
        _MARK: contract.outcome.target,
        "kind": contract.kind,
    }


def changes(settings: Settings, contract: Contract) -> dict[str, tuple[str, str]]:
    """What the contract says otherwise than that of the newest rows: by entry, what was and what is."""
    kept, now = tables.last_note(settings, contract.name, _TABLE, _MARK), note(contract)
    return {entry: (str(kept[entry]), str(now[entry])) for entry in now if kept and kept.get(entry) != now[entry]}


def refuse_changes(settings: Settings, contract: Contract) -> None:
    """Refuse a contract whose rows would mean something else than those that are there.

    Raises:
        ContractError: says what has changed, and the two ways out.
    """
    if found := changes(settings, contract):
        told = " and ".join(f"{entry} {now!r} instead of {was!r}" for entry, (was, now) in found.items())
        raise ContractError(
            f"{contract.folder / 'contract.toml'} now has {told}, and all that {contract.name} has taken in, learnt "
            "and scored is by the old one. Put it back, or begin a use case of another name ('contender init ... "
            f"--name NEW'); what {contract.name} has stays as it is."
        )
