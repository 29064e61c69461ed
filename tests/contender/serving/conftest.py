"""A home with two real versions in a real registry, and requests to the server's application in this process."""

import asyncio
import json
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from contender.contracts.contract import Contract
from contender.features.training_keys import hashes_of
from contender.inference import equality
from contender.promotion import ledger
from contender.registry import tracking
from contender.serving.application import Application
from contender.serving.title_copy import Keeper
from contender.settings import Settings
from contender.training import candidates
from contender.values import ModelVersion

NOW = datetime(2026, 2, 1, tzinfo=UTC)
ROWS = 400
RECORD = {
    "order_id": "o1",
    "ordered_at": "2026-01-05T10:30:00Z",
    "shop": "a",
    "colour": "red",
    "amount": 12.5,
    "items": 3,
    "express": True,
}


def frame_of(rows: int = ROWS) -> pd.DataFrame:
    """The model's input of some orders."""
    random = np.random.default_rng(5)
    frame = pd.DataFrame({"ordered_at": 1.76e9 + 3600 * np.arange(rows, dtype=float)})
    frame["shop"] = random.choice(["a", "b", "c"], rows)
    frame["colour"] = random.choice(np.array(["red", "blue", None], dtype=object), rows)
    frame["amount"] = random.normal(50, 20, rows)
    frame["items"] = random.choice([1.0, 2.0, 3.0, np.nan], rows)
    frame["express"] = random.choice([0.0, 1.0], rows)
    return frame


def log_version(settings: Settings, contract: Contract, seed: int, *, lowered: bool) -> ModelVersion:
    frame = frame_of()
    y = (frame.amount + 30 * (frame["shop"] == "a") + 10 * (frame["colour"] == "red") > 70).astype(int)
    columns = contract.model_columns
    model = candidates.build("logistic", "binary", columns, None, {"C": 0.1 * seed}, seed).fit(frame, y)
    arrays = equality.lower_and_prove(model, columns, frame, [0.5, 0.1, 0.5])[0] if lowered else None
    return tracking.log_challenger(
        settings,
        contract,
        tracking.FittedModel(model, "logistic", {}, [], {}, {"amount": 1.0}, seed=seed),
        tracking.LearntRows(NOW.replace(tzinfo=None), frame.head(3), frame, hashes_of(frame.index.astype(str)), []),
        git_revision=None,
        arrays=arrays,
    )


@dataclass
class Place:
    """A home of one use case, two versions registered; nobody is champion yet."""

    settings: Settings
    contract: Contract
    versions: list[ModelVersion]
    said: list[dict[str, Any]] = field(default_factory=list)

    def say(self, event: str, **fields: Any) -> None:
        self.said.append({"event": event, **fields})

    def crown(self, version: ModelVersion) -> None:
        ledger.take_title(
            self.settings,
            "orders",
            version=version,
            after=ledger.head(self.settings, "orders"),
            action="promoted",
            reason="better",
            by="test",
            evidence={},
        )

    def keep(self) -> Keeper:
        """A keeper that has looked once."""
        keeper = Keeper(self.settings, "orders", self.say)
        keeper.look()
        return keeper

    def open(self, *others: Contract, **options: Any) -> Application:
        """The application, as a worker has it once it has started."""
        made = Application(self.settings, [self.contract, *others], self.say, **options)
        made.look()
        return made


@pytest.fixture(scope="session")
def logged(make_home) -> Place:
    """Never changed: tests get copies."""
    home = make_home()
    # Arrays answer for the one, the pipeline for the other.
    versions = [log_version(home.settings, home.contract, seed, lowered=seed == 1) for seed in (1, 20)]
    for version in versions:
        # Where the trainer's own check has left it.
        from contender.registry import model_versions

        model_versions.fetch_approved(home.settings, version, version.digest)
    return Place(home.settings, home.contract, versions)


@pytest.fixture
def place(logged: Place, tmp_path: Path) -> Place:
    """A home of this test's own."""
    home = tmp_path / "home"
    shutil.copytree(logged.settings.home, home)
    return Place(logged.settings.model_copy(update={"home": home}), logged.contract, logged.versions)


@pytest.fixture(scope="session")
def champion(logged: Place, tmp_path_factory) -> Place:
    """A home in which version 1 is champion, for tests that change nothing in it."""
    home = tmp_path_factory.mktemp("champion") / "home"
    shutil.copytree(logged.settings.home, home)
    place = Place(logged.settings.model_copy(update={"home": home}), logged.contract, logged.versions)
    place.crown(place.versions[0])
    place.keep()
    return place


@pytest.fixture(scope="session")
def app(champion: Place) -> Application:
    return champion.open()


def ask(app: Application, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
    """One request; a body that is neither bytes nor text is sent as JSON."""
    headers = {"content-type": "application/json"} | dict(options.pop("headers", {}))
    content = body if isinstance(body, bytes | str | None) else json.dumps(body)

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, content=content, headers=headers, **options)

    return asyncio.run(asked())


def post(app: Application, body: Any, path: str = "/score", **options: Any) -> httpx.Response:
    return ask(app, "POST", path, body, **options)


def send(app: Application, path: str, messages: list[dict[str, Any]], headers: dict[str, str]) -> SimpleNamespace:
    """A request as the server hands it on, message by message, and how many of them were read."""
    read = 0
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", **messages[read - 1]}

    async def note(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(app(scope, receive, note))
    return SimpleNamespace(status=sent[0]["status"], headers=dict(sent[0]["headers"]), body=sent[1]["body"], read=read)


def record(**changes: Any) -> dict[str, Any]:
    """A record that may be scored, with these changes; a field of `...` is left out."""
    return {name: value for name, value in (RECORD | changes).items() if value is not ...}
