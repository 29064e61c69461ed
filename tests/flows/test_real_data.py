"""The real data sets, as a person would take them on. They are not part of the product: without them these skip."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import mlflow
import pytest
from deltalake import DeltaTable

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("CONTENDER_REAL_DATA") or ROOT.parent / "shared" / "data")
CONTENDER = Path(sys.executable).with_name("contender")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (REAL / "flights").is_dir() or not (REAL / "bikes").is_dir(),
        reason=f"{REAL} does not hold flights/ and bikes/; CONTENDER_REAL_DATA may name another folder",
    ),
]


class Place:
    """A working folder with a home, a landing folder and, unless told otherwise, the repository's contracts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.landing = folder, folder / "home", folder / "landing"
        self.landing.mkdir()

    def land(self, pattern: str, every: int = 1) -> list[Path]:
        """Files of the real data, of each `every`-th row only."""
        landed = []
        for path in sorted(REAL.glob(pattern)):
            landed.append(self.landing / path.name)
            if every == 1:
                shutil.copyfile(path, landed[-1])
                continue
            with gzip.open(path, "rt") as whole, gzip.open(landed[-1], "wt") as thin:
                thin.writelines(line for row, line in enumerate(whole) if row == 0 or row % every == 1)
        assert landed, f"no file is like {pattern}"
        return landed

    def contender(self, *arguments: str | Path, use_cases: Path = ROOT / "data") -> subprocess.CompletedProcess[str]:
        foreign = ("CONTENDER_", "MLFLOW_", "PREFECT_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        ours = {"CONTENDER_HOME": str(self.home), "CONTENDER_USE_CASES": str(use_cases), "CONTENDER_SPARK_MEMORY": "1g"}
        return subprocess.run(
            [CONTENDER, *map(str, arguments)],
            cwd=self.folder,
            env=clean | ours,
            capture_output=True,
            text=True,
            check=False,
        )

    def keys(self, use_case: str, table: str) -> Counter:
        found = DeltaTable(self.home / "lake" / use_case / table).to_pyarrow_table(columns=["_key"])
        return Counter(found["_key"].to_pylist())

    def columns_of_champion(self, use_case: str) -> set[str]:
        """What the model that MLflow calls the champion asks for."""
        client = mlflow.MlflowClient(f"sqlite:///{self.home / 'mlflow.db'}")
        model_id = client.get_model_version_by_alias(use_case, "champion").tags["model_id"]
        written = Path(client.get_logged_model(model_id).artifact_location.removeprefix("file://"))
        return set(mlflow.models.Model.load(str(written)).signature.inputs.input_names())


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def document_of(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_every_record_is_scored_once(place: Place, use_case: str, document: dict) -> None:
    records, predictions = place.keys(use_case, "records"), place.keys(use_case, "predictions")
    assert set(predictions.values()) == {1}
    assert set(predictions) == set(records)
    assert document["records"] == document["predictions"] == document["scored"] == len(records)


@pytest.mark.soak
def test_flights_gets_a_champion_that_knows_nothing_from_after_departure(place):
    for name in (
        "flights/flights-2013-1[012]*",
        "flights/outcomes-2013-1[012]*",
        "flights/planes*",
        "flights/weather*",
    ):
        place.land(name)
    document = document_of(place.contender("run", "flights", "--landing", place.landing, "--json"))
    assert document["champion"]["version"] == 1
    assert document["quarantined"] == 0
    assert document["verdict"]["metric"] == "roc_auc"
    assert document["verdict"]["challenger_score"] > 0.6
    assert document["verdict"]["window"] == "2013-11-30 22:50..2013-12-31 22:50"
    assert_every_record_is_scored_once(place, "flights", document)
    columns = place.columns_of_champion("flights")
    assert {"carrier", "distance", "planes_seats", "weather_temp"} <= columns
    assert not {column for column in columns if column.endswith(("delay", "air_time", "time_hour", "flight_id"))}


@pytest.mark.soak
def test_bikes_gets_a_champion_without_the_columns_that_add_up_to_the_target(place):
    place.land("bikes/*")
    document = document_of(place.contender("run", "bikes", "--landing", place.landing, "--json"))
    assert document["champion"]["version"] == 1
    assert (document["records"], document["outcomes"], document["quarantined"]) == (17_379, 17_379, 0)
    assert document["verdict"]["metric"] == "rmse"
    assert document["verdict"]["challenger_score"] < 90
    assert_every_record_is_scored_once(place, "bikes", document)
    columns = place.columns_of_champion("bikes")
    assert {"observed_at", "temp", "workingday"} <= columns
    assert not {"casual", "registered", "cnt", "instant"} & columns


@pytest.mark.soak
def test_a_drafted_contract_of_flights_goes_through_without_an_edit(place):
    records = place.land("flights/flights-2013-1[12]*", every=3)
    outcomes = [
        option for path in place.land("flights/outcomes-2013-1[12]*", every=3) for option in ("--outcomes", path)
    ]
    place.land("flights/planes*")
    drafted = place.folder / "drafted"
    done = place.contender(
        "init",
        *records,
        "--name",
        "flights",
        "--target",
        "arr_delay > 15",
        *outcomes,
        "--lookup",
        "planes=planes.csv.gz:tailnum",
        use_cases=drafted,
    )
    assert done.returncode == 0, done.stderr
    document = document_of(place.contender("run", "flights", "--json", use_cases=drafted))
    assert document["champion"]["version"] == 1
    assert_every_record_is_scored_once(place, "flights", document)
    assert not {column for column in place.columns_of_champion("flights") if column.endswith(("delay", "air_time"))}


@pytest.mark.soak
def test_a_drafted_contract_of_bikes_goes_through_without_the_leak_and_without_an_edit(place):
    records = place.land("bikes/bikes-2012-0[1234]*")
    drafted = place.folder / "drafted"
    done = place.contender("init", *records, "--name", "bikes", "--target", "cnt", use_cases=drafted)
    assert done.returncode == 0, done.stderr
    assert "'casual' and 'registered' together reproduce the target" in done.stdout
    document = document_of(place.contender("run", "bikes", "--json", use_cases=drafted))
    assert document["champion"]["version"] == 1
    assert_every_record_is_scored_once(place, "bikes", document)
    assert not {"casual", "registered", "cnt"} & place.columns_of_champion("bikes")
