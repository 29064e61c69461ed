"""Categories that the training did not have are named, with how often they came."""

import numpy as np
import pytest

from contender.drift.significance import _new_values


@pytest.mark.parametrize(
    ("trained", "here", "expected"),
    [
        (["Ulm", "Köln"], ["Ulm", "Jena", "Jena", "Bonn"], "'Jena' (2), 'Bonn' (1)"),
        (["a", "b"], ["b", "a"], ""),
        (["a"], [*"bcdefgh", "b"], "'b' (2), 'c' (1), 'd' (1), 'e' (1), 'f' (1) and 2 more"),
        ([], ["a"], ""),
    ],
)
def test_new_categories_are_named(trained, here, expected):
    assert _new_values(np.array(here, dtype=object), np.array(trained, dtype=object)) == expected
