"""Tells a Prefect server what there is to run: the work pool, deployments with their triggers, automations.

Installing twice changes nothing, and an unchanged deployment is left alone: its triggers keep the count of their
cool-down, and what people switched off stays off.
"""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from contender.errors import Unavailable
from contender.settings import Settings
from flows.prefect_api import prefect_server
from flows.prefect_api.deployments import POOL, TAG, documents, dump

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

AUTOMATIONS = Path(__file__).parents[2] / "deployments" / "automations.yaml"
_AT_ONCE = 2
_DEPLOY_SECONDS = 300


@dataclass(frozen=True)
class Installed:
    """What a Prefect server has of ours now, and how much of it is new or different."""

    deployments: int
    deployed: int
    removed: int
    automations: int
    changed: int


def install(settings: Settings, use_cases: tuple[str, ...] = (), *, prefect_file: Path | None = None) -> Installed:
    """Make the server at `PREFECT_API_URL` know the work pool, the deployments and the automations.

    Args:
        use_cases: those to deploy; else all that have a contract. Deployments of others are left as they are.
        prefect_file: where to write what is deployed; else among what is running here.

    Raises:
        UnknownUseCase: one of them has no contract.
        Unavailable: Prefect refuses the deployments; says where its words are.
    """
    from prefect.client.orchestration import get_client

    wanted = [_stamped(document) for document in documents(settings, use_cases)]
    file = prefect_file or settings.running / "prefect.yaml"
    with get_client(sync_client=True) as client:
        _ensure_pool(client)
        there = _deployments(client, wanted)
        known = {_full_name(document) for document in wanted}
        gone = [one for name, one in there.items() if name not in known]
        for one in gone:
            # Its triggers do not go by themselves, and would fail from then on.
            client.delete_resource_owned_automations(f"prefect.deployment.{one.id}")
            client.delete_deployment(one.id)
        stale = [document for document in wanted if not _stands(there.get(_full_name(document)), document)]
        if stale:
            _deploy(settings, stale, file)
        automations = read_automations()
        changed = install_automations(client, automations)
    return Installed(len(wanted), len(stale), len(gone), len(automations), changed)


def read_automations(file: Path = AUTOMATIONS) -> list[dict[str, Any]]:
    """The automations as the file has them."""
    found: list[dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))["automations"]
    return found


def install_automations(client: "SyncPrefectClient", automations: list[dict[str, Any]]) -> int:
    """Create or update automations by their names, and return how many of them were not yet as they should be."""
    return sum(_upsert(client, one) for one in automations)


def _stamped(document: dict[str, Any]) -> dict[str, Any]:
    """The deployment with a version that tells whether it, the flow's own module or the folder is another one."""
    pull = [{"prefect.deployments.steps.set_working_directory": {"directory": str(Path.cwd())}}]
    module = Path(__file__).parents[1].joinpath(f"{document['entrypoint'].split('.')[1]}.py")
    said = hashlib.sha256(dump(document).encode() + str(pull).encode() + module.read_bytes())
    return document | {"version": said.hexdigest()[:12], "pull": pull}


def _full_name(document: dict[str, Any]) -> str:
    flow = document["entrypoint"].rpartition(".")[2]
    return f"{flow}/{document['name']}"


def _stands(there: Any, document: dict[str, Any]) -> bool:
    return there is not None and there.version == document["version"]


def _deployments(client: "SyncPrefectClient", wanted: list[dict[str, Any]]) -> dict[str, Any]:
    """Deployments of ours for the use cases at hand, by their full name."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    found: dict[str, Any] = {}
    for name in sorted({document["name"] for document in wanted}):
        tags = DeploymentFilterTags(all_=[TAG, name])
        for one in client.read_deployments(deployment_filter=DeploymentFilter(tags=tags), limit=200):
            found[f"{client.read_flow(one.flow_id).name}/{one.name}"] = one
    return found


def _ensure_pool(client: "SyncPrefectClient") -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
    from prefect.workers.process import ProcessWorker

    try:
        client.read_work_pool(POOL)
        return
    except ObjectNotFound:
        pass
    template = ProcessWorker.get_default_base_job_template()
    pool = WorkPoolCreate(name=POOL, type="process", base_job_template=template, concurrency_limit=_AT_ONCE)
    try:
        client.create_work_pool(pool)
    except ObjectAlreadyExists:
        # Somebody else was faster.
        return


def _deploy(settings: Settings, stale: list[dict[str, Any]], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(dump({"name": "contender", "deployments": stale}), encoding="utf-8")
    settings.logs.mkdir(parents=True, exist_ok=True)
    said = settings.logs / "deploy.log"
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
    with said.open("wb") as log:
        try:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=_DEPLOY_SECONDS, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
    if code:
        raise Unavailable(f"Prefect did not take the deployments of {file}; its words are in {said}.")


def _upsert(client: "SyncPrefectClient", document: dict[str, Any]) -> bool:
    """Create or update an automation by its name; False where it already is as it should be."""
    from prefect.events.schemas.automations import AutomationCore

    wanted = AutomationCore.model_validate(document)
    there = client.read_automations_by_name(wanted.name)
    for double in there[1:]:
        client.delete_automation(double.id)
    if not there:
        client.create_automation(wanted)
        return True
    if _essence(there[0]) == _essence(wanted):
        return False
    # Switched off by a person, it stays off.
    client.update_automation(there[0].id, wanted.model_copy(update={"enabled": there[0].enabled}))
    return True


def _essence(automation: Any) -> dict[str, Any]:
    """What it does: everything but its identity and whether it is switched on."""
    essence: dict[str, Any] = automation.model_dump(
        mode="json", include={"name", "description", "trigger", "actions", "actions_on_trigger", "actions_on_resolve"}
    )
    for key in ("after", "expect", "for_each"):
        essence["trigger"][key] = sorted(essence["trigger"][key])
    return essence


def main() -> None:
    """`python -m flows.up.installation [--reap] [USE_CASE…]`; `--reap` first ends what a stopped machine left behind.

    Only for a server of our own that has just started, whose worker has not.
    """
    from flows.runtime.exits import ending_in_a_sentence

    with ending_in_a_sentence("'flows.up.installation'"):
        settings = Settings()
        address = prefect_server.find_server(settings)
        if address is None:
            raise Unavailable("No Prefect server answers; start one with 'contender up', or set PREFECT_API_URL.")
        os.environ["PREFECT_API_URL"] = address
        use_cases = tuple(one for one in sys.argv[1:] if one != "--reap")
        if "--reap" in sys.argv:
            from flows.up.crashed_runs import reap

            reaped = reap(settings)
            sys.stdout.write(
                f"{reaped.crashed} dead runs ended, {reaped.left} left at work, {reaped.slots} slots freed.\n"
            )
        done = install(settings, use_cases)
        sys.stdout.write(
            f"{done.deployments} deployments, {done.deployed} of them new or changed, {done.removed} removed; "
            f"{done.automations} automations, {done.changed} new or changed.\n"
        )


if __name__ == "__main__":
    main()
