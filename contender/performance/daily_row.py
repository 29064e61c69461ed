"""One row of `performance`: a model version on one day, measured as far as outcomes are final, else estimated."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from contender.contracts.contract import Contract
from contender.contracts.sections import Kind
from contender.performance.class_counts import Named
from contender.performance.costs import expected_cost, realised_cost
from contender.performance.estimates import Estimate, estimate
from contender.performance.score_counts import FIELDS, Tally, add_up, metric_of
from contender.values import Interval

if TYPE_CHECKING:
    import pyarrow as pa

_UNTOLD = Estimate({}, None, {}, "no estimate: the model was trained on rows of this day")

CALIBRATION_DAYS = 90
"""Older outcomes say less about how a model's scores are to be read today."""


@dataclass(frozen=True)
class Day:
    """What was counted for a model version on one day.

    `outcomes` are in, final or not; `next_known_at` is when the next one that is already here counts as known. The
    latency is the 95th percentile in milliseconds. `in_training` says that the model was trained on rows of the day;
    None where that is not known.
    """

    model_version: int
    day: date
    tally: Tally
    outcomes: int
    next_known_at: datetime | None = None
    p95_latency_ms: float | None = None
    in_training: bool | None = None

    @classmethod
    def counted(
        cls, kind: Kind, points: Sequence[Mapping[str, Any]], named: Named, latency: float | None, until: date | None
    ) -> Self:
        """From one row for each bin and decision, all of one model version and day.

        `next_known_at` comes in microseconds since 1970: as a date Spark would give it in this machine's time zone.
        """
        version, day = int(points[0]["model_version"]), points[0]["day"]
        mature = np.array([point["mature"] for point in points], dtype=np.float64)
        means, variances = (
            np.array([point[name] if point["mature"] else 0.0 for point in points], dtype=np.float64)
            for name in ("mean", "variance")
        )
        total = max(1.0, float(mature.sum()))
        means, variances = np.nan_to_num(means), np.nan_to_num(variances)
        mean = float((mature * means).sum() / total)
        variance = float((mature * (variances + (means - mean) ** 2)).sum() / total)
        outcomes = int(sum(point["outcomes"] for point in points))
        due = [point["next_known_at"] for point in points if point["next_known_at"] is not None]
        return cls(
            version,
            day,
            Tally.of(kind, points, mean, variance, named),
            outcomes,
            _moment(min(due)) if due else None,
            latency,
            None if until is None else day <= until,
        )

    @classmethod
    def from_row(cls, kind: Kind, row: Mapping[str, Any]) -> Self:
        """From a row of the table."""
        named = {(pair["said"], pair["came"]): pair["rows"] for pair in row["classes"] or ()}
        tally = Tally.of(kind, row["points"], row["outcome_mean"], row["outcome_variance"], named)
        return cls(
            row["model_version"],
            row["day"],
            tally,
            row["outcomes"],
            row["next_known_at"],
            row["p95_latency_ms"],
            row["in_training"],
        )


def row_of(contract: Contract, day: Day, past: Tally | None, *, as_of: datetime, seed: int) -> dict[str, Any]:
    """The row as the table keeps it; see `schema`.

    Args:
        past: what the model's scores are calibrated on, see `before`.
    """
    tally, metric = day.tally, metric_of(contract.kind, contract.judging.metric)
    # One for each, so that an estimate is the same whether or not there is something to measure.
    luck, luck_expected = (np.random.default_rng([seed, day.model_version, day.day.toordinal(), n]) for n in (0, 1))
    measured, interval = tally.measure(), tally.interval(metric, luck)
    expected = _UNTOLD if day.in_training else estimate(tally, past, metric, luck_expected)
    return {
        "model_version": day.model_version,
        "day": day.day,
        "in_training": day.in_training,
        "predictions": tally.volume,
        "outcomes": day.outcomes,
        "mature": tally.known,
        "mature_share": tally.known / day.outcomes if day.outcomes else None,
        "metric": metric,
        "quality": measured.get(metric),
        **_ends("quality", interval),
        "estimated_quality": expected.values.get(metric),
        **_ends("estimated", expected.interval),
        "estimate": expected.how,
        "qualities": list(measured.items()),
        "estimated_qualities": list(expected.values.items()),
        "mean_score": float((tally.score * tally.predictions).sum() / tally.volume),
        "flagged_share": float(tally.predictions[tally.flagged].sum() / tally.volume),
        "p95_latency_ms": day.p95_latency_ms,
        "realised_cost": realised_cost(contract.costs, tally) if tally.known else None,
        "expected_cost": expected_cost(contract.costs, expected.mistakes),
        "as_of": as_of,
        "next_known_at": day.next_known_at,
        "outcome_mean": tally.outcome_mean,
        "outcome_variance": tally.outcome_variance,
        "classes": [{"said": said, "came": came, "rows": rows} for (said, came), rows in tally.named.items()],
        "points": [dict(zip(FIELDS, point, strict=True)) for point in _lists(tally)],
    }


def before(day: Day, every: Iterable[Day], matures_after: timedelta) -> Tally | None:
    """Mature outcomes of the same model that were in when this day was, and that it was not trained on.

    So an estimate never looks at outcomes of its own day, whenever it is made, and may be held against them later.
    """
    last = day.day - timedelta(days=1) - matures_after
    first = last - timedelta(days=CALIBRATION_DAYS)
    found = [
        one.tally
        for one in every
        if one.model_version == day.model_version
        and first < one.day <= last
        and one.tally.known
        and not one.in_training
    ]
    return add_up(found) if found else None


def schema() -> "pa.Schema":
    """Columns of `performance`.

    `quality` is by `metric` over the `mature` outcomes, with a 90 % interval; `estimated_…` what was to be expected of
    all predictions; `estimate` says how. Costs are in the contract's currency. `points` and `classes` are those of a
    `tally.Tally`.
    """
    import pyarrow as pa

    whole, number, moment = pa.int64(), pa.float64(), pa.timestamp("us", tz="UTC")
    kinds = {"flagged": pa.bool_(), "predictions": whole, "mature": whole, "hits": whole}
    point = pa.struct([(name, kinds.get(name, number)) for name in FIELDS])
    pair = pa.struct([("said", pa.string()), ("came", pa.string()), ("rows", whole)])
    by_metric = pa.map_(pa.string(), number)
    return pa.schema(
        [
            ("model_version", pa.int32()),
            ("day", pa.date32()),
            ("in_training", pa.bool_()),
            ("predictions", whole),
            ("outcomes", whole),
            ("mature", whole),
            ("mature_share", number),
            ("metric", pa.string()),
            ("quality", number),
            ("quality_low", number),
            ("quality_high", number),
            ("estimated_quality", number),
            ("estimated_low", number),
            ("estimated_high", number),
            ("estimate", pa.string()),
            ("qualities", by_metric),
            ("estimated_qualities", by_metric),
            ("mean_score", number),
            ("flagged_share", number),
            ("p95_latency_ms", number),
            ("realised_cost", number),
            ("expected_cost", number),
            ("as_of", moment),
            ("next_known_at", moment),
            ("outcome_mean", number),
            ("outcome_variance", number),
            ("classes", pa.list_(pair)),
            ("points", pa.list_(point)),
        ]
    )


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    return {f"{name}_low": interval.low if interval else None, f"{name}_high": interval.high if interval else None}


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)


def _lists(tally: Tally) -> Iterable[tuple[Any, ...]]:
    return zip(*[getattr(tally, name).tolist() for name in FIELDS], strict=True)
