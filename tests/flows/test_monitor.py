"""What the monitor makes of days that are quiet, broken or different: real flows in one home, day after day."""

import csv
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contender.contracts.contract import Contract
from contender.drift import detection
from contender.events import DEGRADED, DRIFT
from contender.features import exclusions
from contender.ingestion.batches import read_log
from contender.lake import tables
from contender.operations import notices
from contender.registry import model_versions
from contender.replay.payments_simulator import Simulation, write
from contender.retraining import diagnoses, next_action
from contender.settings import Settings
from flows.runtime.warm_up import engines
from tasks import monitoring, promotion
from tasks.run_log import rehearsing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # MLflow warns of its own type hints on import; Prefect and Spark leave closing sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

DATA = Path(__file__).parents[2] / "data"
PAYMENTS, DAYS, SEED = 16_000, 120, 20_260_101
SMALL = (
    (
        'candidates = ["logistic", "random_forest", "boosting"]',
        'candidates = ["logistic"]\ntrials = 1\nfolds = 2\nmin_rows = 300\nmin_per_class = 5',
    ),
    ("min_gain = 0.01", "min_gain = 0.001\nmin_rows = 100\nmin_per_class = 5"),
    ("thresholds = { roc_auc = { min = 0.8 }, brier = { max = 0.02 } }", "thresholds = { roc_auc = { min = 0.5 } }"),
    ("max = 50000 }", "max = 50000000 }"),
    ("[drift]\n", "[drift]\nmin_rows = 50\n"),
    ("[triage]\n", "[triage]\nmin_rows = 50\n"),
    ("max_loss = 0.07\n", "max_loss = 0.9\n"),
    ('cool_down = "12 hours"', 'cool_down = "1 second"'),
)


class Loop:
    """A use case whose days land one by one, in the working directory of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.days = folder, 0
        self.settings = Settings(home=folder / "home", use_cases=folder / "data", spark_memory="1g")

    @property
    def contract(self) -> Contract:
        return Contract.of("payments", self.settings.use_cases)

    @property
    def midnight(self) -> datetime:
        """The end of the last day that landed."""
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=self.days)

    def change(self, *changes) -> None:
        path = self.settings.use_cases / "payments" / "contract.toml"
        text = path.read_text()
        for old, new in changes:
            assert old in text, f"the contract has no {old}"
            text = text.replace(old, new)
        path.write_text(text)

    def land(self, days: int = 1, spoil=None) -> None:
        """So many more days, of whose payments some are changed."""
        first, self.days = self.days, self.days + days
        simulation = Simulation(seed=SEED, payments=PAYMENTS, days=self.days)
        write(simulation, self.folder / "landing" / "payments", first_day=first)
        if spoil is not None:
            path = self.folder / "landing" / "payments" / f"payments-{simulation.date_of(first)}.csv"
            with path.open(newline="") as file:
                rows = [spoil(row) for row in csv.DictReader(file)]
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)

    def take_in(self) -> None:
        from flows.ingest import ingest

        ingest("payments")

    def monitor(self, as_of: datetime | None = None):
        from flows.monitor import monitor

        return monitor("payments", as_of or self.midnight)

    def batch(self) -> int:
        return max(row["_batch"] for row in read_log(self.settings, "payments"))


@pytest.fixture(scope="module")
def unknown(tmp_path_factory, at_home):
    """A home in which payments have landed and nobody holds the title, and what the monitor said there."""
    loop = Loop(tmp_path_factory.mktemp("loop"))
    shutil.copytree(DATA / "payments", loop.folder / "data" / "payments")
    loop.change(*SMALL)
    loop.land(DAYS)
    with at_home(loop.settings, loop.folder), engines(loop.settings, loop.contract):
        yield loop, loop.monitor()


@pytest.fixture(scope="module")
def quiet(unknown):
    """A champion, one more day like the others, and what the monitor said of it."""
    from flows.pipeline import pipeline

    loop, _ = unknown
    pipeline("payments")
    loop.land()
    loop.take_in()
    return loop, loop.monitor()


@pytest.fixture(scope="module")
def in_cents(quiet):
    """A day whose amounts are in cents, as the monitor saw it, and saw it again."""
    loop, _ = quiet
    loop.land(spoil=lambda row: row | {"amount": f"{float(row['amount']) * 100:.2f}"})
    loop.take_in()
    return loop, loop.monitor(), loop.monitor(), loop.batch()


@pytest.fixture(scope="module")
def lost(in_cents):
    """A day whose distances are gone."""
    loop = in_cents[0]
    loop.land(spoil=lambda row: row | {"distance_from_home": ""})
    loop.take_in()
    return loop, loop.monitor(), loop.batch()


@pytest.fixture(scope="module")
def dearer(lost):
    """Three days on which all costs three times as much, each looked at, the last one twice."""
    loop, found = lost[0], []
    for _ in range(3):
        loop.land(spoil=lambda row: row | {"amount": f"{float(row['amount']) * 3:.2f}"})
        loop.take_in()
        found.append(loop.monitor())
    return loop, found, loop.monitor()


def notices_of(loop, kind):
    return [one.sentence for one in notices.newest(loop.settings, "payments", 50) if one.kind == kind]


def test_without_a_champion_there_is_nothing_to_compare_with(unknown):
    loop, checked = unknown
    assert "Nobody holds the title of payments yet" in checked.sentence
    assert checked.check is None
    assert checked.done is None
    assert tables.count(loop.settings, "payments", detection.TABLE) == 0


def test_a_day_like_the_others_is_nothing(quiet):
    loop, checked = quiet
    assert checked.done.diagnosis.name == "none", checked
    assert (checked.done.action, checked.done.event, checked.done.told) == ("nothing", "", False)
    assert checked.check.tested >= 10
    assert tables.count(loop.settings, "payments", detection.TABLE) >= len(checked.check.columns)
    assert checked.quality.estimated is not None or checked.quality.how


def test_evidentlys_page_is_written_and_kept_with_the_champions_run(quiet):
    loop, checked = quiet
    page = loop.settings.state / "reports" / "payments" / "drift.html"
    champion = model_versions.find(loop.settings, "payments", checked.check.model_version)
    with model_versions.connected(loop.settings) as client:
        kept = [one.path for one in client.list_artifacts(champion.run_id, "drift")]
    assert page.is_file()
    assert kept[0] == f"drift/{checked.check.start}.html"


def test_views_for_people_come_with_the_performance(quiet):
    loop, _ = quiet
    sql = (loop.settings.state / "views" / "payments" / "performance.sql").read_text()
    assert "THEN 'champion'" in sql
    assert tables.count(loop.settings, "payments", "performance") >= DAYS


def test_an_empty_window_is_not_enough_to_tell(quiet):
    loop, _ = quiet
    checked = loop.monitor(loop.midnight + timedelta(days=200))
    assert checked.done.diagnosis.name == "not enough to tell"
    assert checked.done.event == ""
    assert "0 rows" in checked.sentence


def test_amounts_in_cents_are_a_broken_feed_whose_batch_is_held_out_without_a_retrain(in_cents):
    loop, checked, _, batch = in_cents
    done = checked.done
    assert done.diagnosis.name == "broken feed", checked
    assert "100 times" in done.diagnosis.sentence
    assert [one.batch for one in exclusions.held_out(loop.settings, "payments")] == [batch]
    assert (done.action, done.event, done.told) == ("hold out", "", True)
    assert f"batch {batch}" in done.why


def test_the_same_finding_is_told_and_held_out_once(in_cents):
    loop, checked, again, batch = in_cents
    assert again.done.diagnosis == checked.done.diagnosis
    assert again.done.event == ""
    assert len([one for one in notices_of(loop, "broken feed") if f"batch {batch}" in one]) == 1
    assert [one.batch for one in exclusions.held_out(loop.settings, "payments")].count(batch) == 1
    assert next_action.last_diagnosis(loop.settings, "payments").hold_out is False


def test_lost_values_of_a_column_are_a_broken_feed(lost):
    loop, checked, batch = lost
    assert checked.done.diagnosis.name == "broken feed", checked
    assert "'distance_from_home' is missing in 100.0%" in checked.sentence
    assert batch in [one.batch for one in exclusions.held_out(loop.settings, "payments")]


def test_dearer_payments_are_a_shift_from_the_second_time_on_and_told_once(dearer):
    loop, found, again = dearer
    names = [checked.done.diagnosis.name for checked in found]
    assert names[0] == "none", "the broken days before it do not count"
    last = found[-1].done
    assert "broken feed" not in names, found
    assert names[-1] == "shift", last
    assert "amount" in last.columns
    assert (last.action, last.event, last.told) == ("watch", "", True)
    assert again.done.event == ""
    alarms = {checked.done.columns for checked in found if checked.done.diagnosis.name == "shift"}
    assert len(notices_of(loop, "drift")) == len(alarms)


def test_averages_in_which_broken_rows_still_count_are_known(dearer):
    loop, _, _ = dearer
    with rehearsing(lambda _: None):
        entry, champion = promotion.find_champion.fn(loop.settings, loop.contract)
        looked = monitoring.look_at_window.fn(
            loop.settings, loop.contract, entry, champion, loop.midnight, report=False
        )
    echoing = {column.name for column in looked.signs.columns if column.echoes}
    # The last broken day lies three days before the window.
    assert {"customer_amount_28d", "terminal_payments_7d"} <= echoing
    assert not echoing & {"amount", "distance_from_home", "customer_payments_1d"}


def test_a_shift_calls_for_a_retrain_where_the_contract_wants_it_and_once(dearer):
    loop, _, _ = dearer
    loop.change(("retrain = false", "retrain = true"))
    checked, again = loop.monitor(), loop.monitor()
    loop.change(("retrain = true", "retrain = false"))
    assert (checked.done.action, checked.done.event) == ("retrain", DRIFT), checked.done
    assert (again.done.action, again.done.event) == ("wait", DRIFT)
    assert "told before" in again.done.why


def test_quality_below_the_floor_calls_for_a_retrain_and_status_says_so(dearer):
    loop, _, _ = dearer
    loop.change(("[performance]\n", "[performance]\nfloor = 0.999\n"), ("min_outcomes = 200", "min_outcomes = 50"))
    checked, again = loop.monitor(), loop.monitor()
    assert checked.done.diagnosis.name == "decay", checked
    assert checked.done.diagnosis.decayed
    assert (checked.done.action, checked.done.event) == ("retrain", DEGRADED)
    assert again.done.action == "wait"
    assert len(notices_of(loop, "decay")) == 1
    following = next_action.next_action(loop.settings, loop.contract, datetime.now(UTC))
    assert (following.name, following.decayed) == ("retrain", True)
    assert "beyond the floor" in following.sentence


def test_every_look_is_kept_with_what_came_of_it(dearer):
    loop, _, _ = dearer
    kept = diagnoses.newest(loop.settings, "payments", 100)
    assert len(kept) >= 8
    assert {one.diagnosis.name for one in kept} >= {"none", "broken feed", "shift", "not enough to tell"}
    assert all(one.diagnosis.sentence and one.why for one in kept)


def test_the_command_prints_the_diagnosis_and_what_comes_of_it(dearer, capsys):
    from flows.cli.monitor import monitor
    from flows.cli.show import status_of

    loop, _, _ = dearer
    monitor.callback("payments", loop.midnight.replace(tzinfo=None), False, False)
    told = capsys.readouterr().out
    assert "Measured average_precision: 0." in told
    assert "What comes of it: " in told
    monitor.callback("payments", loop.midnight.replace(tzinfo=None), False, True)
    document = json.loads(capsys.readouterr().out)
    assert document["window"][1] == str(loop.midnight.date())
    assert document["diagnosis"]["action"] == "wait"
    assert "amount" in document["alarming"]
    (row,) = [status_of(loop.settings, "payments")]
    assert row["next"]["name"] in ("retrain", "wait")
