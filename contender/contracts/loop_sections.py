"""The clauses of a contract that guard the running loop: what holds a model back, when it acts, and whom it asks."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from contender.contracts.terms import Cron, Duration, Names, Share, Strict

Proof = Literal["signature", "data card", "owner", "approved by", "data licence"]


class Leaks(Strict):
    """Features that look as if they knew the outcome, and may be used all the same."""

    allow: dict[str, Annotated[str, Field(min_length=10)]] = Field(
        default_factory=dict, description="feature, and the reason why it is honest; kept with every model"
    )


class Fairness(Strict):
    """Groups that must be treated alike. A limit that is absent is measured and shown, but forbids nothing.

    Differences are between the highest and the lowest group, ratios of the lowest to the highest.
    """

    columns: Names = Field(default=(), description="record columns that say who belongs to which group")
    min_rows: int = Field(default=100, ge=20, description="a smaller group is told as too small, and not as passed")
    max_selection_rate_difference: Share | None = None
    min_selection_rate_ratio: Share | None = None
    max_true_positive_rate_difference: Share | None = None
    min_true_positive_rate_ratio: Share | None = None
    max_false_positive_rate_difference: Share | None = None
    min_false_positive_rate_ratio: Share | None = None

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        every = self.model_dump(exclude={"columns", "min_rows"})
        return {name: value for name, value in every.items() if value is not None}


class Compliance(Strict):
    """What must be in order before a model may be released to production."""

    required: Annotated[
        tuple[Proof, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
    ] = ()
    approved_by: str = Field(default="", description="who answers for the use of this model")


class Retraining(Strict):
    """When a new challenger is worth its training, and how often alarms may ask for one."""

    min_new_outcomes: int | None = Field(
        default=None,
        ge=1,
        description="outcomes known since the last challenger; else as many as there were then, at most 1,000",
    )
    min_new_share: Share = Field(default=0.1, description="the same, as a share of what that challenger was given")
    cool_down: Duration = Field(default=timedelta(hours=12), description="after an alarm's retrain, the next may start")
    max_per_day: int = Field(default=2, ge=1, description="retrains that alarms may start within 24 hours")
    max_per_month: int = Field(default=10, ge=1, description="retrains that alarms may start within 30 days")


class Drift(Strict):
    """When a column counts as drifted, and when that is an alarm.

    A limit is how far a distance must lie beyond what ordinary days of the champion's own training show. Wasserstein's
    is in standard deviations of the training rows.
    """

    retrain: bool = Field(default=False, description="whether an alarm calls for a retrain though the quality holds")
    window: Duration = Field(default=timedelta(days=1), description="what is compared: the newest whole days")
    min_rows: int = Field(default=100, ge=20, description="on fewer, of either side, nothing is told")
    number_method: Literal["wasserstein", "jensenshannon", "psi"] = "wasserstein"
    number_limit: float = Field(default=0.1, gt=0)
    category_method: Literal["jensenshannon", "psi"] = "jensenshannon"
    category_limit: float = Field(default=0.05, gt=0)
    missing_limit: Share = Field(default=0.05, description="change of the share of missing values")
    error: Share = Field(default=0.01, description="chance of any false find in one window, over all its columns")
    violations: int = Field(default=2, ge=1, description="windows in which a column drifted, the latest among them")
    of_windows: int = Field(default=3, ge=1, description="of so many of the last ones that do not overlap")
    season: Duration | None = Field(
        default=timedelta(days=7), description="what was the same so long before, in or before training, is no drift"
    )
    day_rows: int = Field(default=1000, ge=100, description="rows of a day that are kept as its sample")
    reference_rows: int = Field(default=20_000, ge=1000, description="training rows that are kept to compare with")
    window_rows: int = Field(default=5000, ge=100, description="rows of a window that are compared, at most")

    @model_validator(mode="after")
    def _whole_days(self) -> Self:
        for name in ("window", "season"):
            length = getattr(self, name)
            if length is not None and (length % timedelta(days=1) or not length):
                raise ValueError(f"{name} is {length}; expected whole days, such as '1 day' or '7 days'")
        if self.violations > self.of_windows:
            raise ValueError(f"violations is {self.violations} of_windows = {self.of_windows}; expected no more")
        return self


class Schedule(Strict):
    """When flows run by themselves: cron lines (minute hour day month weekday), or "never"."""

    timezone: str = "UTC"
    ingest: Cron = Field(default="10 * * * *", description="takes in what no event announced")
    score: Cron = "40 * * * *"
    monitor: Cron = "20 5 * * *"
    retrain: Cron = "50 3 * * 1"

    @model_validator(mode="after")
    def _timezone_exists(self) -> Self:
        from zoneinfo import available_timezones

        if self.timezone not in available_timezones():
            raise ValueError(f"timezone is '{self.timezone}'; expected a name such as 'UTC' or 'Europe/Berlin'")
        return self


class Approval(Strict):
    """Whether a person has to agree before a challenger that won takes the title."""

    required: bool = False
    expires_after: Duration = Field(default=timedelta(days=3), description="without an answer the champion stays")

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if self.expires_after < timedelta(minutes=1):
            raise ValueError("expires_after is under a minute, in which nobody can answer; expected '1 day' or so")
        return self


class Performance(Strict):
    """When the champion's quality, measured or estimated, counts as decay."""

    window: Duration = Field(default=timedelta(days=7), description="newest days that are looked at together")
    past: Duration = Field(default=timedelta(days=56), description="days before them: what the quality was")
    min_outcomes: int = Field(default=200, ge=20, description="outcomes, or predictions, below which nothing is told")
    floor: float | None = Field(default=None, description="worst quality that is borne; else judging.thresholds")
    max_loss: float | None = Field(default=None, gt=0, description="what may be lost against the past; else min_gain")


class Triage(Strict):
    """What tells a broken feed from a world that has changed."""

    max_missing_rise: Share = Field(default=0.1, description="share of a column's values that may go missing at once")
    max_quarantine_rise: Share = Field(default=0.05, description="share of rows that may be refused more than usual")
    min_volume: float = Field(default=0.3, ge=0, lt=1, description="least rows, as a ratio to the usual")
    max_volume: float = Field(default=5.0, gt=1, description="most rows, as a ratio to the usual")
    unit_tolerance: float = Field(
        default=0.15, gt=0, lt=0.5, description="how near values must be to a multiple of the usual for another unit"
    )
    min_rows: int = Field(default=100, ge=20, description="rows below which nothing is told")


class Costs(Strict):
    """What mistakes and retraining cost, in one currency."""

    currency: str = ""
    false_positive: float = Field(default=0.0, ge=0, description="of one that was flagged without need")
    false_negative: float = Field(default=0.0, ge=0, description="of one that was missed")
    per_error: float = Field(
        default=0.0, ge=0, description="of one wrong class among several, or of each unit that a number is off"
    )
    retrain: float = Field(default=0.0, ge=0, description="of training and judging one challenger")

    @property
    def stated(self) -> bool:
        """Whether mistakes cost anything at all."""
        return max(self.false_positive, self.false_negative, self.per_error) > 0
