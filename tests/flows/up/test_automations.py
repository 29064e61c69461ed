"""A run that died is marked so and gives back what it held; a run that waits is left in peace. On real servers."""

import subprocess
import sys
import time
from dataclasses import dataclass

import psutil
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient

from flows.prefect_api import prefect_server
from flows.up.installation import install_automations, read_automations
from tests.flows.prefect_server import UNHURRIED, eventually, served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Promised are 90 s; what is above is for a machine that is busy with other things.
PROMISED, GRACE = 90, 15
SLEEPER = """
import os, time
from pathlib import Path
from prefect import flow

@flow
def sleeper(seconds: int = 600):
    Path(f"{os.environ['PREFECT__FLOW_RUN_ID']}.pid").write_text(str(os.getpid()))
    time.sleep(seconds)
"""


@dataclass
class Deployed:
    """A server with one small deployment of ours, of which one run may be at work."""

    server: object
    name: str

    def install(self, automations):
        with SyncPrefectClient(self.server.environment["PREFECT_API_URL"]) as client:
            return install_automations(client, automations)

    def begun(self, *states):
        """A new run that got into these states, one after the other."""
        run = self.server.new_run(self.name)
        for state in states:
            self.server.move(run, state)
            # A worker is no faster either; a storm of states makes a server on SQLite drop events.
            time.sleep(0.5)
        return run


def deploy(server, folder, limit, tags=("contender", "tiny")):
    """A flow that only sleeps, deployed by the plain command, with the limit that retrain has."""
    name = "-".join(tags) or "foreign"
    (folder / "sleeping.py").write_text(SLEEPER)
    deployment = {
        "name": name,
        "entrypoint": "sleeping.py:sleeper",
        "tags": list(tags),
        "work_pool": {"name": "contender"},
    }
    if limit:
        deployment["concurrency_limit"] = {"limit": limit, "collision_strategy": "CANCEL_NEW"}
    (folder / "prefect.yaml").write_text(yaml.safe_dump({"name": "tiny", "deployments": [deployment]}))
    server.run("-m", "prefect", "work-pool", "create", "contender", "--type", "process", "--overwrite", folder=folder)
    server.run("-m", "prefect", "--no-prompt", "deploy", "--all", folder=folder)
    return Deployed(server, f"sleeper/{name}")


def hastened(within):
    """The automations, but with less patience than any run of ours could live with."""
    return [one | {"trigger": one["trigger"] | {"within": within}} for one in read_automations()]


def beat(server, run, tags):
    server.emit("prefect.flow-run.heartbeat", f"prefect.flow-run.{run}", related=[f"prefect.tag.{tag}" for tag in tags])


def hastened_heartbeat(within):
    """The automations, of which the first one waits for less: a run that has begun tells nothing for 30 s."""
    first, *others = read_automations()
    return [first | {"trigger": first["trigger"] | {"within": within}}, *others]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("automations")) as running:
        yield running


def test_a_run_and_its_worker_killed_with_9_are_marked_and_the_slot_is_free(tmp_path, server):
    see_a_killed_run_marked(server, tmp_path, hastened_heartbeat(10), 10 + GRACE)


@pytest.mark.soak
def test_a_run_and_its_worker_killed_with_9_are_marked_in_time_at_the_pace_of_every_day(tmp_path):
    with served(tmp_path / "server", **UNHURRIED) as server:
        see_a_killed_run_marked(server, tmp_path, read_automations(), PROMISED + GRACE)


def see_a_killed_run_marked(server, tmp_path, automations, seconds):
    deployed = deploy(server, tmp_path, limit=1)
    deployed.install(automations)
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "contender", "--type", "process"]
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            command, env=server.environment | prefect_server.WORKER_ENVIRONMENT, cwd=tmp_path, stdout=log, stderr=log
        )
    try:
        run = server.new_run(deployed.name)
        eventually((tmp_path / f"{run}.pid").exists, f"the run began: {(tmp_path / 'worker.log').read_text()}", 120)
        kill_all(worker)
        killed = time.monotonic()
        other = server.new_run(deployed.name)
        assert server.move(other, "PENDING") == "Cancelled"
        eventually(lambda: server.state(run) == "Crashed", "the dead run is marked", seconds)
        print(f"marked after {time.monotonic() - killed:.1f} s")
        assert "No sign of life" in server.ask(f"/flow_runs/{run}")["state"]["message"]
        assert server.move(server.new_run(deployed.name), "PENDING", "RUNNING", "COMPLETED") == "Completed"
    finally:
        kill_all(worker)
        worker.wait(30)
        deployed.install(read_automations())


def kill_all(worker):
    """End a worker and what it started, at once, as a machine does that loses its power."""
    if worker.poll() is None:
        own = psutil.Process(worker.pid)
        for one in [own, *own.children(recursive=True)]:
            one.kill()


def test_only_a_run_that_should_give_a_sign_of_life_and_does_not_is_marked(tmp_path, server):
    tags = ("contender", "many")
    deployed = deploy(server, tmp_path, limit=None, tags=tags)
    foreign = deploy(server, tmp_path, limit=None, tags=())
    # More than the states below take one after the other.
    deployed.install(hastened(15))
    dies = {
        deployed.begun("PENDING"): "Crashed",
        deployed.begun("PENDING", "RUNNING"): "Crashed",
        deployed.begun("PENDING", "RUNNING", "SCHEDULED:AwaitingRetry", "PENDING", "RUNNING:Retrying"): "Crashed",
        deployed.begun("PENDING", "RUNNING", "CANCELLING"): "Cancelled",
    }
    lives = {
        "waits for a person": deployed.begun("PENDING", "RUNNING", "PAUSED:Suspended"),
        "waits for its turn": deployed.begun("SCHEDULED:AwaitingConcurrencySlot"),
        "waits for a retry": deployed.begun("PENDING", "RUNNING", "SCHEDULED:AwaitingRetry"),
        "ended under a name of ours": deployed.begun("PENDING", "RUNNING", "COMPLETED:Approved"),
        "somebody else's": foreign.begun("PENDING", "RUNNING"),
        "beats": deployed.begun("PENDING", "RUNNING"),
    }
    before = {name: server.state(run) for name, run in lives.items()}

    def marked():
        beat(server, lives["beats"], tags)
        time.sleep(1)
        return {run: server.state(run) for run in dies} == dies

    eventually(marked, "the dead are marked", 120)
    # Once more the patience that the others would have needed.
    until = time.monotonic() + 20
    eventually(lambda: marked() and time.monotonic() > until, "twenty seconds are over")

    assert {name: server.state(run) for name, run in lives.items()} == before
    deployed.install(read_automations())


def test_installing_again_changes_nothing_and_what_a_person_switched_off_stays_off(tmp_path, server):
    deployed = Deployed(server, "none")
    automations = read_automations()
    deployed.install(automations)
    off = server.automations()[0]
    server.ask(f"/automations/{off['id']}", {"enabled": False}, method="PATCH")

    assert deployed.install(automations) == 0
    assert deployed.install(hastened(60)) == len(automations)
    after = server.automations()
    assert [one["name"] for one in after] == sorted(one["name"] for one in automations)
    assert [one["enabled"] for one in after] == [one["id"] != off["id"] for one in after]
    server.ask(f"/automations/{off['id']}", {"enabled": True}, method="PATCH")
    deployed.install(automations)


def test_doubles_that_were_made_by_hand_are_removed(server):
    automations = read_automations()
    Deployed(server, "none").install(automations)
    for _ in range(2):
        server.run("-m", "prefect", "automation", "create", "--from-file", "deployments/automations.yaml")
    assert len(server.automations()) == 3 * len(automations)

    Deployed(server, "none").install(automations)

    assert len(server.automations()) == len(automations)
