"""A replay on one page that any browser opens without a network: what each policy of retraining would have given."""

from datetime import timedelta
from html import escape

from contender import svg
from contender.markup import card, document, number
from contender.replay import replay_charts, timelines
from contender.replay.conclusion import Words, answer_of
from contender.replay.replay_results import OURS, Replay
from contender.replay.replay_sections import costs_of, details_of, forest_of, policies_of, quality_of, strips_of
from contender.reports import day_charts

_STYLE = """
:root { --guess: #b4520a; } @media (prefers-color-scheme: dark) { :root { --guess: #f5a352; } }
main { max-width: 76rem; }
code { overflow-wrap: anywhere; }
.kicker { color: var(--soft); margin: 0; font-size: .9rem; letter-spacing: .02em; }
.tone { color: var(--tone); }
.answer > p:first-of-type { font-size: 1.12rem; font-weight: 600; }
.answer > p { overflow-wrap: anywhere; }
td small { display: block; color: var(--soft); white-space: nowrap; }
td { overflow-wrap: normal; }
td:first-child, details td:nth-child(2) { white-space: nowrap; }
.chart { margin-top: 1.6rem; }
.legend { margin-bottom: .6rem; } .legend li, .log li { overflow-wrap: anywhere; }
.log { list-style: none; margin: .3rem 0; padding: 0; font-size: .9rem; }
.log li { padding: .35rem 0; border-bottom: 1px solid var(--line); }
summary { cursor: pointer; color: var(--accent); font-size: .92rem; margin-top: .8rem; overflow-wrap: anywhere; }
summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.strips h3 { margin: 1.2rem 0 .25rem; overflow-wrap: anywhere; }
.swatch { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; background: var(--tone); }
"""


def page_of(replay: Replay) -> str:
    """The page, as self-contained HTML in which every value is escaped."""
    words = Words(replay)
    money = any(course.cost is not None for course in replay.courses)
    parts = [
        *_header(replay),
        '<section class="card answer"><h2>The answer</h2>',
        *(f"<p>{sentence}</p>" for sentence in answer_of(replay)),
        *forest_of(words),
        "</section>",
        *card("The policies", policies_of(words, money)),
        *card(f"Quality over time: {replay.metric}", quality_of(words)),
        *(card(f"Cost over time{f': {replay.currency}' * bool(replay.currency)}", costs_of(words)) if money else []),
        '<section class="card strips"><h2>What happened</h2>',
        *strips_of(replay),
        "</section>",
        *card("Alarms, verdicts and periods", [line for one in replay.courses for line in details_of(words, one)]),
        *card("How the numbers are defined", _definitions(words, money)),
    ]
    style = svg.STYLE + day_charts.STYLE + replay_charts.STYLE + timelines.STYLE + _STYLE
    return document(f"{replay.use_case}: a replay of {len(replay.courses)} policies", parts, style)


def _header(replay: Replay) -> list[str]:
    last, count = replay.last - timedelta(days=1), len(replay.courses)
    same = ", the same for every policy," if count > 1 else ""
    scenario = (
        f"The scenario <b>{escape(replay.scenario)}</b> was injected"
        f"{f' from {replay.injected} on' if replay.injected else ''}."
        if replay.scenario != "none"
        else "Nothing was injected: this is the history as it was."
    )
    return [
        f'<header class="card"><p class="kicker">{escape(replay.use_case)}: a replay</p>'
        f"<h1>{escape(replay.question)}</h1>",
        f"<p>The history from {replay.first} to {last}, played again in periods of {number(replay.every_days, 'd')} "
        f"days under {number(count, 'd')} {'policies' if count != 1 else 'policy'} of when to retrain. The first "
        f"champion{same} was crowned on {replay.begun}. {scenario}</p></header>",
    ]


def _definitions(words: Words, money: bool) -> list[str]:
    replay = words.replay
    costs = (
        " Cost is that of the mistakes in the known outcomes, at the contract's prices, plus that of the retrains; "
        f"what {OURS} saved is the other policy's cost less its own. Each interval stands by itself, and one that "
        "spans zero is no difference beyond luck."
        if money
        else " The contract states no costs, or no outcomes are in, so that policies are compared by quality alone."
    )
    return [
        f"<p>Quality is the {escape(replay.metric)} ({words.better}) of the predictions as they were made live, by the "
        "outcomes that were known in the end, with a 90 % interval. Every policy has the same judge and the same first "
        "champion. Retrains happen at the ends of periods, and a new champion scores from the next period on; versions "
        f"are numbered by each policy on its own.{costs}</p>",
        *(["<ul>", *(f"<li>{escape(note)}</li>" for note in replay.notes), "</ul>"] if replay.notes else []),
        f'<p class="soft">Seed {number(replay.seed, "d")}; made at {replay.made_at:%Y-%m-%d %H:%M} UTC.</p>',
    ]
