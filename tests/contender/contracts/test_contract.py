import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from contender.contracts.contract import Contract, known_use_cases
from contender.contracts.sections import CANDIDATES, METRICS
from contender.contracts.terms import parse_duration, parse_newest
from contender.errors import ContractError, UnknownUseCase
from tests.conftest import CONTRACT, edited

DATA = Path(__file__).parents[3] / "data"
PAYMENTS = (DATA / "payments" / "contract.toml").read_text(encoding="utf-8")
METRIC = 'metric = "average_precision"'
BY_KEY = 'facts = { file = "facts.csv", key = { terminal_id = "terminal_id" }, columns = { terminal_id = { type = "text" } } }'


@pytest.fixture
def refusal(tmp_path):
    """What is said about the payments contract after an edit; {n} in `at` is the line of the edit."""

    def told(old: str, new: str) -> tuple[str, int]:
        assert old in PAYMENTS, f"the contract has no {old}"
        path = tmp_path / "payments" / "contract.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(PAYMENTS.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(ContractError) as caught:
            Contract.read(path)
        said = str(caught.value)
        assert said.startswith(str(path))
        assert "\n" not in said
        return said.removeprefix(str(path)), PAYMENTS[: PAYMENTS.index(old)].count("\n") + 1

    return told


@pytest.mark.parametrize("name", known_use_cases(DATA))
def test_every_contract_in_the_repository_parses(name):
    contract = Contract.of(name, DATA)

    assert contract.name == name
    assert contract.model_columns
    assert contract.folder == DATA / name


def test_the_payments_contract_has_every_section():
    contract = Contract.of("payments", DATA)

    assert set(contract.model_fields_set) >= {
        "records",
        "outcome",
        "history",
        "batch",
        "training",
        "judging",
        "scoring",
    }
    assert contract.outcome.matures_after == timedelta(days=10)
    assert contract.judging.newest == timedelta(days=28)
    assert contract.judging.thresholds["roc_auc"].min == 0.8
    assert contract.history["terminal_fraud_28d"].of_outcome
    assert "payment_id" not in [column.name for column in contract.model_columns], "the key tells nothing"


def test_a_contract_is_frozen():
    contract = Contract.of("payments", DATA)

    with pytest.raises(ValidationError, match="frozen"):
        contract.kind = "regression"
    with pytest.raises(ValidationError, match="frozen"):
        contract.judging.min_gain = 0.0


@pytest.mark.parametrize(
    ("old", "new", "key", "near"),
    [
        pytest.param('owner = "', 'ower = "', "ower", "owner", id="at the top"),
        pytest.param("[judging]", "[juging]\nx = 1\n[judging]", "juging", "judging", id="a section"),
        pytest.param("embargo =", "embargoo =", "judging.embargoo", "embargo", id="in a section"),
        pytest.param('unit = "EUR"', 'unti = "EUR"', "records.columns.amount.unti", "unit", id="in a column"),
        pytest.param(
            'take = "avg", of',
            'off = "x", take = "avg", of',
            "history.customer_amount_28d.off",
            "of",
            id="in a feature",
        ),
        pytest.param(
            "{ min = 0.8 }", "{ minn = 0.8 }", "judging.thresholds.roc_auc.minn", "min", id="three tables deep"
        ),
    ],
)
def test_an_unknown_key_names_the_line_the_key_and_the_nearest_one(refusal, old, new, key, near):
    said, _ = refusal(old, new)
    line = int(re.search(r"line (\d+)", said)[1])

    assert f"key '{key}'" in said
    assert f"did you mean '{near}'?" in said
    lines = PAYMENTS.replace(old, new, 1).splitlines()
    assert key.rsplit(".", 1)[-1] in lines[line - 1]


@pytest.mark.parametrize(
    ("old", "new", "key", "expected"),
    [
        pytest.param(
            "max_volume = 20.0", 'max_volume = "20"', "batch.max_volume", "found '20'", id="text for a number"
        ),
        pytest.param(
            "required = true", 'required = "yes"', "records.columns.payment_id.required", "found 'yes'", id="flag"
        ),
        pytest.param('kind = "binary"', 'kind = "binry"', "kind", "'binary', 'multiclass' or 'regression'", id="kind"),
        pytest.param('"28 days"\nembargo', '"28 dogs"\nembargo', "judging.newest", "'7 days'", id="duration"),
        pytest.param('embargo = "7 days"', "embargo = 7", "judging.embargo", "'7 days'", id="a number is no duration"),
        pytest.param('"28 days"\nembargo', '"120 %"\nembargo', "judging.newest", "between 0 % and 100 %", id="share"),
        pytest.param("max_bad_share = 0.05", "max_bad_share = 1.05", "batch.max_bad_share", "found 1.05", id="above 1"),
        pytest.param("max_bad_share = 0.05", "max_bad_share = -0.1", "batch.max_bad_share", "found -0.1", id="below 0"),
        pytest.param(
            "min = 0.01, max = 50000", "min = 9, max = 5", "records.columns.amount", "min <= max", id="min > max"
        ),
        pytest.param("warning = 0.1", "warning = 0.9", "scoring", "warning <= critical", id="bands out of order"),
        pytest.param(
            'known_at = "reported_at"',
            'known_at = "reported_at"\nknown_after = "1 day"',
            "outcome",
            "exactly one of 'known_after' and 'known_at'",
            id="both",
        ),
        pytest.param(
            "{ min = 0.8 }", "{ min = 0.8, max = 1 }", "judging.thresholds.roc_auc", "one of 'min'", id="sides"
        ),
        pytest.param("{ min = 0.8 }", "{ }", "judging.thresholds.roc_auc", "one of 'min'", id="no side"),
        pytest.param(METRIC, "", "judging.metric", "missing", id="missing"),
        pytest.param(
            'unit = "EUR"', 'values = ["1"]', "records.columns.amount", "type 'category'", id="set of numbers"
        ),
        pytest.param(
            '{ take = "avg", of = "amount",', '{ take = "avg",', "history.customer_amount_28d", "needs 'of'", id="of"
        ),
        pytest.param('name = "payments"', 'name = "Pay ments"', "name", "found 'Pay ments'", id="name with a space"),
    ],
)
def test_a_wrong_value_names_the_line_the_key_and_what_was_expected(refusal, old, new, key, expected):
    said, line = refusal(old, new)

    assert f"key '{key}'" in said
    assert expected in said
    named = int(re.search(r"line (\d+)", said)[1])
    section_or_key = PAYMENTS.replace(old, new, 1).splitlines()[named - 1]
    assert named == line or key.split(".")[0] in section_or_key, f"line {named} is {section_or_key!r}"


@pytest.mark.parametrize(
    ("old", "new", "where", "near"),
    [
        pytest.param('key = "payment_id"', 'key = "payment"', "records.key", "payment_id", id="key"),
        pytest.param('time = "paid_at"', 'time = "payd_at"', "records.time", "paid_at", id="time"),
        pytest.param('time = "paid_at"', 'time = "amount"', "records.time", None, id="a time that is none"),
        pytest.param("[outcome]", '[outcome]\nkey = "paymentid"', "outcome.key", "payment_id", id="outcome's key"),
        pytest.param(
            'by = ["customer_id"]', 'by = ["custmer_id"]', "history.customer_payments_1d.by", "customer_id", id="by"
        ),
        pytest.param('of = "amount"', 'of = "amuont"', "history.customer_amount_28d.of", "amount", id="of"),
        pytest.param(
            'of = "amount"', 'of = "outcome.charged"', "history.customer_amount_28d.of", "charged_back", id="of outcome"
        ),
        pytest.param('cluster = "customer_id"', 'cluster = "customer"', "judging.cluster", "customer_id", id="cluster"),
        pytest.param('slices = ["category"', 'slices = ["categry"', "judging.slices", "category", id="slices"),
        pytest.param(METRIC, 'metric = "rmse"', "judging.metric", None, id="metric of another kind"),
        pytest.param("{ roc_auc =", "{ roc_acu =", "judging.thresholds", "roc_auc", id="threshold of no metric"),
        pytest.param('"logistic", ', '"logistics", ', "training.candidates", "logistic", id="candidate"),
        pytest.param('"logistic", ', '"ridge", ', "training.candidates", None, id="candidate of another kind"),
        pytest.param(
            "[history]",
            f"[lookups]\n{BY_KEY.replace('{ terminal_id =', '{ terminal =', 1)}\n[history]",
            "lookups.facts.key",
            "terminal_id",
            id="key of a look-up",
        ),
    ],
)
def test_a_name_that_is_not_there_gives_the_line_and_the_nearest_one(refusal, old, new, where, near):
    said, _ = refusal(old, new)

    assert where in said
    if near:
        assert f"did you mean '{near}'?" in said
    named = int(re.search(r"line (\d+)", said)[1])
    text = PAYMENTS.replace(old, new, 1).splitlines()[named - 1]
    assert any(part in text for part in where.split(".")[1:]), f"line {named} is {text!r}"


TIMELESS = edited(
    CONTRACT,
    [('time = "ordered_at"\n', ""), ('newest = "7 days"', 'newest = "20 %"'), ('known_after = "2 days"\n', "")],
)


def test_records_without_a_time_need_not_say_when_an_outcome_is_known(tmp_path):
    path = tmp_path / "contract.toml"
    path.write_text(TIMELESS, encoding="utf-8")
    outcome = Contract.read(path).outcome

    assert (outcome.known_after, outcome.known_at) == (None, None)
    path.write_text(TIMELESS.replace("[outcome]", '[outcome]\nknown_after = "0 days"'), encoding="utf-8")
    assert Contract.read(path).outcome.known_after == timedelta(0)


def test_records_with_a_time_must_say_when_an_outcome_is_known(refusal):
    said, _ = refusal('known_at = "reported_at"', "")

    assert "expected exactly one of 'known_after' and 'known_at'" in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param('newest = "20 %"', 'newest = "28 days"', "judging.newest is 28 days", id="days to judge on"),
        pytest.param("[judging]", '[judging]\nembargo = "2 hours"', "judging.embargo is 120 minutes", id="an embargo"),
        pytest.param("[outcome]", '[outcome]\nmatures_after = "7 days"', "outcome.matures_after is 7", id="maturity"),
        pytest.param(
            "[batch]",
            '[history]\nx = { take = "count", by = ["shop"], over = "1 day" }\n\n[batch]',
            "history.x asks what came before",
            id="history",
        ),
    ],
)
def test_what_asks_for_a_time_is_refused_where_records_have_none(tmp_path, old, new, said):
    path = tmp_path / "contract.toml"
    path.write_text(edited(TIMELESS, [(old, new)]), encoding="utf-8")

    with pytest.raises(ContractError, match=said) as refused:
        Contract.read(path)
    assert "records.time names no column" in str(refused.value)


def test_a_look_up_with_its_key_among_its_columns_parses(tmp_path):
    path = tmp_path / "contract.toml"
    path.write_text(PAYMENTS.replace("[history]", f"[lookups]\n{BY_KEY}\n[history]", 1), encoding="utf-8")

    assert list(Contract.read(path).lookups) == ["facts"]


def test_a_column_in_both_records_and_outcome_is_refused_when_one_file_carries_both(refusal):
    said, _ = refusal('files = "outcomes-*.csv"', "")

    assert "'payment_id' is declared in both" in said


@pytest.mark.parametrize(("mark", "ends"), [("\ufeff", "\n"), ("", "\r\n"), ("\ufeff", "\r\n")])
def test_a_contract_saved_by_an_editor_of_windows_is_read(tmp_path, mark, ends):
    path = tmp_path / "payments" / "contract.toml"
    path.parent.mkdir()
    path.write_bytes((mark + PAYMENTS.replace("\n", ends)).encode())
    assert Contract.read(path) == Contract.read(DATA / "payments" / "contract.toml").model_copy(
        update={"folder": path.parent}
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b'name = "a"\nkind = binary\n', r"is not valid TOML: .*line 2", id="no quotes"),
        pytest.param(b'name = "a"\nname = "b"\n', r"is not valid TOML: .*line 2", id="a key twice"),
        pytest.param('name = "zahlung für"'.encode("cp1252"), "cannot be read as UTF-8", id="not UTF-8"),
        pytest.param(b"", "key 'name': this key is missing", id="empty"),
    ],
)
def test_a_file_that_is_no_contract_says_why(tmp_path, content, said):
    path = tmp_path / "contract.toml"
    path.write_bytes(content)

    with pytest.raises(ContractError, match=said) as caught:
        Contract.read(path)

    assert str(caught.value).startswith(str(path))


def test_a_name_unlike_its_folder_is_refused(tmp_path):
    shutil.copytree(DATA / "payments", tmp_path / "pay")

    with pytest.raises(ContractError, match=r"line 2: name is 'payments'; expected 'pay'"):
        Contract.of("pay", tmp_path)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        pytest.param("payment", "did you mean 'payments'?", id="nearly right"),
        pytest.param("xyz", "there is flights, payments.", id="nothing like it"),
        pytest.param("../payments", "did you mean 'payments'?", id="a path"),
    ],
)
def test_an_unknown_use_case_names_the_nearest(tmp_path, asked, said):
    for name in ("payments", "flights"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "contract.toml").touch()

    with pytest.raises(UnknownUseCase) as caught:
        Contract.of(asked, tmp_path / "data")

    assert str(caught.value) == f"There is no use case '{asked}'; {said}"


def test_without_any_use_case_the_advice_is_to_write_one(tmp_path):
    with pytest.raises(UnknownUseCase, match="contender init"):
        Contract.of("payments", tmp_path)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1 second", 1),
        ("90 minutes", 5400),
        ("1 hour", 3600),
        ("7 days", 604_800),
        ("2 weeks", 1_209_600),
        ("0 days", 0),
    ],
)
def test_a_duration_is_a_whole_number_and_a_unit(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "7", "days", "1.5 days", "-1 day", "1 month", "7days", "7 days ago", None, 7])
def test_anything_else_is_no_duration(text):
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "value"), [("20 %", 0.2), ("12.5%", 0.125), ("14 days", timedelta(days=14))])
def test_the_newest_rows_are_a_share_or_a_duration(text, value):
    assert parse_newest(text) == value


@pytest.mark.parametrize("text", ["0 %", "100 %", "250 %"])
def test_a_share_of_nothing_or_all_is_refused(text):
    with pytest.raises(ValueError, match="between 0 % and 100 %"):
        parse_newest(text)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_each_kind_has_metrics_and_candidates_of_its_own(kind):
    assert METRICS[kind]
    assert CANDIDATES[kind]
    assert ("rmse" in METRICS[kind]) == (kind == "regression")
