import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ["sh", "dirname", "id", "sed", "cat", "cksum", "env", "sleep"]


@pytest.fixture
def checkout(tmp_path):
    """A checkout with the files that set-up reads, and a PATH with what every system has, but no Java."""
    folder = tmp_path / "checkout"
    (folder / "bin").mkdir(parents=True)
    for name in ["bin/setup", "uv.lock", "pyproject.toml"]:
        shutil.copy(ROOT / name, folder / name)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).symlink_to(Path(shutil.which(name) or name))
    return folder


def fake(folder: Path, name: str, script: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def set_up(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(checkout.parent / "tools"), **variables}
    return subprocess.run(
        [shutil.which("sh") or "sh", "bin/setup", *arguments],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_without_java_it_stops_with_one_sentence_before_anything_else(checkout):
    answer = set_up(checkout)
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert "Spark needs Java 17 or later, and none was found" in answer.stderr
    assert sorted(path.name for path in checkout.iterdir()) == ["bin", "pyproject.toml", "uv.lock"]


def test_an_old_java_home_is_named_and_nothing_is_installed_over_it(checkout, tmp_path):
    fake(tmp_path / "old" / "bin", "java", "echo 'java version \"1.8.0_392\"' >&2")
    answer = set_up(checkout, JAVA_HOME=str(tmp_path / "old"))
    assert answer.returncode == 1
    assert "is Java 8): point it at a newer one, or unset it" in answer.stderr
    assert not answer.stdout


@pytest.fixture
def installed(checkout):
    """A checkout in which uv makes an environment that only notes what is asked of it."""
    tools = checkout.parent / "tools"
    fake(tools, "java", "echo 'openjdk version \"17.0.15\"' >&2")
    python = (
        "mkdir -p .venv/bin; printf '#!/bin/sh\\necho \"$@\" >>asked\\n' >.venv/bin/python; chmod +x .venv/bin/python"
    )
    fake(tools, "uv", f'[ "$1" = --version ] && exit; echo "uv $@" >>asked; {python}')
    for name in ["mkdir", "chmod"]:
        (tools / name).symlink_to(Path(shutil.which(name) or name))
    return checkout


PREPARED = ["-m contender.lake.java_setup", "-m flows.prefect_api.database_template"]


def asked(checkout: Path) -> list[str]:
    lines = (checkout / "asked").read_text().splitlines()
    (checkout / "asked").unlink()
    return lines


def test_a_second_call_installs_nothing_and_says_nothing(installed):
    first = set_up(installed)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("Installing ")
    assert asked(installed) == ["uv sync --locked --quiet --compile-bytecode --no-dev", *PREPARED]

    second = set_up(installed)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert asked(installed) == PREPARED


def test_the_checks_need_more_than_a_run_and_a_run_does_not_take_it_away(installed):
    set_up(installed)
    asked(installed)
    set_up(installed, "--dev")
    assert asked(installed) == ["uv sync --locked --quiet --compile-bytecode", *PREPARED]
    set_up(installed)
    assert asked(installed) == PREPARED


def test_another_lock_is_installed(installed):
    set_up(installed)
    asked(installed)
    with (installed / "uv.lock").open("a") as lock:
        lock.write(os.linesep)
    assert "up to date" in set_up(installed).stdout
    assert asked(installed) == ["uv sync --locked --quiet --compile-bytecode --no-dev", *PREPARED]
