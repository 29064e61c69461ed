"""`contender down`: the end of what `contender up` runs here, from another terminal."""

import os
import signal
import time
from contextlib import suppress

import click

from contender.settings import Settings
from flows.prefect_api import discovery
from flows.runtime.output import print_json
from flows.up import processes

_PATIENCE_SECONDS, _BLINK_SECONDS = 12, 0.2


def bring_down(json_: bool) -> None:
    """`contender down`: ends what runs in this home, also what an `up` that was killed left behind."""
    settings, began = Settings(), time.monotonic()
    running = discovery.find_running(settings)
    if running:
        with suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGTERM)
        while discovery.find_running(settings) and time.monotonic() < began + _PATIENCE_SECONDS:
            time.sleep(_BLINK_SECONDS)
        with suppress(ProcessLookupError):
            if discovery.find_running(settings):
                os.kill(running.pid, signal.SIGKILL)
    left = processes.end_all(settings)
    if running or left:
        discovery.forget(settings)
    if json_:
        print_json({"ran": bool(running), "left_behind": left, "seconds": round(time.monotonic() - began, 1)})
    elif running or left:
        told = f"process {running.pid} and all that it ran" if running else f"{left} processes that were left behind"
        click.echo(f"Ended: {told}, in {time.monotonic() - began:.1f} s.")
    else:
        click.echo(f"Nothing runs for {settings.state}; 'contender up' starts it.")
