"""The champion that answers in this process: built and warmed aside, then put in place by one assignment."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contender.contracts.contract import Contract, beside_ours
from contender.errors import ContenderError, ModelError
from contender.inference import scorer as inference
from contender.registry import model_files
from contender.scoring.decisions import band_of, decide
from contender.serving import lookups, title_copy
from contender.serving.door import Checked, Door
from contender.serving.refusals import Fault, Refusal
from contender.settings import Settings
from contender.values import ModelColumn

if TYPE_CHECKING:
    import pandas as pd

_AGAIN_SECONDS = 2.0
_LOOKED_UP_SECONDS = 20.0
NO_LOOK_UPS = lookups.LookUps((), frozenset(), ())
_SINGLE = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Scored:
    """What was made of each record, all of one length."""

    scores: Sequence[float]
    predictions: Sequence[Any]
    bands: Sequence[str]
    missing: Sequence[Sequence[str]]


class Champion:
    """A version that answers: a request holds one from its start to its end, whoever is put in place meanwhile.

    Attributes:
        not_looked_up: columns of an entity's history, and of look-ups that the lake does not have: missing in
            every record, and its answer says so.
    """

    def __init__(
        self,
        contract: Contract,
        scorer: inference.Scorer,
        title: title_copy.Title,
        looked_up: lookups.LookUps = NO_LOOK_UPS,
    ) -> None:
        assert title.version is not None
        self._contract, self.scorer, self._title, self.looked_up = contract, scorer, title, looked_up
        self.version: int = title.version
        self.digest = title.digest
        self.crowned_at = title.crowned_at
        self.why_plain = scorer.why_plain
        self.answered_by = "pipeline" if scorer.why_plain else "arrays"
        known = {beside_ours(name) for name in contract.records.columns} | looked_up.columns
        self.not_looked_up = tuple(column.name for column in scorer.columns if column.name not in known)
        self.since = datetime.now(UTC).isoformat(timespec="milliseconds")

    def score(self, checked: Checked, door: Door) -> Scored:
        """Score, prediction and band of records.

        Raises:
            Refusal: a number is beyond those that the model compares.
            ModelError: the model answers with what is no number.
        """
        columns, rows = self.scorer.columns, checked.rows
        if not rows:
            return Scored((), (), (), ())
        if self.looked_up.facts:
            checked = Checked(rows, self.looked_up.look_up(checked.values, rows, door.texts))
        missing = checked.missing(columns)
        nothing = [None] * rows
        values = [checked.values.get(column.name, nothing) for column in columns]
        try:
            if rows == 1:
                answer = self.scorer.answer_record([cells[0] for cells in values])
            else:
                answer = self.scorer.answer(frame_of(columns, values))
        except ModelError:
            _refuse_huge(columns, values)
            raise
        if answer.shape[0] != rows or not _are_finite(answer):
            raise ModelError(f"Version {self.version} of {self._contract.name} did not answer each row with a number.")
        cuts = self._contract.scoring
        scores, predictions = decide(self._contract.kind, answer, cuts.threshold, self.scorer.classes)
        plain = scores.tolist()
        return Scored(plain, predictions.tolist(), [band_of(score, cuts).value for score in plain], missing)

    def with_look_ups(self, looked_up: lookups.LookUps) -> "Champion":
        """The same version, with the look-up tables of now."""
        found = Champion(self._contract, self.scorer, self._title, looked_up)
        found.since = self.since
        return found

    def warm(self) -> None:
        """Answer twice, so that the first request does not wait for what is made at first use."""
        nothing: list[object] = [None] * len(self.scorer.columns)
        for _ in range(2):
            self.scorer.answer_record(nothing)
            self.scorer.answer(frame_of(self.scorer.columns, [[None, None] for _ in nothing]))


class Served:
    """One use case as this process answers for it.

    Attributes:
        champion: None before there is one.
        title: as the keeper wrote it last.
        why: why the champion of the title does not answer here, in one sentence; empty where it does.
    """

    def __init__(self, settings: Settings, contract: Contract, say: Callable[..., None]) -> None:
        self._settings, self._say = settings, say
        self.contract = contract
        self.door = Door(contract)
        self.champion: Champion | None = None
        self.title = title_copy.Title()
        self.why = ""
        self._stamp: object = None
        self._tried_at = self._looked_up_at = -1e9
        self._looked_up = NO_LOOK_UPS

    @property
    def is_due(self) -> bool:
        """Whether `look` has something to do; costs a look at one file."""
        try:
            state = (title_copy.folder_of(self._settings, self.contract.name) / "title.json").stat()
            stamp: object = (state.st_mtime_ns, state.st_ino)
        except OSError:
            stamp = None
        again = bool(self.why) and time.monotonic() - self._tried_at > _AGAIN_SECONDS
        changed, self._stamp = stamp != self._stamp, stamp
        aged = bool(self.contract.lookups) and time.monotonic() - self._looked_up_at > _LOOKED_UP_SECONDS
        return changed or again or aged

    def look(self) -> None:
        """Take over the champion of the title, where it is another one; who answers now answers until then."""
        title = title_copy.read(self._settings, self.contract.name)
        self._look_up()
        here = self.champion
        if title.version is not None and (here is None or (here.version, here.digest) != (title.version, title.digest)):
            self._tried_at = time.monotonic()
            # Until it is: what breaks in between is tried again.
            self.why = f"Version {title.version} of {self.contract.name} is being opened."
            try:
                coming = open_champion(self._settings, self.contract, title, self._looked_up)
            except (ContenderError, OSError) as error:
                self.why = str(error)
                self._say("champion not opened", use_case=self.contract.name, version=title.version, why=self.why)
                self.title = title
                return
            self.champion = coming
            self._say("champion", use_case=self.contract.name, version=coming.version, crowned_at=title.crowned_at)
        elif here is not None and here.looked_up is not self._looked_up:
            self.champion = here.with_look_ups(self._looked_up)
        self.title, self.why = title, ""

    def _look_up(self) -> None:
        """Take over the look-up tables of now, if they are others; those of before stay where the lake is away."""
        if not self.contract.lookups or time.monotonic() - self._looked_up_at < _LOOKED_UP_SECONDS:
            return
        self._looked_up_at = time.monotonic()
        try:
            if lookups.stamp_of(self._settings, self.contract) != self._looked_up.stamp:
                self._looked_up = lookups.read(self._settings, self.contract)
                self._say("look-ups", use_case=self.contract.name, tables=len(self._looked_up.facts))
        except Exception as error:  # noqa: BLE001 - whatever a lake that is away makes of it
            self._say("look-ups not read", use_case=self.contract.name, why=type(error).__name__)


def open_champion(
    settings: Settings, contract: Contract, title: title_copy.Title, looked_up: lookups.LookUps
) -> Champion:
    """The champion of a title, from the verified copy in the home, warmed.

    Raises:
        UntrustedModel: the copy's files are not those that were approved.
        ModelError: the contract lacks a column that it was trained with.
    """
    folder = title_copy.model_of(settings, contract.name, title.digest)
    name = f"{contract.name} version {title.version}"
    scorer = inference.open_folder(folder, title.digest, name)
    wanted = [one.name for one in scorer.columns]
    model_files.refuse_missing_columns(wanted, [one.name for one in contract.model_columns], name)
    found = Champion(contract, scorer, title, looked_up)
    found.warm()
    return found


def _are_finite(answer: NDArray[np.float64]) -> bool:
    """For one record without NumPy's reductions, which take longer than the model."""
    if len(answer) == 1:
        return all(map(math.isfinite, answer.ravel().tolist()))
    return bool(np.isfinite(answer).all())


def frame_of(columns: Sequence[ModelColumn], values: Sequence[Sequence[object]]) -> "pd.DataFrame":
    """Columns as a model takes them: floats (missing: NaN) and texts (missing: None)."""
    import pandas as pd

    return pd.DataFrame(
        {
            column.name: np.array(cells, dtype=np.float64 if column.kind in ("number", "time") else object)
            for column, cells in zip(columns, values, strict=True)
        }
    )


def _refuse_huge(columns: Sequence[ModelColumn], values: Sequence[Sequence[Any]]) -> None:
    """Refuse numbers that single precision does not hold, in which random forests compare."""
    faults = []
    for column, cells in zip(columns, values, strict=True):
        if column.kind in ("number", "time"):
            rows = [row for row, cell in enumerate(cells) if cell is not None and abs(cell) > _SINGLE]
            if rows:
                faults.append(Fault(column.name, rows, "a number beyond 3.4e38", "one that this model can compare"))
    if faults:
        raise Refusal.of(faults)
