"""How the seconds of this process were spent, so that what is not the work itself can be told apart."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["work", "spark", "mlflow"]


@dataclass
class Clock:
    """Wall-clock seconds by what they went to; what is inside another kind counts for the inner one only."""

    seconds: dict[Kind, float] = field(default_factory=lambda: {"work": 0.0, "spark": 0.0, "mlflow": 0.0})
    _running: list[list[float]] = field(default_factory=list)

    @contextmanager
    def spending(self, kind: Kind) -> Iterator[None]:
        """Count the seconds inside the block for `kind`."""
        began, inner = time.perf_counter(), [0.0]
        self._running.append(inner)
        try:
            yield
        finally:
            self._running.pop()
            took = time.perf_counter() - began
            self.seconds[kind] += took - inner[0]
            if self._running:
                self._running[-1][0] += took


clock = Clock()
"""The one of this process."""
