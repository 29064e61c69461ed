"""What people are told of a failed run: one sentence."""

import errno
import stat

import pytest

from contender.errors import BatchRefused
from contender.operations import error_text
from contender.settings import Settings

JAVA = """\
An error occurred while calling o71.save.
: org.apache.spark.SparkException: Job aborted.
\tat org.apache.spark.sql.errors.QueryExecutionErrors$.jobAborted(QueryExecutionErrors.scala:638)
Caused by: org.apache.spark.SparkException: Task failed while writing rows
\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: java.io.FileNotFoundException: /lake/records/part-0.parquet
\t... 12 more
"""
PYTHON = """\
  An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "scoring.py", line 18, in predict
    raise KeyError("colour")
KeyError: 'colour'
"""


class OfJava(Exception):
    """Says a page, as Spark's errors do."""


class Speechless(Exception):
    """Its text is at a Java that has ended."""

    def __str__(self) -> str:
        raise ConnectionRefusedError


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, spark_memory="3g")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        pytest.param(BatchRefused("The batch is refused."), "The batch is refused.", id="ours, word for word"),
        pytest.param(KeyError("colour"), "KeyError: 'colour'", id="a bug"),
        pytest.param(ValueError(), "ValueError", id="without words"),
        pytest.param(ValueError("first\nsecond"), "ValueError: first", id="the first line"),
        pytest.param(
            OfJava(JAVA), "OfJava: java.io.FileNotFoundException: /lake/records/part-0.parquet", id="innermost cause"
        ),
        pytest.param(
            OfJava("called o1.x.\n: java.lang.RuntimeException: no\n\tat a.b(C.java:1)"),
            "OfJava: java.lang.RuntimeException: no",
            id="Java without a cause",
        ),
        pytest.param(OfJava(PYTHON), "OfJava: KeyError: 'colour'", id="a worker's Python"),
        pytest.param(Speechless(), "Speechless", id="Java has ended"),
    ],
)
def test_a_failure_is_one_line(settings, error, sentence):
    assert error_text.sentence_of(error, settings) == sentence


def test_a_long_cause_is_cut(settings):
    told = error_text.sentence_of(ValueError("x" * 1000), settings)

    assert len(told) == error_text.MOST
    assert told.endswith(" …")


@pytest.mark.parametrize("full", [OSError(errno.ENOSPC, "No space left"), OfJava("Caused by: No space left on device")])
def test_a_full_disk_says_what_to_do(settings, full):
    error = RuntimeError("could not be written")
    error.__cause__ = full

    assert "is full; make room there" in error_text.sentence_of(error, settings)


@pytest.mark.parametrize("short", [MemoryError(), OfJava("Caused by: java.lang.OutOfMemoryError: Java heap space")])
def test_too_little_memory_says_which_setting(settings, short):
    assert "CONTENDER_SPARK_MEMORY=3g" in error_text.sentence_of(short, settings)


def test_the_whole_is_kept_for_this_user_alone_and_without_logins(settings):
    try:
        try:
            raise KeyError("postgresql://me:secret@host/db")
        except KeyError as error:
            raise RuntimeError("the second") from error
    except RuntimeError as error:
        path = error_text.keep(error, settings, "a-run")

    text = path.read_text()
    assert path == settings.logs / "errors" / "a-run.txt"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "the second" in text
    assert "Traceback" in text
    assert "secret" not in text


def test_a_login_is_not_told(settings):
    assert "secret" not in error_text.sentence_of(ValueError("no answer from http://me:secret@host:5000"), settings)
