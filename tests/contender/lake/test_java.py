from pathlib import Path

import pytest

from contender.errors import Unavailable
from contender.lake import java, java_setup

BANNERS = {
    8: 'java version "1.8.0_392"',
    11: 'openjdk version "11.0.21" 2023-10-17',
    17: 'openjdk version "17.0.15" 2025-04-15',
    21: 'openjdk version "21" 2023-09-19',
}


def fake_java(folder: Path, version: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "java"
    script.write_text(f"#!/bin/sh\necho 'Picked up JAVA_TOOL_OPTIONS: -Xmx1g' >&2\necho '{BANNERS[version]}' >&2\n")
    script.chmod(0o755)
    return script


def fake_jar(share: Path, name: str, content: bytes, sha256: str) -> java.Jar:
    folder = share / "jars"
    folder.mkdir(parents=True, exist_ok=True)
    jar = java.Jar(f"org.example:{name}:1.0", size=len(content), sha256=sha256)
    (folder / f"{name}-1.0.jar").write_bytes(content)
    return jar


@pytest.fixture
def path(tmp_path, monkeypatch):
    """An otherwise empty PATH, and no other place to find a Java in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(java, "KEGS", [])
    return folder


@pytest.fixture
def share(tmp_path, monkeypatch):
    monkeypatch.setattr(java, "SHARE", tmp_path / "share")
    return tmp_path / "share"


@pytest.mark.parametrize("version", [17, 21])
def test_java_17_and_later_will_do(path, version):
    fake = fake_java(path, version)
    assert java.require_java() == fake


@pytest.mark.parametrize("version", [8, 11])
def test_an_older_java_is_refused_by_its_version(path, version):
    fake_java(path, version)
    with pytest.raises(Unavailable, match=f"is Java {version}; Spark needs Java 17 or later"):
        java.require_java()


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        pytest.param("apt-get", "apt-get install -y openjdk-17-jre-headless'", id="Debian, Ubuntu"),
        pytest.param("dnf", "dnf install -y java-17-openjdk-headless'", id="Fedora, Red Hat"),
        pytest.param("brew", "'brew install openjdk@17'", id="macOS"),
        pytest.param(None, "install a Java 17\\+ runtime and set JAVA_HOME", id="anything else"),
    ],
)
def test_a_missing_java_is_told_with_the_command_for_this_system(path, manager, command):
    if manager:
        (path / manager).write_text("#!/bin/sh\n")
        (path / manager).chmod(0o755)
    with pytest.raises(Unavailable, match=f"No Java was found.*{command}"):
        java.require_java()


def test_java_home_goes_before_the_path_as_it_does_for_spark(path, tmp_path, monkeypatch):
    fake_java(path, 17)
    fake_java(tmp_path / "old" / "bin", 11)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    with pytest.raises(Unavailable, match="is Java 11"):
        java.require_java()


def test_a_java_that_homebrew_hides_is_found_when_the_one_on_the_path_does_not_work(path, tmp_path, monkeypatch):
    (path / "java").write_text("#!/bin/sh\nexit 1\n")
    (path / "java").chmod(0o755)
    hidden = fake_java(tmp_path / "opt" / "openjdk@17" / "bin", 17)
    monkeypatch.setattr(java, "KEGS", [hidden.parent])
    assert java.require_java() == hidden
    assert java.environment() == {"JAVA_HOME": str(hidden.parent.parent)}


def test_missing_jars_are_told_with_the_command_that_fetches_them(share):
    with pytest.raises(
        Unavailable, match="7 of 7 Delta JARs are missing.*run 'make setup' or 'python -m contender.lake.java_setup'"
    ):
        java.jar_paths()


def test_a_jar_cut_short_counts_as_missing(share, monkeypatch):
    jar = fake_jar(share, "delta", b"content", sha256="")
    monkeypatch.setattr(java, "JARS", (jar,))
    assert java.jar_paths() == [jar.path]
    jar.path.write_bytes(b"con")
    with pytest.raises(Unavailable, match="1 of 1 Delta JARs are missing"):
        java.jar_paths()


def test_only_a_whole_archive_of_this_very_java_is_used(path, share, monkeypatch):
    monkeypatch.setattr(java, "JARS", (fake_jar(share, "delta", b"content", sha256=""),))
    fake_java(path, 17)
    assert java.jvm_options() == []
    archive = share / f"spark-{java.archive_key()}-7.jsa"
    archive.write_bytes(b"content")
    assert java.jvm_options()[0] == f"-XX:SharedArchiveFile={archive}"

    archive.write_bytes(b"con")
    assert java.jvm_options() == []

    archive.write_bytes(b"content")
    monkeypatch.setenv("JAVA_HOME", str(fake_java(path.parent / "newer" / "bin", 21).parent.parent))
    assert java.jvm_options() == []


def test_without_an_archive_setup_says_so_and_goes_on(path, share, monkeypatch):
    monkeypatch.setattr(java, "JARS", (fake_jar(share, "delta", b"content", sha256=""),))
    monkeypatch.setattr(java_setup, "_submit", lambda _arguments, *, seconds: None)
    fake_java(path, 17)
    said: list[str] = []
    java_setup.archive_classes(said.append)
    assert said[-1] == "That did not work out; Spark will start without."
    assert java.jvm_options() == []
