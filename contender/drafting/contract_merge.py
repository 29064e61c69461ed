"""A new draft of a contract that keeps what a person changed since the last one."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import tomlkit
from tomlkit.items import InlineTable

from contender.contracts.contract import Contract
from contender.errors import ContractError, UsageError
from contender.ingestion import batches
from contender.ingestion.file_order import natural

_KEPT = ".draft.json"
_VERSION = 1


@dataclass(frozen=True)
class DraftRequest:
    """What a draft was asked for, as texts."""

    files: tuple[str, ...]
    target: str
    outcomes: tuple[str, ...] = ()
    key: str | None = None
    time: str | None = None
    kind: str | None = None
    formats: tuple[str, ...] = ()
    decimal: str | None = None
    lookups: tuple[str, ...] = ()
    header: bool | None = None

    def now(self, contract: Contract) -> "DraftRequest":
        """The same of the files that are there now: of those before, and of those that have landed since."""
        folder = Path(contract.records.landing).absolute()
        landed = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
        of: dict[str, list[str]] = {"records": [], "outcomes": []}
        for path in sorted(landed, key=lambda path: natural(path.name)):
            if source := batches.source_of(contract, path.name):
                of[source].append(str(path))
        files, outcomes = _there(self.files, of["records"]), _there(self.outcomes, of["outcomes"])
        return DraftRequest(**asdict(self) | {"files": files, "outcomes": outcomes})


@dataclass(frozen=True)
class LastDraft:
    """The draft before, as it was written, beside the contract that a person may have changed since."""

    asked: DraftRequest
    toml: str

    @classmethod
    def read(cls, folder: Path) -> Self:
        """That of a use case's folder.

        Raises:
            UsageError: there is no contract, or none that was drafted.
        """
        path = folder / "contract.toml"
        if not path.is_file():
            raise UsageError(f"There is no {path} to draft again; leave --again out to write the first.")
        try:
            kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
            asked: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in kept["asked"].items()
            }
            if kept["version"] != _VERSION:
                raise ValueError(kept["version"])
            return cls(DraftRequest(**asked), kept["toml"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(
                f"What {path} was drafted as is not known ({folder / _KEPT} tells it), so that nobody can say what a "
                "person changed; keep the contract, or give --overwrite."
            ) from None

    def write(self, folder: Path) -> None:
        """Keep it for the next time."""
        kept = {"version": _VERSION, "asked": asdict(self.asked), "toml": self.toml}
        (folder / _KEPT).write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class KeptChange:
    """An entry that stays as a person has it; None stands for no entry."""

    entry: str
    drafted: str | None
    kept: str | None


def merged(before: str, changed: str, drafted: str) -> tuple[str, list[KeptChange]]:
    """The new draft with what differs between the draft before and the contract of now.

    Args:
        before: the draft before.
        changed: the contract of now.
        drafted: the new draft.
    """
    document, kept = tomlkit.parse(drafted), list[KeptChange]()
    _keep(tomlkit.parse(before), tomlkit.parse(changed), document, "", kept)
    return tomlkit.dumps(document), kept


def refuse_unsound(folder: Path, toml: str) -> None:
    """Refuse a contract that cannot be one, before it takes the place of one that is.

    Raises:
        ContractError: what is wrong with it; it stands beside the contract, which is as it was.
    """
    beside = folder / "contract.toml.new"
    beside.write_text(toml, encoding="utf-8")
    try:
        Contract.read(beside)
    except ContractError as error:
        raise ContractError(
            f"With what you changed, the new draft is no contract: {error} It stands in {beside}; "
            f"{folder / 'contract.toml'} is as it was. Mend either, and run this again."
        ) from None
    beside.unlink()


def _keep(before: Any, changed: Any, drafted: Any, place: str, kept: list[KeptChange]) -> None:
    for name in [*changed, *(name for name in before if name not in changed)]:
        old, mine, new = (part.get(name) for part in (before, changed, drafted))
        if isinstance(mine, Mapping) and isinstance(new, Mapping):
            _keep(old if isinstance(old, Mapping) else {}, mine, new, f"{place}{name}.", kept)
        elif _plain(mine) != _plain(old) and _plain(mine) != _plain(new):
            kept.append(KeptChange(f"{place}{name}", _told(new), _told(mine)))
            if mine is None:
                del drafted[name]
            elif isinstance(drafted, InlineTable):
                drafted[name] = _plain(mine)
            else:
                drafted[name] = mine


def _plain(item: Any) -> Any:
    return item.unwrap() if hasattr(item, "unwrap") else item


def _told(item: Any) -> str | None:
    plain = _plain(item)
    if isinstance(plain, Mapping):
        return f"{{ {', '.join(f'{name} = {_told(value)}' for name, value in plain.items())} }}"
    return None if plain is None else str(tomlkit.item(plain).as_string())


def _there(known: tuple[str, ...], landed: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*(str(Path(one).absolute()) for one in known if Path(one).is_file()), *landed]))
