"""Pinned files over HTTP: several at once, resumed where a call before was cut, kept only when every byte is right."""

import errno
import os
import ssl
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import gaierror
from threading import Event
from urllib.request import getproxies, proxy_bypass

import httpx

from contender.errors import Unavailable
from contender.lake.java import Jar
from contender.lake.maven import VARIABLE, Repository
from contender.redact import without_login

AT_ONCE = 4
TIMEOUT_SECONDS = 30.0
PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0)
"""Before each further try after one that brought nothing new."""

LONGEST_PAUSE_SECONDS = 60.0
"""What a server may ask us to wait."""

NO_WAY = {errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH}
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


def fetch(jars: Sequence[Jar], repository: Repository) -> None:
    """Bring `jars` to their places; what is cut goes on where it was, at the next call too.

    Raises:
        Unavailable: a JAR does not come, or is not the pinned one.
        OSError: it cannot be written.
    """
    with _client(repository) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        download = _Download(client, repository, Event())
        work = [pool.submit(download.fetch, jar) for jar in jars]
        try:
            for done in as_completed(work):
                done.result()
        finally:
            download.stopped.set()


def came(jar: Jar) -> int:
    """Bytes of `jar` that have come so far and wait for the rest."""
    return jar.part.stat().st_size if jar.part.is_file() else 0


class _Passing(Exception):
    """What may be gone at the next try."""

    def __init__(self, reason: str, pause_seconds: float = 0) -> None:
        super().__init__(reason)
        self.pause_seconds = pause_seconds


class _Stopped(Exception):
    """Another file failed, so this one is left as far as it came."""


@dataclass(frozen=True)
class _Download:
    client: httpx.Client
    repository: Repository
    stopped: Event

    def fetch(self, jar: Jar) -> None:
        """Put the whole JAR in its place."""
        left = came(jar)
        while True:
            self._fill(jar)
            if jar.is_intact(jar.part):
                jar.part.replace(jar.path)
                return
            jar.part.unlink(missing_ok=True)
            if not left:
                raise self._wrong(jar, "with another SHA-256 digest than the pinned one")
            # What a call before had left was no beginning of this file: once more from the start.
            left = 0

    def _fill(self, jar: Jar) -> None:
        """Ask until the part is as long as the JAR; one that is longer is left to the look at its digest."""
        longest, fruitless = came(jar), 0
        while (size := came(jar)) < jar.size:
            reason, pause_seconds = "cut the connection", 0.0
            try:
                self._ask(jar, size)
            except _Passing as passing:
                reason, pause_seconds = str(passing), passing.pause_seconds
            size = came(jar)
            if size == jar.size:
                return
            fruitless = 0 if size > longest else fruitless + 1
            longest = max(size, longest)
            if fruitless > len(PAUSES_SECONDS):
                raise Unavailable(
                    f"{self.repository.subject} {reason}, {fruitless} times in a row, at {jar.coordinate}; what came "
                    f"is kept: run it again later, or {self._name_another('a mirror')}."
                )
            pause = PAUSES_SECONDS[max(fruitless - 1, 0)]
            if self.stopped.wait(max(pause, min(pause_seconds, LONGEST_PAUSE_SECONDS))):
                raise _Stopped

    def _ask(self, jar: Jar, start: int) -> None:
        """Ask once for what is missing from byte `start` on, and write down what comes."""
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with (
            self._errors_explained(),
            self.client.stream("GET", self.repository.url_of(jar), headers=headers) as answer,
        ):
            self._check(jar, answer)
            goes_on = answer.status_code == 206
            if goes_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                jar.part.unlink(missing_ok=True)
                raise _Passing("sent another range than the one asked for")
            with jar.part.open("ab" if goes_on else "wb") as part:
                for chunk in answer.iter_raw():
                    if self.stopped.is_set():
                        raise _Stopped
                    part.write(chunk)
                    if part.tell() > jar.size:
                        raise self._wrong(jar, f"of more than {jar.size:,} bytes")

    def _check(self, jar: Jar, answer: httpx.Response) -> None:
        """Raise what an answer means that does not bring the file."""
        name, status = self.repository.subject, answer.status_code
        if status in (408, 425, 429) or status >= 500:
            wait = answer.headers.get("Retry-After", "")
            raise _Passing(f"answered {status}", float(wait) if wait.isdigit() else 0)
        if status == 416:
            jar.part.unlink(missing_ok=True)
            raise _Passing("has no such range")
        if status == 407:
            raise self._refused_by_proxy("407")
        if status in (401, 403):
            raise Unavailable(f"{name} does not let us in ({status}); {self._login_needed()}.")
        if status in (404, 410):
            raise Unavailable(
                f"{name} has no {jar.coordinate} ({status}); needed is all of Maven Central: "
                f"{self._name_another('a mirror')}."
            )
        if status not in (200, 206):
            raise Unavailable(f"{name} answered {status} at {jar.coordinate}; {self._name_another('a mirror')}.")
        length = answer.headers.get("Content-Length", "")
        if status == 200 and length.isdigit() and int(length) != jar.size:
            raise self._wrong(jar, f"of {int(length):,} bytes in place of {jar.size:,}", keep_part=True)

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        """Errors of the network by what can be done about them."""
        name = self.repository.subject
        try:
            yield
        except httpx.ProxyError as error:
            status = str(error).partition(" ")[0]
            if status.isdigit() and int(status) >= 500:
                raise _Passing(f"is not reached by the proxy {self._proxy()} ({error})") from error
            raise self._refused_by_proxy(str(error)) from error
        except httpx.TimeoutException as error:
            raise _Passing(f"did not answer within {TIMEOUT_SECONDS:.0f} seconds") from error
        except httpx.ConnectError as error:
            causes = list(_causes(error))
            if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
                now = ", ".join(f"{key}={os.environ[key]}" for key in CERTIFICATES if os.environ.get(key)) or "not set"
                raise Unavailable(
                    f"{name} shows a certificate that is not trusted here ({error}); name a file that holds your "
                    f"network's own in SSL_CERT_FILE or REQUESTS_CA_BUNDLE (now: {now})."
                ) from error
            if any(isinstance(cause, gaierror) or getattr(cause, "errno", None) in NO_WAY for cause in causes):
                by_proxy = f" by the proxy {self._proxy()}" if self._proxy() else ""
                check = "check that proxy" if by_proxy else "check the network, name its proxy in HTTPS_PROXY"
                raise Unavailable(
                    f"{name} cannot be reached{by_proxy} ({error}); {check}, "
                    f"or {self._name_another('a mirror that you reach')}."
                ) from error
            raise _Passing(f"cannot be reached ({error})") from error
        except httpx.TransportError as error:
            raise _Passing(f"cut the connection ({error})") from error
        except (httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise Unavailable(f"{name} leads nowhere ({error}); {self._name_another('a mirror')}.") from error

    def _wrong(self, jar: Jar, found: str, *, keep_part: bool = False) -> Unavailable:
        if not keep_part:
            jar.part.unlink(missing_ok=True)
        return Unavailable(
            f"{self.repository.subject} delivered a file {found} as {jar.coordinate}; nothing of it was kept. Look "
            f"at what it answers at {self.repository.url_of(jar)}, or {self._name_another('another mirror')}."
        )

    def _refused_by_proxy(self, answer: str) -> Unavailable:
        if not answer.startswith("407"):
            return Unavailable(
                f"The proxy {self._proxy()} does not lead to {self.repository.name} ({answer}); have it allowed there, "
                f"except the host in NO_PROXY, or {self._name_another('a mirror that you reach')}."
            )
        place = "<proxies> of ~/.m2/settings.xml" if self.repository.proxy else "HTTPS_PROXY"
        return Unavailable(
            f"The proxy {self._proxy()} wants a login (407); give name and password in {place}"
            + (" (http://NAME:PASSWORD@HOST:PORT)." if place == "HTTPS_PROXY" else ".")
        )

    def _login_needed(self) -> str:
        if not self.repository.named_by:
            return self._name_another("a mirror that does")
        if self.repository.named_by == VARIABLE:
            return f"check name and password in {VARIABLE} (https://NAME:PASSWORD@HOST/PATH)"
        return f"check name and password of the <server> with the id of {self.repository.named_by}"

    def _name_another(self, what: str) -> str:
        if not self.repository.named_by:
            return f"name {what} in {VARIABLE} or ~/.m2/settings.xml"
        return f"name {what.replace('a mirror', 'another mirror')} (now: {self.repository.named_by})"

    def _proxy(self) -> str:
        """The proxy in use, as it may be shown."""
        address, found = httpx.URL(self.repository.address), getproxies()
        if proxy_bypass(address.host):
            found = {}
        return without_login(self.repository.proxy or found.get(address.scheme) or found.get("all") or "")


def _client(repository: Repository) -> httpx.Client:
    """A client that trusts what this machine trusts, and goes through the proxy it is to go through."""
    try:
        # httpx reads one of the first two variables and takes its own list where neither is set.
        trusted = httpx.create_ssl_context()
        trusted.load_default_certs()
        if bundle := os.environ.get("REQUESTS_CA_BUNDLE"):
            trusted.load_verify_locations(**{"capath" if Path(bundle).is_dir() else "cafile": bundle})
    except OSError as error:
        now = ", ".join(f"{key}={os.environ[key]}" for key in CERTIFICATES if os.environ.get(key))
        raise Unavailable(f"The certificates cannot be read ({error}); correct or unset these: {now}.") from error
    try:
        return httpx.Client(
            auth=repository.login,
            proxy=repository.proxy or None,
            verify=trusted,
            timeout=TIMEOUT_SECONDS,
            follow_redirects=True,
            headers={"User-Agent": "contender"},
        )
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        raise Unavailable(
            f"The proxy of this machine cannot be used ({error}); needed is http://HOST:PORT in HTTPS_PROXY, "
            "HTTP_PROXY, ALL_PROXY, or <proxies> of ~/.m2/settings.xml."
        ) from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
