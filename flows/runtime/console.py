"""What a terminal shows of a run: one line per step, with the seconds since the start."""

import logging
import re
import shutil
import sys
import textwrap
import time
from pathlib import Path

_STEPS = str(Path(__file__).resolve().parents[2] / "tasks")
_began = time.monotonic()


class Ours(logging.Filter):
    """Lets pass what our steps say, and warnings of anyone but what is told already: by a state again, or Ctrl-C."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.pathname.startswith(_STEPS):
            return True
        if record.exc_info and isinstance(record.exc_info[1], KeyboardInterrupt):
            return False
        return record.levelno >= logging.WARNING and not record.name.startswith(
            ("prefect.flow_runs", "prefect.task_runs")
        )


class Short(logging.Formatter):
    """What the Prefect UI shows of a record: no traceback and no page of Java, but the sentence of what broke."""

    def format(self, record: logging.LogRecord) -> str:
        from contender.error_text import sentence_of
        from contender.redact import without_logins
        from contender.settings import Settings

        message = without_logins(record.getMessage())
        if page := _PAGE.search(message):
            message = f"{message[: page.start()].rstrip()} …"
        error = record.exc_info[1] if record.exc_info else None
        if error is None or (sentence := sentence_of(error, Settings())) in message:
            return message
        return f"{message}: {sentence}"


_NEW_LINE = r"(?:\n|\\n)(?:\s|\\t)*"
# As it is, and as it is in the quotes that Prefect puts around a state's message.
_PAGE = re.compile(rf"{_NEW_LINE}(?:at \w|Traceback \(most|:? ?(?:java|org|scala)\.\w)|\s*JVM stacktrace:")


def folded(text: str) -> str:
    """A sentence as a person reads it: in lines of the terminal's width where standard error is one, else in one."""
    if not sys.stderr.isatty():
        return text
    # A path stays in one piece, which a click or a copy takes.
    width = min(shutil.get_terminal_size((80, 24)).columns, 80)
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


class Plain(logging.Formatter):
    """Seconds, then the sentence, folded to the width of the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        width = min(shutil.get_terminal_size((80, 24)).columns, 100)
        seconds = f"{time.monotonic() - _began:6.1f} s  "
        return textwrap.fill(
            record.getMessage(),
            width,
            initial_indent=seconds,
            subsequent_indent=" " * len(seconds),
            break_long_words=False,
            break_on_hyphens=False,
        )
