"""How a command ends when it cannot do what it says: one sentence on standard error and an exit code."""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click


@contextmanager
def ending_in_a_sentence(doing: str) -> Iterator[None]:
    """A block that ends the process in one sentence where it breaks; CONTENDER_DEBUG=1 shows the traceback before it.

    Args:
        doing: what is done in it, such as "'contender run'".
    """
    from contender import error_text
    from contender.errors import UsageError

    try:
        with error_text.telling_of_threads(doing):
            yield
    except (click.ClickException, click.Abort, click.exceptions.Exit):
        raise
    except KeyboardInterrupt:
        click.echo("contender: interrupted; nothing is half done, the next run finishes the work.", err=True)
        leave(130)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            # As in `contender status | head -1`: click ends it quietly.
            raise
        _say(error, doing)
        leave(2 if isinstance(error, UsageError) else 1)


def _say(error: Exception, doing: str) -> None:
    from contender import error_text
    from flows.runtime.console import folded

    sentence = folded(f"contender: {error_text.tell(error, doing)}")
    click.echo(f"{error_text.whole_of(error)}\n{sentence}" if error_text.is_debugging() else sentence, err=True)


def _nobody_reads() -> bool:
    """Whether standard output is a pipe without a reader; the same error may come from a socket."""
    watched = select.poll()
    try:
        watched.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in watched.poll(0))


def leave(code: int) -> None:
    """End now: threads that still load libraries would hold the process for seconds."""
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    if "flows.prefect_api.prefect_server" in sys.modules:
        sys.modules["flows.prefect_api.prefect_server"].stop_all()
    os._exit(code)
