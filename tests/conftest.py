import os
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

# Before NumPy and scikit-learn load, and for all commands that tests start: two workers share the cores, and threads of
# theirs would only spin while they wait for one another (a training took three times the processor's time).
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

from contender.contracts.contract import Contract
from contender.ingestion import batches, intake
from contender.lake import spark_session, tables
from contender.settings import Settings
from contender.values import Ingested

CONTRACT = """\
name = "orders"
question = "Will this order be sent back?"
kind = "binary"

[records]
files = "orders-*"
landing = "landing"
key = "order_id"
time = "ordered_at"
missing = ["", "NA"]

[records.columns]
order_id = { type = "text", required = true }
ordered_at = { type = "timestamp", required = true }
shop = { type = "category", required = true, values = ["a", "b", "c"], unseen = "quarantine" }
colour = { type = "category", values = ["red", "blue"], unseen = "accept" }
amount = { type = "number", required = true, min = 0, max = 1000 }
items = { type = "integer" }
express = { type = "boolean" }

[outcome]
files = "returns-*"
target = "returned"
known_after = "2 days"

[outcome.columns]
order_id = { type = "text", required = true }
returned = { type = "boolean", required = true }
refund = { type = "number" }

[batch]
max_bad_share = 0.2

[judging]
metric = "roc_auc"
newest = "7 days"
min_gain = 0.01

[scoring]
warning = 0.1
critical = 0.5
"""
ORDERS = "order_id,ordered_at,shop,colour,amount,items,express"
RETURNS = "order_id,returned,refund"
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Home:
    """One use case in a temporary folder: where it keeps things, what it promises, where files land."""

    settings: Settings
    contract: Contract
    landing: Path
    noon = NOON

    def land(self, name: str, *lines: str, header: str = "") -> Path:
        """A landed file of orders (or, by its name, of returns)."""
        header = header or (RETURNS if name.startswith("returns") else ORDERS)
        return self.land_bytes(name, ("\n".join([header, *lines]) + "\n").encode())

    def land_bytes(self, name: str, content: bytes) -> Path:
        path = self.landing / name
        path.write_bytes(content)
        return path

    def changed(self, *changes: tuple[str, str]) -> "Home":
        """The same home after its contract was edited."""
        path = self.contract.folder / "contract.toml"
        path.write_text(edited(path.read_text(), changes))
        return replace(self, contract=Contract.read(path))

    def plan(self, at: datetime = NOON) -> batches.BatchPlan | None:
        return batches.plan(self.settings, self.contract, self.landing, at)

    def take_in(self, at: datetime = NOON) -> tuple[Ingested, list]:
        """Plan and take in what has landed."""
        batch = self.plan(at)
        assert batch is not None
        return intake.take_in(self.settings, self.contract, batch, lambda _: None)

    def rows(self, table: str) -> list[dict]:
        found = tables.read_small(self.settings, self.contract.name, table)
        return [] if found is None else found.to_pylist()

    def keys(self, table: str) -> list[str]:
        return sorted(row["_key"] for row in self.rows(table))

    def reasons(self, batch: int | None = None) -> dict[tuple[str, int | None], list[str]]:
        """Why each quarantined row is there, by file and row."""
        return {
            (row["_file"], row["_row"]): row["reasons"]
            for row in self.rows("quarantine")
            if batch in (None, row["_batch"])
        }

    def counts(self) -> dict[int, Counter]:
        """Rows of each batch by table."""
        found: dict[int, Counter] = {}
        for table in ("records", "outcomes", "quarantine"):
            for row in self.rows(table):
                found.setdefault(row["_batch"], Counter())[table] += 1
        return found

    def log(self, batch: int) -> list[str]:
        return sorted(row["status"] for row in self.rows("files") if row["_batch"] == batch)


def edited(text: str, changes) -> str:
    for old, new in changes:
        assert old in text, f"the contract has no {old}"
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    """The one Spark session of all tests, set up to start soon: for tens of rows, compiling costs more than running."""
    home = tmp_path_factory.mktemp("spark")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        session = spark_session.session(Settings(home=home, spark_memory="1g"))
    session.conf.set("spark.sql.codegen.wholeStage", "false")
    session.conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")
    session.conf.set("spark.sql.shuffle.partitions", "1")
    yield session
    spark_session.stop()


@pytest.fixture(scope="session")
def make_home(tmp_path_factory):
    """Makes a home: `make_home((old, new), ..., extra="")` with these changes and additions to the contract."""

    def made(*changes: tuple[str, str], extra: str = "") -> Home:
        folder = tmp_path_factory.mktemp("home")
        use_case, landed = folder / "data" / "orders", folder / "landing"
        use_case.mkdir(parents=True)
        landed.mkdir()
        path = use_case / "contract.toml"
        path.write_text(edited(CONTRACT, changes) + extra)
        settings = Settings(home=folder / "home", use_cases=folder / "data", spark_memory="1g")
        return Home(settings, Contract.read(path), landed)

    return made


def pytest_collection_modifyitems(items):
    """What takes long begins first, so that no worker is left with it at the end; a file stays in one worker.

    A file says itself how long it may take, by its timeout; without one, slow tests come before the others.
    """
    of_file: dict[Path, list[pytest.Item]] = {}
    for item in items:
        of_file.setdefault(item.path, []).append(item)

    def turn(path: Path) -> tuple[float, bool]:
        timeouts = [mark.args[0] for item in of_file[path] for mark in item.iter_markers("timeout")]
        return -max(timeouts, default=0), not any(item.get_closest_marker("slow") for item in of_file[path])

    items[:] = [item for path in sorted(of_file, key=turn) for item in of_file[path]]


def pytest_configure(config):
    # Spark's gateway leaves closing its local sockets to the garbage collector.
    config.addinivalue_line("filterwarnings", "ignore:unclosed <socket.*127.0.0.1:ResourceWarning")
