"""The loop that reads Prefect's events: who called for a retrain and what came of it, and what people should know."""

import json
import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from contender.contracts.contract import Contract
from contender.error_text import brief
from contender.errors import Unavailable
from contender.events import CALLS, DEGRADED, DRIFT, REFUSED, resource_of
from contender.operations import delivery, notices
from contender.retraining import triggers
from contender.settings import Settings
from flows.prefect_api.client import Away, Document, Server
from flows.watcher.pace import USUAL, Pace
from flows.watcher.retrain_outcomes import settle_triggers

CRASHED = "prefect.flow-run.Crashed"
FAILED = ("prefect.flow-run.Failed", CRASHED)
ACTION_FAILED = "prefect.automation.action.failed"

OVERLAP = timedelta(minutes=10)
"""An event may be told, or reach the database, later than those that occurred after it."""

_FIRST_LOOK, _OLDEST_LOOK = timedelta(days=1), timedelta(days=7)

log = logging.getLogger(__name__)


class Sentinel:
    """What was seen so far. Whatever is seen twice, also after a restart, is kept and told once by its event's id."""

    def __init__(
        self, settings: Settings, contracts: Mapping[str, Contract], server: Server, pace: Pace = USUAL
    ) -> None:
        self._settings, self._server, self.pace = settings, server, pace
        self._contracts = dict(contracts)
        self._resources = {resource_of(settings, use_case): use_case for use_case in contracts}
        self._marker = settings.running / "sentinel.json"
        self._seen: dict[str, datetime] = {}
        self._until = self._written = _read_marker(self._marker)

    def look(self, now: datetime) -> bool:
        """Read the events since the last look, and settle what is pending; whether there was or is anything.

        Raises:
            Away: Prefect does not answer.
            Unavailable: the ledger does not; the same events are read again at the next look.
        """
        since = self._until - OVERLAP
        self._seen = {event: at for event, at in self._seen.items() if at >= since - OVERLAP}
        new = 0
        for event in self._server.events([*CALLS, REFUSED, *FAILED, ACTION_FAILED], since):
            if event["id"] not in self._seen:
                new += 1
                self._take_carefully(event)
                self._seen[event["id"]] = max(_moment(event), since)
        self._until = now
        if now - self._written > timedelta(seconds=30):
            _write_marker(self._marker, now)
            self._written = now
        waiting = sum(self._settle_carefully(contract, now) for contract in self._contracts.values())
        return bool(new or waiting)

    def _take_carefully(self, event: Document) -> None:
        try:
            self._take(event)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one strange event must not hide those after it
            log.warning("event %s (%s) was not understood: %s", event["id"], event["event"], brief(error))

    def _settle_carefully(self, contract: Contract, now: datetime) -> bool:
        try:
            return settle_triggers(self._settings, contract, self._server, now, self.pace)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the other use cases must go on
            log.warning("alarms of %s: %s", contract.name, brief(error))
            return True

    def _take(self, event: Document) -> None:
        if event["event"] in FAILED:
            self._take_failure(event)
        elif event["event"] == ACTION_FAILED:
            name = event["resource"].get("prefect.resource.name", "?")
            why = notices.one_sentence(str(event["payload"].get("reason") or "no reason is given"))
            sentence = f"An automation failed: {name}: {why}"
            if notices.keep(self._settings, "automation failed", "", sentence, id=event["id"], at=_moment(event)):
                log.warning("%s", sentence)
        elif use_case := self._resources.get(event["resource"].get("prefect.resource.id", "")):
            if event["event"] == REFUSED:
                # The flow that refused it has told people.
                said = str((event.get("payload") or {}).get("sentence") or "no reason is given")
                notices.keep(self._settings, "batch refused", use_case, said, id=event["id"], at=_moment(event))
            else:
                self._take_call(use_case, event)

    def _take_call(self, use_case: str, event: Document) -> None:
        payload = event.get("payload") or {}
        told = payload.get("sentence") or payload.get("reason") or "no reason is given"
        reason = notices.one_sentence(str(told))
        at, id = _moment(event), event["id"]
        if triggers.keep(self._settings, use_case, event_id=id, at=at, event=event["event"], reason=reason):
            log.info("%s of %s: %s", event["event"], use_case, reason)
        # Our own monitor tells people itself, before it sends the event.
        if event["event"] in (DRIFT, DEGRADED) and payload.get("notified") is not True:
            kind: delivery.Kind = "drift" if event["event"] == DRIFT else "decay"
            self._tell(kind, use_case, reason, "", id, at)

    def _take_failure(self, event: Document) -> None:
        """Tell of a flow run of ours that failed, but not of one within another: that one fails as well."""
        tags = {_tag(one) for one in event.get("related") or [] if one.get("prefect.resource.role") == "tag"}
        use_case = next((name for name in self._contracts if self._settings.name_of(name) in tags), None)
        if "contender" not in tags or use_case is None:
            return
        resource = event["resource"]
        id = resource["prefect.resource.id"].removeprefix("prefect.flow-run.")
        found = self._server.flow_runs(flow_runs={"id": {"any_": [id]}})
        if found and found[0].get("parent_task_run_id"):
            return
        why = notices.one_sentence(resource.get("prefect.state-message") or "") or "it left no message"
        if event["event"] == CRASHED:
            # Nothing of ours could say so itself.
            notices.keep_end(self._settings, use_case, _flow_of(event), id, why, _moment(event))
        refused = {one.sentence for one in notices.newest(self._settings, use_case, 20) if one.kind == "batch refused"}
        if why in refused:
            return
        sentence = f"{resource.get('prefect.resource.name', 'a run')} {_ending(event)}: {why}"
        # The flow itself may have told it, under the id of its run.
        if self._tell("flow failed", use_case, sentence, self._server.run_page(id), id, _moment(event)):
            log.warning("%s", sentence)

    def _tell(self, kind: delivery.Kind, use_case: str, sentence: str, link: str, id: str, at: datetime) -> bool:
        new = notices.keep(self._settings, kind, use_case, sentence, link=link, id=id, at=at)
        if new:
            delivery.notify(self._settings, kind, use_case, notices.one_sentence(sentence), link)
        return new


def poll_events(sentinel: Sentinel, stop: threading.Event) -> None:
    """Look again and again, until `stop` is set; who is away is waited for."""
    last = ""
    while not stop.is_set():
        pause = sentinel.pace.busy_seconds
        try:
            if not sentinel.look(datetime.now(UTC)):
                pause = sentinel.pace.idle_seconds
            last = ""
        except Away:
            pass
        except Exception as error:  # noqa: BLE001 - it is the last one who would tell of an error
            if (sentence := brief(error)) != last:
                log.warning("%s", sentence)
            last = sentence
        stop.wait(pause)


def _moment(event: Document) -> datetime:
    return datetime.fromisoformat(event["occurred"].replace("Z", "+00:00")).astimezone(UTC)


def _tag(resource: Mapping[str, Any]) -> str:
    return str(resource.get("prefect.resource.id", "")).removeprefix("prefect.tag.")


def _flow_of(event: Document) -> str:
    """Name of the flow that an event of a run belongs to."""
    related = event.get("related") or []
    found = (one for one in related if one.get("prefect.resource.role") == "flow")
    return str(next(found, {}).get("prefect.resource.name") or "a flow")


def _ending(event: Document) -> str:
    return str(event["event"]).rpartition(".")[2].lower()


def _read_marker(path: Path) -> datetime:
    """Until when events were read; a while ago where nobody knows, and never longer ago than Prefect keeps them."""
    now = datetime.now(UTC)
    with suppress(OSError, ValueError, KeyError, TypeError):
        return max(datetime.fromisoformat(json.loads(path.read_text())["until"]), now - _OLDEST_LOOK)
    return now - _FIRST_LOOK


def _write_marker(path: Path, until: datetime) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".new")
    written.write_text(json.dumps({"until": until.isoformat()}))
    written.replace(path)
