"""Where JARs come from: Maven Central, or what Maven is set up with here: mirror, login, proxy, local repository."""

import os
import re
import shutil
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass
from xml.etree import ElementTree

from pydantic import ValidationError

from contender.errors import Unavailable, UsageError
from contender.lake.java import Jar
from contender.redact import without_login
from contender.settings import Settings

CENTRAL = "https://repo1.maven.org/maven2"
VARIABLE = "CONTENDER_MAVEN_MIRROR"


@dataclass(frozen=True)
class Repository:
    """A Maven repository with all that is needed to ask it."""

    address: str
    name: str
    local: Path
    named_by: str = ""
    """Where a user changes the address; empty for Maven Central itself."""
    login: tuple[str, str] | None = field(default=None, repr=False)
    proxy: str = field(default="", repr=False)
    """The one that Maven's settings name; empty where the environment decides."""

    @property
    def subject(self) -> str:
        """Its name at the beginning of a sentence."""
        return self.name[0].upper() + self.name[1:]

    def url_of(self, jar: Jar) -> str:
        """The address of one JAR."""
        return f"{self.address}/{jar.place}"


def repository() -> Repository:
    """The repository that stands for Maven Central here: CONTENDER_MAVEN_MIRROR, else as ~/.m2/settings.xml says.

    Raises:
        Unavailable: the settings cannot be read, or what they name cannot be used.
        UsageError: a variable of this process holds what it cannot hold.
    """
    try:
        mirror = Settings().maven_mirror.get_secret_value().strip()
    except ValidationError as error:
        part = error.errors()[0]
        name = f"CONTENDER_{'_'.join(map(str, part['loc'])).upper()}"
        raise UsageError(f"{name} cannot be used ({part['msg']}); set it to something else, or unset it.") from error
    maven = _MavenSettings.read(_home() / "settings.xml")
    if mirror:
        return _named(mirror, VARIABLE, None, maven)
    chosen = maven.mirror_of_central()
    if chosen is None:
        return Repository(CENTRAL, "Maven Central", maven.local, proxy=maven.proxy_for(CENTRAL))
    if maven.text(chosen, "blocked") == "true":
        raise Unavailable(
            f"{maven.path} blocks Maven Central (mirror '{maven.text(chosen, 'id')}'), where the Delta JARs are; "
            f"name a mirror of it in {VARIABLE}."
        )
    server = maven.text(chosen, "id")
    return _named(maven.text(chosen, "url"), f"mirror '{server}' in {maven.path}", maven.login_of(server), maven)


def copy(jar: Jar, local: Path) -> bool:
    """Whether `jar` lies whole in the local Maven repository and was copied from there to its place."""
    source = local / jar.place
    try:
        # Maven and its relatives also keep POMs without their JARs.
        if not (source.is_file() and source.stat().st_size == jar.size and jar.is_intact(source)):
            return False
    except OSError:
        return False
    shutil.copyfile(source, jar.part)
    jar.part.replace(jar.path)
    return True


def _named(url: str, named_by: str, login: tuple[str, str] | None, maven: "_MavenSettings") -> Repository:
    shown = without_login(url)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise Unavailable(f"{named_by} is {shown!r}; needed is the URL of a Maven repository: https://HOST/PATH.")
    own_login, at, place = parts.netloc.rpartition("@")
    if at:
        user, _, password = own_login.partition(":")
        login = (unquote(user), unquote(password))
    address = f"{parts.scheme}://{place}{parts.path}".rstrip("/")
    return Repository(address, f"the Maven mirror {address}", maven.local, named_by, login, maven.proxy_for(address))


@dataclass(frozen=True)
class _MavenSettings:
    """What ~/.m2/settings.xml says; an empty one where there is none."""

    path: Path
    root: ElementTree.Element

    @classmethod
    def read(cls, path: Path) -> "_MavenSettings":
        try:
            root = ElementTree.fromstring(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return cls(path, ElementTree.Element("settings"))
        except OSError as error:
            raise Unavailable(
                f"{path} cannot be read ({error.strerror}); make it readable, or move it away."
            ) from error
        except (ElementTree.ParseError, ValueError, LookupError) as error:
            raise cls._broken(path, str(error)) from error
        if root.tag.rpartition("}")[2] != "settings":
            raise cls._broken(path, f"it begins with <{root.tag}>")
        return cls(path, root)

    @staticmethod
    def _broken(path: Path, why: str) -> Unavailable:
        return Unavailable(
            f"{path} is no settings file of Maven ({why}); mend it, or move it away and name the mirror in {VARIABLE}."
        )

    def text(self, element: ElementTree.Element, tag: str) -> str:
        """The text of a child as Maven reads it, with variables of the environment in their places."""
        found = (element.findtext(f"{{*}}{tag}") or "").strip()
        found = re.sub(r"\$\{env\.([^}]+)\}", lambda name: os.environ.get(name[1], name[0]), found)
        return found.replace("${user.home}", str(_home().parent))

    @property
    def local(self) -> Path:
        """The local repository."""
        return Path(self.text(self.root, "localRepository") or _home() / "repository")

    def mirror_of_central(self) -> ElementTree.Element | None:
        """The mirror that Maven would take: one for `central` alone goes before one by pattern, then the first counts.

        Source: Maven's DefaultMirrorSelector.
        """
        mirrors = [
            mirror
            for mirror in self.root.iterfind("{*}mirrors/{*}mirror")
            if _covers(self.text(mirror, "mirrorOfLayouts") or "default", "default")
        ]
        alone = [mirror for mirror in mirrors if self.text(mirror, "mirrorOf") == "central"]
        by_pattern = [mirror for mirror in mirrors if _covers(self.text(mirror, "mirrorOf"), "central")]
        return next(iter(alone + by_pattern), None)

    def login_of(self, server: str) -> tuple[str, str] | None:
        """Name and password for the mirror of that id."""
        for found in self.root.iterfind("{*}servers/{*}server"):
            if server and self.text(found, "id") == server and (name := self.text(found, "username")):
                password = self.text(found, "password")
                if re.search(r"(?<!\\)\{.+\}", password):
                    raise Unavailable(
                        f"The password of server '{server}' in {self.path} is encrypted, and only Maven can read it; "
                        f"name the mirror with its login in {VARIABLE} (https://NAME:PASSWORD@HOST/PATH)."
                    )
                return name, password
        return None

    def proxy_for(self, address: str) -> str:
        """The active proxy for that address; empty where there is none, or where the environment names one itself."""
        parts = urlsplit(address)
        host, environment = parts.hostname or "", getproxies()
        if environment.get(parts.scheme) or environment.get("all") or proxy_bypass(host):
            return ""
        proxies: dict[str, ElementTree.Element] = {}
        for proxy in self.root.iterfind("{*}proxies/{*}proxy"):
            direct = re.split(r"[|,]", self.text(proxy, "nonProxyHosts").lower())
            if self.text(proxy, "active") != "false" and not any(fnmatch(host, name.strip()) for name in direct):
                proxies.setdefault(self.text(proxy, "protocol").lower() or "http", proxy)
        proxy_of_it = proxies.get(parts.scheme) if parts.scheme in proxies else proxies.get("http")
        if proxy_of_it is None or not self.text(proxy_of_it, "host"):
            return ""
        name, password = (quote(self.text(proxy_of_it, tag), safe="") for tag in ("username", "password"))
        login = f"{name}:{password}@" if name else ""
        # Maven's `protocol` is of the addresses; it speaks plain HTTP to every proxy.
        return f"http://{login}{self.text(proxy_of_it, 'host')}:{self.text(proxy_of_it, 'port') or 8080}"


def _covers(pattern: str, name: str) -> bool:
    """Whether a list such as `external:*,!snapshots` covers `name`; Maven Central is external and no plain HTTP."""
    covered = False
    for part in (part.strip() for part in pattern.split(",")):
        if part in (name, f"!{name}"):
            return part == name
        covered = covered or part in ("*", "external:*")
    return covered


def _home() -> Path:
    """Maven's own folder."""
    try:
        return Path.home() / ".m2"
    except RuntimeError:
        # A user id without a name, as in some containers.
        return Path("/nonexistent/.m2")
