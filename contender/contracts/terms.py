"""The terms that clauses are written in: durations, shares, cron lines and names, and what a strict model is."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_UNIT_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_NAME = r"^[A-Za-z][A-Za-z0-9_]*$"


def parse_duration(text: Any) -> timedelta:
    """Turn "7 days" or "90 minutes" into a duration.

    Raises:
        ValueError: not a whole number and a unit from second to week.
    """
    if isinstance(text, timedelta):
        return text
    match = re.fullmatch(r"(\d+) (second|minute|hour|day|week)s?", str(text).strip())
    if match is None:
        raise ValueError("expected a duration such as '7 days', '1 hour' or '30 minutes'")
    return timedelta(seconds=int(match[1]) * _UNIT_SECONDS[match[2]])


def parse_newest(text: Any) -> timedelta | float:
    """Turn "14 days" into a duration and "20 %" into the share 0.2."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", str(text).strip())
    if match is None:
        return parse_duration(text)
    share = float(match[1]) / 100
    if not 0 < share < 1:
        raise ValueError("expected a share between 0 % and 100 %")
    return share


def parse_cron(text: Any) -> str:
    """A cron line of five fields, or "never".

    Raises:
        ValueError: it is neither.
    """
    if text == "never":
        return "never"
    from cronsim import CronSim, CronSimError

    try:
        if len(str(text).split()) == 5 and CronSim(str(text), datetime.now(UTC)):
            return str(text)
    except CronSimError:
        pass
    raise ValueError("expected five fields such as '40 * * * *' (minute hour day month weekday), or 'never'")


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Newest = Annotated[timedelta | float, BeforeValidator(parse_newest)]
Cron = Annotated[str, BeforeValidator(parse_cron)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=_NAME)]
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]


class Strict(BaseModel):
    """What is parsed from outside: frozen, and nothing in it that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
