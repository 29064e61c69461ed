"""What Prefect is told to run: it follows from the contracts, a plain `prefect deploy` takes it, and events start it."""

import re
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from contender import events
from contender.contracts.contract import Contract
from contender.errors import ContractError, UnknownUseCase, UsageError
from contender.promotion.locks import at_work
from contender.settings import Settings
from flows.cli.main import command_of
from flows.prefect_api import deployments
from tests.flows.prefect_server import ROOT, eventually, served

SETTINGS = Settings(use_cases=ROOT / "data")
PAYMENTS = Contract.of("payments", ROOT / "data")
ABOUT = "contender.use-case.payments"
ACTION = "prefect.automation.action"


def by_flow(settings, *use_cases):
    return {one["entrypoint"].rpartition(".")[2]: one for one in deployments.documents(settings, use_cases)}


def test_the_file_of_the_repository_is_up_to_date():
    assert not deployments.out_of_date(deployments.render(SETTINGS), ROOT / "prefect.yaml"), (
        "the contracts or the flows have changed; 'contender deployments --write' brings prefect.yaml up to date"
    )


@pytest.mark.parametrize("flow", by_flow(SETTINGS, "payments"))
def test_a_person_reads_what_it_does_when_it_runs_and_what_its_parameters_mean(flow):
    import importlib
    import inspect

    document = by_flow(SETTINGS, "payments")[flow]

    assert "**When:**" in document["description"]
    story = getattr(importlib.import_module(f"flows.{flow}"), flow)
    told = re.findall(r"^- `(\w+)`:", document["description"], re.MULTILINE)
    assert told == list(inspect.signature(story.fn).parameters)


def test_a_schedule_is_the_contracts_and_never_leaves_none(make_home):
    other = make_home(extra='[schedule]\ntimezone = "Europe/Berlin"\nscore = "never"\ningest = "5 * * * *"\n')
    found = by_flow(other.settings, "orders")

    assert found["score"]["schedules"] == []
    assert found["ingest"]["schedules"] == [{"cron": "5 * * * *", "timezone": "Europe/Berlin"}]
    assert found["pipeline"]["schedules"] == found["release"]["schedules"] == []
    assert "never by a clock" in found["score"]["description"]


def test_a_cool_down_is_the_contracts_and_a_request_has_none_to_speak_of(make_home):
    other = make_home(extra='[retraining]\ncool_down = "90 minutes"\n')
    triggers = by_flow(other.settings, "orders")["retrain"]["triggers"]

    assert [one["within"] for one in triggers] == [5400, 5400, 60]
    assert "at most once in 90 minutes" in by_flow(other.settings, "orders")["retrain"]["description"]


def test_environments_keep_apart_on_one_server():
    production = by_flow(Settings(use_cases=ROOT / "data", environment="prod"), "payments")["retrain"]

    assert production["name"] == "payments-prod"
    assert production["parameters"] == {"use_case": "payments"}
    assert production["work_pool"]["job_variables"]["env"]["CONTENDER_ENVIRONMENT"] == "prod"
    assert {one["match"]["prefect.resource.id"] for one in production["triggers"]} == {f"{ABOUT}-prod"}


def test_no_template_holds_what_is_not_json():
    """Prefect makes JSON of what an expression gives; an UUID or a moment makes the action fail, silently."""
    templates = re.findall(r"\{\{.*?\}\}", deployments.render(SETTINGS))

    assert templates
    assert all("| string }}" in one for one in templates)


def test_a_file_that_is_out_of_date_is_named_with_the_command_that_mends_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CONTENDER_USE_CASES", str(ROOT / "data"))
    file = tmp_path / "prefect.yaml"
    with pytest.raises(ContractError, match="'contender deployments --write' does"):
        command_of("deployments").callback(("payments",), False, True, file, False)

    command_of("deployments").callback(("payments",), True, False, file, False)
    command_of("deployments").callback(("payments",), False, True, file, False)
    assert capsys.readouterr().out == f"{file} was written.\n{file} is up to date.\n"
    command_of("deployments").callback(("payments",), False, False, file, False)
    assert capsys.readouterr().out == file.read_text()


def test_what_cannot_be_deployed_is_said(tmp_path):
    with pytest.raises(UnknownUseCase, match="did you mean 'payments'"):
        deployments.render(SETTINGS, ("payment",))
    with pytest.raises(UsageError, match="holds no contract"):
        deployments.render(Settings(use_cases=tmp_path))
    with pytest.raises(UsageError, match="exclude each other"):
        command_of("deployments").callback((), True, True, tmp_path / "prefect.yaml", False)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that knows the repository's file from nothing but Prefect's own commands."""
    with served(tmp_path_factory.mktemp("deployed")) as running:
        running.run("-m", "prefect", "work-pool", "create", "contender", "--type", "process")
        running.run("-m", "prefect", "--no-prompt", "deploy", "--all")
        yield running


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    with served(tmp_path_factory.mktemp("installed")) as running:
        told = running.run("-m", "flows.up.installation", "payments")
        count = len(by_flow(SETTINGS, "payments"))
        assert told.startswith(f"{count} deployments, {count} of them new or changed, 0 removed;")
        yield running


@contextmanager
def no_action_fails(server):
    """Prefect tells of an action that failed only by an event."""
    before = count(server, f"{ACTION}.executed")
    yield
    eventually(lambda: count(server, f"{ACTION}.executed") > before, "what was done is written")
    # Events are written in the order in which they came.
    last = f"contender.test.last.{uuid4()}"
    server.emit(last, "nobody")
    eventually(lambda: count(server, last), "what came before is written")
    assert count(server, f"{ACTION}.failed") == 0


def count(server, name):
    """Number of events of a name."""
    return server.ask("/events/filter", {"filter": {"event": {"name": [name]}}})["total"]


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestPlainDeploy:
    @pytest.mark.parametrize(
        "document", deployments.documents(SETTINGS), ids=lambda one: f"{one['entrypoint']} {one['name']}"
    )
    def test_the_server_has_what_the_file_says(self, server, document):
        found = server.deployment(f"{document['entrypoint'].rpartition('.')[2]}/{document['name']}")

        schedules = [one["schedule"] for one in found["schedules"]]
        assert [(one["cron"], one["timezone"]) for one in schedules] == [
            (one["cron"], one["timezone"]) for one in document["schedules"]
        ]
        limit = document.get("concurrency_limit")
        assert (found["global_concurrency_limit"] or {}).get("limit") == (limit and limit["limit"])
        assert (found["concurrency_options"] or {}).get("collision_strategy") == (limit and limit["collision_strategy"])
        assert found["tags"] == document["tags"]
        assert found["parameters"] == document["parameters"]
        assert found["enforce_parameter_schema"] is True
        assert found["description"] == document["description"]
        assert found["work_pool_name"] == "contender"
        own = server.ask(f"/automations/related-to/prefect.deployment.{found['id']}")
        assert sorted(one["name"] for one in own) == sorted(one["name"] for one in document.get("triggers", []))

    @pytest.mark.parametrize(
        ("event", "flow"), [(events.LANDED, "ingest"), (events.PROMOTED, "score")], ids=["landed", "promoted"]
    )
    def test_an_event_starts_the_flow_of_its_use_case_only(self, server, event, flow):
        with no_action_fails(server):
            server.emit(event, ABOUT, {"sentence": "It happened."})
            found = eventually(lambda: server.runs_of(f"{flow}/payments"), "a run")

        assert [one["parameters"] for one in found] == [{"use_case": "payments"}]
        assert server.runs_of(f"{flow}/flights") == []

    @pytest.mark.parametrize(
        ("event", "use_case", "payload", "reason", "decayed"),
        [
            pytest.param(
                events.DRIFT,
                "payments",
                {"sentence": 'It "drifts": {{ 7 * 7 }} % … \\ \n'},
                'It "drifts": {{ 7 * 7 }} % … \\ \n',
                False,
                id="drift, with all that could break a template",
            ),
            pytest.param(events.DEGRADED, "payments", {"sentence": "It decays."}, "It decays.", True, id="decay"),
            pytest.param(events.RETRAIN, "payments", {"sentence": "Please."}, "Please.", False, id="request"),
            pytest.param(
                events.DRIFT, "flights", {}, "drift was reported", False, id="from outside, without a sentence"
            ),
            pytest.param(events.DEGRADED, "flights", {"sentence": 7}, "7", True, id="a number for a sentence"),
        ],
    )
    def test_an_event_calls_for_a_retrain_with_its_reason(self, server, event, use_case, payload, reason, decayed):
        before = len(server.runs_of(f"retrain/{use_case}"))
        with no_action_fails(server):
            id_ = server.emit(event, f"contender.use-case.{use_case}", payload)
            eventually(lambda: len(server.runs_of(f"retrain/{use_case}")) > before, "a run")

        run = next(one for one in server.runs_of(f"retrain/{use_case}") if one["parameters"]["event_id"] == id_)
        told = {"use_case": use_case, "reason": reason, "decayed": decayed, "event_id": id_, "event": event}
        assert run["parameters"] == told
        assert sorted(run["tags"]) == ["contender", use_case]

    def test_twenty_drifts_at_once_are_one_run_and_stay_one_after_installing_again(self, server):
        for _ in range(20):
            server.emit(events.DRIFT, "contender.use-case.bikes", {"sentence": "It drifts."})
        eventually(lambda: server.runs_of("retrain/bikes"), "a run")
        server.run("-m", "flows.up.installation")
        # The first took over from the plain command, which knows no versions; from now on nothing is touched.
        server.emit(events.DEGRADED, "contender.use-case.bikes", {"sentence": "It decays."})
        eventually(lambda: len(server.runs_of("retrain/bikes")) == 2, "a second run")
        told = server.run("-m", "flows.up.installation")
        assert " 0 of them new or changed, 0 removed;" in told
        server.emit(events.DEGRADED, "contender.use-case.bikes", {"sentence": "It decays."})
        server.emit(events.LANDED, "contender.use-case.bikes")
        eventually(lambda: server.runs_of("ingest/bikes"), "what was sent later has come")

        assert len(server.runs_of("retrain/bikes")) == 2

    def test_four_simpler_templates_still_break_a_trigger(self, server):
        """Why ours look as they do: not JSON twice, not there, and a filter that binds tighter than 'or'."""
        deployment = server.deployment("retrain/payments")["id"]
        name = f"trap-{uuid4()}"
        simpler = ("event.id", "event.occurred", "event.payload.none", "event.payload.sentence or 'x'")
        for expression in simpler:
            parameters = {"use_case": "payments", "reason": f"{{{{ {expression} }}}}"}
            action = {"type": "run-deployment", "source": "selected", "deployment_id": deployment}
            trigger = {"type": "event", "posture": "Reactive", "threshold": 1, "within": 0, "expect": [name]}
            automation = {"name": f"{name} {expression}", "trigger": trigger}
            server.ask("/automations/", automation | {"actions": [action | {"parameters": parameters}]})
        before = len(server.runs_of("retrain/payments"))

        server.emit(name, "nobody", {"sentence": "It drifts."})

        eventually(lambda: count(server, f"{ACTION}.failed") >= len(simpler), "all actions failed")
        assert len(server.runs_of("retrain/payments")) == before


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestInstalling:
    def test_twice_is_once(self, installed):
        before = installed.automations(), installed.ask("/deployments/filter", {})

        told = installed.run("-m", "flows.up.installation", "payments")

        assert " 0 of them new or changed, 0 removed; " in told
        assert told.endswith(" 0 new or changed.\n")
        assert (installed.automations(), installed.ask("/deployments/filter", {})) == before

    def test_a_worker_finds_the_pool_and_the_folder(self, installed):
        assert installed.ask("/work_pools/contender")["concurrency_limit"] == 2
        steps = installed.deployment("score/payments")["pull_steps"]
        assert steps == [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}]

    def test_a_deployment_of_ours_that_is_no_more_is_removed_and_others_stay(self, installed):
        flow = installed.ask("/flows/", {"name": "bygone"})["id"]
        ours = {"name": "payments", "flow_id": flow, "tags": ["contender", "payments"]}
        installed.ask("/deployments/", ours)
        installed.ask("/deployments/", ours | {"name": "another", "tags": ["contender", "another"]})

        told = installed.run("-m", "flows.up.installation", "payments")

        assert " 1 removed;" in told
        left = {one["name"] for one in installed.ask("/deployments/filter", {})}
        assert left == {"payments", "another"}

    def test_a_refusal_is_one_sentence_that_names_the_log(self, installed, tmp_path):
        with pytest.raises(
            AssertionError, match=r"contender: Prefect did not take the deployments of .*deploy\.log\.$"
        ):
            installed.run("-m", "flows.up.installation", "flights", PYTHONPATH=str(broken(tmp_path)))


def broken(folder: Path) -> Path:
    """A place for Python to look in first, where Prefect's command finds its end."""
    refuses = "import sys\nif 'deploy' in sys.orig_argv:\n    sys.exit('no room')\n"
    (folder / "sitecustomize.py").write_text(refuses)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestReaping:
    def test_what_a_stopped_machine_left_behind_is_ended_and_what_waits_is_left(self, installed):
        home = Settings(home=installed.environment["CONTENDER_HOME"])
        dead = installed.new_run("retrain/payments")
        assert installed.move(dead, "PENDING", "RUNNING") == "Running"
        pending = installed.new_run("ingest/payments")
        assert installed.move(pending, "PENDING") == "Pending"
        waits = installed.new_run("ingest/payments")
        assert installed.move(waits, "PENDING") == "AwaitingConcurrencySlot"
        asks = installed.new_run("approve/payments", version=1)
        assert installed.move(asks, "PENDING", "RUNNING", "PAUSED:Suspended") == "Suspended"
        flow = installed.deployment("score/payments")["flow_id"]
        alone = installed.ask("/flow_runs/", {"flow_id": flow, "parameters": {"use_case": "payments"}})["id"]
        foreign = installed.ask("/flow_runs/", {"flow_id": flow, "parameters": {"use_case": "elsewhere"}})["id"]
        for run in (alone, foreign):
            installed.move(run, "PENDING", "RUNNING")
        wedged = installed.new_run("retrain/payments")
        assert installed.move(wedged, "PENDING") == "Cancelled"

        installed.stop(at_once=True)
        installed.start()
        with at_work(home, "payments", "training"):
            told = installed.run("-m", "flows.up.installation", "--reap", "payments")

        assert told.startswith("2 dead runs ended, 1 left at work, ")
        states = [installed.state(run) for run in (dead, pending, waits, asks, alone, foreign)]
        assert states == ["Crashed", "Crashed", "AwaitingConcurrencySlot", "Suspended", "Running", "Running"]
        assert "The machine stopped" in installed.ask(f"/flow_runs/{dead}")["state"]["message"]
        assert installed.move(installed.new_run("retrain/payments"), "PENDING") == "Pending"
        assert not list(Path(installed.environment["PREFECT_HOME"], "concurrency_leases").glob("*-*.json"))[1:]

        told = installed.run("-m", "flows.up.installation", "--reap", "payments")
        assert told.startswith("2 dead runs ended, 0 left at work, ")
        assert installed.state(alone) == "Crashed"
        assert installed.state(foreign) == "Running"

    def test_a_slot_whose_run_is_gone_is_freed(self, installed):
        limit = installed.deployment("retrain/payments")["global_concurrency_limit"]["name"]
        installed.ask(f"/v2/concurrency_limits/{limit}", {"active_slots": 1}, method="PATCH")
        assert installed.move(installed.new_run("retrain/payments"), "PENDING") == "Cancelled"

        installed.run("-m", "flows.up.installation", "--reap", "payments")

        assert installed.move(installed.new_run("retrain/payments"), "PENDING") == "Pending"
        assert installed.move(installed.new_run("retrain/payments"), "PENDING") == "Cancelled"


def test_a_cool_down_is_told_in_words():
    assert deployments._in_words(timedelta(hours=12)) == "12 hours"
    assert deployments._in_words(timedelta(days=1)) == "1 day"
    assert deployments._in_words(timedelta(seconds=90)) == "90 seconds"
