"""How every flow of ours runs: under a name that says why, tagged with its use case, and failing in one sentence.

Prefect by itself would put the exception's text into the state and its traceback into the log, which of Spark's is a
page of Java.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Annotated, Any, TypeVar

import prefect
from prefect import Flow
from prefect.context import FlowRunContext, TagsContext
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Failed
from pydantic import Field

from contender.errors import BatchRefused, ContenderError
from contender.lake import shared_spark
from contender.operations import delivery, error_text
from contender.settings import Settings

Story = TypeVar("Story", bound=Flow[..., Any])

UseCase = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", examples=["payments"])]
"""The parameter that all flows have: what is no name is refused before a run is made."""


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


def _guarded(run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            # Steps do without the run's tags: of each Prefect would ask its server for a limit, which may be away.
            with TagsContext(current_tags=set()), shared_spark.answering():
                return run(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - a returned state that holds it, Prefect raises again
            sentence = _sentence(error)
            get_run_logger().error("%s", sentence)
            _notify(error, sentence, kwargs.get("use_case", args[0] if args else ""))
            return Failed(message=sentence, data=error)

    return guarded


def _sentence(error: Exception) -> str:
    settings = Settings()
    sentence = error_text.sentence_of(error, settings)
    if isinstance(error, ContenderError):
        return sentence
    try:
        kept = error_text.keep(error, settings, str(flow_run.id))
    except OSError:
        # A full disk has no room for it either.
        return sentence
    return f"{sentence.rstrip('.')}; the whole is in {kept}"


def _notify(error: Exception, sentence: str, use_case: str) -> None:
    """Tell people of a run on a worker, at which nobody looks; a refused batch was told of when it was refused."""
    context = FlowRunContext.get()
    on_worker = context is not None and context.flow_run is not None and context.flow_run.deployment_id is not None
    if on_worker and not isinstance(error, BatchRefused):
        delivery.notify(Settings(), "flow failed", use_case, sentence, flow_run.ui_url or "", id=str(flow_run.id))
