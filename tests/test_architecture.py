import re
import subprocess
import sys
from pathlib import Path

import pytest

from contender.lake.maven import CENTRAL

ROOT = Path(__file__).parents[1]
# Written in pieces, so that this file does not name what it looks for.
HOSTS = [r"pypi\.", r"pythonhosted\.", r"repo1?\.maven", r"maven\.org", r"repository\.apache\.", r"registry\.npmjs"]
HOMES = [r"/home/[a-z]", r"/Users/[a-z]", re.escape(f"{Path.home()}/")]
# The one address that set-up asks by itself, which a setting replaces.
ADDRESSED = [f'CENTRAL = "{CENTRAL}"']
ABOUT_A_MACHINE = re.compile("|".join(HOSTS + HOMES))


def test_imports_go_one_way_and_every_module_has_its_layer():
    """The contracts are in pyproject.toml; a module that no layer names breaks one of them."""
    command = Path(sys.executable).with_name("lint-imports")
    answer = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def committed_files() -> list[Path]:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("which files are source is known from git only, and there is none, or no checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_file_but_the_lock_says_where_packages_come_from_or_on_whose_machine_it_was_written():
    told = []
    for path in committed_files():
        if path.name == "uv.lock" or path == Path(__file__) or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            if (found := ABOUT_A_MACHINE.search(line)) and line not in ADDRESSED:
                told.append(f"{path.relative_to(ROOT)}:{number} {found.group()}")
    assert not told
