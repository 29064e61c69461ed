"""MLflow's server stops, hangs or talks nonsense: every door says so soon, in one sentence, and goes on afterwards."""

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from _pytest.mark import ParameterSet
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from contender.contracts.contract import Contract
from contender.errors import Unavailable, UntrustedModel
from contender.registry import http_limits, mlflow_evaluation, model_versions, tracking
from contender.registry.model_files import Loaded
from contender.settings import Settings
from contender.values import ModelVersion, TableVersion
from tests.contender.faults import FAST, WAITING, Proxy, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # MLflow warns of its own type hints on import.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

# Promised are 15 s; what is above is for a machine that is busy with other things.
PROMISED, GRACE = 15, 5
CONTRACT = Contract.model_validate(
    {
        "name": "payments",
        "question": "Which one?",
        "kind": "binary",
        "records": {"files": "*.csv", "landing": "landing", "columns": {name: {"type": "number"} for name in "ab"}},
        "outcome": {"target": "y", "known_after": "1 day", "columns": {"y": {"type": "number"}}},
        "judging": {"metric": "roc_auc", "newest": "20 %", "min_gain": 0.01},
        "scoring": {"warning": 0.5, "critical": 0.8},
        "folder": Path("nowhere"),
    }
)
RANDOM = np.random.default_rng(7)
FRAME = pd.DataFrame({"a": RANDOM.normal(size=200), "b": RANDOM.normal(size=200)})
Y = (FRAME.a > 0).to_numpy().astype(np.int64)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with served(tmp_path_factory.mktemp("mlflow")) as made:
        yield made


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def _address(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.address.replace("//", "//someone:secret@"))
    yield
    proxy.switch("pass")


def log(settings: Settings) -> ModelVersion:
    return tracking.log_challenger(
        settings,
        CONTRACT,
        tracking.FittedModel(
            make_pipeline(LogisticRegression()).fit(FRAME, Y),
            "logistic",
            {"C": 1},
            [{"roc_auc": 0.7}],
            {"cv_roc_auc": 0.75},
            {"a": 0.5},
            seed=5,
        ),
        tracking.LearntRows(
            datetime.fromisoformat("2026-04-01"),
            FRAME.head(3),
            FRAME.assign(y=Y).head(50),
            np.arange(200, dtype=np.uint64),
            [(TableVersion("payments", "records", 0), "/lake/records")],
        ),
        git_revision=None,
    )


@pytest.fixture(scope="module")
def loaded(proxy: Proxy, settings: Settings) -> Loaded:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", proxy.address)
        version = log(settings)
        return model_versions.load(settings, version, version.digest)


def evaluate(settings: Settings, loaded: Loaded) -> Any:
    return mlflow_evaluation.evaluate(settings, CONTRACT, loaded, FRAME, Y, rows="judging rows")


CALLS: dict[str, Callable[[Settings, Loaded], Any]] = {
    "find": lambda settings, loaded: model_versions.find(settings, "payments", 1),
    "aliases": lambda settings, loaded: model_versions.aliases(settings, "payments"),
    "set_aliases": lambda settings, loaded: model_versions.set_aliases(
        settings, "payments", champion=1, previous=None, challenger=None
    ),
    "mark": lambda settings, loaded: model_versions.mark(settings, loaded.version, validation_status="approved"),
    "load": lambda settings, loaded: model_versions.load(settings, loaded.version, loaded.version.digest),
    "log_document": lambda settings, loaded: model_versions.log_document(
        settings, loaded.version.run_id, {"a": 1}, "verdict.json"
    ),
    "log_challenger": lambda settings, loaded: log(settings),
    "evaluate": evaluate,
}


def check(proxy: Proxy, call: Callable[[], Any]) -> str:
    """The sentence of a call that fails, in time and with the address."""
    began = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        call()
    seconds = time.monotonic() - (proxy.faulted_at or began)
    print(f"{seconds:.1f} s: {caught.value}")
    assert seconds < PROMISED + GRACE
    sentence = str(caught.value)
    assert proxy.address in sentence
    assert "secret" not in sentence
    assert "\n" not in sentence
    return sentence


def answers_matter(fault: str, name: str) -> bool:
    """Whether the call reads any answer: MLflow tells nothing of an upload that went well."""
    return name != "log_document" or fault not in ("empty", "cut", "too short", "too long")


def with_every_change(faults: Iterable[str]) -> list[ParameterSet]:
    """All pairs of a fault and a call: each fault meets two calls, the others soak; at once and after waiting, each call meets two faults."""
    turn = cycle(CALLS)
    kept = {(fault, name) for fault in faults for name in islice((n for n in turn if answers_matter(fault, n)), 2)}
    pairs = [pair for pair in product(faults, CALLS) if answers_matter(*pair)]
    return [pytest.param(*pair, marks=[] if pair in kept else pytest.mark.soak) for pair in pairs]


@pytest.mark.parametrize(("fault", "name"), with_every_change(FAST))
def test_a_fault_that_shows_at_once_is_told_at_once(
    fault: str, name: str, proxy: Proxy, settings: Settings, loaded: Loaded
) -> None:
    proxy.switch(fault)
    check(proxy, lambda: CALLS[name](settings, loaded))


@pytest.mark.parametrize(("fault", "name"), with_every_change(WAITING))
def test_a_fault_that_only_waiting_shows_is_told_after_the_longest_silence(
    fault: str, name: str, proxy: Proxy, settings: Settings, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_limits, "SILENCE_SECONDS", 1.0)
    proxy.switch(fault)
    check(proxy, lambda: CALLS[name](settings, loaded))


@pytest.mark.parametrize(
    ("fault", "name", "passed"),
    [
        pytest.param("refuse", "log_challenger", 8, id="the server is stopped while a model is logged"),
        pytest.param("503", "evaluate", 8, id="it is overloaded while one is judged"),
        pytest.param("hang", "log_challenger", 3, id="it hangs when a run has just begun"),
        pytest.param("trickle", "log_challenger", 12, id="an answer drips while files are uploaded"),
        pytest.param("hang", "load", 1, id="it hangs while files are downloaded"),
    ],
)
def test_a_fault_in_the_middle_of_many_requests_ends_them_all_in_time_and_is_forgotten(
    fault: str, name: str, passed: int, proxy: Proxy, settings: Settings, loaded: Loaded
) -> None:
    seen = len(proxy.requests) + passed
    proxy.switch_at(fault, lambda method, path: len(proxy.requests) > seen)
    check(proxy, lambda: CALLS[name](settings, loaded))
    proxy.switch("pass")
    assert log(settings).version > 1, "the run that was cut off is not in the way of the next"


def test_a_fault_that_mlflow_swallows_is_told_all_the_same(proxy: Proxy, settings: Settings, loaded: Loaded) -> None:
    proxy.switch_at("503", lambda method, path: path.endswith("/logged-models/search"))
    with (
        pytest.raises(Unavailable, match="no answer to the last request"),
        model_versions.connected(settings) as client,
        suppress(MlflowException),
    ):
        client.search_logged_models(["1"])


def test_a_server_that_is_slow_but_answers_is_waited_for(
    proxy: Proxy, settings: Settings, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.switch("slow")
    assert model_versions.find(settings, "payments", 1) == loaded.version
    monkeypatch.setattr(http_limits, "SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(http_limits, "SLOWEST_BYTES_PER_SECOND", 500)
    proxy.switch("steady")
    assert model_versions.find(settings, "payments", 1) == loaded.version


def test_files_that_arrive_cut_short_are_not_trusted(proxy: Proxy, settings: Settings, loaded: Loaded) -> None:
    proxy.switch_at("too short", lambda method, path: path.endswith("/MLmodel"))
    with pytest.raises((UntrustedModel, Unavailable)):
        model_versions.load(settings, loaded.version, loaded.version.digest)


def test_addresses_with_passwords_are_not_printed(
    settings: Settings, loaded: Loaded, capfd: pytest.CaptureFixture[str]
) -> None:
    evaluate(settings, loaded)
    said = capfd.readouterr()
    assert "secret" not in said.out + said.err
    assert said.out == ""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with MLflow's own database."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    made = Settings(home=tmp_path / "home")
    log(made)
    return made


@pytest.mark.parametrize("lock", ["immediate", "exclusive"])
def test_a_locked_database_is_told_in_time_and_forgotten(lock: str, own: Settings) -> None:
    holder = sqlite3.connect(own.home / "mlflow.db", isolation_level=None)
    holder.execute(f"begin {lock}")
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"mlflow.db does not answer \(database is locked\)"):
        log(own)
    print(f"{time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < PROMISED + GRACE
    holder.close()
    assert log(own).version == 2


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_a_database_whose_disk_is_gone_or_damaged_is_told_at_once(how: str, own: Settings) -> None:
    if how == "gone":
        shutil.rmtree(own.home)
    else:
        (own.home / "mlflow.db").write_bytes(b"x" * 100_000)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="mlflow.db does not answer"):
        model_versions.mark(
            own,
            ModelVersion("payments", 1, "", "", "", datetime.fromisoformat("2026-01-01")),
            validation_status="approved",
        )
    assert time.monotonic() - began < PROMISED + GRACE


def test_a_database_that_is_locked_before_it_was_ever_opened_is_told_in_time(own: Settings, tmp_path: Path) -> None:
    other = Settings(home=tmp_path / "other")
    other.home.mkdir()
    holder = sqlite3.connect(other.home / "mlflow.db", isolation_level=None)
    holder.execute("begin exclusive")
    began = time.monotonic()
    with pytest.raises(Unavailable, match="database is locked"):
        model_versions.aliases(other, "payments")
    assert time.monotonic() - began < PROMISED + GRACE
    holder.close()
    assert model_versions.aliases(other, "payments") == {}
