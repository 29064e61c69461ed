"""How a step tells what it does: one line to people, a page to the Prefect UI, its seconds to the clock."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_URL

from contender.operations import server_checks
from contender.promotion.verdict_document import Texts
from contender.timing import clock
from contender.values import Verdict

_rehearsal: ContextVar[Callable[[str], None] | None] = ContextVar("rehearsal", default=None)


@contextmanager
def rehearsing(tell: Callable[[str], None]) -> Iterator[None]:
    """Run steps of a history that is played again: their lines go to `tell`, and nobody else hears of anything.

    No page is kept at Prefect's server, no event is sent, no one is notified.
    """
    token = _rehearsal.set(tell)
    try:
        yield
    finally:
        _rehearsal.reset(token)


def is_rehearsal() -> bool:
    """Whether what happens now has happened long ago, or never."""
    return _rehearsal.get() is not None


@contextmanager
def step_log() -> Iterator[Callable[[str], None]]:
    """Count the block as work, and give the function that tells about it."""
    told = _rehearsal.get()
    logger = None if told else get_run_logger()
    with clock.spending("work"):
        yield told or (lambda line: logger.log(logging.INFO, "%s", line) if logger else None)


def show(use_case: str, what: str, title: str, lines: Sequence[str]) -> None:
    """Keep a page for the Prefect UI, under the key `<use case>-<what>`."""
    if is_rehearsal():
        return
    markdown = "\n".join([f"# {title}", "", *lines])
    stored(title, create_markdown_artifact, key=key_of(use_case, what), markdown=markdown, description=title)


def key_of(use_case: str, what: str) -> str:
    """What the Prefect UI calls the pages of one kind."""
    return f"{use_case.replace('_', '-')}-{what}"


def stored(title: str, store: Callable[..., Any], *args: Any, **kwargs: Any) -> UUID | None:
    """The id of what was stored at Prefect's server; None when it does not answer, which stops no work."""
    try:
        _refuse_silence()
        kept: UUID = store(*args, **kwargs)
        return kept
    except Exception as error:  # noqa: BLE001 - a server that is away can fail in many ways; the work is what counts
        get_run_logger().warning("Prefect does not keep the page '%s' (%s); the work goes on.", title, _kind(error))
        return None


def _refuse_silence() -> None:
    # Prefect's client would ask again for two minutes, for each page.
    address = PREFECT_API_URL.value()
    if address:
        status, body = server_checks.ask(f"{address.rstrip('/')}/health")
        if status != 200 or not server_checks.HEALTHY["Prefect"](body):
            raise ConnectionError(f"the server answers with {status}")


def _kind(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".rstrip(": ")


def table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """The lines of a Markdown table."""
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [list(names), ["---"] * len(names), *cells]]


def verdict_page(verdict: Verdict) -> list[str]:
    """A verdict's reasons, numbers and guardrails as Markdown."""
    texts = Texts.of(verdict)
    return [
        *[f"- {reason}" for reason in verdict.reasons],
        "",
        *table(
            ["metric", texts.against, "challenger", "gain", f"{texts.level} interval", "rows"],
            [(texts.metric, texts.champion, texts.challenger, texts.gain, texts.interval, texts.rows)],
        ),
        "",
        *table(["guardrail", "value", "limit", "holds"], texts.guardrails),
    ]
