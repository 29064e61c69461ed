"""Logins as settings hold them, NAME:PASSWORD, checked before anything starts and never shown."""

from pydantic import SecretStr

from contender.errors import UsageError

MLFLOW_SHORTEST = 12
_PUBLISHED = "password1234"
"""What older versions of MLflow shipped for everybody, and newer ones refuse."""


def login_of(secret: SecretStr, variable: str, shortest: int = 1) -> tuple[str, str] | None:
    """Name and password; None where nothing is set.

    Args:
        variable: what a person sets, for the sentence.
        shortest: length that the password must have.

    Raises:
        UsageError: it is not of that form; the sentence does not hold the secret.
    """
    given = secret.get_secret_value()
    if not given:
        return None
    name, colon, password = given.partition(":")
    if not colon or not name:
        found = "holds no colon" if not colon else "holds no name before the colon"
        raise UsageError(f"{variable} {found}; needed is NAME:PASSWORD, as in export {variable}='admin:...'.")
    if any(sign.isspace() or not sign.isprintable() for sign in given):
        raise UsageError(f"{variable} holds a blank or a control character; needed is NAME:PASSWORD without them.")
    if len(password) < shortest or password == _PUBLISHED:
        found = "is one that everybody knows" if password == _PUBLISHED else f"has {len(password)} characters"
        raise UsageError(f"The password in {variable} {found}; needed are {shortest} or more of your own choice.")
    return name, password
