"""The steps from what arrived to a diagnosis, and from a diagnosis to what is done about it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from contender.contracts.contract import Contract
from contender.drift import daily_samples, detection, evidently_report, reference_sample, spark_sampler
from contender.drift.drift_check import DriftCheck, conclude
from contender.drift.reference_sample import Reference, TrainedChampion
from contender.errors import UntrustedModel, UsageError
from contender.features import exclusions
from contender.lake import locks
from contender.operations import delivery
from contender.performance import performance_table, quality_readings, sql_views
from contender.performance.daily_row import Day
from contender.performance.quality_readings import Readings
from contender.performance.score_counts import metric_of
from contender.promotion import ledger
from contender.promotion.ledger import LedgerEntry
from contender.registry import model_versions, ui_links
from contender.retraining import diagnoses, feed_health, next_action, symptoms, triage
from contender.retraining.diagnoses import Kept
from contender.retraining.triage import Diagnosis, Signs
from contender.scoring import decisions
from contender.settings import Settings
from contender.values import BATCH, ModelVersion
from tasks.announcements import TOLD, tell_finding
from tasks.retries import TRIES
from tasks.run_log import is_rehearsal, show, step_log, table
from tasks.steps import step

_MANY = 100
"""So many earlier diagnoses are looked through."""


@dataclass(frozen=True)
class Looked:
    """What a look at one window gave: the check, the signs without the quality, its batches, and the report's page.

    `partly` are those of the batches that brought far more than the window holds. `report` is None where there was
    nothing to compare.
    """

    check: DriftCheck
    signs: Signs
    batches: tuple[int, ...]
    partly: tuple[int, ...]
    report: Path | None


@step
def bring_samples(settings: Settings, contract: Contract) -> date | None:
    """The daily samples brought up to date; the newest day of which there are records."""
    with step_log() as tell:
        days = spark_sampler.update_samples(settings, contract)
        newest = daily_samples.newest_day(settings, contract)
        tell(f"samples of {days:,} days are new; the newest day is {newest}" if newest else "no records yet")
        return newest


@step
def look_for_stop(settings: Settings, contract: Contract) -> str | None:
    """That nothing comes any more, which leaves no window to look at; people are told of each stop once."""
    with step_log() as tell:
        found = feed_health.stopped_feed(settings, contract, datetime.now(UTC))
        tell(f"the feed has stopped: {found.why}" if found else "the feed is on time, or its times are not known")
        if found is None:
            return None
        sentence = f"The feed looks broken: {found.why}."
        what = f"stopped {settings.name_of(contract.name)} {found.since.isoformat()}"
        if not is_rehearsal():
            delivery.notify(settings, "broken feed", contract.name, sentence, id=what)
        return sentence


def moment_of(settings: Settings, contract: Contract, as_of: datetime | None, newest: date) -> datetime:
    """The moment to look from, in UTC: the one asked for, else now, or the end of the newest day where that is past.

    A clock that ran on while nothing came would only show empty windows; and where all that there is came today, the
    day that is not over yet is the only one to look at.
    """
    if as_of is not None:
        return as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of.astimezone(UTC)
    now, end = datetime.now(UTC), datetime.combine(newest + timedelta(days=1), time(), UTC)
    if end > now and not daily_samples.rows_by_day(settings, contract, date.min, now.date()):
        return end
    return min(now, end)


@step
def look_at_window(
    settings: Settings,
    contract: Contract,
    entry: LedgerEntry,
    champion: ModelVersion,
    as_of: datetime,
    report: bool = True,
) -> Looked:
    """Compare the newest window with the champion's training; rows of `drift`, and Evidently's page, come of it.

    Args:
        report: whether to make Evidently's page, which takes longer than all the rest.
    """
    with step_log() as tell:
        start = as_of.date() - contract.drift.window
        reference = _reference(settings, contract, entry, champion, start)
        check, comparisons = detection.check_drift(settings, contract, reference, champion.version, as_of)
        check = _without_broken(settings, contract, check)
        detection.keep_check(settings, check)
        tell(check.sentence)
        features = next(one for one in comparisons if one.source == "features")
        held = features.current.frame[BATCH].value_counts()
        batches = tuple(sorted(int(batch) for batch in held.index))
        received = feed_health.rows_received(settings, contract.name)
        rate = max(features.current.rows / max(len(features.current.frame), 1), 1.0)
        partly = tuple(batch for batch in batches if received.get(batch, 0) > 2 * rate * int(held[batch]) + 10)
        came = feed_health.feed_of_window(settings, contract, check.start, check.end, batches)
        metric = metric_of(contract.kind, contract.judging.metric)
        path = settings.state / "reports" / contract.name / "drift.html"
        compared = report and evidently_report.write_report(path, comparisons, check.columns)
        found = symptoms.read_signs(features, check, came, contract.triage, metric)
        found = symptoms.with_echoes(found, contract, check.start, _broken_days(settings, contract))
        return Looked(check, found, batches, partly, path if compared else None)


def _without_broken(settings: Settings, contract: Contract, check: DriftCheck) -> DriftCheck:
    """The check concluded from windows that the feed did not break: what broke twice has not moved twice."""
    past = diagnoses.newest(settings, contract.name, _MANY, check.model_version)
    broken = {(one.start, one.end) for one in past if one.diagnosis.hold_out}
    if not broken:
        return check
    since = check.start - 2 * _MANY * contract.drift.window
    earlier = detection.past_checks(settings, contract.name, version=check.model_version, since=since)
    sound = [one for one in earlier if (one.start, one.end) not in broken]
    return conclude(check, sound, contract.drift)


def _reference(
    settings: Settings, contract: Contract, entry: LedgerEntry, champion: ModelVersion, start: date
) -> Reference:
    """The champion's reference; the model is only opened for the first check."""
    kept = reference_sample.find_reference(settings, contract, champion.version)
    if kept is not None:
        return kept
    with locks.loading:
        loaded = model_versions.load(settings, champion, entry.model_digest)
    classes = getattr(loaded.model, "classes_", None)
    names = [column.name for column in contract.model_columns]
    first = model_versions.trained_from(settings, champion)
    if first is None:
        window = contract.training.window or timedelta(days=365)
        first = champion.trained_until - window
    trained = TrainedChampion(
        champion,
        first.date(),
        model_versions.training_keys(settings, champion),
        lambda frame: decisions.decide(contract.kind, loaded.answer(frame[names]), contract.scoring.threshold, classes)[
            0
        ],
    )
    return reference_sample.make_reference(settings, contract, trained, start)


@step(**TRIES)
def log_report(settings: Settings, champion: ModelVersion, looked: Looked) -> None:
    """Keep Evidently's page with the champion's run, one for each window."""
    if looked.report is None:
        return
    with step_log() as tell, locks.loading:
        name = f"drift/{looked.check.end - timedelta(days=1)}.html"
        model_versions.log_page(settings, champion.run_id, looked.report.read_text(encoding="utf-8"), name)
        tell(f"Evidently's report: {looked.report}, kept with run {champion.run_id} as {name}")


@step
def measure_performance(settings: Settings, contract: Contract, champion: ModelVersion, as_of: datetime) -> Readings:
    """`performance` and its views brought up to date, and what they say of the champion."""
    with step_log() as tell:
        entries = ledger.history(settings, contract.name)
        ends = _trained_until(settings, contract, {entry.version for entry in entries})
        updated = performance_table.update(settings, contract, as_of, ends)
        if updated.seen is None:
            titles = {entry.version: "former champion" for entry in entries} | {champion.version: "champion"}
            sql_views.write_duckdb(settings, contract.name, titles)
        found = quality_of(settings, contract, champion, seen=updated.seen)
        known = (("measured", found.measured), ("estimated", found.estimated))
        told = [f"{kind} {found.metric} {one.value:.4f}" for kind, one in known if one]
        new = f"performance of {len(updated.days):,} days is {'new' if updated.seen is None else 'looked back at'}"
        tell(f"{new}; {', '.join(told) or 'no quality is known yet'}")
        return found


def quality_of(
    settings: Settings,
    contract: Contract,
    champion: ModelVersion,
    *,
    seen: Sequence[Day] | None = None,
    end: date | None = None,
) -> Readings:
    """What `performance` says of the champion, without the days that the feed broke.

    Once it was found decayed, its past is what it was until then: it is not held against days on which it failed.

    Args:
        seen, end: see `readings.View`.
    """
    decay = diagnoses.first_decay(settings, contract.name, champion.version) if seen is None else None
    sound_until = quality_readings.last_mature(contract, decay.end) - contract.performance.window if decay else None
    view = quality_readings.View(_broken_days(settings, contract), seen, end, sound_until)
    return quality_readings.read(settings, contract, champion.version, view)


def _trained_until(settings: Settings, contract: Contract, versions: set[int]) -> dict[int, datetime]:
    """Where each version's training ended; of one that was deleted from the registry nothing is known any more."""
    found = {}
    with locks.loading:
        for version in sorted(versions):
            with suppress(UsageError, UntrustedModel):
                found[version] = model_versions.find(settings, contract.name, version).trained_until
    return found


def _broken_days(settings: Settings, contract: Contract) -> set[date]:
    """Days of the windows that the feed broke: what a model does on them says nothing of the model."""
    return {
        one.start + timedelta(days=number)
        for one in diagnoses.newest(settings, contract.name, _MANY)
        if one.diagnosis.hold_out
        for number in range((one.end - one.start).days)
    }


def diagnose(contract: Contract, looked: Looked, quality: Readings) -> Diagnosis:
    """The name of what was seen; where the contract asks for it, a shift that alarms calls for a retrain too."""
    floor, max_loss = triage.quality_limits(contract)
    seen = symptoms.with_quality(looked.signs, quality.measured, quality.estimated)
    found = triage.diagnose(seen, contract.triage, contract.performance, floor=floor, max_loss=max_loss)
    if found.name == "shift" and looked.check.alarm and contract.drift.retrain:
        return replace(found, retrain=True)
    return found


@step
def act(
    settings: Settings,
    contract: Contract,
    champion: ModelVersion,
    looked: Looked,
    diagnosis: Diagnosis,
    quality: Readings,
    at: datetime,
    now: datetime | None = None,
) -> Kept:
    """What the diagnosis calls for, done, and kept in `diagnoses`.

    Rows of a broken feed are held out. A retrain is only asked for, by an event, when the contract's policy has room
    for it. The same finding in the same window is told once, and one that lasts when it begins.

    Args:
        at: the moment that was looked from; `now` when that was done, if not at this moment.
    """
    with step_log() as tell:
        check, now = looked.check, now or datetime.now(UTC)
        earlier = diagnoses.newest(settings, contract.name, _MANY, champion.version)
        policy = next_action.next_action(settings, contract, now, diagnosis)
        action, why = policy.name, policy.sentence
        if diagnosis.hold_out:
            action, why = "hold out", hold_out(settings, contract, looked, diagnosis, now)
        elif not diagnosis.retrain:
            # What a schedule or new outcomes call for is theirs to start.
            action, why = "watch" if diagnosis.name == "shift" else "nothing", diagnosis.sentence
        kept = Kept(at, check.start, check.end, champion.version, diagnosis, check.alarming, action, why)
        alike = [one for one in earlier if kept.repeats(one)]
        told = any(one.told for one in alike)
        if diagnosis.name == "shift" and not diagnosis.retrain:
            told = told or any(kept.lasts_from(one, contract.drift.of_windows) for one in earlier)
        sent = next((one.event for one in alike if one.event), "")
        if sent:
            action, why = "wait", f"Wait: this was told before, by {sent}."
            kept = replace(kept, action=action, why=why, event=sent)
        event = "" if sent else tell_finding(settings, contract, kept, check, quality, notify=not told)
        done = replace(kept, event=event or kept.event, told=told or diagnosis.name in TOLD)
        diagnoses.keep(settings, contract.name, done)
        tell(f"{diagnosis.name}: {diagnosis.sentence} {why if why != diagnosis.sentence else ''}".rstrip())
    show(contract.name, "drift", f"{contract.name}: {diagnosis.name}", _page(settings, champion, looked, done, quality))
    return done


def hold_out(settings: Settings, contract: Contract, looked: Looked, diagnosis: Diagnosis, at: datetime) -> str:
    """Learn nothing from the batches that are broken; from the window, where such a batch brought far more."""
    suspects = symptoms.suspect_batches(looked.signs, looked.batches)
    whole = [batch for batch in suspects if batch not in looked.partly]
    reason = diagnosis.reasons[0]
    exclusions.hold_out_batch(settings, contract.name, whole, reason=reason, at=at)
    named = {(batch, None, None): f"batch {batch}" for batch in whole}
    if len(whole) < len(suspects):
        start, end = (datetime.combine(day, time(), UTC) for day in (looked.check.start, looked.check.end))
        exclusions.hold_out_window(settings, contract.name, start, end, reason=reason, at=at)
        named[None, start, end] = f"{looked.check.start} to {looked.check.end - timedelta(days=1)}"
    free = {
        one.what: f"{named[one.what]} by {one.by}"
        for one in exclusions.released(settings, contract.name)
        if one.what in named
    }
    held = [name for what, name in named.items() if what not in free]
    told = [f"Held out of training and judging: {', '.join(held)}."] if held else []
    told += [f"Released before, and learnt from: {', '.join(free.values())}."] if free else []
    return " ".join(told) or "There are no rows to hold out."


def _page(settings: Settings, champion: ModelVersion, looked: Looked, done: Kept, quality: Readings) -> list[str]:
    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.1%}"

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}"

    check = looked.check
    return [
        done.diagnosis.sentence,
        "",
        *[f"- {reason}" for reason in done.diagnosis.reasons],
        "",
        f"What is done: {done.why}",
        "",
        check.sentence,
        "",
        *table(
            ["column", "score", "limit", "drifted", "missing", "missing in training", "why"],
            [
                (
                    str(one),
                    number(one.score),
                    number(one.threshold),
                    _answer(one.drifted, one.season),
                    share(one.missing_current),
                    share(one.missing_reference),
                    one.why,
                )
                for one in check.columns
            ],
        ),
        "",
        *table(
            [quality.metric, "value", "90 % interval", "rows", "before"],
            [
                (
                    kind,
                    number(one.value),
                    f"{one.interval.low:.3f} to {one.interval.high:.3f}" if one.interval else "",
                    f"{one.rows:,}",
                    number(one.past),
                )
                for kind, one in (("measured", quality.measured), ("estimated", quality.estimated))
                if one
            ],
        ),
        "",
        f"Evidently's interactive report: `{looked.report}`, in MLflow among the artifacts of the champion's run below "
        "`drift/`."
        if looked.report
        else "There was nothing to make Evidently's report of.",
        "",
        ui_links.version_line(settings, champion),
    ]


def _answer(drifted: bool | None, season: bool) -> str:
    if drifted is None:
        return "not enough to tell"
    return "yes" if drifted else "no, the season" if season else "no"
