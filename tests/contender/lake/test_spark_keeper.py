import json
import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest

from contender.errors import Unavailable
from contender.lake import shared_spark, spark_session, tables
from contender.settings import Settings

pytestmark = pytest.mark.slow

BEGINNING = """
import json, os, sys, time
from pathlib import Path
from contender.lake import shared_spark
from contender.lake import spark_session, tables
from contender.settings import Settings
settings, folder = Settings(), Path(sys.argv[1])
"""

SLOW_WRITE = """
def slow(batches):
    for batch in batches:
        (folder / "begun").touch()
        time.sleep(0.2)
        yield batch

session = spark_session.session(settings)
session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "1")
rows = session.range(0, 60, numPartitions=2).mapInArrow(slow, "id bigint")
tables.append(settings, "orders", "numbers", rows, application="test", transaction=1)
"""


def until(true, seconds=240):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "that took too long"
        time.sleep(0.1)


REHEARSED = ("-m", "contender.lake.spark_keeper")
UNREHEARSED = (
    "-c",
    """
from contender import error_text
from contender.lake import spark_keeper, spark_workers
from contender.settings import Settings
spark_keeper.rehearse = lambda settings, _: spark_workers.start(settings)
with error_text.process("spark"):
    spark_keeper.keep(Settings())
""",
)
"""For those that have one short thing to do: what is rehearsed is compiled, which takes longer than it saves them."""


def environment(home):
    # Here nothing runs so often that it is worth compiling well.
    quick = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"}
    return os.environ | quick | {"CONTENDER_HOME": str(home), "CONTENDER_SPARK_MEMORY": "1g"}


@contextmanager
def keeper(home, how=REHEARSED):
    """A process that keeps Spark warm, and its address."""
    settings = Settings(home=home, spark_memory="1g")
    with (home / "keeper.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *how], env=environment(home), stdout=log, stderr=log)
    try:
        until(lambda: shared_spark.find(settings) or process.poll() is not None)
        address = shared_spark.find(settings)
        assert address, (home / "keeper.log").read_text()
        yield process, settings, address
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    with keeper(tmp_path_factory.mktemp("warm")) as kept:
        yield kept


def begin(home, folder, code):
    """A process of a run's kind, at work on `code`."""
    return subprocess.Popen(
        [sys.executable, "-c", BEGINNING + code, str(folder)],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(home, folder, code):
    process = begin(home, folder, code)
    out, error = process.communicate(timeout=280)
    assert process.returncode == 0, error
    return json.loads(out)


def is_sound(warm, folder):
    code = "print(json.dumps([spark_session.session(settings).range(7).count(), shared_spark.attached() is not None]))"
    return answer(warm[1].home, folder, code) == [7, True]


def test_only_this_user_on_this_machine_gets_in_and_only_with_the_secret(warm):
    _, settings, address = warm
    assert stat.S_IMODE(shared_spark.offered(settings).stat().st_mode) == 0o600
    listening = {line.laddr.ip for line in psutil.Process(address.java).net_connections() if line.status == "LISTEN"}
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    assert shared_spark.answers(address)
    assert not shared_spark.answers(address.model_copy(update={"secret": "guessed"}))
    assert address.secret not in repr(address)


@pytest.mark.parametrize("small", [True, False])
def test_an_attached_session_asks_for_what_one_of_its_own_would(warm, tmp_path, small):
    asked = spark_session._launching(warm[1]) | spark_session._asking(warm[1], small=small, tiny=small)
    code = f"""
session = spark_session.session(settings, small={small}, tiny={small})
names = {list(asked)}
print(json.dumps([shared_spark.attached() is session, {{n: session.conf.get(n) for n in names}}]))
"""
    attached, found = answer(warm[1].home, tmp_path, code)
    assert attached
    assert found | {"spark.sql.warehouse.dir": found["spark.sql.warehouse.dir"].removeprefix("file:")} == asked
    default = answer(
        warm[1].home,
        tmp_path,
        """
print(json.dumps(spark_session.session(settings).conf.get("spark.sql.adaptive.enabled")))
""",
    )
    assert default == "true"


def test_rows_broadcasts_accumulators_and_observations_travel_as_usual(warm, tmp_path):
    code = """
from pyspark.sql import Observation, functions as F
session = spark_session.session(settings)
model, counted = session.sparkContext.broadcast(b"x" * 1_000_000), Observation()
seen = session.sparkContext.accumulator(0)

def sizes(batches):
    import pyarrow as pa
    for batch in batches:
        seen.add(len(batch))
        yield pa.RecordBatch.from_arrays([pa.array([len(model.value)] * len(batch))], names=["n"])

rows = session.range(4).mapInArrow(sizes, "n bigint").observe(counted, F.count("*").alias("rows"))
tables.append(settings, "orders", "sizes", rows, application="test", transaction=1)
print(json.dumps([counted.get["rows"], seen.value, tables.count(settings, "orders", "sizes")]))
"""
    assert answer(warm[1].home, tmp_path, code) == [4, 4, 4]


def test_several_runs_at_once_keep_apart_and_one_that_stops_does_not_stop_the_other(warm, tmp_path):
    code = """
session = spark_session.session(settings)
session.range(3).createOrReplaceTempView("mine")
(folder / sys.argv[2]).touch()
other = folder / ("two" if sys.argv[2] == "one" else "one")
while not other.exists():
    time.sleep(0.05)
if sys.argv[2] == "one":
    spark_session.stop()
    (folder / "stopped").touch()
    print(json.dumps(shared_spark.attached() is None))
else:
    while not (folder / "stopped").exists():
        time.sleep(0.05)
    print(json.dumps([session.table("mine").count(), session.catalog.tableExists("theirs")]))
"""
    both = [
        begin(
            warm[1].home,
            tmp_path,
            f"sys.argv.append({name!r})\n" + code.replace('"mine"', f'"mine_{name}"').replace('"theirs"', '"mine_one"'),
        )
        for name in ("one", "two")
    ]
    first, second = (process.communicate(timeout=280) for process in both)
    assert json.loads(first[0]) is True, first[1]
    assert json.loads(second[0]) == [3, False], second[1]


def test_threads_of_a_run_all_work_under_its_name(warm, tmp_path):
    code = """
from concurrent.futures import ThreadPoolExecutor
session = spark_session.session(settings)
group = lambda _: session.sparkContext.getLocalProperty("spark.jobGroup.id")
with ThreadPoolExecutor(3) as pool:
    print(json.dumps([group(0), *pool.map(group, range(6)), Path(shared_spark._here["alive"].lock_file).name]))
"""
    names = answer(warm[1].home, tmp_path, code)
    assert len(set(names)) == 1
    assert names[0].startswith("contender-")


def test_what_a_killed_run_was_writing_never_lands_once_the_next_has_claimed(warm, tmp_path):
    _, settings, _ = warm
    orphan = begin(settings.home, tmp_path, SLOW_WRITE)
    until(lambda: (tmp_path / "begun").exists())
    orphan.kill()
    orphan.communicate(timeout=60)
    shared_spark.end_orphans(settings)
    assert tables.find(settings, "orders", "numbers") is None
    again = answer(
        settings.home, tmp_path, SLOW_WRITE + "print(json.dumps(tables.count(settings, 'orders', 'numbers')))"
    )
    assert again == 60
    assert tables.find(settings, "orders", "numbers").version == 0
    assert is_sound(warm, tmp_path)
    # Nobody is in any more, and what killed ones held is forgotten.
    until(lambda: not [*(settings.running / "attached").iterdir()])


def test_claiming_leaves_the_work_of_others_that_live(warm, tmp_path):
    _, settings, _ = warm
    table = SLOW_WRITE.replace('"numbers"', '"others"')
    other = begin(settings.home, tmp_path, table + "print(json.dumps(tables.count(settings, 'orders', 'others')))")
    until(lambda: (tmp_path / "begun").exists())
    shared_spark.end_orphans(settings)
    out, error = other.communicate(timeout=280)
    assert out.strip() == "60", error


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"spark_memory": "2g"}, id="other memory"),
        pytest.param({"spark_master": "local[1]"}, id="other master"),
        pytest.param({"lake": "/elsewhere"}, id="other lake"),
    ],
)
def test_a_spark_that_was_started_otherwise_is_not_taken(warm, change):
    assert spark_session._fitting(warm[1])
    assert spark_session._fitting(warm[1].model_copy(update=change)) is None


def test_a_second_keeper_of_one_home_is_refused(warm):
    home = warm[1].home
    second = subprocess.run(
        [sys.executable, "-m", "contender.lake.spark_keeper"],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 1
    assert second.stderr.startswith("Another process keeps a Spark warm")
    assert shared_spark.answers(warm[2])


def test_what_a_keeper_that_is_gone_left_behind_is_ignored(tmp_path):
    settings = Settings(home=tmp_path / "home")
    gone = subprocess.Popen(["true"])
    gone.wait()
    settings.running.mkdir(parents=True)
    address = shared_spark.Address(
        pid=gone.pid, java=gone.pid, port=9, secret="s", configured=spark_session.configured(settings)
    )
    shared_spark.offer(settings, address)
    assert shared_spark.find(settings) == address
    assert spark_session._fitting(settings) is None
    shared_spark.end_orphans(settings)
    shared_spark.offered(settings).write_text("{")
    assert shared_spark.find(settings) is None
    shared_spark.end_orphans(settings)


def test_a_spark_that_does_not_answer_lets_nobody_claim(tmp_path):
    settings = Settings(home=tmp_path / "home")
    settings.running.mkdir(parents=True)
    address = shared_spark.Address(pid=os.getpid(), java=os.getpid(), port=9, secret="s", configured={})
    shared_spark.offer(settings, address)
    with pytest.raises(Unavailable, match="does not answer"):
        shared_spark.end_orphans(settings, seconds=0)


def test_a_run_is_told_in_one_sentence_that_spark_ended(tmp_path):
    with keeper(tmp_path, UNREHEARSED) as (process, settings, address):
        code = """
from contender.errors import Unavailable
session = spark_session.session(settings)
rows = session.range(1)
(folder / "in").touch()
while not (folder / "ended").exists():
    time.sleep(0.05)
told = []
for ask in (lambda: spark_session.session(settings), lambda: tables.append(
    settings, "orders", "late", rows, application="test", transaction=1)):
    try:
        ask()
    except Unavailable as error:
        told.append(str(error))
print(json.dumps(told))
"""
        run = begin(tmp_path, tmp_path, code)
        until(lambda: (tmp_path / "in").exists() or run.poll() is not None)
        psutil.Process(address.java).kill()
        assert process.wait(timeout=120) == 1
        (tmp_path / "ended").touch()
        out, error = run.communicate(timeout=120)
        assert [line.startswith("Spark ended while it was needed") for line in json.loads(out)] == [True, True]
        assert "Traceback" not in error
        assert "ended with status" in (tmp_path / "keeper.log").read_text()
        assert not shared_spark.offered(settings).exists()


def see_nothing_left_running(kept, number):
    process, settings, address = kept
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    process.send_signal(number)
    process.wait(timeout=60)
    shared_spark.end_orphans(settings)
    _, left = psutil.wait_procs(family, timeout=60)
    assert not left
    assert shared_spark.offered(settings).exists() == (number == signal.SIGKILL)
    assert not shared_spark.answers(address)


def test_nothing_is_left_running_when_the_keeper_is_killed(tmp_path):
    with keeper(tmp_path, UNREHEARSED) as kept:
        see_nothing_left_running(kept, signal.SIGKILL)


def test_nothing_is_left_running_when_the_keeper_ends(warm):
    """The last of this file: the Spark of the others ends here."""
    see_nothing_left_running(warm, signal.SIGTERM)
