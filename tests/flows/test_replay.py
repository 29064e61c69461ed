"""`contender replay`: a history played again in worlds of its own, and told by the outcomes known in the end."""

import sys
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from contender.contracts.contract import Contract
from contender.errors import UsageError
from contender.performance.quality_readings import Readings
from contender.settings import Settings
from flows import replay
from flows.cli.main import main
from flows.cli.replay import length_of, lines_of
from tasks import announcements, run_log

# MLflow warns of its own type hints on import.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")

CONTRACT = """\
name = "power"
question = "How much power will be drawn in this hour?"
kind = "regression"

[records]
files = "power-*.csv"
landing = "landing/power"
key = "hour_id"
time = "hour"

[records.columns]
hour_id = { type = "integer", required = true }
hour = { type = "timestamp", required = true }
warmth = { type = "number", required = true }
sun = { type = "number", required = true }

[outcome]
files = "drawn-*.csv"
target = "kilowatts"
known_after = "1 day"
matures_after = "1 day"

[outcome.columns]
hour_id = { type = "integer", required = true }
kilowatts = { type = "number", required = true }

[training]
candidates = ["ridge"]
trials = 1
folds = 2
window = "6 days"
min_rows = 50

[judging]
metric = "rmse"
newest = "5 days"
min_gain = 0.05
min_rows = 50

[drift]
window = "7 days"

[performance]
window = "7 days"
past = "14 days"
min_outcomes = 100
max_loss = 0.5

[costs]
currency = "EUR"
per_error = 1
retrain = 3

[scoring]
warning = 20
critical = 30
"""
FIRST = date(2026, 1, 1)


@pytest.fixture
def place(tmp_path):
    """A folder with the use case, and nothing landed."""
    folder = tmp_path / "data" / "power"
    folder.mkdir(parents=True)
    (folder / "contract.toml").write_text(CONTRACT)
    return tmp_path


def land(place, days, changed):
    """So many days; on one of them the sun begins to count the other way round."""
    landing = place / "landing" / "power"
    landing.mkdir(parents=True)
    rng, rows = np.random.default_rng(4), 24 * days
    hours = pd.date_range(FIRST.isoformat(), periods=rows, freq="h")
    frame = pd.DataFrame(
        {"hour_id": range(rows), "hour": hours, "warmth": rng.normal(10, 3, rows), "sun": rng.normal(5, 2, rows)}
    )
    sign = np.where(np.arange(rows) < 24 * changed, 1, -1)
    drawn = (20 - frame["warmth"] + sign * 2 * frame["sun"] + rng.normal(0, 1, rows)).round(3)
    frame.round(3).to_csv(landing / "power-all.csv", index=False)
    frame[["hour_id"]].assign(kilowatts=drawn).to_csv(landing / "drawn-all.csv", index=False)


@pytest.fixture
def run(place, at_home):
    """Plays again in this process."""
    with at_home(Settings(home=place / "home", use_cases=place / "data"), place) as command:
        yield partial(command, "replay")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_history_is_played_again_and_measured_by_what_was_known_in_the_end(place, run):
    land(place, days=40, changed=26)
    (ours,) = played(place, run, ["contender"], days=14, periods=2)
    assert ours["periods"][0]["version"] == 1
    assert ours["retrains"] >= 1
    assert {alarm["name"] for period in ours["periods"] for alarm in period["alarms"]}


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_who_retrains_after_a_change_gets_over_it_and_who_never_does_not(place, run):
    land(place, days=72, changed=38)
    never, ours = played(place, run, ["never", "contender"], days=20, periods=3)
    # All begin with the same champion.
    assert [one["periods"][0]["version"] for one in (never, ours)] == [1, 1]
    assert (never["retrains"], never["promotions"]) == (0, 0)
    assert ours["promotions"] >= 1
    assert ours["periods"][-1]["quality"] < never["periods"][-1]["quality"] / 2
    named = {alarm["name"] for period in ours["periods"] for alarm in period["alarms"]}
    assert "decay" in named
    assert never["saved"] == pytest.approx(never["cost"] - ours["cost"])
    assert never["saved_interval"]["low"] > 0


def played(place, run, policies, *, days, periods):
    """What is told of these policies after so many periods, once it is seen to hold."""
    asked = [option for policy in policies for option in ("--policy", policy)]
    told = run("power", *asked, "--every", f"{days} days", "--keep", "--json").document
    courses = told["courses"]
    assert [course["policy"] for course in courses] == policies

    # Every record of the time after the first champion is in one period, scored once.
    begun = date.fromisoformat(told["begun"])
    assert begun == FIRST + timedelta(days=12)
    for course in courses:
        rows = [period["rows"] for period in course["periods"]]
        assert rows == [24 * days] * periods
        assert [period["outcomes"] for period in course["periods"]] == rows

    # Quality and cost are those of the predictions as they were made live.
    lakes = place / "home" / "replays" / "power"
    for course in courses:
        errors = _errors(lakes / course["policy"] / "home" / "lake" / "power")
        for period in course["periods"]:
            mine = errors[(errors["day"] >= period["start"]) & (errors["day"] < period["end"])]["error"]
            assert period["quality"] == pytest.approx(float(np.sqrt((mine**2).mean())), rel=1e-6)
            assert period["cost"] == pytest.approx(float(mine.abs().sum()), rel=1e-6)
            assert period["interval"]["low"] < period["quality"] < period["interval"]["high"]

    # The use case's own home is as it was.
    assert not {"lake", "ledger.db", "mlflow.db", "artifacts"} & {path.name for path in (place / "home").iterdir()}
    page = Path(told["page"]).read_text(encoding="utf-8")
    assert f"{courses[-1]['quality']:.4g}"[:5] in page
    assert all(
        alarm["name"] in page for course in courses for period in course["periods"] for alarm in period["alarms"]
    )
    return courses


@pytest.mark.slow
def test_a_history_that_is_too_short_is_refused_and_nothing_is_left_behind(place, run):
    land(place, days=20, changed=20)
    short = run("power", "--to", "2026-01-10")
    assert short.code == 2
    assert "12 are needed before the first champion of power" in short.err
    assert not (place / "home" / "replays" / "power").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["payments", "--policy", "allways"], "There is no policy 'allways'", id="unknown policy"),
        pytest.param(["payments", "--inject", "unitbug"], "unit-bug", id="unknown scenario, nearest named"),
        pytest.param(["flights", "--inject", "unit-bug"], "simulated payments only", id="not of payments"),
        pytest.param(["payments", "--every", "5 hours"], "whole days, such as '7 days'", id="no whole days"),
        pytest.param(["payments", "--every", "soon"], "--every is 'soon'", id="no length"),
        pytest.param(["paymens"], "did you mean 'payments'?", id="unknown use case"),
        pytest.param(
            ["payments", "--from", "2026-05-01", "--to", "2026-04-01"], "is not after", id="ends before it begins"
        ),
        pytest.param(["payments", "--from", "2026-04-01", "--to", "2026-05-01"], "30 days; 76 are needed", id="short"),
    ],
)
def test_wrong_use_is_one_sentence(arguments, said, monkeypatch, tmp_path):
    monkeypatch.setenv("CONTENDER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("flows.runtime.exits.leave", sys.exit)
    done = CliRunner().invoke(main, ["replay", *arguments])
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("contender:") == 1


def test_nobody_hears_of_what_is_played_again(monkeypatch):
    def fail(*_args, **_kwargs):
        raise AssertionError("somebody was told")

    monkeypatch.setattr(announcements, "emit_event", fail)
    monkeypatch.setattr(announcements.delivery, "notify", fail)
    monkeypatch.setattr(run_log, "stored", fail)
    lines = []
    with run_log.rehearsing(lines.append):
        with run_log.step_log() as tell:
            tell("a step")
        run_log.show("power", "drift", "a page", [])
        announcements.announce(Settings(), None)
        announcements.tell_finding(Settings(), _Named(), _found(), None, Readings("rmse", None, None, ""), notify=True)
    assert lines == ["a step"]
    assert not run_log.is_rehearsal()


@pytest.mark.parametrize("quality", [0.123456, 204.3580123])
def test_the_table_of_policies_fits_the_terminal_and_its_columns_stay_apart(quality):
    from contender.replay.replay_results import Course, Replay
    from contender.values import Interval

    ends = Interval(quality - 1.0123456, quality + 5.571429)
    course = Course(
        "performance", (), quality, ends, 1_234_567.0, 90.0, 60.0, 12_345.0, Interval(-100_000.0, 123_456.0)
    )
    day = date(2026, 1, 1)
    played = Replay(
        "payments",
        "?",
        "average_precision",
        False,
        "EUR",
        day,
        day,
        day,
        7,
        (course,),
        1,
        datetime(2026, 1, 1, tzinfo=UTC),
    )
    lines = lines_of(played)
    assert max(map(len, lines)) <= 80
    assert lines[1].split()[:5] == ["performance", f"{quality:.4g}", f"{ends.low:.4g}", "to", f"{ends.high:.4g}"]


def test_a_length_is_whole_days():
    assert length_of("2 weeks") == timedelta(days=14)
    assert length_of(None) is None
    with pytest.raises(UsageError):
        length_of("0 days")


@pytest.mark.parametrize(
    ("days", "ends"),
    [
        pytest.param(28, (7, 14, 21, 28), id="whole windows"),
        pytest.param(30, (9, 16, 23, 30), id="the last one ends with the period"),
        pytest.param(3, (3,), id="a period shorter than a window is looked at once"),
    ],
)
def test_every_whole_window_of_a_period_is_looked_at(place, days, ends):
    contract = Contract.of("power", place / "data")
    found = replay.window_ends(contract, FIRST, FIRST + timedelta(days=days))
    assert found == [FIRST + timedelta(days=end) for end in ends]


def test_periods_follow_on_one_another_to_the_end_of_the_history():
    class History:
        last = date(2026, 2, 1)

    plan = replay.ReplayPlan(Settings(), History(), ("never",), timedelta(days=14), date(2026, 1, 1), Path())
    assert list(plan.periods) == [
        (date(2026, 1, 1), date(2026, 1, 15)),
        (date(2026, 1, 15), date(2026, 1, 29)),
        (date(2026, 1, 29), date(2026, 2, 1)),
    ]


class _Named:
    name = "power"


def _found():
    from contender.retraining.diagnoses import Kept
    from contender.retraining.triage import Diagnosis

    day = date(2026, 1, 1)
    return Kept(datetime(2026, 1, 1, tzinfo=UTC), day, day, 1, Diagnosis("decay", "it decays"), (), "wait", "why")


def _errors(lake):
    """Each prediction's error by its record's day."""
    from deltalake import DeltaTable

    predictions, outcomes = (DeltaTable(lake / name).to_pandas() for name in ("predictions", "outcomes"))
    both = predictions.merge(outcomes[["_key", "_target"]], on="_key")
    assert both["_key"].is_unique
    return pd.DataFrame(
        {"day": both["_time"].dt.strftime("%Y-%m-%d"), "error": both["_target"].astype(float) - both["score"]}
    )
