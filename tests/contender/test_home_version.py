"""What other releases left behind is refused in one sentence that says how to start anew, and never read wrongly."""

import json
import os
import stat
from importlib import metadata

import psutil
import pyarrow as pa
import pytest

from contender import home_version
from contender.errors import OtherRelease, UntrustedModel
from contender.home_version import check_home
from contender.lake import tables
from contender.promotion import ledger
from contender.promotion.locks import at_work
from contender.registry import trusted_types
from contender.settings import Settings
from flows.prefect_api import discovery


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home")


def mark_of(settings):
    return settings.home / "home.json"


def test_a_new_home_is_marked_with_its_version_and_the_release_that_made_it(settings):
    check_home(settings)
    check_home(settings)
    marked = json.loads(mark_of(settings).read_text())
    assert marked == {"version": home_version.NEEDED, "release": metadata.version("contender")}
    assert [path.name for path in settings.home.iterdir()] == ["home.json"]


@pytest.mark.parametrize("first", [".", "logs"], ids=["nothing was there", "a folder was made in it before"])
def test_a_new_home_is_open_to_its_owner_only(settings, first):
    if first != ".":
        (settings.home / first).mkdir(parents=True)
    check_home(settings)
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700


def test_who_opens_a_home_to_others_later_is_left_alone(settings):
    check_home(settings)
    settings.home.chmod(0o750)
    check_home(settings)
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o750


def test_all_environments_of_a_home_have_one_mark(settings):
    check_home(settings)
    check_home(settings.model_copy(update={"environment": "prod"}))
    assert [path.name for path in settings.home.iterdir()] == ["home.json"]


def work(settings):
    with at_work(settings, "payments"):
        pass


def be_up(settings):
    with discovery.alone(settings):
        pass


def read_ledger(settings):
    ledger.head(settings, "payments")


@pytest.mark.parametrize("use", [read_ledger, work, be_up])
@pytest.mark.parametrize("place", ["ledger.db", "environments/prod/ledger.db"])
def test_a_home_of_before_versions_is_refused_by_whatever_uses_it_first(settings, use, place):
    old = settings.home / place
    old.parent.mkdir(parents=True)
    old.write_bytes(b"")
    with pytest.raises(OtherRelease, match=r"no home.json with a version, needed is version 1; .* CONTENDER_HOME away"):
        use(settings)
    assert old.read_bytes() == b""
    assert not mark_of(settings).exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"version": 2, "release": "0.9.0"}', r"version 2 \(of release 0.9.0\), needed is version 1; a later release"),
        ('{"version": 0}', "version 0, needed is version 1; it is too old"),
        ("{}", "version None"),
        ("[]", "version None"),
        ("half of", "nothing that can be read"),
    ],
)
def test_a_home_of_another_version_is_refused(settings, text, told):
    settings.home.mkdir()
    mark_of(settings).write_text(text)
    with pytest.raises(OtherRelease, match=told):
        check_home(settings)


def noted(settings, note):
    tables.replace_rows(settings, "payments", "features", pa.table({"number": [1]}), note=note)
    return tables.note_of(settings, "payments", "features")


def test_a_note_comes_back_as_it_was_written_with_its_version_kept_beside_it(settings):
    assert noted(settings, {"until": 3}) == {"until": 3}
    assert noted(settings, {}) == {}
    assert noted(settings, None) == {}
    delta = tables.opened(settings, "payments", "features")
    assert json.loads(delta.history(3)[2]["userMetadata"]) == {"version": 1, "until": 3}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"version": 2, "until": 3}', "a note of version 2, needed is one of version 1; a later release"),
        ('{"until": 3}', "a note without a version, needed is one of version 1; it is too old"),
        ("a digest", "a note without a version"),
    ],
)
def test_a_note_of_another_release_is_refused(settings, monkeypatch, text, told):
    monkeypatch.setattr(tables, "_written_down", lambda _: text)
    with pytest.raises(OtherRelease, match=f"The table 'features' of payments has {told}"):
        noted(settings, {})


@pytest.mark.parametrize("name", ["calibration.Calibrated", "estimator.LogTarget", "record_features.CategoryCodes"])
def test_a_model_whose_types_lay_elsewhere_is_called_old_and_not_untrusted(name):
    with pytest.raises(OtherRelease, match=rf"payments version 3 has contender\.{name}, needed .*; it is too old"):
        trusted_types._refuse([f"contender.{name}", "sklearn.Other"], "payments version 3")


@pytest.mark.parametrize(
    "name", ["contender.calibration.Calibrated.x", "x.contender.calibration.Calibrated", "os.system"]
)
def test_any_other_type_stays_untrusted(name):
    with pytest.raises(UntrustedModel, match="which no model of ours needs"):
        trusted_types._refuse([name], "payments version 3")


def running(settings, **changes):
    settings.running.mkdir(parents=True)
    me = psutil.Process()
    made = discovery.Running(os.getpid(), me.create_time(), "1", "now", ("payments",), "", "", "")
    discovery.record(settings, made)
    file = discovery.file_of(settings)
    document = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({name: value for name, value in document.items() if value is not None}))
    return made


def test_what_runs_is_found_by_a_command_of_its_release(settings):
    made = running(settings)
    assert json.loads(discovery.file_of(settings).read_text())["version"] == 1
    assert discovery.find_running(settings) == made


@pytest.mark.parametrize("changes", [{"version": None}, {"version": 2, "colour": "blue"}])
def test_what_another_release_runs_is_told_with_how_to_end_it(settings, changes):
    running(settings, **changes)
    with pytest.raises(OtherRelease, match=f"another release runs 'contender up' here, .* 'kill {os.getpid()}'"):
        discovery.find_running(settings)


def test_what_another_release_ran_before_the_machine_stopped_is_nothing(settings):
    running(settings, version=2, started=1.0)
    assert discovery.find_running(settings) is None
