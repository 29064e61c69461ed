"""The files of a Delta table that may hold the rows asked for, and those files as a Spark frame.

Spark makes Delta's snapshot anew for each version of a table, which takes longer than a day's rows do. The statistics
in the table's log, which delta-rs reads without Spark, say as well which files to skip.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from contender.lake import spark_session, tables
from contender.settings import Settings
from contender.values import KEY, TIME, TableVersion

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_MANY = 500
"""So many files are read through Delta: there listing them one by one is what takes time."""

_TRUNCATED = timedelta(milliseconds=1)
"""Spark cuts the largest time of a file down to whole milliseconds."""


@dataclass(frozen=True)
class DataFile:
    """One file, with the smallest and largest key and record time in it; None where the log does not tell."""

    path: str
    keys: tuple[str, str] | None
    times: tuple[datetime, datetime] | None


@dataclass(frozen=True)
class DataFiles:
    """Some or all files of a table at its version; what is left out holds no row of those asked for."""

    settings: Settings
    table: TableVersion
    schema: str
    files: tuple[DataFile, ...]

    def on(self, days: Sequence[date]) -> "DataFiles":
        """Those that may hold records of these days, given oldest first."""

        def may(part: DataFile) -> bool:
            if part.times is None:
                return True
            place = bisect_left(days, part.times[0].date())
            return place < len(days) and days[place] <= part.times[1].date()

        return self._where(may)

    def among(self, keys: tuple[str, str] | None) -> "DataFiles":
        """Those that may hold keys from the first to the second; all of them for None."""
        if keys is None:
            return self
        return self._where(lambda part: part.keys is None or (part.keys[0] <= keys[1] and keys[0] <= part.keys[1]))

    def newest(self, until: datetime) -> "DataFiles":
        """Those among which the newest record up to `until` is, where there is one."""
        ranges = [part.times for part in self.files if part.times is not None]
        sure = [high if high <= until else low for low, high in ranges if low + _TRUNCATED <= until]
        least = max(sure, default=None)
        return self._where(
            lambda part: (
                part.times is None
                or (part.times[0] <= until and (least is None or part.times[1] + _TRUNCATED >= least))
            )
        )

    @property
    def keys(self) -> tuple[str, str] | None:
        """The smallest and largest key in these files; None where a file does not tell, or there are no files."""
        known = [part.keys for part in self.files if part.keys is not None]
        if not known or len(known) < len(self.files):
            return None
        return min(low for low, _ in known), max(high for _, high in known)

    def read(self) -> "DataFrame":
        """The rows of these files; columns by which the table is partitioned may be empty."""
        if len(self.files) >= _MANY:
            return tables.read(self.settings, self.table)
        from pyspark.sql.types import StructType

        session, schema = spark_session.session(self.settings), StructType.fromJson(json.loads(self.schema))
        if not self.files:
            return session.createDataFrame([], schema)
        folder = tables.path_of(self.settings, self.table.use_case, self.table.table)
        return session.read.schema(schema).parquet(*[f"{folder}/{part.path}" for part in self.files])

    def _where(self, may: Callable[[DataFile], bool]) -> "DataFiles":
        return replace(self, files=tuple(part for part in self.files if may(part)))


def data_files_of(settings: Settings, table: TableVersion) -> DataFiles:
    """All files of a table at its version."""
    delta = tables.opened(settings, table.use_case, table.table, table.version)
    if delta is None:
        raise FileNotFoundError(f"{table} is not in the lake.")
    actions = tables.log_of(delta)
    names = [f"{end}.{column}" for column in (KEY, TIME) for end in ("min", "max")]
    rows = actions.select([name for name in ("path", *names) if name in actions.column_names]).to_pylist()
    files = tuple(DataFile(row["path"], _range(row, KEY), _range(row, TIME)) for row in rows)
    return DataFiles(settings, table, delta.schema().to_json(), files)


def _range(row: dict[str, Any], column: str) -> tuple[Any, Any] | None:
    low, high = row.get(f"min.{column}"), row.get(f"max.{column}")
    return None if low is None or high is None else (low, high)
