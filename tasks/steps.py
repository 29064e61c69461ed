"""What every step of ours is: a task of Prefect's that fails in one sentence, as its flow does.

Prefect by itself would put the exception's text into the state of the task run, which of Spark's is a page of Java.
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from prefect import State, Task
from prefect.context import TaskRunContext
from prefect.results import ResultRecord
from prefect.runtime import flow_run
from prefect.states import Failed

from contender import error_text


class Step(Task[..., Any]):
    """A task that ends in a Failed state of ours; whoever called it still gets the exception itself."""

    def __init__(self, fn: Callable[..., Any], **options: Any) -> None:
        super().__init__(fn, **options)
        # After the task was made of it: Prefect takes its key and its source from the function itself.
        self.fn = _guarded(self.name, fn)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the step, and return what it gives."""
        found = super().__call__(*args, **kwargs)
        if isinstance(found, State) and found.is_failed():
            raise found.data.result if isinstance(found.data, ResultRecord) else found.data
        return found


def step(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Makes a step of a function; takes what Prefect's `task` takes."""
    return partial(step, **options) if function is None else Step(function, **options)


def _guarded(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except Exception as error:
            # A replay calls the function itself.
            if TaskRunContext.get() is None:
                raise
            return Failed(message=_sentence(error, name), data=error)

    return guarded


def _sentence(error: Exception, name: str) -> str:
    use_case = (flow_run.parameters or {}).get("use_case")
    doing = f"The step '{name.replace('_', ' ')}'{f' of {use_case}' if use_case else ''}"
    # The flow that it belongs to keeps no second file, so that it bears the name of the flow's run.
    return error_text.tell(error, doing, str(flow_run.id or ""))
