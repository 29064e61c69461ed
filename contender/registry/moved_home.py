"""Addresses in MLflow's SQLite file of artifacts that lie beside it, set right where the home was moved or copied.

MLflow keeps them in full, so that after a move no model of before is found, and a copy would write into the home that
it was copied from.
"""

import sqlite3
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from contender.errors import Unavailable

_FOLDER = "/artifacts/"
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)


@lru_cache(maxsize=64)
def follow_home(database: Path) -> None:
    """Have the experiments of ours point at the folder of artifacts beside the database, and all that is in them.

    Looked at once in a process. Nothing is changed where that folder is not there.

    Raises:
        Unavailable: the file is in use by others for so long that it cannot be written.
    """
    here = database.parent.absolute() / "artifacts"
    if not here.is_dir():
        return
    with closing(sqlite3.connect(database, timeout=15)) as opened:
        try:
            found = opened.execute("SELECT artifact_location FROM experiments WHERE name LIKE 'contender/%'").fetchall()
        except sqlite3.DatabaseError:
            # Whatever is wrong with the file, MLflow will run into it and tell.
            return
        places = {place.rpartition(_FOLDER)[0] for (place,) in found if place and _FOLDER in place}
        # As `tracking.experiment` writes it; an address of another kind is somebody's own choice.
        new = here.parent.as_uri()
        try:
            for old in sorted(place for place in places if place.startswith("file:") and not _is_same(place, here)):
                for table, column in _ADDRESSES:
                    opened.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                        (new, len(old) + 1, len(old + _FOLDER), old + _FOLDER),
                    )
            opened.commit()
        except sqlite3.DatabaseError as error:
            raise Unavailable(
                f"MLflow's database {database} cannot be told that the home was moved ({error}); end what uses it, and "
                "run the same command again."
            ) from error


def _is_same(place: str, here: Path) -> bool:
    """Whether an address is that of the folder in which the artifacts are, maybe by another name."""
    told = Path(url2pathname(urlsplit(place).path))
    return told == here.parent or (told.exists() and told.samefile(here.parent))
