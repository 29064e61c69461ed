"""Commits of two processes at once: what one is told whose commit came too late."""

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from contender.errors import Busy
from contender.lake import tables
from contender.settings import Settings


class DeltaConcurrentModificationException(Exception):
    """Stands for the one of Delta's Python package, which is loaded with Spark only."""


class ConcurrentTransactionException(DeltaConcurrentModificationException):
    pass


@pytest.mark.parametrize(
    "error",
    [
        ConcurrentTransactionException("[DELTA_CONCURRENT_TRANSACTION] ..."),
        RuntimeError("while calling o1.save.\\n: io.delta.exceptions.ConcurrentTransactionException: ..."),
        RuntimeError("while calling o1.save.\\n: io.delta.exceptions.MetadataChangedException: ..."),
    ],
)
def test_a_commit_that_another_came_before_is_one_sentence(error):
    told = "Another process wrote to the table 'records' of orders at the same moment, .*; run the same command again"
    with pytest.raises(Busy, match=told), tables._apart("orders", "records"):
        raise error


def test_any_other_error_of_a_write_stays_what_it_is():
    with pytest.raises(RuntimeError, match="disk"), tables._apart("orders", "records"):
        raise RuntimeError("the disk is full")


def test_of_many_that_replace_the_same_rows_at_once_each_replaces_them_or_hears_so(tmp_path):
    settings = Settings(home=tmp_path)
    tables.replace_rows(settings, "orders", "raced", pa.table({"number": [0]}))

    def write(number):
        try:
            tables.replace_rows(settings, "orders", "raced", pa.table({"number": [number]}), where="number >= 0")
        except Busy:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(1, 9)))
    assert any(won)
    assert tables.count(settings, "orders", "raced") == 1
