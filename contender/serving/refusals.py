"""What a request gets that is not answered: a status, one sentence, and every field that is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with one field, and the rows, from 0, in which it is; never a value that was given."""

    field: str
    rows: Sequence[int]
    found: str
    needed: str

    def __str__(self) -> str:
        rows = len(self.rows)
        where = f" in row {self.rows[0]}" if rows == 1 else f" in {rows:,} rows" if rows else ""
        return f"'{self.field}'{where}: found {self.found}, needed {self.needed}"


class Refusal(Exception):
    """A request is not answered; `sentence` says what was found, what was needed and what to do."""

    def __init__(
        self, status: int, sentence: str, faults: Sequence[Fault] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.faults, self.headers = status, sentence, tuple(faults), headers or {}

    @classmethod
    def of(cls, faults: Sequence[Fault]) -> Self:
        """One for all that is wrong."""
        more = f"; and {len(faults) - 1} more in 'faults'" if len(faults) > 1 else ""
        return cls(400, f"{faults[0]}{more}. Nothing was scored.", tuple(faults))

    @classmethod
    def too_large(cls, found: str, allowed: str) -> Self:
        """Of a body that is not read to its end."""
        return cls(413, f"The body has {found}, at most {allowed} are taken; send less at a time.")

    @classmethod
    def later(cls, sentence: str, seconds: int = 1) -> Self:
        """Of what may be answered soon."""
        return cls(503, sentence, headers={"retry-after": str(seconds)})

    def document(self, request_id: str) -> dict[str, Any]:
        """What the answer's body says."""
        found: dict[str, Any] = {"error": self.sentence, "request_id": request_id}
        if self.faults:
            found["faults"] = [
                {"field": one.field, "rows": list(one.rows), "found": one.found, "needed": one.needed}
                for one in self.faults
            ]
        return found
