"""A verdict as it is kept and shown: one value for ledger, pages and `--json`, and its numbers as texts, once."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from contender.errors import OtherRelease
from contender.evaluation.exhibits import CalibrationBin, ColumnFairness, Flips
from contender.evaluation.non_inferiority import Mode
from contender.values import Verdict

VERSION: Literal[1] = 1
"""Goes up with what the release before could not read; a migration of the ledger then brings the kept ones along."""

Numbers = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class VerdictDocument(Verdict):
    """A verdict with all that people look at, as it was on the day of judging.

    `champion` is None where nobody held the title; then nothing flips, and `calibration` knows the challenger alone.
    `as_of` is naive UTC; `window` names the judging rows, `versions` the tables they came from, `outcomes` counts all
    that were known. `allowed_loss` and `min_gain` are in units of the metric.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    at: datetime
    challenger: int
    champion: int | None
    run_id: str
    model_digest: str
    window: str
    as_of: datetime
    versions: Mapping[str, int]
    git_revision: str | None
    outcomes: int
    mode: Mode
    min_gain: float
    allowed_loss: float | None
    looks: int
    metrics: Numbers
    slices: Mapping[str, Numbers]
    latency_ms: Numbers
    calibration: Mapping[str, tuple[CalibrationBin, ...]]
    flips: Flips | None
    fairness: tuple[ColumnFairness, ...]
    leaks_allowed: Mapping[str, str]
    document_version: Literal[1] = VERSION

    @property
    def window_in_words(self) -> str:
        """The judging rows' times to the minute: of one delivery without times, when it arrived."""
        ends = re.sub(r":\d\d\.\d{6}", "", self.window).split("..")
        return " to ".join(dict.fromkeys(ends))

    @classmethod
    def from_json(cls, text: str, kept: str) -> Self:
        """The document that `to_json` wrote.

        Args:
            kept: how an error calls it.

        Raises:
            OtherRelease: it has another form.
        """
        try:
            document: Self = _adapter(cls).validate_json(text)
            return document
        except ValidationError as error:
            found = _version_in(text)
            if found == VERSION:
                first = error.errors(include_url=False)[0]
                where = ".".join(map(str, first["loc"])) or "the whole"
                raise OtherRelease.of(kept, f"'{where}' of another form", f"that of version {VERSION}") from None
            newer = isinstance(found, int) and found > VERSION
            told = "no version" if found is None else f"version {found}"
            raise OtherRelease.of(kept, told, f"version {VERSION}", newer=newer) from None

    def to_json(self) -> str:
        """The document as text, which `from_json` reads; nothing in it is NaN or infinite."""
        return _adapter(type(self)).dump_json(self).decode()

    def for_programs(self) -> dict[str, Any]:
        """The document as plain values, for `--json` and for the evidence beside a change of the title."""
        return dict(_adapter(type(self)).dump_python(self, mode="json"))

    @property
    def opponent(self) -> str:
        """Whom the challenger met, in words."""
        return "the dummy" if self.champion is None else f"champion version {self.champion}"

    @property
    def needed_gain(self) -> float | None:
        """The smallest worthwhile gain, below zero where a loss was allowed; any gain over the dummy is worthwhile."""
        if self.against == "dummy":
            return None
        if self.mode == "usual":
            return self.min_gain
        return None if self.allowed_loss is None else -self.allowed_loss


def plain_verdict(verdict: Verdict) -> dict[str, Any]:
    """The verdict alone as JSON holds it, for the evidence beside a request or a change of the title."""
    return dict(_adapter(Verdict).dump_python(verdict, mode="json"))


def verdict_in(evidence: str) -> Verdict:
    """The verdict in an evidence, which is JSON text; what the evidence holds beside is passed over."""
    found: Verdict = _adapter(Verdict).validate_json(json.dumps(json.loads(evidence)["verdict"]), strict=True)
    return found


def finite(numbers: Mapping[str, float]) -> Numbers:
    """Numbers as JSON holds them: None where there is nothing to tell."""
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


@dataclass(frozen=True)
class Texts:
    """A verdict's numbers as people read them, whoever draws the table."""

    metric: str
    against: str
    champion: str
    challenger: str
    gain: str
    interval: str
    level: str
    rows: str
    guardrails: tuple[tuple[str, str, str, str], ...]
    """Name, value, limit, and whether it holds."""

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        ends = verdict.interval
        return cls(
            metric=verdict.metric,
            against=verdict.against,
            champion="none" if verdict.champion_score is None else f"{verdict.champion_score:.4f}",
            challenger=f"{verdict.challenger_score:.4f}",
            gain=f"{verdict.gain:+.4f}",
            interval=f"{ends.low:+.4f} to {ends.high:+.4f}",
            level=f"{ends.level:.0%}",
            rows=f"{verdict.rows:,}",
            guardrails=tuple(
                (
                    rail.name,
                    "unknown" if rail.value is None else f"{rail.value:.4g}",
                    f"{rail.limit:.4g}",
                    "yes" if rail.holds else "NO",
                )
                for rail in verdict.guardrails
            ),
        )


def _adapter(kind: type[Verdict]) -> TypeAdapter[Any]:
    return _whole() if issubclass(kind, VerdictDocument) else _alone()


# Built when first asked: most commands read no verdict.
@cache
def _whole() -> TypeAdapter[VerdictDocument]:
    return TypeAdapter(VerdictDocument)


@cache
def _alone() -> TypeAdapter[Verdict]:
    return TypeAdapter(Verdict)


def _version_in(text: str) -> object:
    try:
        found = json.loads(text)
    except ValueError:
        return "nothing that can be read"
    return found.get("document_version") if isinstance(found, dict) else "nothing that can be read"
