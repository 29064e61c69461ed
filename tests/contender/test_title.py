"""The title, with a real ledger and a real MLflow registry on SQLite: the ledger decides, the aliases follow."""

from dataclasses import replace
from datetime import datetime

import pytest

from contender import ledger, registry, title
from contender.errors import TitleError, UntrustedModel
from contender.settings import Settings
from contender.values import ModelVersion

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
    with registry.connected(settings) as client:
        client.create_registered_model(name)
        for number in (1, 2, 3):
            tags = {"digest": str(number) * 64, "trained_until": "2026-04-01", "validation_status": "pending"}
            client.create_model_version(name, (settings.home / "model").as_uri(), tags=tags)
            made.append(ModelVersion(name, number, "", "", tags["digest"], datetime.fromisoformat("2026-04-01")))
    return made


def crown(settings, version, after=None):
    return title.crown(settings, version, after=after, reason="better", by="test", evidence={})


def status(settings, version):
    with registry.connected(settings) as client:
        return client.get_model_version(version.name, str(version.version)).tags["validation_status"]


def test_nobody_holds_a_title_that_was_never_taken(settings, versions):
    assert title.holder(settings, versions[0].name) is None


def test_a_first_champion_is_crowned_and_a_second_promoted(settings, versions):
    name = versions[0].name
    first = crown(settings, versions[0])
    alone = registry.aliases(settings, name)
    title.mirror(settings, name, challenger=2)
    second = crown(settings, versions[1], after=first)

    assert (first.action, second.action) == ("crowned", "promoted")
    assert alone == {"champion": 1}
    assert registry.aliases(settings, name) == {"champion": 2, "previous": 1}, "who took the title challenges no more"
    assert status(settings, versions[1]) == "approved"
    assert title.holder(settings, name)[0] == second
    assert title.holder(settings, name)[1].version == 2


def test_who_decided_on_an_older_title_does_not_get_it(settings, versions):
    first = crown(settings, versions[0])
    crown(settings, versions[1], after=first)

    with pytest.raises(TitleError, match="changed in the meantime"):
        crown(settings, versions[2], after=first)

    assert registry.aliases(settings, versions[0].name)["champion"] == 2
    assert status(settings, versions[2]) == "pending"


def test_a_version_with_another_digest_than_was_approved_is_not_trusted(settings, versions):
    crown(settings, replace(versions[0], digest="f" * 64))

    with pytest.raises(UntrustedModel, match=r"111111111111…, but ffffffffffff… took the title"):
        title.holder(settings, versions[0].name)


@pytest.mark.parametrize("challenger", [None, 2, 3])
def test_a_command_cut_off_between_ledger_and_registry_is_caught_up_with(settings, versions, challenger):
    name = versions[0].name
    first = crown(settings, versions[0])
    title.mirror(settings, name, challenger=challenger)
    # All that `crown` does before it was killed.
    ledger.take_title(
        settings, name, version=versions[1], after=first, action="promoted", reason="better", by="test", evidence={}
    )

    changed = title.catch_up(settings, *title.holder(settings, name))
    again = title.catch_up(settings, *title.holder(settings, name))

    waiting = {"challenger": 3} if challenger == 3 else {}
    assert (changed, again) == (True, False)
    assert registry.aliases(settings, name) == {"champion": 2, "previous": 1} | waiting
    assert status(settings, versions[1]) == "approved"
