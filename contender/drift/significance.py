"""Whether columns have drifted from what the champion was trained on.

A column has drifted when its distance lies beyond what ordinary windows of the training show by at least the contract's
limit, and by more than chance allows, over all columns together. On too little nothing is told: neither a pass nor a
find.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, Literal

from contender.contracts.loop_sections import Drift
from contender.drift.baseline import Ordinary, Side, Watched
from contender.drift.distances import distance
from contender.drift.drift_check import ColumnDrift, Comparison, LookBack
from contender.evaluation.multiple_testing import holm_levels

_MOST_NEW = 5
_MOST_FREEDOM = 10
"""Distances scatter further upwards than a normal distribution; Student's with few degrees of freedom does as well."""


def compare(
    comparisons: Sequence[Comparison], rules: Drift, look_back: LookBack | None = None
) -> tuple[ColumnDrift, ...]:
    """Each watched column of each table, told or not told, with Holm's correction over all that is tested.

    Args:
        look_back: asked for the columns that lie far off only, because it may have to read.
    """
    measured = [[(column, *_measure(one, column, rules)) for column in one.columns] for one in comparisons]
    levels = iter(holm_levels([test.p for of_one in measured for *_, tests in of_one for test in tests], rules.error))
    told: list[ColumnDrift] = []
    for one, of_one in zip(comparisons, measured, strict=True):
        tried = [(column, found, [(test, next(levels)) for test in tests]) for column, found, tests in of_one]
        far = tuple(column for column, _, tests in tried if any(test.is_far(level) for test, level in tests))
        season = look_back(one, far) if look_back and far else None
        for column, found, tests in tried:
            if season is not None and column in far:
                tests = [(_again(test, one, column, season, rules), level) for test, level in tests]
            told.append(_tell(found, tests, rules))
    return tuple(told)


@dataclass(frozen=True)
class _Test:
    """One number against what is expected of it. `again` is the number against the season before, and its noise."""

    of: Literal["values", "missing"]
    score: float
    expected: float
    spread: float
    limit: float
    windows: int
    again: float | None = None
    wider: float = 1.0

    @property
    def p(self) -> float:
        """One-sided, by Student's distribution, because the spread is known from some windows only."""
        from scipy import special

        excess = self.score - self.expected
        return float(special.stdtr(self.freedom, -excess / self.spread)) if self.spread else float(excess <= 0)

    @property
    def freedom(self) -> int:
        return min(max(self.windows - 1, 1), _MOST_FREEDOM)

    def threshold(self, level: float, wider: float = 1.0) -> float:
        from scipy import special

        chance = -float(special.stdtrit(self.freedom, level)) * self.spread
        return wider * self.expected + max(self.limit, wider * chance)

    def is_far(self, level: float) -> bool:
        return self.score >= self.threshold(level)

    def is_season(self, level: float) -> bool:
        """Whether the season before looks like now: at least half of the way is gone, and the rest is no drift."""
        return self.again is not None and self.again < min(self.score / 2, self.threshold(level, self.wider))


def _measure(one: Comparison, column: Watched, rules: Drift) -> tuple[ColumnDrift, list[_Test]]:
    """What there is of a column before anything is decided, and the tests that can be made."""
    name = column.name
    ordinary = one.ordinary.get(name)
    current, reference = one.current, one.matched
    here, there = current.values(name), reference.values(name)
    found = ColumnDrift(
        table=column.table,
        column=name,
        kind=column.kind,
        method=column.method(rules),
        score=None,
        expected=None,
        limit=column.limit(rules),
        threshold=None,
        drifted=None,
        why="",
        start=current.start,
        end=current.end,
        missing_current=current.missing_share(name),
        missing_reference=reference.missing_share(name),
        rows_current=0 if here is None else len(here),
        rows_reference=0 if there is None else len(there),
        new_values=_new_values(here, one.reference.values(name)) if column.kind == "category" else "",
    )
    for rows, where in ((current.rows, "the window"), (reference.rows, "the training")):
        if rows < rules.min_rows:
            return replace(found, why=_too_few(rows, "rows", where, rules)), []
    for side, where in ((here, "the window"), (there, "the training")):
        if side is None:
            return replace(found, why=f"{where} has no such column"), []
    assert here is not None
    assert there is not None
    if ordinary is None or ordinary.windows == 0:
        return replace(found, why="the training shows no ordinary windows to compare with"), []
    tests = [_missing_test(found, one, column, ordinary, rules)]
    least, where = min((len(here), "the window"), (len(there), "the training"))
    if least < rules.min_rows:
        return replace(found, why=_too_few(least, "values", where, rules)), tests
    if (here == there[0]).all() and (there == there[0]).all():
        return replace(found, why=f"always {there[0]}, in the window and in the training"), tests
    scale = ordinary.wider(len(here))
    expected, spread = scale * ordinary.expected, scale * ordinary.spread
    test = _Test(
        "values", distance(column.method(rules), there, here), expected, spread, column.limit(rules), ordinary.windows
    )
    return replace(found, score=test.score, expected=expected), [*tests, test]


def _new_values(here: Iterable[Any] | None, trained: Iterable[Any] | None) -> str:
    """What the training's rows did not have. Nothing is proved by it; a model takes such a value for a missing one."""
    known = set() if trained is None else set(trained)
    if here is None or not known:
        return ""
    new = Counter(str(value) for value in here if value not in known)
    shown = ", ".join(f"'{value[:40]}' ({n:,})" for value, n in new.most_common(_MOST_NEW))
    return shown + (f" and {len(new) - _MOST_NEW:,} more" if len(new) > _MOST_NEW else "")


def _missing_test(found: ColumnDrift, one: Comparison, column: Watched, ordinary: Ordinary, rules: Drift) -> _Test:
    now, then = found.missing_current or 0.0, found.missing_reference or 0.0
    scale = ordinary.wider(one.current.rows)
    expected, spread = scale * ordinary.missing_expected, scale * ordinary.missing_spread
    return _Test("missing", abs(now - then), expected, spread, rules.missing_limit, ordinary.windows)


def _again(test: _Test, one: Comparison, column: Watched, before: Side, rules: Drift) -> _Test:
    """The test with what the season before says of it."""
    name = column.name
    if test.of == "missing":
        now, share = one.current.missing_share(name), before.missing_share(name)
        return test if share is None else replace(test, again=abs((now or 0.0) - share))
    here, there, then = (side.values(name) for side in (one.current, one.matched, before))
    if here is None or there is None or then is None or len(then) < rules.min_rows:
        return test
    wider = sqrt(max((1 / len(here) + 1 / len(then)) / (1 / len(here) + 1 / len(there)), 1.0))
    return replace(test, again=distance(column.method(rules), then, here), wider=wider)


def _tell(found: ColumnDrift, tests: Sequence[tuple[_Test, float]], rules: Drift) -> ColumnDrift:
    """The column with its answer and the reason in words."""
    reasons, drifted, season, missing = [], False, False, False
    for test, level in tests:
        threshold, far = test.threshold(level), test.is_far(level)
        seasonal = far and test.is_season(level)
        season, drifted = season or seasonal, drifted or (far and not seasonal)
        if test.of == "values":
            found = replace(found, threshold=threshold)
            told = f"{found.method} {test.score:.3f}, from {threshold:.3f} on it counts"
        else:
            missing = far and not seasonal
            told = f"missing {found.missing_current or 0:.1%}, in training {found.missing_reference or 0:.1%}"
        if far or test.of == "values":
            reasons.append(told + (", as a season before" if seasonal else ""))
    untold = bool(found.why) and not drifted
    return replace(
        found,
        drifted=None if untold else drifted,
        why="; ".join([*([found.why] if found.why else []), *reasons]),
        season=season and not drifted,
        missing_drifted=missing,
    )


def _too_few(found: int, what: str, where: str, rules: Drift) -> str:
    return f"{where} has {found:,} {what}, needed are {rules.min_rows:,}"
