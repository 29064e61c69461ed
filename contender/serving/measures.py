"""What a server counts of itself, in Prometheus' form, summed over its workers.

Workers that are forked by `workers` write into files of the folder that PROMETHEUS_MULTIPROC_DIR names, which the
library reads once, when it is imported.
"""

import os

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Measures:
    """The counters of one process."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        own = self._registry = CollectorRegistry()
        self.requests = Counter(
            "contender_requests", "Requests by route and status.", ["use_case", "route", "status"], registry=own
        )
        self.errors = Counter("contender_errors", "Faults of our own, answered by 500.", ["route"], registry=own)
        self.seconds = Histogram(
            "contender_score_seconds",
            "From a request's head to its answer, of those that were scored.",
            ["use_case", "version", "arm"],
            buckets=_SECONDS,
            registry=own,
        )
        self.records = Counter(
            "contender_records_scored", "Records scored.", ["use_case", "version", "arm"], registry=own
        )
        self.waiting = Gauge(
            "contender_requests_waiting",
            "Requests that wait to be scored, or are.",
            registry=own,
            multiprocess_mode="livesum",
        )
        self.dropped = Counter("contender_requests_dropped", "Requests refused for overload.", registry=own)
        self.switches = Counter(
            "contender_champion_switches", "Champions put in place, counted in each worker.", ["use_case"], registry=own
        )

    def text(self) -> bytes:
        """All of it, for Prometheus to read."""
        from prometheus_client import CollectorRegistry, generate_latest, multiprocess

        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        every = CollectorRegistry()
        multiprocess.MultiProcessCollector(every)  # type: ignore[no-untyped-call]
        return generate_latest(every)
