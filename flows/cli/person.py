"""Who decides on the command line, as it is kept: what the loop does by itself is by 'contender'."""

import getpass

from contender.errors import UsageError


def person(by: str | None) -> str:
    """The name that was given, else that of the login.

    Raises:
        UsageError: there is neither.
    """
    try:
        name = getpass.getuser() if by is None else by.strip()
    except (KeyError, OSError):
        name = ""
    if not name:
        raise UsageError("It is not known who you are, which is kept; say so with --by NAME.")
    return f"person: {name}"
