"""No false alarm on the three use cases, and the leak that bikes would have without its contract's care."""

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from contender.contracts.contract import Contract
from contender.replay.payments_simulator import Simulation, simulated_days
from contender.training.leakage import find_leaks
from contender.values import ModelColumn

ROOT = Path(__file__).parents[3]
REAL = Path(os.environ.get("CONTENDER_REAL_DATA") or ROOT.parent / "shared" / "data")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # MLflow, when it stores the samples of a training.
    pytest.mark.filterwarnings("ignore:Any type hint is inferred as AnyType:UserWarning"),
]
real = pytest.mark.skipif(
    not (REAL / "flights").is_dir() or not (REAL / "bikes").is_dir(),
    reason=f"{REAL} does not hold flights/ and bikes/; CONTENDER_REAL_DATA may name another folder",
)
REASON = "counted by a sensor an hour before"
PARTS = ("casual", "registered")


def read(pattern):
    return pd.concat([pd.read_csv(path) for path in sorted(REAL.glob(pattern))], ignore_index=True)


def conformed(frame, columns):
    """The columns as a model is given them."""
    made = {}
    for column in columns:
        values = frame[column.name]
        if column.kind == "time":
            made[column.name] = pd.to_datetime(values).astype("datetime64[s]").astype("int64").astype(float)
        else:
            made[column.name] = values.astype(float) if column.kind == "number" else values.astype(str).astype(object)
            made[column.name] = made[column.name].where(values.notna(), None if column.kind == "category" else np.nan)
    return pd.DataFrame(made)


def found_in(frame, y, use_case, *, more=()):
    contract = Contract.of(use_case, ROOT / "data")
    columns = [column for column in contract.model_columns if column.name in frame]
    columns += [ModelColumn(name, "number") for name in more]
    given = conformed(frame, columns)
    past = {*contract.history, contract.records.time}
    return find_leaks(given, y, kind=contract.kind, columns=columns, past=past, allowed={}, seed=1)


@real
def test_bikes_is_clean_and_its_parts_are_refused_together():
    frame = read("bikes/*.csv.gz")
    y = frame["cnt"].to_numpy(float)
    assert found_in(frame, y, "bikes") == ()
    together = found_in(frame, y, "bikes", more=PARTS)
    assert [(leak.kind, leak.features) for leak in together] == [("together", PARTS)]
    assert [found_in(frame, y, "bikes", more=[part]) for part in PARTS] == [(), ()]
    assert [leak.kind for leak in found_in(frame, y, "bikes", more=["cnt", "casual"])] == ["copy"]


@real
def test_flights_is_clean_with_its_planes_and_what_is_known_after_landing_is_refused():
    frame = read("flights/flights-*.csv.gz").merge(read("flights/outcomes-*.csv.gz"), on="flight_id")
    frame = frame[frame["arr_delay"].notna()].sort_values(["scheduled_at", "flight_id"], ignore_index=True)
    planes = pd.read_csv(REAL / "flights/planes.csv.gz").add_prefix("planes_")
    frame = frame.merge(planes, how="left", left_on="tailnum", right_on="planes_tailnum")
    y = (frame["arr_delay"] > 15).to_numpy(np.int64)
    assert found_in(frame, y, "flights") == ()
    tail = [ModelColumn("tailnum", "category"), ModelColumn("flight_id", "category")]
    names = conformed(frame, tail)
    assert find_leaks(names, y, kind="binary", columns=tail, past=(), allowed={}, seed=1) == ()
    assert [leak.kind for leak in found_in(frame, y, "flights", more=["arr_delay"])] == ["alone"]
    frame["reported"] = frame["arr_delay"].where(frame["arr_delay"] > 15)
    assert [leak.kind for leak in found_in(frame, y, "flights", more=["reported"])] == ["filled after the outcome"]


def test_payments_is_clean_and_what_is_filled_after_a_chargeback_is_refused():
    days = simulated_days(Simulation(seed=7, payments=60_000, days=60))
    frame = pd.concat([day.payments for day in days], ignore_index=True)
    y = frame["charged_back"].to_numpy(np.int64)
    assert 100 < y.sum() < 0.03 * len(y)
    assert found_in(frame, y, "payments") == ()
    frame["refund"] = frame["amount"].where((y == 1) & (np.arange(len(y)) % 50 > 0))
    assert [leak.kind for leak in found_in(frame, y, "payments", more=["refund"])] == ["filled after the outcome"]


@pytest.mark.soak
@real
def test_a_run_of_bikes_without_its_exclusions_ends_before_training_until_the_parts_are_allowed(tmp_path):
    use_case = tmp_path / "data" / "bikes"
    use_case.mkdir(parents=True)
    text = (ROOT / "data/bikes/contract.toml").read_text()
    lines = [line for line in text.splitlines() if line.startswith(PARTS)]
    kept = [line for line in text.splitlines() if line not in lines]
    at = next(row for row, line in enumerate(kept) if line.startswith("windspeed"))
    contract = use_case / "contract.toml"
    contract.write_text("\n".join([*kept[: at + 1], *lines, *kept[at + 1 :]]) + "\n")
    landing = tmp_path / "landing"
    landing.mkdir()
    for path in sorted(REAL.glob("bikes/bikes-2012-0[1234]*")):
        (landing / path.name).write_bytes(path.read_bytes())

    def run():
        foreign = ("CONTENDER_", "MLFLOW_", "PREFECT_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        ours = {"CONTENDER_HOME": f"{tmp_path}/home", "CONTENDER_USE_CASES": f"{tmp_path}/data"}
        command = [Path(sys.executable).with_name("contender"), "run", "bikes", "--landing", landing, "--json"]
        environment = {**clean, **ours, "CONTENDER_SPARK_MEMORY": "1g"}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    refused = run()
    assert refused.returncode == 1, refused.stdout
    assert "'casual' and 'registered' together reproduce the target with R2 1.0000" in refused.stderr
    client = mlflow.MlflowClient("sqlite:///" + str(tmp_path / "home" / "mlflow.db"))
    assert client.search_registered_models() == []

    allowed = "".join(f'{part} = "{REASON}"\n' for part in PARTS)
    contract.write_text(contract.read_text() + f"\n[leaks.allow]\n{allowed}")
    done = run()
    assert done.returncode == 0, done.stderr
    version = client.get_model_version_by_alias("bikes", "champion")
    for tags in (version.tags, client.get_run(version.run_id).data.tags):
        assert {part: tags[f"leak_allowed.{part}"] for part in PARTS} == dict.fromkeys(PARTS, REASON)
