import base64
import hashlib
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import certifi
import pytest

from contender.errors import Unavailable
from contender.lake import downloads, java, java_setup

CONTENT = bytes(range(256)) * 1200
WRONG = CONTENT[::-1]


def pinned(name: str, content: bytes = CONTENT) -> java.Jar:
    return java.Jar(f"org.example:{name}:1.0", size=len(content), sha256=hashlib.sha256(content).hexdigest())


class Repository(ThreadingHTTPServer):
    """A Maven repository on loopback that has every JAR, and answers as it is told before it serves."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.content = CONTENT
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.script: list[Callable[[Answer], None]] = []
        self.always: Callable[[Answer], None] | None = None

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def ranges(self) -> list[str | None]:
        return [headers.get("range") for _, headers in self.asked]

    def handle_error(self, request, client_address) -> None:
        """A client that left is nothing to print."""


class Answer(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.path, headers))
        answer = self.server.script.pop(0) if self.server.script else self.server.always or serve
        answer(self)

    def do_CONNECT(self) -> None:
        self.do_GET()

    def begin(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_) -> None:
        """Nothing is printed."""


def serve(answer: Answer) -> None:
    """The file, from the byte that was asked for on."""
    content = answer.server.content
    if asked := answer.headers.get("Range"):
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        answer.begin(206, len(content) - start, Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}")
        answer.wfile.write(content[start:])
    else:
        serve_all(answer)


def serve_all(answer: Answer) -> None:
    """The whole file, whatever was asked for."""
    answer.begin(200, len(answer.server.content))
    answer.wfile.write(answer.server.content)


def cut(answer: Answer, after: int = 100_000, serve: Callable[[Answer], None] = serve) -> None:
    """At most so many bytes of what `serve` would send; then the connection is gone."""
    whole = answer.wfile.write
    sent = 0

    def write(chunk: bytes) -> int:
        nonlocal sent
        if chunk.startswith(b"HTTP/"):
            return whole(chunk)
        sent += len(chunk)
        return whole(chunk[:after])

    answer.wfile.write = write
    serve(answer)
    answer.close_connection = True


def refuse(answer: Answer, status: int = 503, **headers: str) -> None:
    answer.begin(status, 0, **headers)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Path:
    """A certificate for 127.0.0.1 that nobody else trusts, with its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a network of our own")])
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(True, *[False] * 4, True, *[False] * 3), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path = tmp_path_factory.mktemp("certificate") / "own.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + pem)
    return path


@pytest.fixture
def repository(tmp_path, monkeypatch, certificate) -> Iterator[Repository]:
    """Named as the mirror of a machine without proxies, in an empty home; no pauses, and one JAR to fetch."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"]:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    # Reading the certificates of the whole world takes longer than most of these tests.
    for name in downloads.CERTIFICATES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(java, "SHARE", tmp_path / "share")
    monkeypatch.setattr(java, "JARS", (pinned("delta"),))
    monkeypatch.setattr(downloads, "PAUSES_SECONDS", (0.0, 0.0))
    with running(Repository()) as server:
        monkeypatch.setenv("CONTENDER_MAVEN_MIRROR", f"http://{server.place}/maven")
        yield server


@contextmanager
def running(server: Repository) -> Iterator[Repository]:
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def fetch() -> list[str]:
    said: list[str] = []
    java_setup.fetch_jars(said.append)
    return said


def refused(match: str) -> str:
    """The sentence of a fetch that fails."""
    with pytest.raises(Unavailable, match=match) as told:
        fetch()
    assert os.linesep not in str(told.value)
    assert str(told.value)[0].isupper()
    assert str(told.value).endswith(".")
    return str(told.value)


def kept() -> list[str]:
    return sorted(path.name for path in (java.SHARE / "jars").iterdir())


def test_jars_are_fetched_once_with_a_line_before_and_one_after(repository):
    said = fetch()
    assert java.JARS[0].path.read_bytes() == CONTENT
    assert said[0] == f"Fetching 1 Delta JARs from the Maven mirror http://{repository.place}/maven (0.3 MB, once)..."
    assert said[1].startswith("Fetched 0.3 MB in ")
    assert fetch() == []
    assert [path for path, _ in repository.asked] == ["/maven/org/example/delta/1.0/delta-1.0.jar"]


def test_several_are_fetched_at_the_same_time(repository, monkeypatch):
    monkeypatch.setattr(java, "JARS", tuple(pinned(f"delta-{number}") for number in range(downloads.AT_ONCE)))
    all_here = threading.Barrier(downloads.AT_ONCE, timeout=30)

    def together(answer: Answer) -> None:
        all_here.wait()
        serve(answer)

    repository.always = together
    fetch()
    assert len(kept()) == downloads.AT_ONCE


def test_only_what_is_missing_or_damaged_is_fetched(repository, monkeypatch):
    monkeypatch.setattr(java, "JARS", tuple(pinned(name) for name in ("whole", "damaged", "missing")))
    whole, damaged, _ = java.JARS
    whole.path.parent.mkdir(parents=True)
    whole.path.write_bytes(CONTENT)
    damaged.path.write_bytes(WRONG)
    fetch()
    assert sorted(Path(path).name for path, _ in repository.asked) == ["damaged-1.0.jar", "missing-1.0.jar"]
    assert all(jar.is_intact(jar.path) for jar in java.JARS)


def test_a_cut_connection_is_taken_up_where_it_was(repository):
    repository.script = [cut, cut]
    fetch()
    assert java.JARS[0].path.read_bytes() == CONTENT
    assert repository.ranges == [None, "bytes=100000-", "bytes=200000-"]


def test_what_a_call_left_is_taken_up_by_the_next(repository):
    repository.script = [cut, *[refuse] * 3]
    refused("answered 503, 3 times in a row, at org.example:delta:1.0; what came is kept: run it again later")
    assert kept() == ["delta-1.0.jar.part"]
    said = fetch()
    assert repository.ranges[-1] == "bytes=100000-"
    assert "(0.2 MB, once)" in said[0]
    assert kept() == ["delta-1.0.jar"]


def test_a_server_without_ranges_starts_anew(repository):
    repository.script = [cut, serve_all]
    fetch()
    assert java.JARS[0].path.read_bytes() == CONTENT


def test_a_server_that_always_cuts_at_the_same_byte_is_given_up(repository):
    repository.always = partial(cut, serve=serve_all)
    refused("cut the connection .*3 times in a row")
    assert len(repository.asked) == 4


def test_another_range_than_the_one_asked_for_is_not_appended(repository):
    def another(answer: Answer) -> None:
        answer.begin(206, 10, Content_Range=f"bytes 0-9/{len(CONTENT)}")
        answer.wfile.write(CONTENT[:10])

    repository.script = [cut, another]
    fetch()
    assert java.JARS[0].path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(WRONG[:1000], id="a beginning of something else"),
        pytest.param(WRONG, id="something else, whole"),
        pytest.param(CONTENT + b"!", id="too long"),
    ],
)
def test_what_was_left_and_is_wrong_is_thrown_away_and_fetched_from_the_start(repository, left):
    jar = java.JARS[0]
    jar.path.parent.mkdir(parents=True)
    jar.part.write_bytes(left)
    fetch()
    assert jar.path.read_bytes() == CONTENT
    assert repository.ranges[-1] is None


def test_a_range_that_the_server_does_not_have_is_no_end(repository):
    repository.script = [cut, partial(refuse, status=416)]
    fetch()
    assert java.JARS[0].path.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(repository, status):
    repository.script = [partial(refuse, status=status), partial(refuse, status=status, Retry_After="0")]
    fetch()
    assert len(repository.asked) == 3


def test_a_server_may_say_how_long_to_wait_within_reason(repository, monkeypatch):
    waited: list[float] = []

    class Patience(threading.Event):
        def wait(self, timeout=None):
            waited.append(timeout)
            return False

    monkeypatch.setattr(downloads, "Event", Patience)
    repository.script = [partial(refuse, Retry_After="7"), partial(refuse, Retry_After="86400")]
    fetch()
    assert waited == [7, downloads.LONGEST_PAUSE_SECONDS]


def test_a_server_that_says_nothing_is_asked_again(repository, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", 0.2)
    over = threading.Event()
    repository.script = [lambda _: over.wait(30)]
    fetch()
    over.set()
    assert len(repository.asked) == 2


@pytest.mark.parametrize(
    ("status", "told"),
    [
        pytest.param(401, r"does not let us in \(401\); check name and password in CONTENDER_MAVEN_MIRROR", id="401"),
        pytest.param(403, r"does not let us in \(403\)", id="403"),
        pytest.param(
            404, r"has no org.example:delta:1.0 \(404\); needed is all of Maven Central: name another", id="404"
        ),
        pytest.param(407, r"The proxy .*wants a login \(407\)", id="407"),
        pytest.param(304, "answered 304", id="unknown"),
    ],
)
def test_what_will_not_change_is_asked_once_and_told(repository, status, told):
    repository.always = partial(refuse, status=status)
    refused(told)
    assert len(repository.asked) == 1
    assert kept() == []


def test_a_file_with_another_digest_is_not_kept(repository):
    repository.content = WRONG
    refused("delivered a file with another SHA-256 digest than the pinned one as org.example:delta:1.0")
    assert kept() == []


def test_a_page_in_place_of_the_file_is_told_by_its_size(repository):
    repository.content = b"<html>Sign in</html>"
    refused("delivered a file of 20 bytes in place of 307,200 as org.example:delta:1.0")
    assert len(repository.asked) == 1
    assert kept() == []


def test_a_stream_without_an_end_is_left(repository):
    def pour(answer: Answer) -> None:
        answer.send_response(200)
        answer.end_headers()
        while True:
            answer.wfile.write(CONTENT)

    repository.always = pour
    refused("delivered a file of more than 307,200 bytes")
    assert kept() == []


def test_what_the_others_had_fetched_is_kept_when_one_fails(repository, monkeypatch):
    monkeypatch.setattr(java, "JARS", (pinned("whole"), pinned("missing")))
    monkeypatch.setattr(downloads, "AT_ONCE", 1)
    repository.script = [serve, partial(refuse, status=404)]
    refused("has no org.example:missing:1.0")
    assert kept() == ["whole-1.0.jar"]


def test_a_machine_that_refuses_is_told_at_once(repository, monkeypatch):
    with running(Repository()) as closed:
        place = closed.place
    monkeypatch.setenv("CONTENDER_MAVEN_MIRROR", f"http://{place}")
    refused("cannot be reached .*refused.*check the network.*HTTPS_PROXY.*now: CONTENDER_MAVEN_MIRROR")


def test_a_proxy_that_refuses_is_told_by_its_address(repository, monkeypatch):
    with running(Repository()) as closed:
        place = closed.place
    monkeypatch.setenv("HTTP_PROXY", place)
    refused(f"cannot be reached by the proxy .*{place} .*refused.*check that proxy")


def test_without_a_network_the_sentence_says_so(repository, monkeypatch):
    monkeypatch.setenv("CONTENDER_MAVEN_MIRROR", "http://maven.invalid")
    refused("http://maven.invalid cannot be reached .*check the network")


def test_a_login_goes_with_the_request(repository, monkeypatch):
    monkeypatch.setenv("CONTENDER_MAVEN_MIRROR", f"http://ann:p%40ss@{repository.place}/maven")
    assert "p@ss" not in " ".join(fetch())
    assert repository.asked[0][1]["authorization"] == f"Basic {base64.b64encode(b'ann:p@ss').decode()}"


def write_settings(inner: str) -> None:
    folder = Path.home() / ".m2"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.xml").write_text(f"<settings>{inner}</settings>")


def test_the_mirror_of_mavens_own_settings_is_asked_with_its_login(repository, monkeypatch):
    monkeypatch.delenv("CONTENDER_MAVEN_MIRROR")
    write_settings(
        f"<mirrors><mirror><id>ours</id><mirrorOf>*</mirrorOf><url>http://{repository.place}/all</url></mirror></mirrors>"
        "<servers><server><id>ours</id><username>ann</username><password>secret</password></server></servers>"
    )
    fetch()
    path, headers = repository.asked[0]
    assert path == "/all/org/example/delta/1.0/delta-1.0.jar"
    assert headers["authorization"] == f"Basic {base64.b64encode(b'ann:secret').decode()}"

    java.JARS[0].path.unlink()
    repository.always = partial(refuse, status=401)
    refused("check name and password of the <server> with the id of mirror 'ours' in .*settings.xml")


@pytest.mark.parametrize("by", ["HTTP_PROXY", "settings.xml"])
def test_a_proxy_is_asked_for_the_mirror(repository, monkeypatch, by):
    monkeypatch.setenv("CONTENDER_MAVEN_MIRROR", "http://maven.invalid/all")
    if by == "HTTP_PROXY":
        monkeypatch.setenv("HTTP_PROXY", f"http://ann:secret@{repository.place}")
    else:
        host, _, port = repository.place.partition(":")
        login = "<username>ann</username><password>secret</password>"
        write_settings(f"<proxies><proxy><host>{host}</host><port>{port}</port>{login}</proxy></proxies>")
    fetch()
    path, headers = repository.asked[0]
    assert path == "http://maven.invalid/all/org/example/delta/1.0/delta-1.0.jar"
    assert headers["proxy-authorization"] == f"Basic {base64.b64encode(b'ann:secret').decode()}"

    java.JARS[0].path.unlink()
    repository.always = partial(refuse, status=407)
    place = "HTTPS_PROXY" if by == "HTTP_PROXY" else "<proxies> of ~/.m2/settings.xml"
    assert "secret" not in refused(rf"The proxy http://{repository.place} wants a login \(407\).*{place}")


def test_no_proxy_is_asked_for_an_address_that_is_excepted(repository, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    fetch()
    assert kept() == ["delta-1.0.jar"]


@pytest.mark.parametrize(
    ("status", "told", "times"),
    [
        pytest.param(407, r"wants a login \(407\); give name and password in HTTPS_PROXY", 1, id="login"),
        pytest.param(
            403, "The proxy .* does not lead to the Maven mirror https://maven.invalid .*403.*NO_PROXY", 1, id="403"
        ),
        pytest.param(503, "is not reached by the proxy .*3 times in a row", 3, id="busy"),
    ],
)
def test_a_proxy_that_lets_no_tunnel_through_is_told(repository, monkeypatch, status, told, times):
    monkeypatch.setenv("CONTENDER_MAVEN_MIRROR", "https://maven.invalid")
    monkeypatch.setenv("HTTPS_PROXY", f"http://{repository.place}")
    repository.always = partial(refuse, status=status)
    refused(told)
    assert [path for path, _ in repository.asked] == ["maven.invalid:443"] * times


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:1", "gopher://127.0.0.1:1", "http://127.0.0.1:port"])
def test_a_proxy_that_cannot_be_used_is_told(repository, monkeypatch, address):
    monkeypatch.setenv("ALL_PROXY", address)
    refused("The proxy of this machine cannot be used .*needed is http://HOST:PORT in HTTPS_PROXY")


@pytest.fixture
def over_tls(repository, certificate, monkeypatch):
    """The repository behind a certificate of its own; no variable names it yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    repository.socket = context.wrap_socket(repository.socket, server_side=True)
    monkeypatch.setenv("CONTENDER_MAVEN_MIRROR", f"https://{repository.place}")
    monkeypatch.delenv("SSL_CERT_FILE")
    return repository


def test_a_certificate_that_is_not_trusted_is_told_with_the_variable_that_names_another(over_tls):
    refused(r"shows a certificate that is not trusted here .*SSL_CERT_FILE or REQUESTS_CA_BUNDLE \(now: not set\)")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_own_certificates_are_trusted(over_tls, certificate, monkeypatch, variable):
    monkeypatch.setenv(variable, str(certificate))
    fetch()
    assert kept() == ["delta-1.0.jar"]


@pytest.mark.parametrize("file", ["", certifi.where()], ids=["alone", "beside a file"])
def test_a_folder_of_own_certificates_is_trusted(over_tls, certificate, tmp_path, monkeypatch, file):
    # OpenSSL looks for a file that is called by the hash of the certificate's name.
    from cryptography import x509

    name = x509.load_pem_x509_certificate(certificate.read_bytes()).subject
    folder = tmp_path / "certificates"
    folder.mkdir()
    (folder / f"{name_hash(name)}.0").write_bytes(certificate.read_bytes())
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    monkeypatch.setenv("SSL_CERT_FILE", file)
    fetch()
    assert kept() == ["delta-1.0.jar"]


def name_hash(name) -> str:
    """As `openssl x509 -hash` counts it: over the names in lower case, without the outer header."""
    (attribute,) = name
    text = attribute.value.lower().encode()
    value = bytes([0x0C, len(text)]) + text
    pair = bytes.fromhex("0603550403") + value
    inner = bytes([0x30, len(pair)]) + pair
    digest = hashlib.sha1(bytes([0x31, len(inner)]) + inner).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_certificates_that_cannot_be_read_are_told(repository, tmp_path, monkeypatch, variable):
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv(variable, str(tmp_path / "gone.pem"))
    refused(f"The certificates cannot be read .*correct or unset these: {variable}=.*gone.pem")


def test_a_pom_alone_in_the_local_repository_disturbs_nothing(repository):
    folder = (Path.home() / ".m2" / "repository" / java.JARS[0].place).parent
    folder.mkdir(parents=True)
    (folder / "delta-1.0.pom").write_text("<project/>")
    fetch()
    assert len(repository.asked) == 1
    assert kept() == ["delta-1.0.jar"]


def test_a_jar_of_the_local_repository_is_not_fetched(repository, monkeypatch):
    monkeypatch.setattr(java, "JARS", (pinned("here"), pinned("there")))
    local = Path.home() / ".m2" / "repository" / java.JARS[0].place
    local.parent.mkdir(parents=True)
    local.write_bytes(CONTENT)
    said = fetch()
    assert [Path(path).name for path, _ in repository.asked] == ["there-1.0.jar"]
    assert said[-1].endswith(f"; 1 of 2 Delta JARs copied from {Path.home()}/.m2/repository.")

    java.JARS[0].path.unlink()
    assert fetch() == [f"1 of 2 Delta JARs copied from {Path.home()}/.m2/repository."]
    assert kept() == ["here-1.0.jar", "there-1.0.jar"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_with_what_is_needed(repository):
    jar = java.JARS[0]
    jar.path.parent.mkdir(parents=True)
    jar.part.symlink_to("/dev/full")
    refused(r"cannot be kept in .*No space left.*free \d+ MB there, then run 'make setup'")


def test_a_place_that_cannot_be_written_is_told(repository, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(java, "SHARE", tmp_path / "file" / "share")
    refused("The Delta JARs cannot be kept in .*make that folder writable")


def test_the_pinned_jars_are_known_by_coordinates_sizes_and_digests():
    assert all(len(jar.sha256) == 64 and jar.size > 0 and jar.coordinate.count(":") == 2 for jar in java.JARS)
    assert len({jar.path for jar in java.JARS}) == len(java.JARS)
    assert replace(java.JARS[0], sha256="").is_intact(java.JARS[0].path) is False
