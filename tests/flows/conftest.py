import pytest

from tests.flows.in_process import Here, here, leave_nothing_to_tell
from tests.flows.prefect_server import served


@pytest.fixture(scope="session")
def prefect(tmp_path_factory):
    """The one Prefect server of this worker's tests, for all that is told apart by names of runs and use cases."""
    with served(tmp_path_factory.mktemp("prefect")) as server:
        yield server
        leave_nothing_to_tell()


@pytest.fixture(scope="module")
def at_home(spark, prefect):
    """`with at_home(settings, folder) as run:` runs commands of a home in this process, in the Spark of all tests."""

    def entered(settings, folder, **variables: str):
        return here(Here(settings, folder, variables | {"PREFECT_API_URL": prefect.environment["PREFECT_API_URL"]}))

    return entered
