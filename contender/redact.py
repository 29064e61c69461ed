"""Texts and addresses as they may be shown: no user, no password, no parameters."""

import re

MOST = 300
"""Characters of a cause that anybody reads in a list of runs."""

_LOGIN = re.compile(r"//[^/\s]*@")


def without_login(address: str) -> str:
    """An address as it may be shown: no user, no password, no parameters."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    login, at, place = rest.rpartition("@")
    # A password may hold any sign, and parameters may hold a password: where one cannot tell them apart, show neither.
    if at and ("?" in login or "#" in login):
        return f"{scheme}://..."
    return f"{scheme}://{re.split('[?#]', place)[0]}"


def without_logins(text: str) -> str:
    """A text without the user and password of the addresses in it."""
    return _LOGIN.sub("//", text)


def shortened(text: str, most: int = MOST) -> str:
    """The first line, cut where nobody reads on."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= most else f"{line[: most - 2]} …"
