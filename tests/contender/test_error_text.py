"""What people are told of a failed run: one sentence."""

import errno
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pydantic import ValidationError

from contender import error_text
from contender.errors import BatchRefused
from contender.redact import MOST
from contender.settings import Settings

ROOT = Path(__file__).parents[3]

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

    assert len(told) == MOST
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


@pytest.mark.parametrize("login", ["me:secret", "me:se@cret", "secret"])
def test_a_login_is_not_told(settings, login):
    told = error_text.sentence_of(ValueError(f"no answer from http://{login}@host:5000"), settings)

    assert told == "ValueError: no answer from http://host:5000"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTENDER_HOME", str(tmp_path))
    return tmp_path


class Stubborn(Exception):
    """Takes no attribute."""

    def __setattr__(self, *_):
        raise RuntimeError


def test_an_error_of_nobodys_is_told_with_what_was_done_where_the_whole_is_and_how_to_report_it(home):
    told = error_text.tell(OfJava(JAVA), "'contender score'", "a-run")

    kept = home / "logs" / "errors" / "a-run.txt"
    assert told == (
        "'contender score' failed: OfJava: java.io.FileNotFoundException: /lake/records/part-0.parquet; the whole of it "
        f"is in {kept}: report it with that file and the output of 'contender doctor'."
    )
    assert kept.read_text().startswith("'contender score' failed.\n\n")


def test_whoever_asks_later_gets_the_same_sentence_and_no_second_file(home):
    error = KeyError("colour")

    assert error_text.tell(error, "The step 'a'") == error_text.tell(error, "The flow 'b'")
    assert len([*(home / "logs" / "errors").iterdir()]) == 1


def test_a_sentence_that_comes_back_as_an_error_is_told_as_it_is(home):
    told = error_text.tell(KeyError("colour"), "The step 'a'")

    assert error_text.tell(RuntimeError(told), "The flow 'b'") == told


@pytest.mark.parametrize("error", [Stubborn("no"), Speechless()])
def test_an_error_that_is_strange_itself_is_told_too(home, error):
    assert error_text.tell(error, "'contender score'").startswith(f"'contender score' failed: {type(error).__name__}")


def test_an_error_of_ours_is_its_own_sentence_and_kept_nowhere(home):
    assert error_text.tell(BatchRefused("The batch is refused."), "'contender ingest'") == "The batch is refused."
    assert not (home / "logs").exists()


def test_where_the_whole_cannot_be_written_the_sentence_names_no_file(home):
    (home / "logs").write_text("in the way")

    told = error_text.tell(KeyError("colour"), "'contender score'")
    assert "the whole of it could not be written down (" in told
    assert told.endswith("): report it with what CONTENDER_DEBUG=1 shows and the output of 'contender doctor'.")
    assert str(home) not in told


def test_a_full_disk_is_not_reported_but_mended(home):
    told = error_text.tell(OSError(errno.ENOSPC, "No space left on device"), "The step 'take in' of orders")

    assert told.startswith("The step 'take in' of orders failed: the disk that holds ")
    assert "report it" not in told


def test_a_thread_that_breaks_says_one_sentence(home, capsys):
    with error_text.telling_of_threads("'contender run'"):
        thread = threading.Thread(target=lambda: {}["colour"])
        thread.start()
        thread.join()

    said = capsys.readouterr().err
    assert said.startswith("'contender run' failed: KeyError: 'colour'; the whole of it is in ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(("debug", "lines"), [("", 1), ("1", 5)])
def test_a_process_that_breaks_says_one_sentence_and_ends_with_1(home, debug, lines):
    code = "from contender import error_text\nwith error_text.process('spark'):\n    raise KeyError('colour')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"CONTENDER_HOME": str(home), "CONTENDER_DEBUG": debug},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("The process 'spark' failed: KeyError: 'colour'; the whole")
    assert ("Traceback" in done.stderr) is bool(debug)
    assert len(done.stderr.splitlines()) >= lines


@pytest.mark.parametrize("folder", ["[1]", "a%20b"])
def test_a_home_that_tables_cannot_lie_in_is_told_at_once(tmp_path, folder):
    with pytest.raises(ValidationError) as wrong:
        Settings(home=tmp_path / folder)
    assert "the library that keeps tables follows no path with" in error_text._of_settings(wrong.value)
    assert "Value error" not in error_text._of_settings(wrong.value)
    Settings(home=tmp_path / "100% (a b) é")
