import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from contender.promotion.locks import at_work
from contender.settings import Settings
from flows.cli.main import COMMANDS, command_of, main

ROOT = Path(__file__).parents[3]
CONTENDER = Path(sys.executable).with_name("contender")
SALES = "sale_id,sold_at,shop,amount,returned\n" + "".join(
    f"s{n},2026-01-{1 + n % 28:02}T10:00:00,{'abc'[n % 3]},{n * 1.5},{'true' if n % 4 == 0 else 'false'}\n"
    for n in range(80)
)


class Place:
    """A working directory with a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CONTENDER_", "PREFECT_"))},
            "CONTENDER_HOME": str(folder / "home"),
            "CONTENDER_USE_CASES": str(ROOT / "data"),
        }

    def run(self, *arguments: str | Path, **environment: str | Path) -> subprocess.CompletedProcess[str]:
        variables = self.environment | {name: str(value) for name, value in environment.items()}
        return subprocess.run(
            [CONTENDER, *arguments],
            cwd=self.folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one sentence on stderr of a command that did not do what it was asked."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("contender: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("contender: ").strip()


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_has_an_example_and_fits_80_columns(command):
    shown = CliRunner().invoke(main, [*([command] if command else []), "--help"], env={"COLUMNS": "200"})

    assert shown.exit_code == 0
    assert "Example:" in shown.output
    assert f"contender {command or ''}".strip() in shown.output
    assert max(len(line) for line in shown.output.splitlines()) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(command):
    options = [option for option in command_of(command).params if isinstance(option, click.Option)]

    assert all(option.help and option.help[0].isupper() and option.help.endswith(".") for option in options)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_list_of_commands_says_of_each_what_its_own_help_says_first(command):
    found = command_of(command)

    assert found.name == command
    assert COMMANDS[command][1] == found.help.splitlines()[0]


def test_the_commands_are_those_of_the_story():
    assert set(COMMANDS) >= {
        "run",
        "ingest",
        "retrain",
        "score",
        "status",
        "history",
        "why",
        "init",
        "simulate",
    }


def test_help_loads_none_of_the_heavy_libraries():
    heavy = ("pandas", "pyspark", "prefect", "mlflow", "pydantic", "sklearn", "numpy", "contender", "flows.cli.run")
    code = (
        "import sys, flows.cli.main\n"
        "from click.testing import CliRunner\n"
        "assert CliRunner().invoke(flows.cli.main.main, ['--help']).exit_code == 0\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["score"], "Missing argument 'USE_CASE'"),
        (["status", "--jsno"], "No such option"),
        (["init", "x.csv"], "Missing option"),
    ],
)
def test_wrong_use_is_told_on_stderr_with_exit_code_2(place, arguments, said):
    done = place.run(*arguments)

    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["run", "score", "status", "why"])
def test_an_unknown_use_case_is_wrong_use_and_names_the_nearest(place, command):
    assert "did you mean 'payments'?" in refused(place.run(command, "payment"), 2)
    assert not (place.folder / "home").exists()


def test_a_broken_contract_is_told_in_one_sentence(place):
    folder = place.folder / "data" / "payments"
    folder.mkdir(parents=True)
    text = (ROOT / "data" / "payments" / "contract.toml").read_text()
    (folder / "contract.toml").write_text(text.replace('owner = "', 'ownr = "'))

    said = refused(place.run("run", "payments", CONTENDER_USE_CASES=folder.parent), 1)

    assert "contract.toml, line 5, key 'ownr': this key is not known; did you mean 'owner'?" in said


def test_status_of_an_empty_home_is_one_json_document_with_zeros(place):
    done = place.run("status", "--json")

    assert done.returncode == 0
    assert done.stderr == ""
    rows = json.loads(done.stdout)["use_cases"]
    assert "payments" in [row["name"] for row in rows]
    for row in rows:
        assert {name: row[name] for name in ("records", "quarantined", "outcomes", "predictions")} == {
            "records": 0,
            "quarantined": 0,
            "outcomes": 0,
            "predictions": 0,
        }
        assert row["champion"] is row["challenger"] is row["last_verdict"] is None


def test_status_of_one_use_case_tells_of_no_other(place):
    shutil.copytree(ROOT / "data" / "payments", place.folder / "data" / "payments")
    broken = place.folder / "data" / "sales"
    broken.mkdir()
    (broken / "contract.toml").write_text("name = ")
    place.environment["CONTENDER_USE_CASES"] = str(place.folder / "data")

    assert [row["name"] for row in json.loads(place.run("status", "payments", "--json").stdout)["use_cases"]] == [
        "payments"
    ]
    told = place.run("status", "sales")
    assert told.returncode == 0, "a broken contract is told of, as without a name"
    assert "its contract cannot be read" in " ".join(told.stdout.split())
    assert "payments" not in told.stdout


def test_status_without_any_use_case_is_an_empty_list_for_programs_and_advice_for_people(place):
    (place.folder / "none").mkdir()

    assert json.loads(place.run("status", "--json", CONTENDER_USE_CASES=place.folder / "none").stdout) == {
        "use_cases": []
    }
    assert "contender init" in refused(place.run("status", CONTENDER_USE_CASES=place.folder / "none"), 2)


def test_history_before_any_champion_is_empty(place):
    assert json.loads(place.run("history", "payments", "--json").stdout) == []
    told = place.run("history", "payments")
    assert told.returncode == 0
    assert told.stdout == (
        "Nobody has held the title of payments yet; 'contender run payments' trains a first champion.\n"
    )


def test_why_before_any_verdict_says_how_to_get_one(place):
    assert "'contender run payments' trains one" in refused(place.run("why", "payments", "--json"), 2)


def test_init_writes_a_contract_that_parses_and_prints_its_guesses(place):
    (place.folder / "sales.csv").write_text(SALES)
    arguments = ["init", "sales.csv", "--name", "sales", "--target", "returned"]

    done = place.run(*arguments, CONTENDER_USE_CASES=place.folder / "data")

    assert done.returncode == 0, done.stderr
    assert (place.folder / "data" / "sales" / "contract.toml").is_file()
    for said in ("Wrote ", "Guessed:", "records.key = sale_id", "records.time = sold_at", "Next: contender run sales"):
        assert said in done.stdout
    parsed = place.run("status", "--json", CONTENDER_USE_CASES=place.folder / "data")
    assert [row["name"] for row in json.loads(parsed.stdout)["use_cases"]] == ["sales"]
    assert place.run("history", "sales", CONTENDER_USE_CASES=place.folder / "data").returncode == 0


def test_init_replaces_a_contract_only_when_told_to(place):
    (place.folder / "sales.csv").write_text(SALES)
    arguments = ["init", "sales.csv", "--name", "sales", "--target", "returned", "--json"]
    first = place.run(*arguments, CONTENDER_USE_CASES=place.folder / "data")
    contract = Path(json.loads(first.stdout)["contract"])
    contract.write_text("mine")

    said = refused(place.run(*arguments, CONTENDER_USE_CASES=place.folder / "data"), 2)
    kept = contract.read_text()
    again = place.run(*arguments, "--overwrite", CONTENDER_USE_CASES=place.folder / "data")

    assert "is there already" in said
    assert kept == "mine"
    assert again.returncode == 0
    assert contract.read_text() != "mine"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["gone.csv", "--name", "sales", "--target", "returned"], id="no such file"),
        pytest.param(["sales.csv", "--name", "sales", "--target", "retruned"], id="no such column"),
        pytest.param(["sales.csv", "--name", "../up", "--target", "returned"], id="a name that is a path"),
        pytest.param(["empty.csv", "--name", "sales", "--target", "returned"], id="an empty file"),
    ],
)
def test_init_refuses_in_one_sentence_and_writes_nothing(place, arguments):
    (place.folder / "sales.csv").write_text(SALES)
    (place.folder / "empty.csv").touch()

    done = place.run("init", *arguments, CONTENDER_USE_CASES=place.folder / "data")

    assert refused(done, done.returncode)
    assert done.returncode in (1, 2)
    assert not list(place.folder.rglob("contract.toml"))


@pytest.mark.slow
def test_simulate_writes_days_and_leaves_those_that_are_there(place):
    arguments = ["simulate", "--payments", "240", "--days", "3", "--to", "landed", "--json"]

    first, again = (json.loads(place.run(*arguments).stdout) for _ in range(2))

    assert first["payments"] == 6
    assert first["unchanged"] == 0
    assert again["unchanged"] == again["files"] == first["files"]
    assert "needed is 120 or more" in refused(place.run("simulate", "--payments", "3"), 2)


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
def test_no_escape_codes_reach_a_pipe(place, variables):
    done = place.run("status", **variables)

    assert done.returncode == 0
    assert "payments" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


@pytest.mark.parametrize("command", ["run", "score"])
def test_a_prefect_server_that_is_not_there_is_told_at_once(place, command):
    place.environment["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    (place.folder / "landing" / "payments").mkdir(parents=True)
    (place.folder / "landing" / "payments" / "payments-2026-01-01.csv").touch()
    began = time.monotonic()

    said = refused(place.run(command, "payments"), 1)

    assert "No Prefect server answers at PREFECT_API_URL=http://127.0.0.1:9/api" in said
    assert "unset" in said
    assert time.monotonic() - began < 15


def test_a_second_command_on_a_use_case_hears_so_before_anything_starts(place):
    (place.folder / "landing" / "payments").mkdir(parents=True)
    (place.folder / "landing" / "payments" / "payments-2026-01-01.csv").touch()

    with at_work(Settings(home=place.folder / "home"), "payments"):
        said = refused(place.run("run", "payments"), 1)

    assert re.fullmatch(r"Another command is at work on payments; .*", said)
    assert not (place.folder / "home" / "prefect").exists(), "no server was started"


def test_the_lock_of_a_use_case_is_its_own_and_may_be_held_twice_by_one_process(place, tmp_path):
    settings = Settings(home=place.folder / "home")

    with at_work(settings, "payments"), at_work(settings, "payments"), at_work(settings, "flights"):
        pass
    with at_work(settings, "payments"):
        pass


@pytest.mark.parametrize("command", ["status", "why", "history"])
def test_what_only_reads_loads_nothing_heavy(command):
    """They answer in half a second of the processor's time; each of these costs as much by itself."""
    script = f"""if True:
        import sys
        from flows.cli.main import command_of
        command_of("{command}")
        from contender.retraining import next_action
        heavy = {{"pandas", "scipy", "sklearn", "pyspark", "mlflow", "prefect", "great_expectations"}}
        print(sorted(heavy & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stdout.strip() == "[]", done.stderr
