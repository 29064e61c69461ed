"""MLflow fails in the middle of a retraining: the command says so soon, the champion stays, the next run goes on."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from contender.promotion import ledger
from contender.registry import model_versions
from tests.conftest import Home
from tests.contender.faults import Proxy, served
from tests.flows.in_process import Done, Here

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # MLflow warns of its own type hints on import.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

# Promised are 15 s; what is above is for a machine that is busy with other things.
PROMISED, GRACE = 15, 5
SMALL = (
    (
        "max_bad_share = 0.2",
        "max_bad_share = 0.2\n\n[training]\nmin_rows = 50\ncandidates = ['logistic']\ntrials = 1\n"
        "folds = 2\nmin_per_class = 5",
    ),
    ("min_gain = 0.01", "min_gain = 0.01\nmin_rows = 50\nmin_per_class = 5"),
)


@dataclass
class Place:
    """A home of the small use case whose MLflow is behind the proxy."""

    home: Home
    command: Here
    proxy: Proxy

    def land(self, month: int) -> None:
        """A month of orders, of which the dear ones come back; a few of the others as well."""
        numbers = range(400)
        self.home.land(
            f"orders-{month}.csv",
            *[
                f"m{month}o{n},2026-0{month}-{1 + n % 28:02}T{n % 24:02}:00:00,{'abc'[n % 3]},red,{n * 7 % 90},1,false"
                for n in numbers
            ],
        )
        self.home.land(
            f"returns-{month}.csv", *[f"m{month}o{n},{str(n * 7 % 90 > 60 or n % 17 == 0).lower()},0" for n in numbers]
        )

    def run(self, *arguments: object) -> Done:
        return self.command(*arguments, "--json")

    def title(self) -> tuple[int, int | None]:
        entry = ledger.head(self.home.settings, "orders")
        return entry.version, entry.previous_version

    def aliases(self) -> dict[str, int]:
        return model_versions.aliases(self.home.settings, "orders")


@pytest.fixture(scope="module")
def place(make_home, at_home, tmp_path_factory) -> Iterator[Place]:
    """A home with a champion, where a second month has landed."""
    home = make_home(*SMALL)
    with served(tmp_path_factory.mktemp("mlflow")) as proxy:
        guarded = proxy.address.replace("//", "//someone:secret@")
        with at_home(home.settings, tmp_path_factory.mktemp("orders"), MLFLOW_TRACKING_URI=guarded) as command:
            made = Place(home, command, proxy)
            made.land(1)
            done = made.run("run", "orders", "--landing", home.landing)
            assert done.document["champion"]["version"] == 1
            made.land(2)
            assert made.run("ingest", "orders", "--landing", home.landing).code == 0
            yield made


@pytest.mark.parametrize("fault", ["refuse", "503", "hang", pytest.param("trickle", marks=pytest.mark.soak)])
def test_a_fault_in_the_middle_of_a_retraining_ends_it_soon_and_the_champion_stays(place: Place, fault: str) -> None:
    place.proxy.switch_at(fault, lambda method, path: method == "POST" and path.endswith("/logged-models"))

    done = place.run("retrain", "orders", "--reason", fault)
    seconds = time.monotonic() - place.proxy.faulted_at
    place.proxy.switch("pass")

    print(f"{fault}: {seconds:.1f} s: {done.refusal}")
    assert re.search(rf"MLflow at {place.proxy.address} ", done.refusal)
    assert "secret" not in done.err
    assert seconds < PROMISED + GRACE
    assert place.title() == (1, None)
    assert place.aliases() == {"champion": 1}


def test_when_mlflow_answers_again_the_next_retraining_goes_through(place: Place) -> None:
    verdict = place.run("retrain", "orders", "--reason", "again").document["verdict"]

    champion, previous = place.title()
    assert verdict["champion"] == 1
    assert champion == (verdict["challenger"] if verdict["decision"] == "PROMOTE" else 1)
    titles = {"champion": champion, "previous": previous}
    assert {alias: version for alias, version in place.aliases().items() if alias != "challenger"} == {
        alias: version for alias, version in titles.items() if version is not None
    }
