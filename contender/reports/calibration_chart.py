"""The report's picture of calibration: what models said beside what came true."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from contender.evaluation.exhibits import CalibrationBin
from contender.svg import MARKS, Scale

_LEFT, _TOP, _WIDE, _HIGH = 52, 12, 296, 252
"""The plot within its picture of 360 × 310, in the picture's own units."""

_RARE = 0.05
"""Where half of the bins lie below this, a plain axis would press them into a corner."""

Bins = Sequence[CalibrationBin]


def panels(found: Mapping[str, Bins], *, regression: bool) -> Markup:
    """One picture per model, on the same axes so that they can be compared.

    Args:
        found: bins by the name of the model, as `evidence.calibration_bins` gives them.
        regression: bins hold residuals, which should lie around zero, instead of shares, which should equal the score.
    """
    every = [one for bins in found.values() for one in bins]
    if not every:
        return Markup("")
    across, up = _residual_scales(every) if regression else _share_scales(every)
    drawn = "".join(_panel(name, bins, across, up, regression) for name, bins in found.items() if bins)
    return Markup(f'<div class="panels">{drawn}</div>')


def _share_scales(bins: Bins) -> tuple[Scale, Scale]:
    scores = sorted(one.mean_score for one in bins)
    top = min(1.0, 1.05 * max(max(one.high, one.mean_score) for one in bins))
    if scores[len(scores) // 2] >= _RARE:
        both = Scale(0.0, top)
    else:
        seen = [value for one in bins for value in (one.mean_score, one.rate) if value > 0]
        both = Scale(min([*seen, top / 10]) / 1.5, top, logarithmic=True)
    return both, both


def _residual_scales(bins: Bins) -> tuple[Scale, Scale]:
    reach = [value for one in bins for value in (one.low, one.high, 0.0)]
    return Scale.around(one.mean_score for one in bins), Scale.around(reach)


def _panel(name: str, bins: Bins, across: Scale, up: Scale, regression: bool) -> str:
    def x(value: float) -> float:
        return round(_LEFT + _WIDE * across.share(value), 2)

    def y(value: float) -> float:
        return round(_TOP + _HIGH * (1 - up.share(value)), 2)

    bottom, right = _TOP + _HIGH, _LEFT + _WIDE
    parts = [
        f'<line x1="{_LEFT}" x2="{right}" y1="{y(tick)}" y2="{y(tick)}"/>'
        f'<text x="{_LEFT - 6}" y="{y(tick) + 4}" text-anchor="end">{tick:g}</text>'
        for tick in up.ticks()
    ]
    parts += [
        f'<line x1="{x(tick)}" x2="{x(tick)}" y1="{bottom}" y2="{bottom + 4}"/>'
        f'<text x="{x(tick)}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>'
        for tick in across.ticks()
    ]
    ideal = (across.low, 0.0, across.high, 0.0) if regression else (across.low, up.low, across.high, up.high)
    x1, y1, x2, y2 = x(ideal[0]), y(ideal[1]), x(ideal[2]), y(ideal[3])
    parts.append(f'<line class="worth" x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}"/>')
    below = "mean prediction" if regression else "mean score"
    beside = "outcome minus prediction" if regression else "share that came true"
    shape = MARKS["keep" if name == "champion" else "promote"][0]
    for one in bins:
        at = x(one.mean_score)
        place = f"translate({at} {y(one.rate)}) scale(.75)"
        parts.append(
            f"<g><title>{below} {one.mean_score:.3g}, {beside}: {one.rate:.3g} ({one.low:.3g} to {one.high:.3g}) "
            f'on {one.rows:,} rows</title><line class="span" x1="{at}" x2="{at}" y1="{y(one.low)}" '
            f'y2="{y(one.high)}"/><path class="shape" d="{shape}" transform="{place}"/></g>'
        )
    parts.append(f'<text x="{(_LEFT + right) / 2}" y="{bottom + 38}" text-anchor="middle">{below}</text>')
    said = escape(f"calibration of the {name}: {beside} over {below}, {len(bins)} bins")
    tone = "keep" if name == "champion" else "promote"
    return (
        f'<figure class="{tone}"><figcaption>{escape(name)}</figcaption><p class="axis-name">{beside}</p>'
        f'<svg viewBox="0 0 360 310" role="img" aria-label="{said}">{"".join(parts)}</svg></figure>'
    )
