"""Who answers follows the ledger: a first champion, a new one, a rollback; and what is gone does not stop it."""

import shutil
from dataclasses import replace

import pytest

from contender.promotion import ledger
from contender.serving import champions, title_copy
from tests.contender.serving.conftest import RECORD, ask, post

pytestmark = [
    pytest.mark.slow,
    # MLflow warns of its own type hints on import.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]


def score(app) -> tuple[int, float]:
    answer = post(app, {"data": [RECORD]})
    assert answer.status_code == 200, answer.text
    return answer.json()["model_version"], answer.json()["predictions"][0]["score"]


def test_before_a_first_champion_it_says_so_and_when_to_ask_again(place):
    place.keep()
    app = place.open()

    answer = post(app, {"data": [RECORD]})

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "no champion yet" in answer.json()["error"]
    assert ask(app, "GET", "/health/live").status_code == 200
    assert ask(app, "GET", "/health/ready").status_code == 503
    assert ask(app, "GET", "/ping").status_code == 503
    assert ask(app, "GET", "/v2/models/orders/ready").status_code == 503


def test_without_a_home_nothing_is_made_of_it(place, tmp_path):
    nowhere = replace(place, settings=place.settings.model_copy(update={"home": tmp_path / "none"}))

    nowhere.keep()

    assert not (tmp_path / "none" / "ledger.db").exists()
    assert post(nowhere.open(), {"data": [RECORD]}).status_code == 503


def test_a_champion_a_new_one_and_a_rollback_are_followed(place):
    keeper = place.keep()
    app = place.open()
    found = []

    for version in (place.versions[0], place.versions[1], place.versions[0]):
        place.crown(version)
        keeper.look()
        app.look()
        found.append(score(app))

    assert [version for version, _ in found] == [1, 2, 1]
    assert found[0] == found[2]
    assert found[0][1] != found[1][1]
    ready = ask(app, "GET", "/health/ready").json()["use_cases"]["orders"]
    assert (ready["version"], ready["ledger"]) == (1, "answers")


def test_an_answer_says_whether_arrays_gave_it_or_the_pipeline(place):
    keeper = place.keep()
    app = place.open()
    found = []
    for version in place.versions:
        place.crown(version)
        keeper.look()
        app.look()
        found.append(post(app, {"data": [RECORD]}).json()["answered_by"])

    assert found == ["arrays", "pipeline"]
    assert "without arrays" in ask(app, "GET", "/health/ready").json()["use_cases"]["orders"]["answered_by_pipeline"]


def test_a_title_that_could_not_be_written_is_written_as_soon_as_it_can(place):
    keeper = place.keep()
    app = place.open()
    file = title_copy.folder_of(place.settings, "orders") / "title.json"
    file.unlink()
    file.mkdir()
    place.crown(place.versions[0])
    for _ in range(2):
        keeper.look()
    assert [one["event"] for one in place.said].count("title not written") == 1

    file.rmdir()
    keeper.look()
    app.look()

    assert score(app)[0] == 1


def test_what_does_not_change_is_not_opened_again(place):
    place.crown(place.versions[0])
    keeper = place.keep()
    app = place.open()
    before = app.served["orders"].champion

    keeper.look()
    app.look()

    assert app.served["orders"].champion is before


def test_with_ledger_and_registry_gone_it_starts_from_its_copy_and_says_since_when(place):
    place.crown(place.versions[0])
    place.keep()
    expected = score(place.open())
    for name in ("ledger.db", "mlflow.db"):
        (place.settings.home / name).unlink()
    for name in ("artifacts", "scratch"):
        shutil.rmtree(place.settings.home / name)

    place.keep()
    app = place.open()

    assert score(app) == expected
    ready = ask(app, "GET", "/health/ready")
    told = ready.json()["use_cases"]["orders"]
    assert (ready.status_code, told["ledger"]) == (200, "silent")
    assert told["ledger_silent_since"]
    assert told["title_as_of"]
    assert not (place.settings.home / "ledger.db").exists()


def test_a_ledger_that_is_empty_all_at_once_takes_nobody_out_of_place(place):
    place.crown(place.versions[0])
    keeper = place.keep()
    app = place.open()
    (place.settings.home / "ledger.db").unlink()
    ledger.head(place.settings, "orders")

    keeper.look()
    app.look()

    assert score(app)[0] == 1


def test_a_copy_that_was_changed_does_not_answer_and_is_mended(place):
    place.crown(place.versions[0])
    place.keep()
    copy = title_copy.model_of(place.settings, "orders", place.versions[0].digest)
    (copy / "MLmodel").write_text((copy / "MLmodel").read_text() + "# changed\n")

    app = place.open()
    refused = post(app, {"data": [RECORD]})
    place.keep()
    mended = place.open()

    assert refused.status_code == 503
    assert "digest" in ask(app, "GET", "/health/ready").json()["use_cases"]["orders"]["behind"]
    assert score(mended)[0] == 1


def test_a_champion_whose_files_are_not_here_yet_lets_the_one_before_answer(place, monkeypatch):
    place.crown(place.versions[0])
    keeper = place.keep()
    app = place.open()
    shutil.rmtree(place.settings.scratch_of("orders") / "models" / place.versions[1].digest)
    asked = []
    monkeypatch.setattr(keeper, "_fetch", lambda version, digest: asked.append(version))
    place.crown(place.versions[1])

    keeper.look()
    app.look()

    assert score(app)[0] == 1
    assert asked == [2]
    assert "Version 2" in ask(app, "GET", "/health/ready").json()["use_cases"]["orders"]["behind"]


def test_whatever_breaks_while_a_champion_is_opened_is_tried_again(place, monkeypatch):
    place.crown(place.versions[0])
    place.keep()
    with monkeypatch.context() as patch:
        patch.setattr(champions, "open_champion", lambda *_: 1 / 0)
        app = place.open()
    broken = post(app, {"data": [RECORD]}).status_code
    app.served["orders"]._tried_at = -1e9

    app.look()

    assert broken == 503
    assert score(app)[0] == 1


def test_files_that_are_only_in_the_registry_are_fetched_from_it(place):
    shutil.rmtree(place.settings.scratch_of("orders"))
    place.crown(place.versions[1])

    keeper = place.keep()
    keeper._fetching.wait()
    keeper.look()

    assert score(place.open())[0] == 2


def test_a_champion_that_the_contract_cannot_ask_any_more_says_so(place):
    place.crown(place.versions[0])
    place.keep()
    columns = {name: one for name, one in place.contract.records.columns.items() if name != "colour"}
    records = place.contract.records.model_copy(update={"columns": columns})

    app = replace(place, contract=place.contract.model_copy(update={"records": records})).open()

    answer = post(app, {"data": [{name: value for name, value in RECORD.items() if name != "colour"}]})
    assert answer.status_code == 503
    assert "'colour'" in ask(app, "GET", "/health/ready").json()["use_cases"]["orders"]["behind"]
