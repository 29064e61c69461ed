"""How far a long Spark job is, for the Prefect UI and the log, while it runs."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any
from uuid import UUID, uuid4

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from contender.lake import spark_session
from contender.settings import Settings
from tasks.run_log import is_rehearsal, key_of, stored

AFTER_SECONDS, EVERY_SECONDS, LINE_SECONDS = 5.0, 2.0, 15.0


@contextmanager
def progressing(settings: Settings, use_case: str, what: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Show the share of Spark's tasks that are done, from `AFTER_SECONDS` on until the block ends, which is 100 %."""
    if is_rehearsal():
        yield
        return
    group = _group(settings)
    ended, watcher = threading.Event(), _Watcher(settings, use_case, what, tell, group)
    # Prefect knows by the context which run an artifact belongs to.
    thread = threading.Thread(target=copy_context().run, args=(watcher.watch, ended), daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        ended.set()
        thread.join()
        raise
    ended.set()
    thread.join()
    watcher.finish()


def share_done(settings: Settings, group: str) -> float | None:
    """Share of the tasks that are done, of the stages that Spark works on for a job group; None while it does not."""
    tracker: Any = spark_session.session(settings).sparkContext.statusTracker()
    jobs = [info for job in tracker.getJobIdsForGroup(group) if (info := tracker.getJobInfo(job)) is not None]
    ours = {stage for job in jobs for stage in job.stageIds} & set(tracker.getActiveStageIds())
    stages = [info for stage in sorted(ours) if (info := tracker.getStageInfo(stage)) is not None]
    tasks = sum(stage.numTasks for stage in stages)
    return sum(stage.numCompletedTasks for stage in stages) / tasks if tasks else None


def _group(settings: Settings) -> str:
    """The job group of this thread's work; in a Spark that others use too it has one already."""
    context: Any = spark_session.session(settings).sparkContext
    name = context.getLocalProperty("spark.jobGroup.id")
    if name is None:
        name = f"contender-{uuid4().hex}"
        context.setJobGroup(name, "scoring")
    return str(name)


class _Watcher:
    """What was shown last, and where."""

    def __init__(self, settings: Settings, use_case: str, what: str, tell: Callable[[str], None], group: str) -> None:
        self._settings, self._use_case, self._what, self._tell, self._group = settings, use_case, what, tell, group
        self._artifact: UUID | None = None
        self._share = 0.0

    def watch(self, ended: threading.Event) -> None:
        began = told = time.monotonic()
        wait_seconds = AFTER_SECONDS
        while not ended.wait(wait_seconds):
            wait_seconds = EVERY_SECONDS
            # A later stage begins with few tasks done; what people see does not go back.
            self._share = max(self._share, share_done(self._settings, self._group) or 0.0)
            self._show(100 * self._share)
            if time.monotonic() - told >= LINE_SECONDS:
                told = time.monotonic()
                self._tell(f"{self._what}: {self._share:.0%} after {told - began:.0f} s")

    def finish(self) -> None:
        if self._artifact is not None:
            self._show(100.0)

    def _show(self, percent: float) -> None:
        if self._artifact is not None:
            stored(self._what, update_progress_artifact, self._artifact, progress=percent)
            return
        self._artifact = stored(
            self._what,
            create_progress_artifact,
            progress=percent,
            key=key_of(self._use_case, "scoring"),
            description=f"{self._use_case}: {self._what}",
        )
