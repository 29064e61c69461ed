"""Evaluation of a model's arrays, in float64 and in scikit-learn's own order of sums, one thread.

The loops are compiled once per machine for all models, and numba keeps them on disk: a model adds numbers only, so that
nothing native is ever stored with one or loaded from one. All of them are in this file, because numba compiles anew
when it changes; the numbers that name kinds of features and links change with the arrays' form only.

Boosted trees of at most 64 leaves are not walked. Each leaf is a bit; every split that a row fails clears the leaves
on its left; the lowest bit left is the row's leaf. That has no branches, and blocks of rows go through one split at a
time. Larger trees are walked, eight rows at a time.

Source: Lucchese et al. (2015), QuickScorer: A Fast Algorithm to Rank Documents with Additive Ensembles of Regression
Trees, SIGIR; Cephes' `ndtri` for the quantiles of the normal distribution; Hinnant (2013), chrono-Compatible
Low-Level Date Algorithms.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from contender.inference.arrays import (
    AS_IS,
    EXPONENTIAL,
    HOUR,
    LOGISTIC,
    MONTH,
    SINE,
    SOFTMAX,
    SPAN,
    VALUE,
    WEEKDAY,
    WEEKEND,
    YEAR,
)

BLOCK = 256
"""Rows that go through a model together: their features and bits stay in the second cache."""

_HASH = np.uint64(0x03F79D71B4CB0A89)
_HASH_SHIFT = np.uint64(58)
"""A number whose every six bits in a row differ: times one bit, it gives each bit another place (de Bruijn)."""

_DAY_SECONDS = 86_400.0
_SMALLEST = 1e-7
_WIDEST = 9_223_372_036_854_775_808.0
_NEAR = 1e-7
_LOWEST, _HIGHEST = -5.199337582605575, 5.19933758270342
"""Quantiles of the normal distribution near 1e-7 and 1 - 1e-7, to which scikit-learn clips."""


def _jit(function: Callable[..., Any]) -> Any:
    try:
        return numba.njit(function, nogil=True, cache=True, error_model="numpy")
    except RuntimeError:  # neither beside this file nor in the user's own folder may anything be written
        return numba.njit(function, nogil=True, error_model="numpy")


def leaf_place(leaf: int) -> int:
    """Where the value of a leaf stands among the 64 of its tree."""
    return (((1 << leaf) * int(_HASH)) & (2**64 - 1)) >> int(_HASH_SHIFT)


@_jit
def _date_part(part, seconds):  # type: ignore[no-untyped-def]
    if not -_WIDEST < seconds < _WIDEST:
        # What NumPy makes of a time that it has no number for.
        return -_WIDEST + (1970.0 if part == YEAR else 1.0)
    days = np.int64(seconds) // 86_400
    shifted = days + 719_468
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)  # from 1 March
    place = (5 * of_year + 2) // 153
    month = place + 3 if place < 10 else place - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    if part == MONTH:
        return np.float64(month)
    if part == YEAR:
        return np.float64(year - 1970) + 1970
    if month > 2:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        return np.float64(of_year + 59 + (1 if leap else 0)) + 1
    return np.float64(of_year - 306) + 1


@_jit
def _make(parts, numbers, start, stop, features):  # type: ignore[no-untyped-def]
    """Fill `features`, shape (parts, block), from the records' numbers, shape (columns, rows)."""
    for place in range(parts.shape[0]):
        kind, one, other = parts[place, 0], parts[place, 1], parts[place, 2]
        wave, harmonic, period = parts[place, 3], np.float64(parts[place, 4]), np.float64(parts[place, 5])
        row = features[place]
        source = numbers[one, start:stop]
        if kind == VALUE:
            for r in range(stop - start):
                row[r] = source[r] if np.abs(source[r]) < np.inf else np.nan
            continue
        for r in range(stop - start):
            value = source[r]
            if kind == SPAN:
                value -= numbers[other, start + r]
            if not np.abs(value) < np.inf:
                row[r] = np.nan
                continue
            if kind == SPAN:
                found = value / _DAY_SECONDS
            elif kind == HOUR:
                found = value % _DAY_SECONDS / 3600
            elif kind in (WEEKDAY, WEEKEND):
                found = (np.floor(value / _DAY_SECONDS) + 3) % 7.0
                if kind == WEEKEND:
                    found = 1.0 if found >= 5 else 0.0
            else:
                found = _date_part(kind, value)
            if wave != AS_IS:
                angle = 2 * np.pi * found / period
                found = np.sin(harmonic * angle) if wave == SINE else np.cos(harmonic * angle)
            row[r] = found


@_jit
def _gather(inputs, table_starts, table_values, made, codes, start, stop, out):  # type: ignore[no-untyped-def]
    """Fill `out`, shape (inputs, block): numbers that were made, or what a table says of a category's code."""
    for place in range(inputs.shape[0]):
        source, table = inputs[place, 0], inputs[place, 1]
        row = out[place]
        if table < 0:
            for r in range(stop - start):
                row[r] = made[source, r]
        else:
            first = table_starts[table] + 1
            for r in range(stop - start):
                row[r] = table_values[first + codes[source, start + r]]


@_jit
def boost(  # type: ignore[no-untyped-def]
    numbers,
    codes,
    parts,
    inputs,
    table_starts,
    table_values,
    split_starts,
    split_inputs,
    split_left,
    split_limits,
    split_masks,
    set_starts,
    set_columns,
    set_tables,
    set_masks,
    place_starts,
    places,
    leaf_values,
    base,
):
    """Sums of boosted trees, shape (rows, outputs).

    Args:
        split_left: whether what is missing goes left, by split; `split_masks`: leaves that stay for rows going right.
        set_masks: leaves that stay, by tree, categorical input and the input's code of a category; those of one tree
            and input begin at `set_tables`.
        places: the input's code of each category of a column, those of one input from `place_starts` on.
        leaf_values: shape (trees, 64), in the order of `leaf_place`; tree t counts for output t % outputs.
    """
    rows, trees, outputs = codes.shape[1], split_starts.shape[0] - 1, base.shape[0]
    sums = np.empty((rows, outputs))
    block = min(rows, BLOCK)
    made = np.empty((parts.shape[0], block))
    x = np.empty((inputs.shape[0], block))
    own = np.empty((set_columns.shape[0], block), np.uint8)
    bits = np.empty(block, np.uint64)
    every = np.uint64(0xFFFFFFFFFFFFFFFF)
    for start in range(0, rows, BLOCK):
        stop = min(start + BLOCK, rows)
        count = stop - start
        _make(parts, numbers, start, stop, made)
        _gather(inputs, table_starts, table_values, made, codes, start, stop, x)
        for k in range(set_columns.shape[0]):
            first = place_starts[k] + 1
            for r in range(count):
                own[k, r] = places[first + codes[set_columns[k], start + r]]
        for r in range(count):
            for k in range(outputs):
                sums[start + r, k] = base[k]
        for tree in range(trees):
            for r in range(count):
                bits[r] = every
            for split in range(split_starts[tree], split_starts[tree + 1]):
                limit, mask, column = split_limits[split], split_masks[split], x[split_inputs[split]]
                if split_left[split]:
                    for r in range(count):
                        bits[r] &= mask if column[r] > limit else every
                else:
                    for r in range(count):
                        bits[r] &= every if column[r] <= limit else mask
            for one in range(set_starts[tree], set_starts[tree + 1]):
                first, column_of = set_tables[one, 1], own[set_tables[one, 0]]
                for r in range(count):
                    bits[r] &= set_masks[first + column_of[r]]
            values, k = leaf_values[tree], tree % outputs
            for r in range(count):
                low = bits[r] & (~bits[r] + np.uint64(1))
                sums[start + r, k] += values[np.int64((low * _HASH) >> _HASH_SHIFT)]
    return sums


@_jit
def forest(  # type: ignore[no-untyped-def]
    numbers,
    codes,
    parts,
    inputs,
    table_starts,
    table_values,
    tree_starts,
    node_inputs,
    node_limits,
    node_left,
    node_missing_right,
    node_leaf,
    leaf_values,
):
    """Means of trees' leaves, shape (rows, outputs), and whether a number was too large for float32.

    Like scikit-learn's forests it compares numbers that were rounded to float32 with limits in float64.

    Args:
        node_left: the left child; the right one is the next. A leaf is its own child, and nothing passes its limit.
        leaf_values: shape (leaves, outputs).
    """
    rows, trees, outputs = codes.shape[1], tree_starts.shape[0] - 1, leaf_values.shape[1]
    sums = np.zeros((rows, outputs))
    block = min(rows, BLOCK)
    made = np.empty((parts.shape[0], block))
    x = np.empty((inputs.shape[0], block))
    by_row = np.empty((block, inputs.shape[0]))
    at = np.empty(8, np.int64)
    overflow = False
    for start in range(0, rows, BLOCK):
        stop = min(start + BLOCK, rows)
        count = stop - start
        _make(parts, numbers, start, stop, made)
        _gather(inputs, table_starts, table_values, made, codes, start, stop, x)
        for place in range(inputs.shape[0]):
            for r in range(count):
                rounded = np.float64(np.float32(x[place, r]))
                overflow |= np.abs(rounded) == np.inf
                by_row[r, place] = rounded
        for tree in range(trees):
            for first in range(0, count, 8):
                group = min(8, count - first)
                for g in range(group):
                    at[g] = tree_starts[tree]
                moved = True
                while moved:
                    moved = False
                    for g in range(group):
                        node = at[g]
                        value = by_row[first + g, node_inputs[node]]
                        right = value > node_limits[node] or (value != value and node_missing_right[node])
                        then = node_left[node] + right
                        moved |= then != node
                        at[g] = then
                for g in range(group):
                    leaf = node_leaf[at[g]]
                    for k in range(outputs):
                        sums[start + first + g, k] += leaf_values[leaf, k]
    return sums / trees, overflow


@_jit
def _between(value, xs, ys, backwards):  # type: ignore[no-untyped-def]
    """NumPy's `interp`, of a rising `xs`; or, backwards, of both turned around and negated, with the value negated."""
    count = xs.shape[0]
    sign = -1.0 if backwards else 1.0
    value = sign * value
    low, high = 0, count  # the last place whose x is not above the value is `low - 1`
    while low < high:
        middle = (low + high) // 2
        if sign * xs[count - 1 - middle if backwards else middle] <= value:
            low = middle + 1
        else:
            high = middle
    place = low - 1
    if place < 0:
        return sign * ys[count - 1 if backwards else 0]
    if place >= count - 1:
        return sign * ys[0 if backwards else count - 1]
    here, there = (count - 1 - place, count - 2 - place) if backwards else (place, place + 1)
    x0, x1, y0, y1 = sign * xs[here], sign * xs[there], sign * ys[here], sign * ys[there]
    if x0 == value:
        return y0
    return (y1 - y0) / (x1 - x0) * (value - x0) + y0


_P0 = np.array(
    [
        -59.9633501014107895267,
        98.0010754185999661536,
        -56.6762857469070293439,
        13.9312609387279679503,
        -1.23916583867381258016,
    ]
)
_Q0 = np.array(
    [
        1.0,
        1.95448858338141759834,
        4.67627912898881538453,
        86.3602421390890590575,
        -225.462687854119370527,
        200.260212380060660359,
        -82.0372256168333339912,
        15.9056225126211695515,
        -1.18331621121330003142,
    ]
)
_P1 = np.array(
    [
        4.05544892305962419923,
        31.5251094599893866154,
        57.1628192246421288162,
        44.0805073893200834700,
        14.6849561928858024014,
        2.18663306850790267539,
        -1.40256079171354495875e-1,
        -3.50424626827848203418e-2,
        -8.57456785154685413611e-4,
    ]
)
_Q1 = np.array(
    [
        1.0,
        15.7799883256466749731,
        45.3907635128879210584,
        41.3172038254672030440,
        15.0425385692907503408,
        2.50464946208309415979,
        -1.42182922854787788574e-1,
        -3.80806407691578277194e-2,
        -9.33259480895457427372e-4,
    ]
)
_P2 = np.array(
    [
        3.23774891776946035970,
        6.91522889068984211695,
        3.93881025292474443415,
        1.33303460815807542389,
        2.01485389549179081538e-1,
        1.23716634817820021358e-2,
        3.01581553508235416007e-4,
        2.65806974686737550832e-6,
        6.23974539184983293730e-9,
    ]
)
_Q2 = np.array(
    [
        1.0,
        6.02427039364742014255,
        3.67983563856160859403,
        1.37702099489081330271,
        2.16236993594496635890e-1,
        1.34204006088543189037e-2,
        3.28014464682127739104e-4,
        2.89247864745380683936e-6,
        6.79019408009981274425e-9,
    ]
)


@_jit
def _polynomial(x, coefficients):  # type: ignore[no-untyped-def]
    found = coefficients[0]
    for place in range(1, coefficients.shape[0]):
        found = found * x + coefficients[place]
    return found


@_jit
def normal_quantile(share):  # type: ignore[no-untyped-def]
    """The quantile of the standard normal distribution, of a share from 0 to 1."""
    if share <= 0.0 or share >= 1.0:
        return -np.inf if share <= 0.0 else np.inf
    tail = 0.13533528323661269189  # exp(-2)
    y, upper = (1.0 - share, False) if share > 1.0 - tail else (share, True)
    if y > tail:
        y -= 0.5
        square = y * y
        return (y + y * (square * _polynomial(square, _P0) / _polynomial(square, _Q0))) * 2.50662827463100050242
    x = np.sqrt(-2.0 * np.log(y))
    z = 1.0 / x
    ratio = _polynomial(z, _P1) / _polynomial(z, _Q1) if x < 8.0 else _polynomial(z, _P2) / _polynomial(z, _Q2)
    found = x - np.log(x) / x - z * ratio
    return -found if upper else found


@_jit
def linear(  # type: ignore[no-untyped-def]
    numbers,
    codes,
    parts,
    term_parts,
    fills,
    centres,
    widths,
    quantiles,
    references,
    weights,
    gap_parts,
    gap_weights,
    table_starts,
    table_weights,
    base,
):
    """Weighted sums, shape (rows, outputs).

    Args:
        term_parts: the made number of each term; a missing one is filled, then scaled by its centre and width or, where
            there are `quantiles`, shape (terms, quantiles), put on a bell curve by its rank.
        gap_weights: what a number adds where it is there, and where it is missing: shape (gaps, 2, outputs).
        table_weights: what a category adds, by code: shape (codes, outputs), those of one column from its start on.
    """
    rows, outputs = codes.shape[1], base.shape[0]
    sums = np.empty((rows, outputs))
    block = min(rows, BLOCK)
    made = np.empty((parts.shape[0], block))
    scaled = np.empty(block)
    for start in range(0, rows, BLOCK):
        stop = min(start + BLOCK, rows)
        count = stop - start
        _make(parts, numbers, start, stop, made)
        for r in range(count):
            for k in range(outputs):
                sums[start + r, k] = base[k]
        for column in range(table_starts.shape[0]):
            first = table_starts[column] + 1
            for r in range(count):
                code = first + codes[column, start + r]
                for k in range(outputs):
                    sums[start + r, k] += table_weights[code, k]
        for gap in range(gap_parts.shape[0]):
            for r in range(count):
                state = 1 if np.isnan(made[gap_parts[gap], r]) else 0
                for k in range(outputs):
                    sums[start + r, k] += gap_weights[gap, state, k]
        for term in range(term_parts.shape[0]):
            source = made[term_parts[term]]
            by_rank = term < quantiles.shape[0]
            for r in range(count):
                value = fills[term] if np.isnan(source[r]) else source[r]
                if not by_rank:
                    scaled[r] = (value - centres[term]) / widths[term]
                    continue
                limits = quantiles[term]
                if value - _NEAR < limits[0]:
                    share = 0.0
                elif value + _NEAR > limits[-1]:
                    share = 1.0
                else:
                    rising, falling = (
                        _between(value, limits, references, False),
                        _between(value, limits, references, True),
                    )
                    share = 0.5 * (rising - falling)
                scaled[r] = min(max(normal_quantile(share), _LOWEST), _HIGHEST)
            for k in range(outputs):
                weight = weights[term, k]
                for r in range(count):
                    sums[start + r, k] += scaled[r] * weight
    return sums


@_jit
def _logistic(x):  # type: ignore[no-untyped-def]
    return 1.0 / (1.0 + np.exp(-x))


@_jit
def _calibrate(probability, slope, intercept):  # type: ignore[no-untyped-def]
    inside = min(max(probability, _SMALLEST), 1 - _SMALLEST)
    return _logistic(slope * np.log(inside / (1 - inside)) + intercept)


@_jit
def finish(sums, link, logarithm, slopes, intercepts):  # type: ignore[no-untyped-def]
    """The answer from a model's sums: shape (rows, classes), or (rows, 1).

    Args:
        logarithm: the model learnt log(1 + y).
        slopes: of the calibration's sigmoids, none where there is none.
    """
    rows, outputs = sums.shape
    if link == LOGISTIC:
        answer = np.empty((rows, 2))
        for r in range(rows):
            answer[r, 1] = _logistic(sums[r, 0])
            answer[r, 0] = 1 - answer[r, 1]
    elif link == SOFTMAX:
        answer = np.empty((rows, outputs))
        for r in range(rows):
            most = sums[r, 0]
            for k in range(1, outputs):
                most = max(most, sums[r, k])
            total = 0.0
            for k in range(outputs):
                answer[r, k] = np.exp(sums[r, k] - most)
                total += answer[r, k]
            for k in range(outputs):
                answer[r, k] /= total
    else:
        answer = sums
        if link == EXPONENTIAL:
            for r in range(rows):
                for k in range(outputs):
                    answer[r, k] = np.exp(answer[r, k])
        if logarithm:
            for r in range(rows):
                for k in range(outputs):
                    answer[r, k] = np.expm1(answer[r, k])
    if slopes.shape[0] == 1:
        for r in range(rows):
            answer[r, 1] = _calibrate(answer[r, 1], slopes[0], intercepts[0])
            answer[r, 0] = 1 - answer[r, 1]
    elif slopes.shape[0] > 1:
        for r in range(rows):
            total = 0.0
            for k in range(answer.shape[1]):
                answer[r, k] = _calibrate(answer[r, k], slopes[k], intercepts[k])
                total += answer[r, k]
            for k in range(answer.shape[1]):
                answer[r, k] /= total
    return answer
