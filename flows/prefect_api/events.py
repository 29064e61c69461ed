"""Events from commands that do without Prefect: by HTTP, to the server that answers, and never in the way."""

import threading
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

from contender import events
from contender.operations import delivery
from contender.promotion.ledger import LedgerEntry
from contender.registry import ui_links
from contender.settings import Settings
from flows.prefect_api import prefect_server
from flows.prefect_api.client import BUSY, ask

SECONDS = 2.0
"""How long a command waits for the server, which may be away."""


def send(settings: Settings, event: events.Event) -> None:
    """Send an event, unless no server answers in time; who waits for it finds the same in the ledger."""
    sending = threading.Thread(target=_post, args=(settings, event), daemon=True)
    sending.start()
    sending.join(SECONDS)


def tell_title(settings: Settings, use_case: str, entry: LedgerEntry) -> None:
    """Tell automations and people that a person changed the title."""
    back = entry.action == "rolled back"
    event = events.title_changed(
        events.ROLLED_BACK if back else events.PROMOTED,
        use_case,
        version=entry.version,
        previous=entry.previous_version,
        action=entry.action,
        reason=entry.reason,
        by=entry.by,
    )
    link = ui_links.of_version(settings, settings.name_of(use_case), entry.version)
    send(settings, event)
    delivery.notify(settings, "rolled back" if back else "promoted", use_case, event.sentence, link or "")


def _post(settings: Settings, event: events.Event) -> None:
    # Whatever is wrong with a server, the title has changed.
    with suppress(Exception):
        server = prefect_server.find_server(settings)
        if server is not None:
            moment = {"id": str(uuid4()), "occurred": datetime.now(UTC).isoformat(), "related": []}
            ask(server, "/events", [event.document(settings) | moment], pauses=BUSY)
