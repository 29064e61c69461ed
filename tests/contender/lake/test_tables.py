import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyarrow.fs import LocalFileSystem

from contender.errors import Busy
from contender.lake import tables

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(spark, make_home):
    return make_home()


def append(home, spark, rows, transaction, table="numbers", application="test", **options):
    frame = spark.createDataFrame(rows, "_batch bigint, value string")
    return tables.append(
        home.settings, "orders", table, frame, application=application, transaction=transaction, **options
    )


def values(home, table="numbers"):
    return sorted(row["value"] for row in home.rows(table))


def test_a_transaction_adds_its_rows_once(home, spark):
    first = append(home, spark, [(1, "a"), (1, "b")], 1)
    again = append(home, spark, [(1, "a"), (1, "b")], 1)
    assert (first.version, again.version) == (0, 0)
    assert append(home, spark, [(2, "c")], 2, note={"about": "two"}).version == 1
    append(home, spark, [(1, "late")], 1)
    assert values(home) == ["a", "b", "c"]
    assert append(home, spark, [(3, "d")], 1, application="other").version == 2
    assert tables.last_transaction(home.settings, "orders", "numbers", "test") == 2
    assert tables.last_transaction(home.settings, "orders", "numbers", "other") == 1
    assert tables.last_transaction(home.settings, "orders", "numbers", "nobody") == -1
    assert tables.count(home.settings, "orders", "numbers") == 4
    assert tables.read(home.settings, first).count() == 2

    tables.delete_batch(home.settings, "orders", "numbers", 1)
    assert values(home) == ["c", "d"]
    assert tables.count(home.settings, "orders", "numbers") == 2
    append(home, spark, [(1, "a")], 1)
    assert values(home) == ["c", "d"]


def test_replacing_leaves_the_new_rows_columns_and_note_only(home, spark):
    append(home, spark, [(1, "a")], 1, table="made", note={"about": "old"})
    assert tables.note_of(home.settings, "orders", "made") == {"about": "old"}
    tables.replace(
        home.settings, "orders", "made", spark.createDataFrame([(True,)], "other boolean"), note={"about": "new"}
    )
    assert home.rows("made") == [{"other": True}]
    assert tables.note_of(home.settings, "orders", "made") == {"about": "new"}
    assert tables.count(home.settings, "orders", "made") == 1


def test_what_was_never_written_is_not_there(home):
    assert tables.find(home.settings, "orders", "absent") is None
    assert tables.count(home.settings, "orders", "absent") == 0
    assert tables.last_transaction(home.settings, "orders", "absent", "test") == -1
    assert tables.note_of(home.settings, "orders", "absent") == {}
    assert tables.read_small(home.settings, "orders", "absent") is None
    tables.delete_batch(home.settings, "orders", "absent", 1)
    assert tables.find(home.settings, "orders", "absent") is None


def test_small_things_need_no_spark(make_home):
    home = make_home()
    script = (
        "import sys, pyarrow as pa; from contender.lake import tables; from contender.settings import Settings; "
        f"s = Settings(home={str(home.settings.home)!r}); "
        "tables.append_small(s, 'orders', 'small', [{'n': 1}, {'n': 2}], pa.schema([('n', pa.int64())])); "
        "print(tables.count(s, 'orders', 'small'), tables.find(s, 'orders', 'small'), 'pyspark' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "orders.small@v0", "False"]


def test_of_two_that_write_one_transaction_at_once_one_writes_and_the_other_is_skipped_or_hears_so(home, spark):
    append(home, spark, [(1, "first")], 1, table="raced")

    def write(value):
        try:
            append(home, spark, [(2, value)], 2, table="raced")
        except Busy as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(write, ["a", "b"]))
    assert "" in told
    assert all("Another process wrote to the table 'raced' of orders" in one for one in told if one)
    assert len(values(home, "raced")) == 2


def test_arrow_opens_the_files_of_this_machine_itself(tmp_path):
    place = tmp_path / "two words ü#%"
    rows = pa.table({"value": [1, 2], "day": ["a b", "c/d%"]})
    write_deltalake(place, rows, partition_by=["day"])

    found = tables.dataset_of(DeltaTable(place), where="value > 1")

    assert found.to_table().to_pylist() == [{"value": 2, "day": "c/d%"}]
    # Not a file system in Python, whose files Arrow's threads let go while the process ends, which aborts it.
    assert isinstance(found.filesystem.base_fs, LocalFileSystem)
