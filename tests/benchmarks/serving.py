"""Live scoring beside plain FastAPI with pydantic and the same scorer, and beside `mlflow models serve`.

    uv run python tests/benchmarks/serving.py [--json] [--seconds 5] [--connections 8]

One model of 30 columns and 200 trees, one worker each, in one run: the server has one core and the clients another. All
are first asked the same records, and must answer the same. `rps` is a closed loop over some connections, each asking
again when it is answered; `p99_ms_at_300` an open loop, in which a request is sent when it is due, whether or not those
before it are answered, and counts from when it was due. Memory is the largest sum over all processes of a server.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# What pins this process makes its servers inherit; one core serves, another asks.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a script sees its own folder only

import numpy as np
import pandas as pd
import psutil

from contender.contracts.contract import Contract
from contender.features.training_keys import hashes_of
from contender.inference import equality
from contender.promotion import ledger
from contender.registry import model_versions, tracking
from contender.settings import Settings
from contender.training import candidates
from tests.ports import free_port

NUMBERS, CATEGORIES = 24, 6
WORKING = "from flows.cli.main import main; main()"

FASTAPI = """
import sys
from typing import Literal
import numpy as np
from fastapi import FastAPI
from pathlib import Path
from pydantic import BaseModel, Field
from contender.inference.scorer import open_folder
scorer = open_folder(Path(sys.argv[1]), sys.argv[2])
class Record(BaseModel):
    key: str
{fields}
class Body(BaseModel):
    data: list[Record] = Field(max_length=10_000)
class One(BaseModel):
    score: float
    prediction: int
    band: Literal["NORMAL", "WARNING", "CRITICAL"]
class Answer(BaseModel):
    predictions: list[One]
    model_version: int
app = FastAPI()
@app.post("/score")
async def score(body: Body) -> Answer:
    found = []
    for record in body.data:
        value = float(scorer.answer_record([getattr(record, one.name) for one in scorer.columns])[0, 1])
        band = "CRITICAL" if value >= 0.8 else "WARNING" if value >= 0.5 else "NORMAL"
        found.append(One(score=value, prediction=int(value >= 0.5), band=band))
    return Answer(predictions=found, model_version=1)
import uvicorn
uvicorn.run(app, port=int(sys.argv[3]), loop="uvloop", http="httptools", access_log=False, log_level="warning")
"""


def make(folder: Path) -> tuple[Settings, Contract, list[Any], list[dict[str, Any]]]:
    """A home with two versions, the first of them champion, and some records."""
    random = np.random.default_rng(7)
    rows = 4_000
    frame = pd.DataFrame({f"n{one}": random.normal(size=rows) for one in range(NUMBERS)})
    for one in range(CATEGORIES):
        frame[f"c{one}"] = random.choice([f"v{k}" for k in range(8)], rows)
    y = (frame.n0 + frame.n1 * frame.n2 + (frame.c0 == "v1") + random.normal(size=rows) > 0.5).astype(int)
    columns = {"key": {"type": "text", "required": True}}
    columns |= {f"n{one}": {"type": "number", "min": -100, "max": 100} for one in range(NUMBERS)}
    columns |= {f"c{one}": {"type": "category"} for one in range(CATEGORIES)}
    use_case = folder / "data" / "bench"
    use_case.mkdir(parents=True)
    written = ['name = "bench"', 'question = "Will it?"', 'kind = "binary"', "[records]", 'files = "b*"']
    written += ['landing = "landing"', 'key = "key"', "[records.columns]"]
    written += [
        f"{name} = {{ {', '.join(f'{k} = {json.dumps(v)}' for k, v in of.items())} }}" for name, of in columns.items()
    ]
    written += ["[outcome]", 'target = "y"', "[outcome.columns]", 'y = { type = "boolean" }', "[judging]"]
    written += [
        'metric = "roc_auc"',
        'newest = "20 %"',
        "min_gain = 0.01",
        "[scoring]",
        "warning = 0.5",
        "critical = 0.8",
    ]
    (use_case / "contract.toml").write_text("\n".join(written) + "\n")
    settings = Settings(home=folder / "home", use_cases=folder / "data")
    contract = Contract.of("bench", settings.use_cases)
    versions = []
    for seed in (1, 2):
        model = candidates.build("boosting", "binary", contract.model_columns, None, {"max_iter": 200}, seed).fit(
            frame, y
        )
        arrays, evidence = equality.lower_and_prove(model, contract.model_columns, frame, [0.5, 0.5, 0.8])
        print(evidence, file=sys.stderr)
        version = tracking.log_challenger(
            settings,
            contract,
            tracking.FittedModel(model, "boosting", {}, [], {}, {"n0": 1.0}, seed=seed),
            tracking.LearntRows(
                pd.Timestamp("2026-01-01"), frame.head(3), frame, hashes_of(frame.index.astype(str)), []
            ),
            git_revision=None,
            arrays=arrays,
        )
        model_versions.fetch_approved(settings, version, version.digest)
        versions.append(version)
    crown(settings, versions[0])
    records = [{"key": str(at), **row} for at, row in enumerate(frame.head(200).to_dict("records"))]
    return settings, contract, versions, records


def crown(settings: Settings, version: Any) -> None:
    """Give the title to a version."""
    after = ledger.head(settings, "bench")
    ledger.take_title(
        settings, "bench", version=version, after=after, action="promoted", reason="r", by="benchmark", evidence={}
    )


class Server:
    """A server on the first core, its address, and the most memory that its processes took together."""

    def __init__(self, command: list[str], port: int, variables: dict[str, str]) -> None:
        self.port, self.peak_mb, self._ending = port, 0.0, threading.Event()
        self._process = subprocess.Popen(
            ["taskset", "-c", "0", *command],
            env=os.environ | variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._watching = threading.Thread(target=self._watch)
        self._watching.start()

    def _watch(self) -> None:
        while not self._ending.wait(0.2):
            with suppress(psutil.Error):
                root = psutil.Process(self._process.pid)
                # Memory that workers share with their parent counts once.
                every = [one.memory_full_info().pss for one in (root, *root.children(recursive=True))]
                self.peak_mb = max(self.peak_mb, sum(every) / 1e6)

    def wait(self, ask: Callable[[int], bool], seconds: float = 120) -> float:
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            with suppress(OSError):
                if ask(self.port):
                    return time.perf_counter() - began
            time.sleep(0.05)
        raise SystemExit(f"no answer on port {self.port}")

    def end(self) -> None:
        self._ending.set()
        self._watching.join()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextmanager
def serving(command: list[str], port: int, variables: dict[str, str] | None = None) -> Iterator[Server]:
    """A server until the end of the block."""
    server = Server(command, port, variables or {})
    try:
        yield server
    finally:
        server.end()


def request(path: str, body: Any) -> bytes:
    """The bytes of a request."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One answer from a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length)


def ask(port: int, asked: bytes) -> tuple[int, Any]:
    """One request over a connection of its own."""

    async def once() -> tuple[int, Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asked)
        status, body = await answer_of(reader)
        writer.close()
        return status, json.loads(body)

    return asyncio.run(once())


def closed_loop(port: int, requests: list[bytes], connections: int, seconds: float) -> dict[str, float]:
    """Requests a second and the slowest in a hundred, when each connection asks again as soon as it is answered."""
    times: list[float] = []
    failed = 0

    async def client(offset: int, until: float) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        at = offset
        while time.perf_counter() < until:
            began = time.perf_counter()
            writer.write(requests[at % len(requests)])
            status, _ = await answer_of(reader)
            times.append(time.perf_counter() - began)
            failed += status != 200
            at += 1
        writer.close()

    async def every() -> float:
        for warm in (1.0, seconds):
            times.clear()
            began = time.perf_counter()
            await asyncio.gather(*[client(one * 13, began + warm) for one in range(connections)])
        return time.perf_counter() - began

    import uvloop

    took = uvloop.run(every())
    return {"rps": len(times) / took, "p99_ms": 1000 * float(np.quantile(times, 0.99)), "failed": failed}


def open_loop(port: int, requests: list[bytes], rate: float, seconds: float) -> dict[str, float]:
    """Times from when each request was due, at a steady rate."""
    times: list[float] = []
    failed = 0

    async def every() -> None:
        idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        tasks = []

        async def one(due: float, asked: bytes) -> None:
            nonlocal failed
            link = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
            link[1].write(asked)
            status, _ = await answer_of(link[0])
            times.append(time.perf_counter() - due)
            failed += status != 200
            idle.append(link)

        began = time.perf_counter()
        for at in range(int(rate * seconds)):
            due = began + at / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(one(due, requests[at % len(requests)])))
        await asyncio.gather(*tasks)

    import uvloop

    uvloop.run(every())
    return {
        "p50_ms": 1000 * float(np.quantile(times, 0.5)),
        "p99_ms": 1000 * float(np.quantile(times, 0.99)),
        "failed": failed,
    }


def rolled_back(
    settings: Settings, server: Server, requests: list[bytes], versions: list[Any]
) -> tuple[float, int, int]:
    """Seconds from an entry of the ledger until the last answer by the version before, under load; and what failed."""
    seen: list[tuple[float, int]] = []
    failed = 0
    ending = threading.Event()

    async def client() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        at = 0
        while not ending.is_set():
            writer.write(requests[at % len(requests)])
            status, body = await answer_of(reader)
            failed += status != 200
            if status == 200:
                seen.append((time.perf_counter(), json.loads(body)["model_version"]))
            at += 1

    async def every() -> None:
        await asyncio.gather(*[client() for _ in range(4)])

    load = threading.Thread(target=lambda: asyncio.run(every()))
    load.start()
    worst = 0.0
    for version in (versions[1], versions[0]):
        time.sleep(1)
        began = time.perf_counter()
        crown(settings, version)
        time.sleep(2.5)
        old = [at for at, answered in list(seen) if at > began and answered != version.version]
        worst = max(worst, max(old, default=began) - began)
    ending.set()
    load.join()
    return worst, failed, len(seen)


def measure(folder: Path, seconds: float, connections: int, with_mlflow: bool) -> dict[str, Any]:
    """All figures."""
    settings, contract, versions, records = make(folder)
    ours = [request("/score", {"data": [one]}) for one in records]
    model = settings.scratch_of("bench") / "models" / versions[0].digest
    answers: dict[str, list[float]] = {}
    found: dict[str, Any] = {}
    os.sched_setaffinity(0, {1})

    def figures(name: str, server: Server, requests: list[bytes]) -> None:
        found[name] = closed_loop(server.port, requests, connections, seconds)
        found[name] |= {f"at_300_{key}": value for key, value in open_loop(server.port, requests, 300, seconds).items()}
        found[name]["peak_mb"] = server.peak_mb
        print(name, {key: round(value, 2) for key, value in found[name].items()}, file=sys.stderr)

    port = free_port()
    variables = {"CONTENDER_HOME": str(settings.home), "CONTENDER_USE_CASES": str(settings.use_cases)}
    with serving([sys.executable, "-c", WORKING, "serve", "bench", "--port", str(port)], port, variables) as server:
        found["start_seconds"] = server.wait(lambda port: ask(port, ours[0])[0] == 200)
        answers["contender"] = [ask(port, one)[1]["predictions"][0]["score"] for one in ours[:50]]
        figures("contender", server, ours)
        found["rollback_seconds"], found["failed_requests"], found["requests_meanwhile"] = rolled_back(
            settings, server, ours, versions
        )
    port = free_port()
    fields = "\n".join(
        f"    {name}: {'float | None = Field(None, ge=-100, le=100)' if name.startswith('n') else 'str | None = None'}"
        for name in (column.name for column in contract.model_columns)
    )
    program = folder / "plain.py"
    program.write_text(FASTAPI.replace("{fields}", fields))
    path = {"PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))}
    with serving([sys.executable, str(program), str(model), versions[0].digest, str(port)], port, path) as server:
        server.wait(lambda port: ask(port, ours[0])[0] == 200)
        answers["fastapi"] = [ask(port, one)[1]["predictions"][0]["score"] for one in ours[:50]]
        figures("fastapi", server, ours)
    if with_mlflow:
        port = free_port()
        theirs = [
            request("/invocations", {"dataframe_records": [{k: v for k, v in one.items() if k != "key"}]})
            for one in records
        ]
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model), "--env-manager", "local"]
        # It starts uvicorn by its name.
        path |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        with serving([*command, "--port", str(port), "--workers", "1"], port, path) as server:
            server.wait(lambda port: ask(port, theirs[0])[0] == 200)
            answers["mlflow"] = [ask(port, one)[1]["predictions"][0][1] for one in theirs[:50]]
            figures("mlflow", server, theirs)
    for name in {"fastapi", "mlflow"} & set(answers):
        found[f"greatest_difference_to_{name}"] = float(
            np.abs(np.array(answers[name]) - np.array(answers["contender"])).max()
        )
        found[f"rps_to_{name}"] = found["contender"]["rps"] / found[name]["rps"]
        found[f"p99_to_{name}"] = found["contender"]["p99_ms"] / found[name]["p99_ms"]
        found[f"memory_to_{name}"] = found["contender"]["peak_mb"] / found[name]["peak_mb"]
    found["p99_ms_at_300"] = found["contender"]["at_300_p99_ms"]
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--without-mlflow", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(Path(scratch), asked.seconds, asked.connections, not asked.without_mlflow)
    print(json.dumps(figures) if asked.json else json.dumps(figures, indent=2))
