"""What must be in order before a model goes into production."""

from collections.abc import Mapping
from pathlib import Path

from contender.contracts.contract import Contract
from contender.contracts.loop_sections import Proof
from contender.errors import ContractError, UsageError
from contender.settings import Environment

_CARD_WORDS = 30
"""A data card of fewer words says neither what a row is nor where it came from."""


def proofs_of(contract: Contract, *, signature: bool) -> dict[Proof, str]:
    """What is there of each proof; an empty text where it is missing.

    Args:
        signature: whether the model has one.
    """
    card = contract.folder / "README.md"
    return {
        "signature": "input and output are declared" if signature else "",
        "data card": str(card) if _says_something(card) else "",
        "owner": contract.owner.strip(),
        "approved by": contract.compliance.approved_by.strip(),
        "data licence": contract.licence.strip(),
    }


def refuse_missing_proofs(contract: Contract, proofs: Mapping[Proof, str]) -> None:
    """Return only if all that the contract makes mandatory is there.

    Raises:
        ContractError: names everything that is missing, and where it belongs.
    """
    missing = [proof for proof in contract.compliance.required if not proofs[proof]]
    if missing:
        where = ", ".join(f"{proof} ({_PLACES[proof]})" for proof in missing)
        raise ContractError(
            f"{contract.folder / 'contract.toml'} makes {len(contract.compliance.required)} proofs mandatory and "
            f"{len(missing)} are missing: {where}. Add them and run the same command again."
        )


def candidates_in(contract: Contract, environment: Environment) -> tuple[str, ...]:
    """The candidates that may be searched: in production only approved ones.

    Raises:
        UsageError: it is production, and the contract approves none of its candidates.
    """
    if environment != "prod":
        return contract.candidates
    approved = tuple(name for name in contract.candidates if name in contract.training.approved)
    if not approved:
        raise UsageError(
            f"In prod only approved candidates may be searched, and {contract.folder / 'contract.toml'} approves none "
            f"of {', '.join(contract.candidates)}; name them in training.approved, or release a model from staging."
        )
    return approved


_PLACES: dict[Proof, str] = {
    "signature": "of the model: train it again",
    "data card": f"a README.md beside the contract, of at least {_CARD_WORDS} words",
    "owner": "key 'owner'",
    "approved by": "key 'compliance.approved_by'",
    "data licence": "key 'licence'",
}


def _says_something(card: Path) -> bool:
    try:
        return len(card.read_text(encoding="utf-8").split()) >= _CARD_WORDS
    except (OSError, UnicodeDecodeError):
        return False
