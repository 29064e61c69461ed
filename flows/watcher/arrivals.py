"""What has landed for one use case and is not announced yet."""

import logging
import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path

from contender.contracts.contract import Contract
from contender.events import LANDED, Event
from contender.ingestion.settling import SETTLE_SECONDS, Look, Waiting, settle, wants
from contender.settings import Settings
from flows.prefect_api.client import Server
from flows.watcher.unseen_files import find_unseen

SWEEP_SECONDS = 180.0
"""How often it is looked for files of which no event told, or of which nothing came."""

AGAIN_SECONDS = 600.0
"""What was announced, and is still not in the lake after so long, is announced again."""

_NAMED = 100

log = logging.getLogger(__name__)


class Arrivals:
    """The landing folder of one use case: what waits to be settled, and what waits to be announced."""

    def __init__(
        self,
        settings: Settings,
        contract: Contract,
        server: Server,
        aside: Executor,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self.contract, self.folder = contract, _folder_of(contract)
        self._settings, self._server, self._aside, self._settle_seconds = settings, server, aside, settle_seconds
        self._waiting: dict[str, Waiting] = {}
        self._ready: dict[str, Look] = {}
        self._event_id = ""
        self._announced: dict[tuple[str, Look], float] = {}
        self._known: set[tuple[str, Look]] = set()
        self._asked: set[tuple[str, Look]] = set()
        self._search: Future[dict[str, Look]] | None = None
        self._swept = float("-inf")

    def step(self, changed: Iterable[str], now: float) -> None:
        """Look at what changed and at what still waits, and announce what is settled.

        Args:
            changed: paths, also of other folders.
            now: seconds of a clock that never goes back.

        Raises:
            Away: Prefect does not answer; what is ready stays so.
        """
        mine = {path for path in changed if Path(path).parent == self.folder and wants(self.contract, Path(path).name)}
        if mine or self._waiting:
            self._waiting, settled = settle(
                self._waiting, look_at(mine | set(self._waiting)), now, self._settle_seconds
            )
            self._make_ready(look_at(settled))
        if self._search is not None and self._search.done():
            self._take(self._search, now)
        elif self._search is None and now - self._swept >= SWEEP_SECONDS:
            self._swept = now
            self._sweep()
        if self._ready:
            self._announce(now)

    def look_again(self) -> None:
        """Have the folder there, and sweep it with the next step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._swept = float("-inf")

    def _sweep(self) -> None:
        """Ask the lake, unless all that is there is known to be in it."""
        before = self.contract
        self.contract = Contract.of(before.name, self._settings.use_cases)
        self.folder = _folder_of(self.contract)
        if self.contract != before:
            # Whatever one contract refuses, another may take.
            self._known = set()
        paths = (str(path) for path in self.folder.iterdir() if wants(self.contract, path.name))
        self._asked = set(look_at(paths).items())
        if self._asked - self._known:
            self._search = self._aside.submit(find_unseen, self.contract.name)

    def _take(self, search: "Future[dict[str, Look]]", now: float) -> None:
        self._search = None
        unseen = search.result()
        self._known = {one for one in self._asked if one[0] not in unseen}
        self._announced = {one: at for one, at in self._announced.items() if now - at < AGAIN_SECONDS}
        for path, look in unseen.items():
            if (path, look) not in self._announced and path not in self._ready:
                # It may be half a file, so it has to settle like any other.
                self._waiting.setdefault(path, Waiting(look, now, now))

    def _make_ready(self, files: Mapping[str, Look]) -> None:
        if files:
            self._ready |= files
            self._event_id = str(uuid.uuid4())

    def _announce(self, now: float) -> None:
        there = look_at(self._ready)
        self._ready = {path: look for path, look in self._ready.items() if path in there}
        if not self._ready:
            return
        names = sorted(Path(path).name for path in self._ready)
        size = sum(look.size for look in self._ready.values())
        sentence = f"{len(names):,} file{'s' * (len(names) > 1)} of {self.contract.name} landed, {size:,} bytes"
        payload = {"files": names[:_NAMED], "count": len(names), "bytes": size, "folder": str(self.folder)}
        event = Event(LANDED, self.contract.name, sentence, payload)
        self._server.emit(event.document(self._settings), id=self._event_id)
        self._announced |= dict.fromkeys(self._ready.items(), now)
        self._ready = {}
        log.info("%s", sentence)


def look_at(paths: Iterable[str]) -> dict[str, Look]:
    """How those of the paths look that are files."""
    found = {}
    for path in paths:
        try:
            if Path(path).is_file():
                stat = Path(path).stat()
                found[path] = Look(stat.st_size, stat.st_mtime_ns)
        except OSError:
            continue
    return found


def _folder_of(contract: Contract) -> Path:
    return Path(contract.records.landing).expanduser().absolute()
