"""Takes the pictures of the README from what `contender up` runs here, with the system's Chromium.

    uv run python docs/images/take.py [payments | --replay]

Run it while `contender up` is at work on a home in which the use case has a champion, after a run of its deployment
`pipeline`, which the Prefect UI starts. With `--replay` it only takes that of the kept replay, for which nothing needs
to run.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from contender.errors import ContenderError, Unavailable, UsageError
from contender.settings import Settings
from flows.prefect_api import discovery
from flows.prefect_api.client import ask

HERE = Path(__file__).parent
WIDTH, HEIGHT, COLOURS = 1280, 900, 64
REPLAY = HERE.parent / "replays" / "flights.html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_MILLISECONDS = 20_000


def main(use_case: str) -> None:
    """Take all pictures, one after another."""
    running = discovery.find_running(Settings())
    if running is None:
        raise UsageError("Nothing runs here; 'contender up' starts what the pictures are of.")
    for name, address in pages(running, use_case):
        print(f"{name}: {address}")
        take(address, HERE / f"{name}.png")


def pages(running: discovery.Running, use_case: str) -> Iterator[tuple[str, str]]:
    """Name and address of each page."""
    ui = running.prefect_ui
    done = {"state": {"type": {"any_": ["COMPLETED"]}}, "tags": {"all_": [use_case]}}
    run = newest(
        running,
        "flow_runs",
        {
            "sort": "END_TIME_DESC",
            "flows": {"name": {"any_": ["pipeline"]}},
            "flow_runs": done,
        },
    )
    verdict = newest(
        running,
        "artifacts",
        {
            "sort": "CREATED_DESC",
            "artifacts": {"key": {"any_": [f"{use_case.replace('_', '-')}-verdict"]}},
        },
    )
    yield "prefect-deployments", f"{ui}/deployments"
    yield "prefect-run", f"{ui}/runs/flow-run/{run}"
    yield "prefect-verdict", f"{ui}/artifacts/artifact/{verdict}"
    yield "dashboard", f"{running.dashboard}/?still"


def newest(running: discovery.Running, what: str, question: dict[str, Any]) -> str:
    """Id of the first that answers a question to Prefect's API."""
    found = ask(running.prefect_api, f"/{what}/filter", {"limit": 1, **question})
    if not found:
        raise UsageError(f"There are no {what} to take a picture of; wait until the loop has crowned a champion.")
    return str(found[0]["id"])


def take(address: str, path: Path) -> None:
    """One page as a picture of few colours, which keeps the repository small."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise Unavailable("No Chromium was found; install it by 'apt-get install chromium'.")
    with tempfile.TemporaryDirectory() as profile:
        shot = Path(profile, "shot.png")
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--no-first-run",
                "--disable-background-networking",
                f"--user-data-dir={profile}",
                f"--window-size={WIDTH},{HEIGHT}",
                f"--virtual-time-budget={PATIENCE_MILLISECONDS}",
                f"--screenshot={shot}",
                address,
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        picture = Image.open(shot).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        picture.save(path, optimize=True)


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["--replay"]:
            take(REPLAY.as_uri(), HERE / "replay.png")
        else:
            main(sys.argv[1] if len(sys.argv) > 1 else "payments")
    except ContenderError as error:
        sys.exit(f"take.py: {error}")
