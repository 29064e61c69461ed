"""A replay on one page that any browser opens without a network: what each policy of retraining would have given."""

from collections.abc import Iterable
from datetime import timedelta

from markupsafe import Markup

from contender.markup import render
from contender.replay.conclusion import Words, answer_of
from contender.replay.replay_results import OURS, Replay
from contender.replay.replay_sections import costs_of, details_of, forest_of, policies_of, quality_of, strips_of


def page_of(replay: Replay) -> str:
    """The page, as self-contained HTML in which every value is escaped."""
    words = Words(replay)
    money = any(course.cost is not None for course in replay.courses)
    return render(
        "replay.html",
        replay=replay,
        last=replay.last - timedelta(days=1),
        better=words.better,
        ours=OURS,
        answer=[Markup(sentence) for sentence in answer_of(replay)],
        forest=_joined(forest_of(words)),
        policies=_joined(policies_of(words, money)),
        quality=_joined(quality_of(words)),
        costs=_joined(costs_of(words)) if money else "",
        strips=_joined(strips_of(replay)),
        details=_joined(line for one in replay.courses for line in details_of(words, one)),
    )


def _joined(parts: Iterable[str]) -> Markup:
    """Parts whose own values are escaped, as HTML."""
    return Markup("\n".join(parts))
