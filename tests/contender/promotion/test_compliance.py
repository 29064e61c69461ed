"""What production asks for."""

import pytest

from contender.contracts.contract import Contract
from contender.errors import ContractError, UsageError
from contender.promotion.compliance import candidates_in, proofs_of, refuse_missing_proofs
from tests.conftest import CONTRACT

EVERY = '["signature", "data card", "owner", "approved by", "data licence"]'


@pytest.fixture
def contract(tmp_path):
    def made(extra="", card=""):
        folder = tmp_path / "orders"
        folder.mkdir(exist_ok=True)
        (folder / "README.md").write_text(card)
        (folder / "contract.toml").write_text(CONTRACT.replace('kind = "binary"\n', f'kind = "binary"\n{extra}'))
        return Contract.read(folder / "contract.toml")

    return made


def with_list(contract, owner="", approved_by="", licence="", card=""):
    extra = (
        f'owner = "{owner}"\nlicence = "{licence}"\n[compliance]\nrequired = {EVERY}\napproved_by = "{approved_by}"\n'
    )
    return contract(extra, card)


def test_what_is_mandatory_and_missing_is_named_with_its_place(contract):
    found = with_list(contract, owner="desk")
    with pytest.raises(ContractError, match="5 proofs mandatory and 4 are missing") as refused:
        refuse_missing_proofs(found, proofs_of(found, signature=False))
    for words in ("signature", "README.md", "compliance.approved_by", "'licence'"):
        assert words in str(refused.value)
    assert "'owner'" not in str(refused.value)


def test_a_complete_list_passes(contract):
    found = with_list(contract, "desk", "the model board", "CC0", "word " * 30)
    refuse_missing_proofs(found, proofs_of(found, signature=True))


@pytest.mark.parametrize("card", [pytest.param("", id="empty"), pytest.param("too short", id="short")])
def test_a_data_card_that_says_nothing_is_missing(contract, card):
    assert proofs_of(with_list(contract, card=card), signature=True)["data card"] == ""


def test_a_blank_name_is_missing(contract):
    assert proofs_of(with_list(contract, owner="  "), signature=True)["owner"] == ""


def test_nothing_is_mandatory_unless_the_contract_says_so(contract):
    found = contract()
    refuse_missing_proofs(found, proofs_of(found, signature=False))


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ("dev", ("logistic", "random_forest", "boosting")),
        ("staging", ("logistic", "random_forest", "boosting")),
        ("prod", ("logistic",)),
    ],
)
def test_in_production_only_approved_candidates_are_searched(contract, environment, names):
    found = contract('[training]\napproved = ["logistic"]\n')
    assert candidates_in(found, environment) == names


def test_in_production_nothing_approved_means_nothing_trained(contract):
    with pytest.raises(UsageError, match="approves none of logistic"):
        candidates_in(contract(), "prod")
