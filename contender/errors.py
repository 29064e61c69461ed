"""Every promise that can be broken, in one tree.

ContenderError            one sentence: what was found, what was needed, what to do
├── UsageError            the call itself cannot be carried out
│   └── UnknownUseCase    no folder of that name holds a contract
├── ContractError         the contract cannot be read or contradicts itself
├── DataError             what landed, or what is in the lake, cannot be used
│   ├── UnreadableFile    a file's bytes are not what its name and the contract promise
│   ├── BatchRefused      more rows fail than the contract allows
│   ├── TooFewOutcomes    training or judging on so little would mean nothing
│   └── SeenRows          a comparison would use rows that a model was trained on
├── ModelError            a model cannot be trained, stored or trusted
│   ├── LeakFound         features know the outcome, which no honest feature does
│   └── UntrustedModel    the model's files are not the ones that were approved
├── OtherRelease          what is stored was written by a release that this one cannot follow
├── TitleError            the title could not be taken as asked
├── Busy                  another process is at work on the same use case
└── Unavailable           an outside system does not answer, or is not installed

Sentences are built in class methods where numbers go in, so that every error survives pickling.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Self


class ContenderError(Exception):
    """A broken promise, told in one sentence that a user can act on."""


class UsageError(ContenderError):
    """The call itself cannot be carried out."""


class NoSuchVersion(UsageError):
    """The registry answers that it has no such version."""


class UnknownUseCase(UsageError):
    """No folder of that name holds a contract."""

    @classmethod
    def named(cls, name: str, *, known: Iterable[str]) -> Self:
        names = sorted(known)
        near = get_close_matches(name, names, n=1, cutoff=0.5)
        if near:
            advice = f"did you mean '{near[0]}'?"
        elif names:
            advice = f"there is {', '.join(names)}."
        else:
            advice = "there is none yet: write one with 'contender init FILE --name NAME --target COLUMN'."
        return cls(f"There is no use case '{name}'; {advice}")


class ContractError(ContenderError):
    """The contract cannot be read or contradicts itself."""


class DataError(ContenderError):
    """What landed, or what is in the lake, cannot be used."""


class UnreadableFile(DataError):
    """A file's bytes are not what its name and the contract promise."""


class BatchRefused(DataError):
    """More rows of a batch fail than the contract allows."""


class TooFewOutcomes(DataError):
    """Training or judging on so little would mean nothing."""

    @classmethod
    def none_at_all(cls, use_case: str) -> Self:
        return cls(
            f"{use_case} has no records with known outcomes yet, so nothing can be trained; land files of records and "
            f"of outcomes and run 'contender ingest {use_case}'."
        )

    @classmethod
    def of_no_record(cls, outcomes: int, theirs: Sequence[str], ours: Sequence[str]) -> Self:
        these, those = ("', '".join(keys) for keys in (theirs, ours))
        return cls(
            f"None of the {outcomes:,} outcomes names a record: they name '{these}' and so on, the records are "
            f"'{those}' and so on. Correct 'outcome.key' or 'records.key' in the contract, or make a column there that "
            """writes keys alike (from = "lpad(code, 7, '0')")."""
        )

    @classmethod
    def window_spent(cls, *, looks: int, allowed: int, window: str) -> Self:
        return cls(
            f"The judging window {window} has been looked at {looks} times and the contract allows {allowed}; another "
            "look would reward luck. Wait for newer outcomes."
        )

    @classmethod
    def to_judge(cls, *, found: int, needed: int, of: str = "records with outcomes") -> Self:
        return cls(
            f"There are {found:,} {of} to judge on; {needed:,} are needed. "
            "Widen 'judging.newest' in the contract, or wait for more outcomes."
        )

    @classmethod
    def of_one_class(cls, *, rows: int) -> Self:
        return cls(
            f"All {rows:,} outcomes to judge on are one class, and telling classes apart needs at least two. Correct "
            "'outcome.target' or widen 'judging.newest' in the contract, or wait for more outcomes."
        )

    @classmethod
    def to_measure(cls, metric: str, *, rows: int) -> Self:
        return cls(
            f"{metric} has no meaning on these {rows:,} outcomes, because they do not differ; both classes, or several "
            "values of the target, are needed. Widen 'judging.newest' in the contract, or wait for more outcomes."
        )


class SeenRows(DataError):
    """A comparison would use rows that a model was trained on."""

    @classmethod
    def by(cls, model: str, *, seen: int, rows: int) -> Self:
        return cls(
            f"{model} was trained on {seen:,} of the {rows:,} records that it would be judged on, needed are 0; they "
            "came again under other times, or the contract's windows changed: wait for newer outcomes."
        )


class ModelError(ContenderError):
    """A model cannot be trained, stored or trusted."""


class LeakFound(ModelError):
    """Features know the outcome, which no honest feature does."""

    @classmethod
    def in_features(cls, found: Iterable[tuple[Iterable[str], str]]) -> Self:
        """Each leak as the features in it and a clause that says what was found, with the limit."""
        told = [(tuple(features), why) for features, why in found]
        first = told[0][0][0]
        return cls(
            f"{'; '.join(why for _, why in told)}: what is known only with the outcome must not be learnt from, so "
            f'write exclude = "why" at its column in the contract, or, if it is known before, {first} = "why" under '
            "[leaks.allow]."
        )


class UntrustedModel(ModelError):
    """The model's files are not the ones that were approved."""


class OtherRelease(ContenderError):
    """What is stored was written by a release that this one cannot follow."""

    @classmethod
    def of(cls, store: str, found: str, needed: str, *, newer: bool = False) -> Self:
        """What to do with what was found in a store; `newer` is what a later release wrote."""
        way = "a later release wrote it: install that one again, or" if newer else "it is too old to be read: to"
        return cls(f"{store} has {found}, needed is {needed}; {way} start anew: {_ANEW}.")


_ANEW = (
    "move the folder CONTENDER_HOME away, give CONTENDER_LAKE, CONTENDER_LEDGER_URL and CONTENDER_TRACKING_URI empty "
    "places where they are set, and run the same command; all files that landed are taken in again"
)


class TitleError(ContenderError):
    """The title could not be taken as asked."""


class ChampionGone(TitleError):
    """Who holds the title by the ledger is in the registry no more."""

    @classmethod
    def of(cls, use_case: str, version: int) -> Self:
        """The sentence; nobody scores in its place."""
        return cls(
            f"Version {version} of {use_case}, the champion, is gone from MLflow: it was deleted, or its model "
            f"renamed; nothing scores in its place. Give a renamed model its name back, or let 'contender retrain "
            f"{use_case}' train a new one, or 'contender rollback {use_case} --reason …' go back to an earlier one."
        )


class Busy(ContenderError):
    """Another process is at work on the same use case."""

    @classmethod
    def with_use_case(cls, use_case: str, holder: str = "") -> Self:
        """The sentence; `holder` says who it is, where that is known."""
        who = f" ({holder})" if holder else ""
        return cls(f"Another command is at work on {use_case}{who}; wait until it ends, then run this one again.")

    @classmethod
    def with_table(cls, use_case: str, table: str) -> Self:
        return cls(
            f"Another process wrote to the table '{table}' of {use_case} at the same moment, and this one wrote "
            "nothing there; run the same command again, and let all that write to one lake share one ledger on "
            "PostgreSQL (CONTENDER_LEDGER_URL), where they wait for each other."
        )


class Unavailable(ContenderError):
    """An outside system does not answer, or is not installed."""
