"""Work in a Spark that another process keeps warm: found by a file, entered with its secret, left as it was.

Every process that attaches holds a lock on a file of its own and gives that file's name to its threads and jobs in
Java. So whoever comes next can tell what a killed process left at work there, and end it before it writes anything.
"""

import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contender.errors import Unavailable
from contender.settings import Settings

if TYPE_CHECKING:
    from py4j.clientserver import ClientServer, JavaClient
    from pyspark.sql import SparkSession

ANSWER_SECONDS = 1.0
ORPHAN_SECONDS = 60.0
_NAME = re.compile(r"contender-[0-9a-f]{32}")


class Address(BaseModel):
    """Where a warm Spark listens on this machine, and what it was started with."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    pid: int
    java: int
    port: int
    secret: str = Field(repr=False)
    configured: Mapping[str, str]


def offered(settings: Settings) -> Path:
    """The file that says where a warm Spark listens."""
    return settings.running / "spark.json"


def offer(settings: Settings, address: Address) -> None:
    """Let other processes of this user find a warm Spark."""
    made = offered(settings).with_name(f"spark.{os.getpid()}.new")
    made.unlink(missing_ok=True)
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(address.model_dump_json())
    made.replace(offered(settings))


def find(settings: Settings) -> Address | None:
    """The warm Spark that was offered last, whether or not it still runs; None when there is none."""
    try:
        return Address.model_validate_json(offered(settings).read_bytes())
    except (OSError, ValidationError):
        return None


def answers(address: Address) -> bool:
    """Whether this very Spark listens there, and does so within a second."""
    if not (_runs(address.pid) and _runs(address.java)):
        return False
    with (
        suppress(OSError),
        socket.create_connection(("127.0.0.1", address.port), timeout=ANSWER_SECONDS) as line,
    ):
        line.sendall(f"A\n{address.secret}\n".encode())
        return line.recv(16).startswith(b"!y")
    return False


def attach(settings: Settings, address: Address, options: Mapping[str, str]) -> "SparkSession":
    """A session of this process's own in a warm Spark; it becomes the one Spark of this process.

    Args:
        options: of Spark SQL, for this session alone.

    Raises:
        Unavailable: it ended meanwhile, or does not let us in.
    """
    from py4j.protocol import Py4JError
    from pyspark import SparkContext

    with attach_lock(settings):
        name = f"contender-{uuid4().hex}"
        alive = FileLock(_folder(settings) / name, is_singleton=True, thread_local=False)
        alive.acquire()
        _here["alive"] = alive
        try:
            return _enter(_gateway(address), name, options)
        except (Py4JError, OSError) as error:
            SparkContext._gateway = SparkContext._jvm = None
            leave()
            raise Unavailable(ended()) from error


def attached() -> "SparkSession | None":
    """This process's session in a warm Spark; None when it is in none.

    Raises:
        Unavailable: Spark has ended since.
    """
    session = _here.get("session")
    if session is not None:
        with answering():
            session.sparkContext._jsc.sc().isStopped()
    return session


def leave() -> None:
    """Take this process out of the warm Spark, which stays; what it kept there is cleared away once nobody is in."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    if gateway := _here.pop("gateway", None):
        gateway.close()
    if session := _here.pop("session", None):
        session.sparkContext._accumulatorServer.shutdown()
        SparkSession._instantiatedSession = SparkSession._activeSession = None
        SparkContext._active_spark_context = SparkContext._gateway = SparkContext._jvm = None
    if alive := _here.pop("alive", None):
        Path(alive.lock_file).unlink(missing_ok=True)
        alive.release()


def silence_traceback(session: "SparkSession") -> None:
    """Keep PySpark from printing a traceback when Java ends before Python does."""
    vars(session.sparkContext._accumulatorServer)["handle_error"] = lambda *_: None


@contextmanager
def answering() -> Iterator[None]:
    """Tell in one sentence that Spark ended while the block used it.

    Raises:
        Unavailable: it did.
    """
    from py4j.protocol import Py4JNetworkError

    try:
        yield
    except (Py4JNetworkError, ConnectionError) as error:
        raise Unavailable(ended()) from error


def ended() -> str:
    """What a person is told when Spark is gone."""
    return (
        "Spark ended while it was needed (its last words are in the logs of this home); nothing half-done counts, so "
        "run this again: it starts a Spark of its own until the one that 'contender up' keeps is back."
    )


def end_orphans(settings: Settings, seconds: float = ORPHAN_SECONDS) -> None:
    """Cancel what processes that are gone left at work in a warm Spark, and wait until none of it can write any more.

    Raises:
        Unavailable: it cannot be told, or does not end in time.
    """
    address = find(settings)
    if address is None:
        return
    until = time.monotonic() + seconds
    if not _runs(address.pid):
        # A Spark ends by itself after its keeper, but not at once.
        while _runs(address.java):
            _wait(until, f"The Spark (process {address.java}) of a keeper that is gone has not ended")
        return
    while not answers(address) and _runs(address.java):
        _wait(until, f"The warm Spark (process {address.java}) does not answer; what an earlier run left in it goes on")
    with _visit(address) as gateway:
        while left := cancel_orphans(settings, gateway):
            _wait(until, f"Work of {left} killed processes in the warm Spark (process {address.java}) goes on")


def cancel_orphans(settings: Settings, gateway: "ClientServer") -> int:
    """How many processes that are gone are still at work in a warm Spark; their jobs are cancelled.

    To be called until there are none: whoever is between two jobs begins the next, and may be writing.
    """
    threads = gateway.jvm.java.lang.Thread.getAllStackTraces().keySet().toString()
    left = [name for name in set(_NAME.findall(threads)) if not _alive(settings, name)]
    for name in left:
        _root(gateway).sparkContext().cancelJobGroup(name)
    return len(left)


@contextmanager
def attach_lock(settings: Settings) -> Iterator[None]:
    """Nobody else attaches, or clears up, while the block runs."""
    _folder(settings).mkdir(parents=True, exist_ok=True)
    with FileLock(settings.running / "spark.lock", is_singleton=True, thread_local=False):
        yield


def is_unused(settings: Settings) -> bool:
    """Whether no process is attached; call it with the door held. Forgets those that are gone."""
    names = [path.name for path in _folder(settings).iterdir()]
    for name in names:
        if not _alive(settings, name):
            (_folder(settings) / name).unlink(missing_ok=True)
    return not any(_folder(settings).iterdir())


_here: dict[str, Any] = {}
"""What this process holds while it is attached: its lock, its gateway, its session."""


def _enter(gateway: "ClientServer", name: str, options: Mapping[str, str]) -> "SparkSession":
    import atexit
    import signal
    import threading

    from py4j.protocol import get_command_part
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    _here["gateway"] = gateway
    begun = _begin_each_connection(gateway._gateway_client, name)
    root = _root(gateway)
    jsc = gateway.jvm.JavaSparkContext(root.sparkContext())
    in_main = threading.current_thread() is threading.main_thread()
    interrupted = signal.getsignal(signal.SIGINT) if in_main else None
    context = SparkContext(gateway=gateway, jsc=jsc, conf=SparkConf(_jconf=jsc.getConf()))
    if in_main:
        # Spark's own handler would cancel the jobs of everybody.
        signal.signal(signal.SIGINT, interrupted)
    # First for the session that is Java's default already: the first is made the default.
    SparkSession(context, root)
    session = SparkSession(context, root.newSession())
    SparkSession._instantiatedSession = SparkSession._activeSession = session
    # Great Expectations, for one, may stop a session; this one belongs to others too.
    vars(session)["stop"] = leave
    for key, value in options.items():
        session.conf.set(key, value)
    begun(
        [
            f"c\n{jsc._target_id}\nsetJobGroup\n"
            + "".join(get_command_part(part) for part in (name, "attached", True))
            + "e\n",
            "c\nz:org.apache.spark.sql.classic.SparkSession\nsetActiveSession\n"
            + get_command_part(session._jsparkSession)
            + "e\n",
        ]
    )
    _here["session"] = session
    silence_traceback(session)
    atexit.register(leave)
    return session


def _begin_each_connection(client: "JavaClient", name: str) -> Callable[[list[str]], None]:
    """Name each thread that Java gives this process; the function returned adds commands for each to begin with.

    Every Python thread has one of its own, also those of libraries, so this is the one place that none gets round.
    """
    commands: list[str] = []
    connect = client._create_new_connection

    def begin(connection: Any) -> Any:
        thread = _send(connection, "c\nz:java.lang.Thread\ncurrentThread\ne\n").removeprefix("r")
        for command in (f"c\n{thread}\nsetName\ns{name}\ne\n", f"m\nd\n{thread}\ne\n", *commands):
            _send(connection, command)
        return connection

    def add(more: list[str]) -> None:
        commands.extend(more)
        for command in more:
            _send(client, command)

    # The one of this thread is there already.
    begin(client.get_thread_connection())
    client._create_new_connection = lambda: begin(connect())
    return add


def _send(line: Any, command: str) -> str:
    """What Java returns to a command of py4j's protocol."""
    from py4j.protocol import Py4JError

    answer = str(line.send_command(command))
    if not answer.startswith("y"):
        raise Py4JError(f"Java refused {command!r}: {answer}")
    return answer[1:]


def _gateway(address: Address) -> "ClientServer":
    from pyspark.java_gateway import launch_gateway

    # So that PySpark imports into it what it expects there; and gone at once, as children are no part of this.
    os.environ |= {"PYSPARK_GATEWAY_PORT": str(address.port), "PYSPARK_GATEWAY_SECRET": address.secret}
    try:
        return launch_gateway()  # type: ignore[no-untyped-call]
    finally:
        del os.environ["PYSPARK_GATEWAY_PORT"], os.environ["PYSPARK_GATEWAY_SECRET"]


@contextmanager
def _visit(address: Address) -> Iterator["ClientServer"]:
    from py4j.clientserver import ClientServer, JavaParameters, PythonParameters

    gateway = ClientServer(
        JavaParameters(port=address.port, auth_token=address.secret, auto_convert=True),
        PythonParameters(port=0, eager_load=False),
    )
    try:
        with answering():
            yield gateway
    finally:
        gateway.close()


def _root(gateway: "ClientServer") -> Any:
    return getattr(gateway.jvm, "org.apache.spark.sql.classic.SparkSession").getDefaultSession().get()


def _alive(settings: Settings, name: str) -> bool:
    path = _folder(settings) / name
    if not path.exists():
        return False
    if (mine := _here.get("alive")) and Path(mine.lock_file) == path:
        return True
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _folder(settings: Settings) -> Path:
    return settings.running / "attached"


def _runs(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _wait(until: float, what: str) -> None:
    if time.monotonic() > until:
        raise Unavailable(f"{what} and may still write; wait a minute, or end 'contender up' and start it again.")
    time.sleep(0.1)
