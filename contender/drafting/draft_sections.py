"""The sections of a drafted contract: what each key is set to, and why."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from contender.contracts.loop_sections import Drift
from contender.drafting.column_types import ColumnGuess, Guess
from contender.drafting.expressions import quoted
from contender.drafting.file_names import pattern_of
from contender.drafting.keys_and_lookups import LookupGuess
from contender.drafting.measures import TimeFacts
from contender.drafting.target import Target, band_limits, tidy2
from contender.drafting.toml_text import column_lines, column_settings, section

_RARE_POSITIVES = 0.05
_JUDGED = 0.2
"""Share of the records that judge."""
_KNOWN = re.compile(r"known|record|report|updat|resolv|observ|as_?of|decided|closed|bekannt|gemeldet", re.IGNORECASE)

_WINDOWS = (1, 2, 3, 7, 14, 28, 91)
"""Days of a window to look for drift in; of the longer ones all weekdays are in each."""

ColumnSettings = tuple[Mapping[str, Any], str]
"""What a contract says of a column, and why."""

Entry = tuple[str, Any, str]
"""A key, its value, and why; empty where nothing was guessed."""


def matches(files: Sequence[Path]) -> str:
    """Why a pattern of file names was chosen."""
    return f"matches the {len(files)} files given" if len(files) > 1 else "for this file and later ones like it"


def records_entries(
    files: Guess,
    landing: Path,
    header: Sequence[str],
    keyed: Guess | None,
    timed: Guess | None,
    missing: list[str],
) -> list[Entry]:
    """The section `records`; its folder is relative to the working directory where it lies below."""
    here = Path.cwd().resolve()
    place = landing.relative_to(here) if landing.is_relative_to(here) else landing
    found: list[Entry] = [("files", files.value, files.why), ("landing", place.as_posix(), "")]
    if header:
        found.append(("header", list(header), "no row of names: the columns by their places"))
    if keyed:
        found.append(("key", keyed.value, keyed.why))
    if timed:
        found.append(("time", timed.value, timed.why))
    else:
        found[-1] = (*found[-1][:2], f"{found[-1][2]}; no time: rows of one delivery have no order".lstrip("; "))
    return [*found, ("missing", missing, "what was seen in place of values")]


def outcome_entries(
    aim: Target, outcomes: Sequence[Path], others: Sequence[Path], known: Entry, key: Entry | None
) -> list[Entry]:
    """The section `outcome`; `known` says when an outcome was known, `key` names the record, if not as records do."""
    files = [("files", pattern_of(outcomes, others), matches(outcomes))] if outcomes else []
    return [*files, *([key] if key else []), ("target", aim.text, ""), known]


def known_since(outcomes: Mapping[str, ColumnGuess], with_files: bool, timed: Guess | None) -> tuple[Entry, bool]:
    """When an outcome counts as known, and whether a person has to check it.

    A column of the outcomes' own files may tell; else no file does.
    """
    if timed is None and not with_files:
        return ("known_after", "0 seconds", "it stands in the record's own row, and no time is told"), False
    times = [name for name, column in outcomes.items() if column.type == "timestamp" and not column.gaps]
    if with_files and len(times) == 1 and _KNOWN.search(times[0]):
        return ("known_at", quoted(times[0]), "the only time in the files of outcomes"), True
    after = "1 day" if with_files else "1 hour"
    return ("known_after", after, "check: since a record's time, when was its outcome known?"), True


def lookup_lines(table: LookupGuess, landing: Path) -> list[str]:
    """The two sections of one look-up table."""
    file = Path(os.path.relpath(table.path, landing)).as_posix()
    lines = section(f"lookups.{table.name}", [("file", file, ""), ("key", table.key, "")])
    return [*lines, "", f"[lookups.{table.name}.columns]", *column_lines(lookup_settings(table))]


def lookup_settings(table: LookupGuess) -> dict[str, ColumnSettings]:
    """A look-up's columns: no ranges and no sets, since facts are not refused row by row."""
    return {column: column_settings(guess) for column, guess in table.columns.items()}


def newest_of(time: TimeFacts | None) -> tuple[str, str]:
    """The time in which the newest fifth of the records came about, in days; as a share where that is less than one."""
    if time is not None and (days := math.ceil((time.newest - time.late) / timedelta(days=1))) >= 1:
        return f"{days} day{'s' if days > 1 else ''}", "in them the newest fifth of the records came about"
    return "20 %", "a fifth of the records"


def judging_entries(
    aim: Target, settings: Mapping[str, ColumnSettings], columns: Mapping[str, ColumnGuess], newest: tuple[str, str]
) -> list[Entry]:
    """The section `judging`, its limits in units of the metric."""
    if aim.kind == "binary":
        rate = aim.base_rate
        rare = rate < _RARE_POSITIVES
        metric, why = "average_precision" if rare else "roc_auc", f"{rate:.1%} of the outcomes are true"
        gain, gain_why, margin = 0.005, "", 0.1 if rare else 0.05
        thresholds, limit_why = {"roc_auc": {"min": 0.55}}, "hardly better than chance: raise it once a model is known"
    elif aim.kind == "multiclass":
        most = max(aim.classes.values()) / aim.known
        metric, why, gain, gain_why, margin = "log_loss", "", 0.005, "", 0.1
        # On few rows a model that is better beyond doubt may have bad luck here.
        luck = 2 * math.sqrt(most * (1 - most) / max(_JUDGED * aim.known, 1))
        thresholds = {"accuracy": {"min": tidy2(max(most - luck, 0.0))}}
        limit_why = f"always naming the most frequent class gives {most:.2f}, give or take {luck:.2g}"
    else:
        spread = aim.spread or 1.0
        metric, why = "rmse", ""
        gain, margin = tidy2(spread / 100), tidy2(spread / 4)
        gain_why = f"1 % of the target's standard deviation, {spread:.3g}"
        thresholds, limit_why = {"r2": {"min": 0.0}}, "no worse than the mean: raise it once a model is known"
    slices = [
        column
        for column, (found, _) in settings.items()
        if found["type"] == "category" and "exclude" not in found and 2 <= columns[column].distinct <= 20
    ]
    slices = sorted(slices, key=lambda column: columns[column].distinct)[:2]
    return [
        ("metric", metric, why),
        ("newest", newest[0], newest[1]),
        ("min_gain", gain, gain_why),
        *([("slices", slices, "categories with few values")] if slices else []),
        ("slice_margin", margin, ""),
        ("thresholds", thresholds, limit_why),
    ]


def drift_entries(rows: int, time: TimeFacts | None) -> list[Entry]:
    """The section `drift`: a window of so many days that it has rows enough to tell of; none where a day has them."""
    if time is None:
        return []
    days = max((time.newest - time.oldest) / timedelta(days=1), 1.0)
    needed = 1.5 * Drift().min_rows * days / rows
    window = next((one for one in _WINDOWS if one >= needed), _WINDOWS[-1])
    if window == 1:
        return []
    return [("window", f"{window} days", f"a day has about {rows / days:.2g} rows, too few to tell by")]


def scoring_entries(aim: Target) -> list[Entry]:
    """The section `scoring`."""
    warning, critical = band_limits(aim)
    why = {
        "binary": "three and nine times the odds of the outcomes",
        "multiclass": "how sure the model is",
        "regression": "the 80 % and 95 % quantiles of the outcomes",
    }[aim.kind]
    threshold = [("threshold", 0.5, "")] if aim.kind == "binary" else []
    return [*threshold, ("warning", warning, why), ("critical", critical, ""), ("alert", "CRITICAL", "")]
