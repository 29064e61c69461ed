"""Tells people by the addresses of `CONTENDER_NOTIFY`; an address holds secrets and is never shown."""

import logging
import re
import threading
import time
from typing import TYPE_CHECKING, Literal

from contender.errors import ContenderError, UsageError
from contender.operations import notices
from contender.settings import Settings

if TYPE_CHECKING:
    from apprise import NotifyBase

Kind = Literal["promoted", "rolled back", "drift", "decay", "broken feed", "batch refused", "flow failed", "approval"]

SECONDS = 10.0
"""How long the work waits until people are told."""

log = logging.getLogger(__name__)


def addresses(settings: Settings) -> list[str]:
    """The addresses to tell; none is the default. Two are parted by blanks or a comma.

    Raises:
        UsageError: one is not what Apprise understands; says which by its number only.
    """
    # A comma may stand in an address; it parts two only where another one begins.
    text = settings.notify.get_secret_value().strip(" ,\t\r\n")
    found = [part for part in re.split(r"\s+|\s*,\s*(?=[A-Za-z][\w+.-]*://)", text) if part.strip(",")]
    for number, address in enumerate(found, start=1):
        if _target(address) is None:
            which = f"address {number} of {len(found)}" if len(found) > 1 else "what it holds"
            raise UsageError(
                f"CONTENDER_NOTIFY: {which} is not an address that Apprise understands, such as "
                "'mailto://USER:PASSWORD@HOST' or 'slack://TOKENS'; correct it, or unset the variable."
            )
    return found


def notify(settings: Settings, kind: Kind, use_case: str, sentence: str, link: str = "", *, id: str = "") -> bool:
    """Tell every address what happened; whether all took it. It never raises, and takes at most `SECONDS`.

    What an address did not take is logged and kept as a notice.

    Args:
        id: of what several may tell, such as a flow run that failed: it is kept as a notice, and told by the first.
    """
    if id and not _is_new(settings, kind, use_case, sentence, link, id):
        return True
    try:
        targets = [_target(address) for address in addresses(settings)]
    except UsageError as error:
        _tell_failure(settings, use_case, str(error))
        return False
    title = f"Contender: {use_case} {kind}"
    body = f"{sentence}\n{link}" if link else sentence
    took: list[int] = []

    def send(number: int, target: "NotifyBase | None") -> None:
        try:
            if target is not None and target.notify(body=body, title=title):
                took.append(number)
        except Exception as error:  # noqa: BLE001 - whatever a plug-in for some service breaks on must not stop the work
            log.debug("a notification failed with %s", type(error).__name__)

    threads = [threading.Thread(target=send, args=one, daemon=True) for one in enumerate(targets)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + SECONDS
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    missing = len(targets) - len(took)
    if missing:
        which = f"{missing} of {len(targets)} addresses" if len(targets) > 1 else "the address"
        _tell_failure(settings, use_case, f"{which} of CONTENDER_NOTIFY did not take '{title}': {sentence}")
    return not missing


def _is_new(settings: Settings, kind: Kind, use_case: str, sentence: str, link: str, id: str) -> bool:
    try:
        return notices.keep(settings, kind, use_case, sentence, link=link, id=id)
    except ContenderError as error:
        log.warning("the notice could not be kept: %s", error)
        return True


def _tell_failure(settings: Settings, use_case: str, sentence: str) -> None:
    log.warning("%s", sentence)
    try:
        notices.keep(settings, "notification failed", use_case, sentence)
    except ContenderError as error:
        log.warning("the notice of it could not be kept: %s", error)


def _target(address: str) -> "NotifyBase | None":
    import apprise

    # They log addresses with what is secret in them: the one whatever happens, the other each request.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    if (sender := logging.getLogger("urllib3")).getEffectiveLevel() < logging.INFO:
        sender.setLevel(logging.INFO)
    found: NotifyBase | None = apprise.Apprise.instantiate(address, suppress_exceptions=True)
    return found
