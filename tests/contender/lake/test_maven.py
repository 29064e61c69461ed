import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from contender.errors import Unavailable, UsageError
from contender.lake import java, maven

CONTENT = b"content"
HOST = urlsplit(maven.CENTRAL).netloc
JAR = java.Jar("org.example:thing:1.0", size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of its own, no proxy and no mirror."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(java, "SHARE", tmp_path / "share")
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"]:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("CONTENDER_MAVEN_MIRROR", raising=False)
    return tmp_path


def write(home: Path, inner: str, namespace: str = ' xmlns="http://maven.apache.org/SETTINGS/1.2.0"') -> None:
    (home / ".m2").mkdir(exist_ok=True)
    (home / ".m2" / "settings.xml").write_text(f"<?xml version='1.0'?><settings{namespace}>{inner}</settings>")


def mirrors(*patterns: str) -> str:
    """One mirror for each pattern, at https://0.test, https://1.test, ..."""
    return "".join(
        f"<mirror><id>m{number}</id><mirrorOf>{pattern}</mirrorOf><url>https://{number}.test/maven/</url></mirror>"
        for number, pattern in enumerate(patterns)
    )


def test_without_any_settings_maven_central_is_asked(home):
    found = maven.repository()
    assert (found.address, found.name, found.login, found.proxy) == (maven.CENTRAL, "Maven Central", None, "")
    assert found.local == home / ".m2" / "repository"
    assert found.url_of(java.JARS[1]) == f"{maven.CENTRAL}/io/delta/delta-storage/4.4.0/delta-storage-4.4.0.jar"


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        pytest.param(["*"], 0, id="all"),
        pytest.param(["central"], 0, id="Central alone"),
        pytest.param(["external:*"], 0, id="what is not on this machine"),
        pytest.param(["jcenter, central"], 0, id="a list"),
        pytest.param(["*,!snapshots"], 0, id="all but another one"),
        pytest.param(["*,!central"], None, id="all but Central"),
        pytest.param(["!central,*"], None, id="all but Central, told first"),
        pytest.param(["central,!central"], 0, id="the first word about Central counts"),
        pytest.param(["external:http:*"], None, id="plain HTTP only"),
        pytest.param(["jcenter"], None, id="another repository"),
        pytest.param(["jcenter", "*,!central", "external:*", "*"], 2, id="the first that fits"),
        pytest.param(["*", "central"], 1, id="Central by name goes before a pattern"),
        pytest.param([""], None, id="of nothing"),
    ],
)
@pytest.mark.parametrize("namespace", ["", ' xmlns="http://maven.apache.org/SETTINGS/1.0.0"'])
def test_a_mirror_is_chosen_as_maven_chooses_it(home, patterns, chosen, namespace):
    write(home, f"<mirrors>{mirrors(*patterns)}</mirrors>", namespace)
    address = maven.CENTRAL if chosen is None else f"https://{chosen}.test/maven"
    assert maven.repository().address == address


def test_a_mirror_of_another_layout_is_none_of_ours(home):
    p2 = mirrors("*").replace("<url>", "<mirrorOfLayouts>p2</mirrorOfLayouts><url>")
    write(home, f"<mirrors>{p2}</mirrors>")
    assert maven.repository().address == maven.CENTRAL


def test_a_mirror_has_the_login_of_the_server_with_its_id_and_shows_it_to_nobody(home, monkeypatch):
    monkeypatch.setenv("NEXUS_PASSWORD", "secret")
    servers = "<server><id>other</id><username>x</username></server>"
    servers += "<server><id>m0</id><username>ann</username><password>${env.NEXUS_PASSWORD}</password></server>"
    write(home, f"<mirrors>{mirrors('*')}</mirrors><servers>{servers}</servers>")
    found = maven.repository()
    assert found.login == ("ann", "secret")
    assert "secret" not in repr(found)


def test_maven_central_itself_is_given_no_login(home):
    # The login that people publish with is often called so.
    write(home, "<servers><server><id>central</id><username>ann</username><password>x</password></server></servers>")
    assert maven.repository().login is None


def test_a_password_that_only_maven_can_read_is_told(home):
    server = "<server><id>m0</id><username>ann</username><password>{COQLCE6DU6GtcS5P=}</password></server>"
    write(home, f"<mirrors>{mirrors('*')}</mirrors><servers>{server}</servers>")
    with pytest.raises(Unavailable, match="server 'm0' in .*settings.xml is encrypted.*name the mirror with its login"):
        maven.repository()


def test_a_blocked_mirror_is_told_with_the_setting_that_helps(home):
    write(home, f"<mirrors>{mirrors('*').replace('<url>', '<blocked>true</blocked><url>')}</mirrors>")
    with pytest.raises(Unavailable, match=r"blocks Maven Central \(mirror 'm0'\).*CONTENDER_MAVEN_MIRROR"):
        maven.repository()


def test_the_variable_goes_before_the_file_and_may_hold_a_login(home, monkeypatch):
    write(home, f"<mirrors>{mirrors('*')}</mirrors><localRepository>${{user.home}}/own</localRepository>")
    monkeypatch.setenv("CONTENDER_MAVEN_MIRROR", "https://ann:p%40ss@maven.test:8443/all/")
    found = maven.repository()
    assert (found.address, found.login) == ("https://maven.test:8443/all", ("ann", "p@ss"))
    assert found.local == home / "own"
    assert "ann" not in found.name


@pytest.mark.parametrize(
    "url", ["maven.test/all", "ftp://maven.test", "https://", "https://maven.test:port/", "file:///x"]
)
def test_a_mirror_that_is_no_address_is_told_without_its_password(url, monkeypatch):
    monkeypatch.setenv("CONTENDER_MAVEN_MIRROR", url)
    with pytest.raises(Unavailable, match="CONTENDER_MAVEN_MIRROR is .*; needed is the URL of a Maven repository"):
        maven.repository()


def test_another_variable_that_cannot_be_read_is_told_by_name(monkeypatch):
    monkeypatch.setenv("CONTENDER_PREFECT_PORT", "none")
    with pytest.raises(UsageError, match="CONTENDER_PREFECT_PORT cannot be used"):
        maven.repository()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("<settings><mirrors>", id="cut"),
        pytest.param("", id="empty"),
        pytest.param("<html><body>Sign in</body></html>", id="something else"),
        pytest.param("<?xml version='1.0' encoding='martian'?><settings/>", id="unknown encoding"),
    ],
)
def test_a_broken_settings_file_is_told_by_its_path(home, text):
    (home / ".m2").mkdir()
    (home / ".m2" / "settings.xml").write_text(text)
    with pytest.raises(Unavailable, match=rf"{home}/.m2/settings.xml is no settings file of Maven .*mend it"):
        maven.repository()


def proxy(protocol: str, port: int, more: str = "") -> str:
    return f"<proxy><protocol>{protocol}</protocol><host>proxy.test</host><port>{port}</port>{more}</proxy>"


@pytest.mark.parametrize(
    ("proxies", "chosen"),
    [
        pytest.param(proxy("http", 1), "http://proxy.test:1", id="HTTP's is good for HTTPS"),
        pytest.param(proxy("http", 1) + proxy("https", 2), "http://proxy.test:2", id="HTTPS has its own"),
        pytest.param(
            proxy("http", 1, "<active>false</active>") + proxy("http", 2), "http://proxy.test:2", id="inactive"
        ),
        pytest.param(
            proxy("http", 1, "<username>a b</username><password>p@</password>"),
            "http://a%20b:p%40@proxy.test:1",
            id="login",
        ),
        pytest.param(proxy("http", 1, f"<nonProxyHosts>localhost|*{HOST[5:]}</nonProxyHosts>"), "", id="host excepted"),
        pytest.param(
            proxy("http", 1, "<nonProxyHosts>*.test</nonProxyHosts>"), "http://proxy.test:1", id="others excepted"
        ),
    ],
)
def test_the_active_proxy_of_mavens_settings_is_taken(home, proxies, chosen):
    write(home, f"<proxies>{proxies}</proxies>")
    assert maven.repository().proxy == chosen


@pytest.mark.parametrize(("variable", "value"), [("HTTPS_PROXY", "http://other.test:3"), ("NO_PROXY", HOST)])
def test_what_the_environment_says_of_proxies_goes_before_mavens_settings(home, monkeypatch, variable, value):
    write(home, f"<proxies>{proxy('http', 1)}</proxies>")
    monkeypatch.setenv(variable, value)
    assert maven.repository().proxy == ""


@pytest.mark.parametrize(
    ("kept", "copied"),
    [
        pytest.param(CONTENT, True, id="whole"),
        pytest.param(b"CONTENT", False, id="another one"),
        pytest.param(b"con", False, id="cut short"),
        pytest.param(None, False, id="its POM alone"),
    ],
)
def test_a_jar_is_copied_from_the_local_repository_only_when_it_is_the_pinned_one(home, kept, copied):
    local = home / "repository"
    folder = (local / JAR.place).parent
    folder.mkdir(parents=True)
    folder.joinpath("thing-1.0.pom").write_text("<project/>")
    if kept is not None:
        (local / JAR.place).write_bytes(kept)
    JAR.path.parent.mkdir(parents=True)
    assert maven.copy(JAR, local) is copied
    assert [path.name for path in JAR.path.parent.iterdir()] == (["thing-1.0.jar"] if copied else [])
