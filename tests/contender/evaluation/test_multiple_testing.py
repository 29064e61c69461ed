"""Many tests share one error."""

import numpy as np
import pytest

from contender.evaluation.multiple_testing import holm_levels


def test_the_surest_find_is_tested_hardest_and_the_first_that_is_none_ends_it():
    assert holm_levels([0.001, 0.04, 0.02, 0.9], 0.05) == pytest.approx([0.0125, 0.05 / 3, 0.05 / 3, 0.05 / 3])
    assert holm_levels([0.012, 0.016, 0.9], 0.05) == pytest.approx([0.05 / 3, 0.025, 0.05])
    assert holm_levels([], 0.05) == []


def test_what_is_found_is_what_adjusted_p_values_find():
    """The other way to say it: p-values multiplied by those not rejected before, never falling."""
    random = np.random.default_rng(4)
    for _ in range(200):
        p = random.random(6) ** 4
        order = np.argsort(p)
        adjusted = np.empty(6)
        adjusted[order] = np.maximum.accumulate(p[order] * np.arange(6, 0, -1))
        found = [one <= level for one, level in zip(p, holm_levels(p.tolist(), 0.05), strict=True)]
        assert found == (adjusted <= 0.05).tolist()
