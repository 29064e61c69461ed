"""What people are told of a run that failed: one sentence, whatever broke."""

import errno
import os
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

from contender.errors import ContenderError
from contender.settings import Settings

MOST = 300
"""Characters of a cause that anybody reads in a list of runs."""

_LOGIN = re.compile(r"//[^/@\s]*@")
_CAUSED = re.compile(r"^Caused by: (.*)$", re.MULTILINE)
_THROWN = re.compile(r"^:? ?((?:[a-z]\w*\.)+\w*(?:Exception|Error)\b.*)$", re.MULTILINE)
_PYTHON = re.compile(r"^\s*((?:\w+\.)*\w*(?:Error|Exception|Interrupt): .*)$", re.MULTILINE)


def sentence_of(error: BaseException, settings: Settings) -> str:
    """The sentence of a promise that was broken; of anything else what kind it is and the first line of its cause."""
    if isinstance(error, ContenderError):
        return without_logins(str(error))
    texts = [text_of(one) for one in chain(error)]
    if any(is_full(one) for one in chain(error)) or any("No space left on device" in text for text in texts):
        return (
            f"The disk that holds {settings.home} or the lake is full; make room there and run it again: nothing is "
            f"half done, and {settings.state / 'scratch'} may be deleted while nothing runs."
        )
    if isinstance(error, MemoryError) or any("java.lang.OutOfMemoryError" in text for text in texts):
        return (
            f"The memory did not suffice: Spark may take CONTENDER_SPARK_MEMORY={settings.spark_memory}; set it higher "
            "or run less beside it, then run it again: nothing is half done."
        )
    return shortened(without_logins(cause_of(error)))


def cause_of(error: BaseException) -> str:
    """Kind and first line; of an error from Java the innermost cause, of one from a worker's Python the last line."""
    text = text_of(error)
    kind = type(error).__name__
    if found := _CAUSED.findall(text) or _inside_python(text) or _THROWN.findall(text):
        return f"{kind}: {found[-1].strip()}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{kind}: {lines[0]}" if lines else kind


def keep(error: BaseException, settings: Settings, run: str) -> Path:
    """Write the whole of an error, with all that led to it, where only this user reads it."""
    path = settings.logs / "errors" / f"{run}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = "".join(traceback.TracebackException.from_exception(error).format())
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(without_logins(whole))
    return path


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised from."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def text_of(error: BaseException) -> str:
    """What an error says; one from Java asks Java for it, which may be gone."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - whatever it is, the error that is told of comes first
        return ""


def is_full(error: BaseException) -> bool:
    """Whether a disk or a quota has no room."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def shortened(text: str) -> str:
    """The first line, cut where nobody reads on."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= MOST else f"{line[: MOST - 2]} …"


def without_logins(text: str) -> str:
    """A text without the user and password of the addresses in it."""
    return _LOGIN.sub("//", text)


def _inside_python(text: str) -> list[str]:
    return _PYTHON.findall(text) if "Traceback (most recent call last)" in text else []
