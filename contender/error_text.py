"""What people are told of what failed: one sentence, whatever broke."""

import errno
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from contender.errors import ContenderError
from contender.redact import shortened, without_logins
from contender.settings import Settings

_TOLD = "_contender_told"
_SAID: set[str] = set()
"""All sentences that were told in this process."""

_CAUSED = re.compile(r"^Caused by: (.*)$", re.MULTILINE)
_THROWN = re.compile(r"^:? ?((?:[a-z]\w*\.)+\w*(?:Exception|Error)\b.*)$", re.MULTILINE)
_PYTHON = re.compile(r"^\s*((?:\w+\.)*\w*(?:Error|Exception|Interrupt): .*)$", re.MULTILINE)


def tell(error: BaseException, doing: str, run: str = "") -> str:
    """The one sentence of an error: of ours its own, else also where the whole of it was written, and how to report it.

    Whoever asks first has it written; all who ask later, as the flow after its step, get the same sentence.

    Args:
        doing: what was being done, as the subject of "failed".
        run: name of the file that keeps the whole; else the moment and the process.
    """
    told: str | None = getattr(error, _TOLD, None)
    if isinstance(error, ContenderError):
        told = without_logins(str(error))
    elif (text := text_of(error)) in _SAID:
        # Where Prefect's server took a state twice, its client hands on nothing but the sentence.
        told = text
    if told is None:
        told = _tell(error, doing, run or f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}-{os.getpid()}")
        # One that takes no attribute is written twice.
        with suppress(Exception):
            setattr(error, _TOLD, told)
    _SAID.add(told)
    return told


def _tell(error: BaseException, doing: str, run: str) -> str:
    try:
        settings = Settings()
    except ValidationError as wrong:
        # Then it is what failed, or comes first: without settings nobody knows where logs are.
        return _of_settings(wrong)
    sentence = sentence_of(error, settings)
    mended = sentence.startswith(_MENDED)
    said = f"{doing} failed: {sentence[0].lower() + sentence[1:] if mended else sentence}".rstrip(".")
    try:
        kept = keep(error, settings, run, doing)
    except OSError as refusal:
        # A full disk has no room for it either.
        said += f"; the whole of it could not be written down ({refusal.strerror})"
        return f"{said}." if mended else f"{said}: {_REPORT}"
    said += f"; the whole of it is in {kept}"
    return f"{said}." if mended else f"{said}: report it with that file and the output of 'contender doctor'."


def _of_settings(wrong: ValidationError) -> str:
    """Which variable holds what cannot be used; not what it holds, which may be a secret."""
    first = wrong.errors(include_url=False, include_input=False)[0]
    name = "_".join(map(str, first["loc"])).upper()
    why = first["msg"].removeprefix("Value error, ")
    return f"CONTENDER_{name} cannot be used ({why}); correct the variable, or unset it."


_REPORT = "report it with what CONTENDER_DEBUG=1 shows and the output of 'contender doctor'."
_MENDED = ("The disk ", "The memory ")
"""How sentences begin that say what to do, which is not to report it."""


@contextmanager
def telling_of_threads(doing: str) -> Iterator[None]:
    """A block in which a thread that ends by an error says one sentence on standard error, instead of a traceback."""
    before = threading.excepthook

    def hook(ended: threading.ExceptHookArgs) -> None:
        if ended.exc_value is not None and not issubclass(ended.exc_type, SystemExit):
            sys.stderr.write(f"{tell(ended.exc_value, doing)}\n")

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


@contextmanager
def process(name: str) -> Iterator[None]:
    """All of a process of ours that is no command: what breaks is one sentence on standard error, and exit code 1.

    Raises:
        SystemExit: in place of the error.
    """
    doing = f"The process '{name}'"
    with telling_of_threads(doing):
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, a log of pages hides the sentence
            sys.stderr.write(f"{whole_of(error) if is_debugging() else ''}{tell(error, doing)}\n")
            raise SystemExit(1) from None


def is_debugging() -> bool:
    """Whether whoever looks wants to see tracebacks; asked of the variable, since settings may be what is wrong."""
    return os.environ.get("CONTENDER_DEBUG") == "1"


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
    return brief(error)


def brief(error: BaseException) -> str:
    """One line for a log: of ours its sentence, of anything else what kind it is and its cause."""
    if isinstance(error, ContenderError):
        return without_logins(str(error))
    return shortened(without_logins(cause_of(error)))


def cause_of(error: BaseException) -> str:
    """Kind and first line; of an error from Java the innermost cause, of one from a worker's Python the last line."""
    text = text_of(error)
    kind = type(error).__name__
    if found := _CAUSED.findall(text) or _inside_python(text) or _THROWN.findall(text):
        return f"{kind}: {found[-1].strip()}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{kind}: {lines[0]}" if lines else kind


def keep(error: BaseException, settings: Settings, run: str, doing: str = "") -> Path:
    """Write the whole of an error, with all that led to it, where only this user reads it."""
    path = settings.logs / "errors" / f"{run}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(f"{doing} failed.\n\n{whole_of(error)}" if doing else whole_of(error))
    return path


def whole_of(error: BaseException) -> str:
    """The traceback of an error and of all that led to it, without logins."""
    try:
        lines = list(traceback.TracebackException.from_exception(error).format())
    except Exception as strange:  # noqa: BLE001 - an error that cannot even be shown
        lines = [*traceback.format_tb(error.__traceback__), f"{type(error).__name__} ({type(strange).__name__})\n"]
    return without_logins("".join(lines))


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


def _inside_python(text: str) -> list[str]:
    return _PYTHON.findall(text) if "Traceback (most recent call last)" in text else []
