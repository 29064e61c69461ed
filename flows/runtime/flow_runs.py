"""How every flow of ours runs: under a name that says why, tagged with its use case, and failing in one sentence.

How long it waits for another one depends on whether a person looks on.

Prefect by itself would put the exception's text into the state and its traceback into the log, which of Spark's is a
page of Java.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from functools import wraps
from typing import Annotated, Any, TypeVar

import prefect
from prefect import Flow, State
from prefect.context import FlowRunContext, TagsContext
from prefect.logging import get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.states import Failed
from pydantic import Field

from contender import error_text
from contender.errors import BatchRefused
from contender.lake import shared_spark
from contender.operations import delivery, notices
from contender.settings import Settings

Story = TypeVar("Story", bound=Flow[..., Any])

UseCase = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", examples=["payments"])]
"""The parameter that all flows have: what is no name is refused before a run is made."""

WHOLE = "pipeline"
"""The flow that runs the others."""

WORKER_SECONDS, SETTLED_SECONDS = 3600, 1.5

_KEPT = "_contender_kept"


def in_one_sentence(story: Story) -> Story:
    """The flow, ending in a Failed state of ours; whoever called it still gets the exception itself."""
    # After the flow was made of it: Prefect takes the flow's version and entry point from the function's own file.
    story.fn = _guarded(story.fn)
    return story


def tags_of(settings: Settings, use_case: str) -> AbstractContextManager[set[str]]:
    """The tags of a deployment's runs, for runs that begin inside the block."""
    return prefect.tags("contender", settings.name_of(use_case))


def name_of_run() -> str:
    """Flow, use case and why; without a reason a person started it, or another flow."""
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow is not None
    assert context.flow_run is not None
    run, parameters = context.flow_run, context.parameters or {}
    name = f"{context.flow.name} {parameters['use_case']}"
    if reason := parameters.get("reason"):
        return f"{name}: {reason}"
    if run.auto_scheduled:
        return f"{name}: on schedule"
    if run.created_by is not None and run.created_by.type == "AUTOMATION":
        return f"{name}: after an event"
    return name


def patience_seconds() -> float:
    """An hour on a worker, where nobody looks on; nothing in a terminal, where a person would rather hear of it."""
    return WORKER_SECONDS if deployment.id else 0


def settled_seconds() -> float:
    """How long a file must be unchanged: on a worker as others may be writing it, in a terminal a person says when."""
    return SETTLED_SECONDS if deployment.id else 0


def _guarded(run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        use_case = kwargs.get("use_case", args[0] if args else "")
        try:
            # Steps do without the run's tags: of each Prefect would ask its server for a limit, which may be away.
            with TagsContext(current_tags=set()), shared_spark.answering():
                result = run(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - a returned state that holds it, Prefect raises again
            sentence = error_text.tell(error, f"The flow '{flow_run.flow_name}' of {use_case}", str(flow_run.id))
            get_run_logger().error("%s", sentence)
            _notify(error, sentence, use_case)
            _keep_end(use_case, sentence, error)
            return Failed(message=sentence, data=error)
        # What was skipped has shown nothing.
        if not (isinstance(result, State) and result.name == "Skipped"):
            _keep_end(use_case)
        return result

    return guarded


def _keep_end(use_case: str, sentence: str = "", error: Exception | None = None) -> None:
    """Let `status` and the dashboard know how the run ended; of flows within each other the inner one failed."""
    if error is not None:
        if getattr(error, _KEPT, False):
            return
        with suppress(Exception):
            setattr(error, _KEPT, True)
    flows = {str(flow_run.flow_name)}
    context = FlowRunContext.get()
    within = context is not None and context.flow_run is not None and context.flow_run.parent_task_run_id is not None
    if error is None and not within:
        # Where the parts are run by themselves, nobody may ever run the whole again.
        flows.add(WHOLE)
    try:
        for flow in flows:
            notices.keep_end(Settings(), use_case, flow, str(flow_run.id), sentence, datetime.now(UTC))
    except Exception as trouble:  # noqa: BLE001 - the run itself is what counts
        get_run_logger().warning("How the run ended is not kept: %s", error_text.brief(trouble))


def _notify(error: Exception, sentence: str, use_case: str) -> None:
    """Tell people of a run on a worker, at which nobody looks; a refused batch was told of when it was refused."""
    context = FlowRunContext.get()
    on_worker = context is not None and context.flow_run is not None and context.flow_run.deployment_id is not None
    if on_worker and not isinstance(error, BatchRefused):
        delivery.notify(Settings(), "flow failed", use_case, sentence, flow_run.ui_url or "", id=str(flow_run.id))
