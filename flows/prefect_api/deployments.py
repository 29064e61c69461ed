"""The deployments of Prefect, rendered from the contracts: what runs by itself, when, and what calls for it."""

from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from contender import events
from contender.contracts.contract import Contract, known_use_cases
from contender.contracts.loop_sections import Schedule
from contender.errors import UsageError
from contender.settings import Settings
from flows.prefect_api.prefect_server import RUN_ENVIRONMENT

POOL = "contender"
TAG = "contender"
# Two requests within a minute are one; a drift that was reported a minute ago may be reported by another again.
_REQUEST_SECONDS = 60

_HEAD = """\
# Written by 'contender deployments --write' from the contracts: change those, not this.
# 'contender up' installs it and the automations. By hand, in this folder:
#   prefect work-pool create contender --type process
#   prefect --no-prompt deploy --all
#   prefect automation create --from-file deployments/automations.yaml
#   prefect worker start --pool contender
"""

_USE_CASE = "- `use_case`: name of the folder that holds the contract."


@dataclass(frozen=True)
class FlowDeployment:
    """How one flow is deployed for a use case; `collision` says what becomes of a run while another runs."""

    does: str
    when: str
    parameters: str = _USE_CASE
    collision: str | None = "ENQUEUE"


PLANS = {
    "ingest": FlowDeployment(
        "Takes what has landed into the lake, each file once, computes features, and goes on to score.",
        "By itself when a batch lands (`contender.batch.landed`), and {schedule}, for what no event announced. "
        "A run that comes while another is at work waits for it.",
        f"{_USE_CASE}\n- `landing`: folder where the files are; empty: the contract's own.\n"
        "- `go_on`: score what has no prediction, and ask for a retrain when enough outcomes are new.",
    ),
    "score": FlowDeployment(
        "Writes a prediction for every record that has none, with the champion.",
        "By itself after new records were taken in, when a champion takes the title (`contender.champion.promoted`), "
        "and {schedule}. A run that comes while another is at work waits for it.",
    ),
    "monitor": FlowDeployment(
        "Compares what arrives, and what became of it, with what the champion was trained on; reports drift and decay.",
        "By itself {schedule}. A run that comes while another is at work is cancelled.",
        f"{_USE_CASE}\n- `as_of`: moment (UTC) before which the newest whole days are looked at; empty: now, or where "
        "nothing came since, the end of the newest day.",
        collision="CANCEL_NEW",
    ),
    "retrain": FlowDeployment(
        "Trains a challenger on all that is known and lets it face the champion on rows that neither has seen.",
        "By itself on `contender.drift.detected` and `contender.performance.degraded`, at most once in {cool_down} "
        "each, on `contender.retrain.requested`, and, when enough outcomes are new, {schedule}. A run that comes "
        "while another is at work is cancelled.",
        f"{_USE_CASE}\n- `reason`: why now; people read it in the list of runs.\n"
        "- `as_of`: moment (UTC) whose knowledge counts; empty: now.\n"
        "- `decayed`: the champion is known to decay; then a challenger that is not worse takes the title.\n"
        "- `if_due`: end as skipped unless enough outcomes are new, as the schedule asks.\n"
        "- `event_id`: id of the event that called for it; empty when a person did.\n"
        "- `event`: its name; an alarm is held to the contract's limits, a request is not.",
        collision="CANCEL_NEW",
    ),
    "pipeline": FlowDeployment(
        "The whole job once: ingest, train and judge when due, promote, score.",
        "Only when somebody starts it. A run that comes while another is at work waits for it.",
        f"{_USE_CASE}\n- `landing`: folder where the files are; empty: the contract's own.",
    ),
    "release": FlowDeployment(
        "Copies the champion of one environment with its evidence to another, where it becomes a challenger.",
        "Only when somebody starts it. It never takes the title there by itself.",
        f"{_USE_CASE}\n- `source`: environment whose champion is released: dev, staging or prod.\n"
        "- `target`: environment in which it becomes a challenger.",
    ),
    "approve": FlowDeployment(
        "Shows the verdict on a challenger that won, and waits for a person's answer before the title changes.",
        "By itself where the contract asks for a person's approval; the answer is the form of the suspended run, or "
        "`contender approve` and `contender reject`. Without one the champion stays.",
        f"{_USE_CASE}\n- `version`: the challenger's version in the registry.",
        collision=None,
    ),
}


def render(settings: Settings, use_cases: tuple[str, ...] = ()) -> str:
    """The text of `prefect.yaml` for some use cases, or for all that have a contract.

    Raises:
        UnknownUseCase: one of them has no contract.
        UsageError: there is no contract at all.
    """
    return _HEAD + dump({"name": "contender", "deployments": documents(settings, use_cases)})


def documents(settings: Settings, use_cases: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The deployments as `prefect.yaml` has them, use case by use case.

    Raises:
        UnknownUseCase: one of them has no contract.
        UsageError: there is no contract at all.
    """
    names = use_cases or tuple(known_use_cases(settings.use_cases))
    if not names:
        raise UsageError(f"{settings.use_cases} holds no contract; 'contender init' writes one from files of yours.")
    contracts = [Contract.of(name, settings.use_cases) for name in names]
    flows = [flow for flow in PLANS if find_spec(f"flows.{flow}")]
    return [_deployment(settings, contract, flow) for contract in contracts for flow in flows]


def dump(document: dict[str, Any]) -> str:
    """YAML as people like to read it: in our order, and texts of several lines as such."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return text


def out_of_date(text: str, file: Path) -> bool:
    """Whether a file does not say what was rendered."""
    return not file.is_file() or file.read_text(encoding="utf-8") != text


def _deployment(settings: Settings, contract: Contract, flow: str) -> dict[str, Any]:
    plan, name = PLANS[flow], settings.name_of(contract.name)
    cron = getattr(contract.schedule, flow, "never") if flow in Schedule.model_fields else "never"
    timezone = contract.schedule.timezone
    told = "never by a clock" if cron == "never" else f"at `{cron}` ({timezone}: minute hour day month weekday)"
    when = plan.when.format(schedule=told, cool_down=_in_words(contract.retraining.cool_down))
    document: dict[str, Any] = {
        "name": name,
        # Of a module, not of a file: that would put flows/ first among the places where any module is looked for.
        "entrypoint": f"flows.{flow}.{flow}",
        "description": f"{plan.does}\n\n**When:** {when}\n\n**Parameters**\n\n{plan.parameters}\n",
        "tags": [TAG, name],
        "parameters": {"use_case": contract.name},
        "enforce_parameter_schema": True,
    }
    if plan.collision:
        document["concurrency_limit"] = {"limit": 1, "collision_strategy": plan.collision}
    schedule: dict[str, Any] = {"cron": cron, "timezone": timezone}
    if flow == "retrain":
        schedule["parameters"] = {"reason": "on schedule", "if_due": True}
    document["schedules"] = [] if cron == "never" else [schedule]
    environment = {"CONTENDER_ENVIRONMENT": settings.environment, **RUN_ENVIRONMENT}
    document["work_pool"] = {"name": POOL, "job_variables": {"env": environment}}
    if triggers := _triggers(settings, contract, flow):
        document["triggers"] = triggers
    return document


def _triggers(settings: Settings, contract: Contract, flow: str) -> list[dict[str, Any]]:
    cool_down = int(contract.retraining.cool_down.total_seconds())
    if flow == "ingest":
        return [_trigger(settings, contract, "ingest what has landed", events.LANDED, 0)]
    if flow == "score":
        return [_trigger(settings, contract, "score with the new champion", events.PROMOTED, 0)]
    if flow != "retrain":
        return []
    # One each, so that a drift's cool-down does not swallow a decay, which is judged by another rule.
    calls = (
        ("retrain on drift", events.DRIFT, cool_down, "drift was reported", False),
        ("retrain on decay", events.DEGRADED, cool_down, "decay was reported", True),
        ("retrain on request", events.RETRAIN, _REQUEST_SECONDS, "asked for by an event", False),
    )
    return [
        _trigger(settings, contract, name, event, within)
        | {
            "parameters": {
                "use_case": contract.name,
                # In parentheses: Prefect appends a filter, and a filter binds tighter than 'or'. An event from outside
                # may lack its sentence, and an action that fails does so silently.
                "reason": f"{{{{ (event.payload.sentence or '{otherwise}') | string }}}}",
                "decayed": decayed,
                # Without the filter the action fails: an UUID is not JSON.
                "event_id": "{{ event.id | string }}",
                "event": event,
            }
        }
        for name, event, within, otherwise, decayed in calls
    ]


def _trigger(settings: Settings, contract: Contract, name: str, event: str, within_seconds: int) -> dict[str, Any]:
    return {
        "type": "event",
        "name": f"{settings.name_of(contract.name)}: {name}",
        "enabled": True,
        "match": {"prefect.resource.id": events.resource_of(settings, contract.name)},
        "expect": [event],
        "for_each": ["prefect.resource.id"],
        "posture": "Reactive",
        "threshold": 1,
        "within": within_seconds,
    }


def _in_words(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds % size == 0))
    return f"{seconds // size} {unit}{'' if seconds == size else 's'}"


_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
