"""How the numbers of a column are written: decimal sign, thousands, units and factors, told from all their texts."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from contender.ingestion.cell_forms import SIGNS, negative_steps
from contender.ingestion.cell_forms import digits as digits_of

CURRENCIES = (
    *(
        "€",
        "$",
        "£",
        "¥",
        "₹",
        "₩",
        "₽",
        "₺",
        "₫",
        "฿",
        "₴",
        "US$",
        "A$",
        "C$",
        "R$",
        "EUR",
        "USD",
        "GBP",
        "CHF",
        "JPY",
    ),
    *(
        "CNY",
        "INR",
        "SEK",
        "NOK",
        "DKK",
        "PLN",
        "CZK",
        "HUF",
        "RUB",
        "BRL",
        "kr",
        "kr.",
        "zł",
        "Kč",
        "Ft",
        "Rs",
        "Rs.",
        "Fr.",
    ),
)
_FACTORS = {
    **{"k": 1e3, "K": 1e3, "Tsd": 1e3, "Tsd.": 1e3, "M": 1e6, "Mio": 1e6, "Mio.": 1e6, "million": 1e6, "Million": 1e6},
    **{"B": 1e9, "bn": 1e9, "Bn": 1e9, "Mrd": 1e9, "Mrd.": 1e9, "billion": 1e9, "lakh": 1e5, "crore": 1e7},
}
_MOST_READABLE = 0.995
_FEWEST = 5
"""A unit is taken off so many different numbers at least: fewer are names, such as 2D and 3D."""

_PARTS = re.compile(
    r"(?P<before>'|[^\d+\-.,'\s]*)\s?(?P<sign>[+\-]?)\s?(?P<inside>[^\d+\-.,'\s]*)\s?"
    r"(?P<digits>\d(?:[\d.,' ]*\d)?[.,]?|[.,]\d+)(?P<exponent>[eE][+-]?\d+)?"
    r"\s*(?P<after>[^\d\s](?:[^\d]*[^\d\s])?)?",
    re.ASCII,
)
_ASCII = str.maketrans(*SIGNS)
_PADDED = re.compile(r"0\d")


@dataclass(frozen=True)
class NumberForm:
    """How numbers are written; `whole` says that none has decimals, `unread` holds the texts that are not so written.

    `proven` says that the decimal sign follows from the texts themselves; `doubt` is one clause for a person.
    """

    decimal: str = "."
    thousands: str | None = None
    drop: tuple[str, ...] = ()
    factors: Mapping[str, float] = field(default_factory=dict)
    negative: str | None = None
    whole: bool = True
    proven: bool = False
    unread: Mapping[str, int] = field(default_factory=dict)
    why: str = ""
    doubt: str = ""


@dataclass
class _Evidence:
    decimal: Counter[str] = field(default_factory=Counter)
    thousands: Counter[str] = field(default_factory=Counter)
    either: Counter[str] = field(default_factory=Counter)
    small: int = 0
    large: int = 0
    example: str = ""


def number_form_of(
    counts: Mapping[str, int], *, hint: str | None = None, given: str | None = None
) -> NumberForm | None:
    """How the texts are written as numbers; None where most of them are none, or where they are padded with zeros.

    Args:
        counts: how often each text stands there.
        hint: the decimal sign that other columns of the files prove.
        given: the decimal sign that a person gave.
    """
    plain = {text: text.translate(_ASCII) for text in counts}
    negative = _negative(plain, counts)
    for step in negative_steps(negative):
        plain = {text: re.sub(step.pattern, step.by or "", one) for text, one in plain.items()}
    parts = {text: match for text, one in plain.items() if (match := _PARTS.fullmatch(one))}
    if not parts:
        return None
    drop, factors, why, doubt = _affixes(counts, parts)
    known = {*drop, *factors, ""}
    parts = {
        text: match
        for text, match in parts.items()
        if (match["before"] or match["inside"]) in {*drop, ""}
        and not (match["before"] and match["inside"])
        and (match["after"] or "") in known
    }
    if not parts:
        return None
    total, read = sum(counts.values()), sum(counts[text] for text in parts)
    digits = {text: match["digits"] for text, match in parts.items()}
    padded = sum(
        counts[text] for text, one in digits.items() if _PADDED.match(one) and "." not in one and "," not in one
    )
    if padded and (padded >= 0.001 * read or read < 1000):
        return None
    evidence = _Evidence()
    for text, one in digits.items():
        _weigh(one, counts[text], evidence, exponent=bool(parts[text]["exponent"]))
    decimal, thousands, guessed = _decided(evidence, hint, given)
    form = re.compile(digits_of(decimal, thousands))
    fits = {text for text, one in digits.items() if form.fullmatch(one) and not (thousands and parts[text]["exponent"])}
    unread = {text: n for text, n in counts.items() if text not in fits}
    read = total - sum(unread.values())
    if read == 0 or 2 * read < total:
        return None
    whole = not factors and all(
        not parts[text]["exponent"] and not digits[text].partition(decimal)[2].strip("0") for text in fits
    )
    if thousands:
        why = f"{why}; " * bool(why) + f"'{thousands}' groups thousands" + f", '{decimal}' is the decimal sign"
    elif decimal == ",":
        why = f"{why}; " * bool(why) + "a decimal comma"
    if negative and (shown := next((one for one in parts if one in fits and plain[one] != one.translate(_ASCII)), "")):
        doubt = "; ".join(part for part in (doubt, f"'{shown}' is read as a number below zero") if part)
    return NumberForm(
        decimal,
        thousands,
        drop,
        factors,
        negative,
        whole,
        bool(evidence.decimal[decimal]),
        unread,
        why,
        "; ".join(part for part in (doubt, guessed) if part),
    )


def _negative(plain: Mapping[str, str], counts: Mapping[str, int]) -> str | None:
    """How numbers below zero are written, if not with a minus before them.

    Where one stands before some, where all are written so, or where marks such as `2-` and `3+` are given, a bracket or
    a sign behind the number means something else.
    """
    if any(re.match(r"[^\d(]*-", one) or re.search(r"\d\s*\+$", one) for one in plain.values()):
        return None
    weights = {
        negative: sum(counts[text] for text, one in plain.items() if re.match(steps[0].pattern, one))
        for negative in ("(1)", "1-")
        if (steps := negative_steps(negative))
    }
    negative, weight = max(weights.items(), key=lambda pair: pair[1])
    return negative if min(weights.values()) == 0 < weight < sum(counts.values()) else None


def _affixes(
    counts: Mapping[str, int], parts: Mapping[str, re.Match[str]]
) -> tuple[tuple[str, ...], dict[str, float], str, str]:
    """What stands beside numbers and can be dropped, what multiplies them, and what to say of it."""
    found: Counter[str] = Counter()
    behind: Counter[str] = Counter()
    numbers: set[str] = set()
    for text, match in parts.items():
        before, after = match["before"] or match["inside"], match["after"] or ""
        if before:
            found[before] += counts[text]
        if after:
            behind[after] += counts[text]
        numbers.add(match["digits"])
    drop = [text for text in found if text in CURRENCIES or text in ("~", "+", "'")]
    drop += [text for text in behind if text in (*CURRENCIES, "%", "+") and text not in drop]
    if len({text for text in drop if text in CURRENCIES}) > 2:
        return (), {}, "", ""
    factors: dict[str, float] = {}
    units = {text: n for text, n in behind.items() if text not in drop}
    doubt = ""
    if units and all(text in _FACTORS for text in units) and len({text.casefold() for text in units}) == len(units):
        factors = {text: _FACTORS[text] for text in units}
    elif (
        # One unit alone; of two, say kg and g, numbers would lose their meaning.
        len({text.casefold().rstrip(".") for text in units}) == 1
        and len(numbers) >= _FEWEST
        and all(re.fullmatch(r"[^\W\d_°µ/²³]{0,12}[°µ/²³\w. ]{0,12}", text) for text in units)
    ):
        drop += list(units)
    total = sum(parts_weight for parts_weight in (counts[text] for text in parts))
    told = [f"'{text}'" for text in drop]
    if "%" in drop and behind["%"] < total:
        doubt = f"{total - behind['%']:,} of {total:,} numbers stand without '%': are they percentages too?"
    elif drop and any(text not in ("+", "~", "'") for text in drop):
        bare = total - sum(n for text, n in (found + behind).items() if text in drop)
        if bare > 0 and any(text in units for text in drop):
            doubt = f"{bare:,} of {total:,} numbers stand without their unit"
    why = f"{' and '.join(told)} beside the number is dropped" if drop else ""
    if factors:
        why = f"{why}; " * bool(why) + ", ".join(f"'{text}' stands for {by:,.0f}" for text, by in factors.items())
    return tuple(drop), factors, why, doubt


def _weigh(digits: str, weight: int, evidence: _Evidence, *, exponent: bool) -> None:
    """Add what one number tells of its signs."""
    signs = re.findall(r"[.,' ]", digits)
    points = [sign for sign in signs if sign in ".,"]
    for sign in {sign for sign in signs if sign in "' "}:
        evidence.thousands[sign] += weight
    if not signs:
        if len(digits) <= 3:
            evidence.small += weight
        else:
            evidence.large += weight
        return
    if not points:
        return
    last = points[-1]
    if len(set(points)) == 2:
        evidence.decimal[last] += weight
        evidence.thousands["," if last == "." else "."] += weight
    elif len(points) > 1:
        evidence.thousands[last] += weight
    elif len(signs) > 1:
        evidence.decimal[last] += weight
    else:
        before, _, after = digits.partition(last)
        if exponent or len(after) != 3 or not 1 <= len(before) <= 3 or before.startswith("0"):
            evidence.decimal[last] += weight
        else:
            evidence.either[last] += weight
            evidence.example = evidence.example or digits


def _decided(evidence: _Evidence, hint: str | None, given: str | None) -> tuple[str, str | None, str]:
    """Decimal sign, sign of thousands, and the doubt that is left."""
    other = {".": ",", ",": "."}
    blanks = [sign for sign in "' " if evidence.thousands[sign]]
    decimal = given or (evidence.decimal.most_common(1)[0][0] if evidence.decimal else None)
    if decimal is None and (grouped := [sign for sign in ".," if evidence.thousands[sign]]):
        decimal = other[max(grouped, key=lambda sign: evidence.thousands[sign])]
    doubt = ""
    if decimal is None and (either := [sign for sign in ".," if evidence.either[sign]]):
        if len(either) == 2:
            # Of 1.234 and 1,234 in one column one is a thousand: nothing tells which.
            return ".", None, f"'{evidence.example}' and its like: is '.' or ',' the decimal sign?"
        sign = either[0]
        grouped_ones, read_as = evidence.either[sign], "thousands"
        if hint is not None:
            decimal = hint
        elif evidence.large == 0 and evidence.small >= 3 and grouped_ones >= 3:
            # Below 1,000 all stand bare, above none does.
            decimal = other[sign]
        elif sign == ",":
            decimal = "."
            doubt = f"'{evidence.example}' is read as {evidence.example.replace(',', '')}"
        else:
            decimal, read_as = ".", "decimals"
            if evidence.small + evidence.large == 0:
                doubt = f"'{evidence.example}' is read with '.' as the decimal sign"
        if doubt:
            doubt += f", as {read_as}: if that is wrong, say --decimal"
    decimal = decimal or "."
    sign = other[decimal]
    if evidence.thousands[sign] or evidence.either[sign]:
        return decimal, sign, doubt
    return decimal, blanks[0] if blanks else None, doubt
