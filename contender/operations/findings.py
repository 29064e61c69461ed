"""What an examination finds: one value per question, and for each that is answered badly the command that mends it."""

import shlex
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Finding:
    """One answer; `found` and `needed` are parts of a sentence, `mend` is a command or an edit."""

    name: str
    status: Status
    found: str
    needed: str = ""
    mend: str = ""

    @property
    def sentence(self) -> str:
        """What was found and what was needed."""
        return f"{self.name}: {self.found}" + (f"; needed is {self.needed}." if self.needed else ".")


def healthy(findings: Iterable[Finding]) -> bool:
    """Whether nothing failed; warnings do not count."""
    return all(finding.status != "failed" for finding in findings)


def checkout() -> Path | None:
    """The checkout that this Python environment was set up in by `bin/setup`, if it was."""
    environment = Path(sys.prefix)
    root = environment.parent
    return root if environment.name == ".venv" and (root / "bin" / "setup").is_file() else None


def setup_command() -> str:
    """What makes Java and JARs ready, in whatever way this was installed."""
    root = checkout()
    return _in(root, "bin/setup") if root else f"{shlex.quote(sys.executable)} -m contender.lake.java_setup"


def reinstall_command(requirement: str) -> str:
    """What brings one package back to what is pinned; in a checkout, all of them."""
    root = checkout()
    if root is None:
        return f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(requirement)}"
    stamp = root / ".venv" / ".contender-setup"
    dev = " --dev" if stamp.is_file() and stamp.read_text().endswith(" dev") else ""
    # Set-up leaves an environment alone that it made from the same lock file.
    return _in(root, f"rm -f .venv/.contender-setup && bin/setup{dev}")


def extra_command(extra: str, requirement: str) -> str:
    """What installs an optional part."""
    root = checkout()
    if root is None:
        return f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(requirement)}"
    uv = "uv" if shutil.which("uv") or not (root / ".tools" / "bin" / "uv").is_file() else ".tools/bin/uv"
    return _in(root, f"{uv} sync --locked --inexact --extra {extra}")


def activation_command() -> str | None:
    """What makes a shell find `contender`, where it does not yet and bin/setup has installed it."""
    root = checkout()
    if root is None or shutil.which("contender"):
        return None
    here = ".venv" if Path.cwd() == root else shlex.quote(str(root / ".venv"))
    return f". {here}/bin/activate"


def _in(root: Path, command: str) -> str:
    return command if Path.cwd() == root else f"cd {shlex.quote(str(root))} && {command}"
