"""Which rows a model has seen, by the hashes of their keys."""

import subprocess
import sys

import numpy as np
import pytest

from contender.errors import SeenRows
from contender.features.training_keys import hashes_of, refuse_seen


def test_hashes_are_sorted_unique_and_eight_bytes_each():
    hashes = hashes_of(["b", "a", "b", "c"])
    assert hashes.dtype == np.uint64
    assert len(hashes) == 3
    assert (np.diff(hashes.astype(object)) > 0).all()


def test_nothing_has_no_hashes():
    assert hashes_of([]).dtype == np.uint64
    assert len(hashes_of([])) == 0


def test_another_process_hashes_alike():
    code = "from contender.features.training_keys import hashes_of; print(hashes_of(['p-1', 'ü', '']).tolist())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == str(hashes_of(["p-1", "ü", ""]).tolist())


def test_half_a_million_keys_have_as_many_hashes():
    assert len(hashes_of(f"p-{number}" for number in range(500_000))) == 500_000


@pytest.mark.parametrize(
    ("trained", "seen"),
    [pytest.param(["a", "x"], 1, id="one"), pytest.param(["a", "b", "c"], 3, id="all")],
)
def test_a_seen_row_is_refused_and_counted(trained, seen):
    with pytest.raises(SeenRows, match=f"version 3 was trained on {seen} of the 3 records"):
        refuse_seen(hashes_of(["a", "b", "c"]), hashes_of(trained), "payments version 3")


def test_rows_that_nobody_has_seen_pass():
    refuse_seen(hashes_of(["a", "b"]), hashes_of(["c", "d"]), "payments version 3")
    refuse_seen(hashes_of(["a", "b"]), hashes_of([]), "payments version 3")
