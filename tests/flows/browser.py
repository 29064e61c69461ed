"""A real browser without a network, and what it makes of a page."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_SECONDS = 120


def browse(folder: Path, address: str) -> tuple[str, list[str]]:
    """What a browser makes of an address, and what it complains of."""
    if BROWSER is None:
        pytest.skip("no Chromium or Chrome is on the PATH")
    done = subprocess.run(
        [
            BROWSER,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-file-access-from-files",
            "--enable-logging=stderr",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1400,1000",
            "--virtual-time-budget=8000",
            "--dump-dom",
            address,
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def measure(folder: Path, around: str) -> tuple[Any, list[str]]:
    """What the page `around` another one found of it, in its element `found`, and what the browser complains of.

    A page of ours may run no script itself, so that one in a frame around it has to look at it.
    """
    page = folder / "around.html"
    page.write_text(around, encoding="utf-8")
    dom, complaints = browse(folder, page.as_uri())
    found = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[-2_000:]
    return json.loads(unescape(found[1])), complaints
