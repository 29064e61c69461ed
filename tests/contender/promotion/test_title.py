"""The title, with a real ledger and a real MLflow registry on SQLite: the ledger decides, the aliases follow."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from contender.contracts.loop_sections import Retraining
from contender.errors import ChampionGone, OtherRelease, TitleError, UntrustedModel, UsageError
from contender.promotion import ledger, title
from contender.promotion.database import alone
from contender.promotion.eligibility import Proven
from contender.registry import model_versions
from contender.retraining import next_action
from contender.settings import Settings
from contender.values import Decision, ModelColumn, ModelVersion
from tasks import promotion
from tasks.run_log import rehearsing
from tests.contender.verdicts import verdict_document

pytestmark = [
    pytest.mark.slow,
    # MLflow warns of its own type hints on import.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture
def versions(settings, request):
    """Three registered versions of a use case of this test's own."""
    name = f"case_{abs(hash(request.node.name))}"
    made = []
    with model_versions.connected(settings) as client:
        client.create_registered_model(name)
        for number in (1, 2, 3):
            tags = {
                "digest": str(number) * 64,
                "trained_until": "2026-04-01",
                "validation_status": "pending",
                "form": model_versions.FORM_VERSION,
            }
            client.create_model_version(name, (settings.home / "model").as_uri(), tags=tags)
            made.append(ModelVersion(name, number, "", "", tags["digest"], datetime.fromisoformat("2026-04-01")))
    return made


def giving(name, **columns):
    """A contract that gives a model these columns."""
    return SimpleNamespace(name=name, model_columns=[ModelColumn(one, kind) for one, kind in columns.items()])


def crown(settings, version, after=None, **evidence):
    entry = title.crown(settings, version.name, version, after=after, reason="better", by="test", evidence=evidence)
    title.follow_verdict(settings, version.name, version, Decision.PROMOTE)
    return entry


def status(settings, version):
    with model_versions.connected(settings) as client:
        return client.get_model_version(version.name, str(version.version)).tags["validation_status"]


def test_nobody_holds_a_title_that_was_never_taken(settings, versions):
    assert title.holder(settings, versions[0].name) is None


def test_a_first_champion_is_crowned_and_a_second_promoted(settings, versions):
    name = versions[0].name
    first = crown(settings, versions[0])
    alone = model_versions.aliases(settings, name)
    title.follow_verdict(settings, name, versions[1], None)
    second = crown(settings, versions[1], after=first)

    assert (first.action, second.action) == ("crowned", "promoted")
    assert alone == {"champion": 1}
    assert model_versions.aliases(settings, name) == {"champion": 2, "previous": 1}, (
        "who took the title challenges no more"
    )
    assert status(settings, versions[1]) == "approved"
    assert title.holder(settings, name)[0] == second
    assert title.holder(settings, name)[1].version == 2


def test_who_decided_on_an_older_title_does_not_get_it(settings, versions):
    first = crown(settings, versions[0])
    crown(settings, versions[1], after=first)

    with pytest.raises(TitleError, match="changed in the meantime"):
        crown(settings, versions[2], after=first)

    assert model_versions.aliases(settings, versions[0].name)["champion"] == 2
    assert status(settings, versions[2]) == "pending"


def test_a_version_with_another_digest_than_was_approved_is_not_trusted(settings, versions):
    crown(settings, replace(versions[0], digest="f" * 64))

    with pytest.raises(UntrustedModel, match=r"111111111111…, but ffffffffffff… took the title"):
        title.holder(settings, versions[0].name)


@pytest.mark.parametrize("challenger", [None, 2, 3])
def test_a_command_cut_off_between_ledger_and_registry_is_caught_up_with(settings, versions, challenger):
    name = versions[0].name
    first = crown(settings, versions[0])
    if challenger:
        title.follow_verdict(settings, name, versions[challenger - 1], None)
    # All that a retrain does before it was killed.
    ledger.take_title(
        settings, name, version=versions[1], after=first, action="promoted", reason="better", by="test", evidence={}
    )

    changed = title.repair(settings, name)
    again = title.repair(settings, name)

    waiting = {"challenger": 3} if challenger == 3 else {}
    assert (bool(changed), again) == (True, {})
    assert model_versions.aliases(settings, name) == {"champion": 2, "previous": 1} | waiting
    assert status(settings, versions[1]) == "approved"


@pytest.mark.parametrize("decision", ["KEEP", "INCONCLUSIVE"])
def test_a_challenger_that_was_refused_challenges_no_more_and_one_in_doubt_does(settings, versions, decision):
    name = versions[0].name
    crown(settings, versions[0])
    title.follow_verdict(settings, name, versions[1], None)
    # All that a comparison does before it was killed.
    ledger.record_verdict(settings, name, verdict_document(decision=Decision(decision)))

    repaired = title.repair(settings, name)

    assert repaired == ({"challenger": (2, None)} if decision == "KEEP" else {})
    assert title.repair(settings, name) == {}


def test_an_alias_that_somebody_moved_goes_back(settings, versions):
    name = versions[0].name
    crown(settings, versions[1], after=crown(settings, versions[0]))
    model_versions.set_aliases(settings, name, champion=3, previous=None, challenger=2)

    assert title.repair(settings, name) == {"champion": (3, 2), "previous": (None, 1), "challenger": (2, None)}
    assert model_versions.aliases(settings, name) == {"champion": 2, "previous": 1}


def test_who_mirrors_late_mirrors_the_title_of_now(settings, versions):
    """The entry is read only when nobody else mirrors: an older one cannot be written after a newer one."""
    name = versions[0].name
    first = crown(settings, versions[0])
    with ThreadPoolExecutor(1) as pool:
        with alone(settings, name):
            late = pool.submit(title.follow_verdict, settings, name, versions[0], Decision.PROMOTE)
            ledger.take_title(
                settings, name, version=versions[1], after=first, action="promoted", reason="r", by="test", evidence={}
            )
        late.result(timeout=60)

    assert model_versions.aliases(settings, name) == {"champion": 2, "previous": 1}


@pytest.mark.parametrize(
    ("decision", "challenges", "marked"),
    [
        pytest.param(None, 3, "pending", id="not judged yet"),
        pytest.param(Decision.INCONCLUSIVE, 3, "pending", id="in doubt"),
        pytest.param(Decision.PROMOTE, 3, "pending", id="waits for a person"),
        pytest.param(Decision.KEEP, None, "rejected", id="lost"),
    ],
)
def test_aliases_and_status_follow_a_verdict(settings, versions, decision, challenges, marked):
    name = versions[0].name
    crown(settings, versions[1], after=crown(settings, versions[0]))
    title.follow_verdict(settings, name, versions[2], None)
    for _ in range(2):
        title.follow_verdict(settings, name, versions[2], decision)

    waiting = {"challenger": challenges} if challenges else {}
    assert model_versions.aliases(settings, name) == {"champion": 2, "previous": 1} | waiting
    assert [status(settings, version) for version in versions] == ["approved", "approved", marked]


def test_a_late_refusal_leaves_the_next_challenger_where_it_is(settings, versions):
    name = versions[0].name
    crown(settings, versions[0])
    title.follow_verdict(settings, name, versions[2], None)
    title.follow_verdict(settings, name, versions[1], Decision.KEEP)

    assert model_versions.aliases(settings, name) == {"champion": 1, "challenger": 3}
    assert (status(settings, versions[1]), status(settings, versions[2])) == ("rejected", "pending")


def test_to_look_for_the_champion_writes_nothing(settings, versions):
    name = versions[0].name
    crown(settings, versions[0])
    model_versions.set_aliases(settings, name, champion=3, previous=None, challenger=2)
    contract = SimpleNamespace(name=name)

    with rehearsing(lambda _: None):
        assert promotion.find_champion.fn(settings, contract)[1].version == 1
        assert model_versions.aliases(settings, name) == {"champion": 3, "challenger": 2}
        promotion.repair_aliases.fn(settings, contract)
    assert model_versions.aliases(settings, name) == {"champion": 1, "challenger": 2}


def delete(settings, name, *numbers, whole=False):
    with model_versions.connected(settings) as client:
        for number in numbers:
            client.delete_model_version(name, str(number))
        if whole:
            client.delete_registered_model(name)


def test_a_champion_that_was_deleted_is_told_and_nobody_takes_its_place(settings, versions):
    name = versions[0].name
    crown(settings, versions[0])
    delete(settings, name, 1)

    for look in (title.holder, title.repair):
        with pytest.raises(ChampionGone, match=f"Version 1 of {name}, the champion, is gone from MLflow.*retrain"):
            look(settings, name)
    rival = title.to_beat(settings, giving(name))
    entry = rival.entry
    assert (entry.version, rival.version) == (1, None)
    assert rival.why.startswith("version 1, the champion, is gone from MLflow; the challenger was judged against")
    title.follow_verdict(settings, name, versions[1], None)
    assert model_versions.aliases(settings, name) == {"challenger": 2}
    # Who wins without it takes its title.
    crown(settings, versions[1], after=entry)
    assert title.holder(settings, name)[1].version == 2
    assert model_versions.aliases(settings, name) == {"champion": 2}


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        pytest.param({"a": "number", "b": "words", "c": "time"}, "", id="as it was"),
        pytest.param({"a": "number", "b": "category", "c": "number", "new": "text"}, "", id="more, and read alike"),
        pytest.param({"a": "number", "c": "time"}, "with 'b', which", id="one was taken away"),
        pytest.param({"a": "category", "b": "words"}, "with 'c', 'a' as numbers, which", id="one is read otherwise"),
    ],
)
def test_a_champion_that_cannot_be_asked_under_the_contract_need_not_be_beaten(settings, versions, columns, told):
    trained = {"a": "number", "b": "text", "c": "number"}
    entry = crown(settings, versions[0], inputs=trained)

    rival = title.to_beat(settings, giving(versions[0].name, **columns))
    assert (rival.entry, rival.version is None) == (entry, bool(told))
    assert told in rival.why
    if told:
        assert rival.why.endswith("; the challenger was judged against the dummy, as a first champion is")


def test_a_retrain_is_due_at_once_where_the_champion_cannot_be_asked_and_only_once(settings, versions):
    name = versions[0].name
    contract = giving(name, a="number")
    contract.retraining = Retraining()
    ledger.record_verdict(settings, name, verdict_document(challenger=1, at=datetime.now(UTC)))
    crown(settings, versions[0], inputs={"a": "number", "gone": "text"})

    due = next_action.due(settings, contract)
    assert (due.now, due.urgent) == (True, True)
    assert due.reason.startswith("version 1, the champion, was trained with 'gone', which the contract does not give")
    assert not next_action.due_with_outcomes(settings, contract).urgent, "without an outcome nothing can be trained"
    contract.model_columns += giving(name, gone="category").model_columns
    assert not next_action.due(settings, contract).now
    del contract.model_columns[-1]
    ledger.record_verdict(settings, name, verdict_document(challenger=2, champion=None, at=datetime.now(UTC)))
    assert not next_action.due(settings, contract).urgent, "who lost against the dummy would only be trained again"


def test_a_deleted_predecessor_is_no_obstacle(settings, versions):
    name = versions[0].name
    crown(settings, versions[1], after=crown(settings, versions[0]))
    delete(settings, name, 1)

    title.repair(settings, name)
    assert title.repair(settings, name) == {}
    assert model_versions.aliases(settings, name) == {"champion": 2}


def test_a_model_that_was_deleted_whole_gives_no_number_a_second_time(settings, versions):
    name = versions[0].name
    crown(settings, versions[1], after=crown(settings, versions[0]))
    delete(settings, name, whole=True)

    assert title.to_beat(settings, giving(name)).version is None
    with model_versions.connected(settings) as client:
        assert int(client.create_model_version(name, (settings.home / "model").as_uri()).version) == 3


def test_a_rollback_passes_over_a_version_that_was_deleted(settings, versions, monkeypatch):
    name = versions[0].name
    monkeypatch.setattr(title, "prove", lambda *_: Proven(1, {}))
    crown(settings, versions[2], after=crown(settings, versions[1], after=crown(settings, versions[0])))
    delete(settings, name, 2)

    assert title.rollback(settings, name, to=None, reason="worse", by="test").version == 1
    delete(settings, name, 3)
    with pytest.raises(UsageError, match=r"no champion of .* before version 1 .*; name one with --to"):
        title.rollback(settings, name, to=None, reason="worse", by="test")


def test_where_all_earlier_champions_were_deleted_a_rollback_says_so(settings, versions):
    name = versions[0].name
    crown(settings, versions[1], after=crown(settings, versions[0]))
    delete(settings, name, 1)

    with pytest.raises(UsageError, match=r"rolled back from \(version 1 was deleted in MLflow\)"):
        title.rollback(settings, name, to=None, reason="worse", by="test")


def history(*steps):
    """Entries of "promoted 2" or "rolled back 1", each after the one before it."""
    entries = []
    for seq, step in enumerate(steps, start=1):
        action, _, version = step.rpartition(" ")
        before = entries[-1].version if entries else None
        entries.append(ledger.LedgerEntry("c", seq, seq - 1, "", action, int(version), before, "r", "b", "{}", "d", ""))
    return entries


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param(["crowned 1"], None, id="nobody was before"),
        pytest.param(["crowned 1", "promoted 2"], 1, id="the one before"),
        pytest.param(["crowned 1", "promoted 2", "rolled back 1"], None, id="never back to a bad one"),
        pytest.param(["crowned 1", "promoted 2", "promoted 3", "rolled back 2"], 1, id="a second time goes further"),
        pytest.param(
            ["crowned 1", "promoted 2", "rolled back 1", "promoted 3"], 1, id="a bad one in between is passed over"
        ),
        pytest.param(
            ["crowned 1", "promoted 2", "rolled back 1", "promoted by hand 2", "promoted 3"],
            2,
            id="who takes the title again stands again",
        ),
        pytest.param(
            ["crowned 1", "promoted 2", "rolled back 1", "rolled back 2"], None, id="one that was named stands again"
        ),
        pytest.param(["crowned 1", "promoted 2", "promoted 3", "rolled back 1"], 2, id="one that was skipped stands"),
    ],
)
def test_a_rollback_goes_to_the_last_champion_that_still_stands(steps, expected):
    assert title.fallback(history(*steps)) == expected


@pytest.mark.parametrize(
    ("form", "told"), [("", "no form, needed is the form 1; it is too old"), ("2", "the form 2, .* a later release")]
)
def test_a_version_of_another_release_is_refused(settings, versions, form, told):
    first = versions[0]
    with model_versions.connected(settings) as client:
        if form:
            client.set_model_version_tag(first.name, "1", model_versions.FORM, form)
        else:
            client.delete_model_version_tag(first.name, "1", model_versions.FORM)
    with pytest.raises(OtherRelease, match=f"{first.name} version 1 has {told}"):
        model_versions.find(settings, first.name, 1)
