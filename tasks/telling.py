"""How a step tells what it does: one line to people, a page to the Prefect UI, its seconds to the clock."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from contender.timing import clock


@contextmanager
def working() -> Iterator[Callable[[str], None]]:
    """Count the block as work, and give the function that tells about it."""
    logger = get_run_logger()
    with clock.spending("work"):
        yield lambda line: logger.log(logging.INFO, "%s", line)


def show(use_case: str, what: str, title: str, lines: Sequence[str]) -> None:
    """Keep a page for the Prefect UI, under the key `<use case>-<what>`."""
    create_markdown_artifact(
        key=f"{use_case.replace('_', '-')}-{what}", markdown="\n".join([f"# {title}", "", *lines]), description=title
    )


def table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """The lines of a Markdown table."""
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [list(names), ["---"] * len(names), *cells]]
