"""A draft made anew keeps what a person changed in the one before."""

import tomllib
from types import SimpleNamespace

import pytest

from contender.drafting import contract_merge
from contender.drafting.contract_merge import DraftRequest, KeptChange, LastDraft
from contender.errors import ContractError, UsageError

BEFORE = """\
name = "x"  # drafted
owner = ""

[records]
missing = ["", "NA"]  # seen

[records.columns]
age  = { type = "integer", min = 0, max = 90 }  # seen 3 to 80
"a.b" = { type = "category" }
gone = { type = "number" }

[judging]
min_gain = 0.01
"""
NEW = BEFORE.replace("max = 90 }  # seen 3 to 80", "max = 120 }  # seen 3 to 101").replace(
    'gone = { type = "number" }', 'fresh = { type = "number" }'
)


def changed(*changes):
    text = BEFORE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    ("changes", "differs", "kept"),
    [
        pytest.param((), {}, [], id="nothing"),
        pytest.param(
            [('owner = ""', 'owner = "me"')], {"owner": "me"}, [KeptChange("owner", '""', '"me"')], id="a value"
        ),
        pytest.param(
            [("min = 0, max = 90", "min = 18, max = 90")],
            {"age": {"type": "integer", "min": 18, "max": 120}},
            [KeptChange("records.columns.age.min", "0", "18")],
            id="one setting of a column, the rest of which is drafted anew",
        ),
        pytest.param(
            [(", max = 90", "")],
            {"age": {"type": "integer", "min": 0}},
            [KeptChange("records.columns.age.max", "120", None)],
            id="a setting that was taken out",
        ),
        pytest.param(
            [('"a.b" = { type = "category" }\n', "")],
            {"a.b": None},
            [KeptChange("records.columns.a.b", '{ type = "category" }', None)],
            id="a column that was taken out",
        ),
        pytest.param(
            [('{ type = "category" }', '{ type = "category", exclude = "no \\"right\\" to it" }')],
            {"a.b": {"type": "category", "exclude": 'no "right" to it'}},
            [KeptChange("records.columns.a.b.exclude", None, '"no \\"right\\" to it"')],
            id="a setting that was added",
        ),
        pytest.param(
            [("min_gain = 0.01\n", "min_gain = 0.01\n\n[costs]\nfalse_alarm = 2.0\n")],
            {"costs": {"false_alarm": 2.0}},
            [KeptChange("costs", None, "{ false_alarm = 2.0 }")],
            id="a section that was added",
        ),
        pytest.param(
            [('gone = { type = "number" }', 'gone = { type = "number", unit = "kg" }')],
            {"gone": {"type": "number", "unit": "kg"}},
            [KeptChange("records.columns.gone", None, '{ type = "number", unit = "kg" }')],
            id="a changed column that the files do not have any more",
        ),
        pytest.param([("max = 90", "max = 120")], {}, [], id="what the new draft says too"),
    ],
)
def test_what_a_person_changed_stays_and_all_else_is_drafted_anew(changes, differs, kept):
    text, found = contract_merge.merged(BEFORE, changed(*changes), NEW)

    expected = tomllib.loads(NEW)
    for name, value in differs.items():
        where = expected if name in ("owner", "costs") else expected["records"]["columns"]
        where[name] = value
        if value is None:
            del where[name]
    assert tomllib.loads(text) == expected
    assert found == kept
    assert "# seen 3 to 101" in text


def test_the_files_of_now_are_those_before_and_those_that_landed_since(tmp_path):
    contract = SimpleNamespace(
        records=SimpleNamespace(landing=str(tmp_path), files="sales-*.csv"),
        outcome=SimpleNamespace(files=None),
        lookups={},
    )
    for name in ("sales-1.csv", "sales-2.csv", "sales-10.csv.gz", ".sales-3.csv", "sales-4.csv.part", "other.csv"):
        (tmp_path / name).touch()
    asked = DraftRequest((str(tmp_path / "sales-1.csv"), str(tmp_path / "gone.csv")), "y", key="id")

    there = tuple(str(tmp_path / f"sales-{n}") for n in ("1.csv", "2.csv", "10.csv.gz"))
    assert asked.now(contract) == DraftRequest(there, "y", key="id")


def test_a_draft_comes_back_as_it_was_kept(tmp_path):
    (tmp_path / "contract.toml").write_text(BEFORE)
    last = LastDraft(DraftRequest(("ä.csv",), "C6H6(GT)", formats=("at=dd/MM/yyyy",)), BEFORE)
    last.write(tmp_path)

    assert LastDraft.read(tmp_path) == last


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2, "asked": {}, "toml": ""}', '{"version": 1}'])
def test_where_no_draft_is_known_nothing_is_guessed_about_changes(tmp_path, text):
    with pytest.raises(UsageError, match="leave --again out"):
        LastDraft.read(tmp_path)
    (tmp_path / "contract.toml").write_text(BEFORE)
    (tmp_path / ".draft.json").write_text(text)
    with pytest.raises(UsageError, match="nobody can say what a person changed"):
        LastDraft.read(tmp_path)


def test_what_is_no_contract_with_the_changes_replaces_none(tmp_path):
    (tmp_path / "contract.toml").write_text(BEFORE)
    with pytest.raises(ContractError, match="the new draft is no contract.*contract.toml is as it was"):
        contract_merge.refuse_unsound(tmp_path, BEFORE)
    assert (tmp_path / "contract.toml").read_text() == (tmp_path / "contract.toml.new").read_text() == BEFORE
