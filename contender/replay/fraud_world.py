"""Who pays where, and how cards are abused: the made-up country behind the simulated payments.

Customers live in cities, pay mostly at home, travel now and then. Five schemes make fraud of a few payments:

    terminal   a skimmed terminal: for 14 to 28 days nearly all payments there are disputed, though each looks ordinary
    stolen     a stolen card: for 7 to 14 days bursts of larger payments, far from home
    large      a payment of many times the usual amount: disputed often, not always
    friendly   a customer disputes an ordinary payment; nothing in the data tells
    testing    (drift "new_scheme") tiny online payments that try stolen card numbers, each day at another terminal
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[Any]
Draft = dict[str, Array]

DAY = 86_400
TERMINAL_SHARE, STOLEN_SHARE, LARGE_SHARE, FRIENDLY_SHARE = 0.0060, 0.0042, 0.0032, 0.0002
TESTING_SHARE, CRYPTO_SHARE, PRICE_RISE, PRICE_DAYS = 0.006, 0.04, 0.4, 30
SKIMMED, BURST, LARGE_FROM, LARGE_FRAUD = 0.95, 1.2, 7.0, 0.75
MODES = np.array(["chip", "contactless", "swipe", "online"], dtype=object)
ONLINE, REPAIR_DAYS = 3, 40

_CATEGORIES = (
    # name, median amount in EUR, share of merchants, share paid online
    ("electronics", 90, 0.06, 0.30),
    ("entertainment", 25, 0.08, 0.30),
    ("fashion", 45, 0.10, 0.20),
    ("fuel", 50, 0.08, 0.00),
    ("grocery", 30, 0.25, 0.02),
    ("health", 25, 0.07, 0.05),
    ("online", 40, 0.12, 1.00),
    ("restaurant", 28, 0.14, 0.02),
    ("services", 50, 0.07, 0.30),
    ("travel", 180, 0.03, 0.70),
    ("crypto", 150, 0.00, 1.00),
)
_NAME = np.array([name for name, *_ in _CATEGORIES], dtype=object)
_MEDIAN, _MERCHANTS, _ONLINE = np.array([numbers for _, *numbers in _CATEGORIES]).T
WEB_SHOP, CRYPTO = 6, 10


def random_of(seed: int, stream: int, day: int) -> np.random.Generator:
    """A generator of its own for each day and purpose, so that no day and no knob disturbs another."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, day)))


class FraudWorld:
    """Customers, terminals and what is going on with them; lives one day after the other, in order."""

    def __init__(self, seed: int, *, size: int) -> None:
        """Settle a country for about `size` payments in 120 days, with some fraud already under way."""
        self.seed = seed
        customers, terminals = max(500, size // 40), max(200, size // 250)
        merchants, cities, exchanges = terminals // 3, terminals // 25, 3 + terminals // 100
        random = random_of(seed, 0, 0)

        far = random.random(cities) < 0.15
        self.city_place = random.normal(size=(cities, 2)) * np.where(far, 2500, 300)[:, None]
        self.home = random.integers(cities, size=customers)
        self.home_place = self.city_place[self.home] + random.normal(0, 6, (customers, 2))
        self.spending = random.lognormal(0, 0.4, customers)
        activity = random.lognormal(0, 0.7, customers).cumsum()
        self.activity = activity / activity[-1]

        city = np.sort(np.append(np.arange(cities), random.integers(cities, size=terminals - cities)))
        self.first, self.many = np.searchsorted(city, np.arange(cities)), np.bincount(city)
        self.terminal_place = self.city_place[city] + random.normal(0, 5, (terminals, 2))
        self.terminal_place = np.append(self.terminal_place, np.zeros((exchanges, 2)), axis=0)
        kind = random.choice(len(_CATEGORIES), merchants, p=_MERCHANTS)
        merchant = random.integers(merchants, size=terminals)
        self.category = np.append(kind[merchant], np.full(exchanges, CRYPTO))
        self.exchanges = terminals + np.arange(exchanges)
        self.sites = np.flatnonzero(self.category[:terminals] == WEB_SHOP)

        self.customer_id = np.array([f"C{number:06d}" for number in range(customers)], dtype=object)
        self.terminal_id = np.array([f"T{number:05d}" for number in range(terminals + exchanges)], dtype=object)
        merchant = np.append(merchant, merchants + np.arange(exchanges))
        self.merchant_id = np.array([f"M{number:04d}" for number in merchant], dtype=object)

        self.last_paid = np.full(customers, -1)
        self.away_until, self.away_in = np.full(customers, -1), np.zeros(customers, dtype=int)
        self.stolen_until, self.thief_in = np.full(customers, -1), np.zeros(customers, dtype=int)
        self.skimmed_until = np.full(terminals + exchanges, -REPAIR_DAYS)
        for past in range(-28, 0):
            self._begin(random, past, size / 120)

    def live(self, day: int, count: int, *, drift: frozenset[str], drift_from: int) -> pd.DataFrame:
        """The `count` payments of one day, sorted by time, with the scheme behind each ("" when genuine).

        `second` counts from midnight of day 0; `seconds_since_last` is NaN for a customer's first payment.
        """
        random, changes = random_of(self.seed, 1, day), random_of(self.seed, 2, day)
        self._begin(random, day, count)
        draft = self._steal(random, day, self._go_shopping(random, day, count))
        since = day - drift_from
        if "new_category" in drift and since >= 0:
            draft = self._open_exchanges(changes, draft)
        if "new_scheme" in drift and since >= 0:
            draft = self._test_cards(random_of(self.seed, 3, day), draft)
        rise = min(since + 1, PRICE_DAYS) / PRICE_DAYS if "price_inflation" in drift and since >= 0 else 0.0
        return self._settle(random, day, draft, prices=1 + PRICE_RISE * rise)

    def _begin(self, random: np.random.Generator, day: int, count: float) -> None:
        """Trips, skimmed terminals and stolen cards that begin on this day."""
        customers, terminals, cities = len(self.home), len(self.skimmed_until), len(self.many)
        leaving = random.integers(customers, size=random.poisson(0.004 * customers))
        self.away_until[leaving] = day + random.integers(2, 11, len(leaving))
        self.away_in[leaving] = random.integers(cities, size=len(leaving))
        skimmed = random.integers(terminals, size=random.poisson(terminals * TERMINAL_SHARE / SKIMMED / 21))
        self.skimmed_until[skimmed] = day + random.integers(14, 29, len(skimmed))
        robbed = random.integers(customers, size=random.poisson(count * STOLEN_SHARE / BURST / 10.5))
        self.stolen_until[robbed] = day + random.integers(7, 15, len(robbed))
        self.thief_in[robbed] = random.integers(cities, size=len(robbed))

    def _go_shopping(self, random: np.random.Generator, day: int, count: int) -> Draft:
        """Ordinary payments: at home, on a trip, on a day out; at skimmed terminals too."""
        customer = np.searchsorted(self.activity, random.random(count))
        city = np.where(self.away_until[customer] > day, self.away_in[customer], self.home[customer])
        city = np.where(random.random(count) < 0.03, random.integers(len(self.many), size=count), city)
        terminal = self._terminals_in(random, day, city)
        hour = np.where(random.random(count) < 0.6, random.normal(13, 3.5, count), random.normal(19, 2.5, count)) % 24
        shopping = random.choice(3, count, p=[0.45, 0.47, 0.08])
        online = random.random(count) < _ONLINE[self.category[terminal]]
        multiple = random.lognormal(0, 0.6, count)
        large = random.random(count) < LARGE_SHARE
        multiple = np.where(large, random.uniform(5, 25, count), multiple)
        scheme = np.full(count, "", dtype=object)
        scheme[random.random(count) < FRIENDLY_SHARE] = "friendly"
        scheme[(multiple > LARGE_FROM) & (random.random(count) < LARGE_FRAUD)] = "large"
        scheme[(self.skimmed_until[terminal] > day) & (random.random(count) < SKIMMED)] = "terminal"
        return {
            "customer": customer,
            "city": city,
            "terminal": terminal,
            "second": (hour * 3600).astype(int),
            "mode": np.where(online, ONLINE, shopping),
            "multiple": multiple,
            "scheme": scheme,
        }

    def _steal(self, random: np.random.Generator, day: int, draft: Draft) -> Draft:
        """Put bursts of payments with stolen cards in the place of ordinary ones."""
        cards = np.flatnonzero(self.stolen_until > day)
        # At most about 1 % of a day, or one thief would be all the fraud of a small simulation.
        cards = np.repeat(cards, random.poisson(BURST, len(cards)))[: 1 + len(draft["scheme"]) // 100]
        many = len(cards)
        fresh = np.diff(cards, prepend=-1) != 0
        gaps = np.where(fresh, random.uniform(0, DAY - 7200, many), random.exponential(1500, many)).cumsum()
        begun = np.maximum.accumulate(np.where(fresh, np.append(0.0, gaps[:-1]), 0.0))
        return _replace(
            random,
            draft,
            "stolen",
            {
                "customer": cards,
                "city": self.thief_in[cards],
                "terminal": self._terminals_in(random, day, self.thief_in[cards]),
                "second": (gaps - begun).astype(int),
                "mode": random.choice(4, many, p=[0.15, 0.3, 0.3, 0.25]),
                "multiple": random.lognormal(0.9, 0.6, many),
            },
        )

    def _test_cards(self, random: np.random.Generator, draft: Draft) -> Draft:
        many = random.poisson(TESTING_SHARE * len(draft["scheme"]))
        customer = random.integers(len(self.home), size=many)
        tiny = random.uniform(0.02, 0.08, many) / self.spending[customer]
        begun = random.integers(DAY - 7200)
        return _replace(
            random,
            draft,
            "testing",
            {
                "customer": customer,
                "city": self.home[customer],
                "terminal": np.full(many, random.choice(self.sites)),
                "second": begun + random.integers(7200, size=many),
                "mode": np.full(many, ONLINE),
                "multiple": tiny,
            },
        )

    def _open_exchanges(self, random: np.random.Generator, draft: Draft) -> Draft:
        many = len(draft["scheme"])
        moved = (random.random(many) < CRYPTO_SHARE) & (draft["scheme"] == "")
        terminal = np.where(moved, random.choice(self.exchanges, many), draft["terminal"])
        return draft | {"terminal": terminal, "mode": np.where(moved, ONLINE, draft["mode"])}

    def _settle(self, random: np.random.Generator, day: int, draft: Draft, *, prices: float) -> pd.DataFrame:
        """Turn who, where and when into what a payment file says, and remember when each customer paid last."""
        order = np.argsort(draft["second"], kind="stable")
        customer, city, terminal, second, mode, multiple, scheme = (values[order] for values in draft.values())
        second = day * DAY + second.clip(0, DAY - 1)
        category = self.category[terminal]
        device = self.city_place[city] + random.normal(0, 5, (len(order), 2))
        place = np.where((mode == ONLINE)[:, None], device, self.terminal_place[terminal])
        amount = multiple * _MEDIAN[category] * self.spending[customer] * prices
        return pd.DataFrame(
            {
                "second": second,
                "customer_id": self.customer_id[customer],
                "merchant_id": self.merchant_id[terminal],
                "terminal_id": self.terminal_id[terminal],
                "category": _NAME[category],
                "entry_mode": MODES[mode],
                "amount": amount.clip(0.5, 30_000).round(2),
                "distance_from_home": np.hypot(*(place - self.home_place[customer]).T).clip(0, 19_999).round(1),
                "seconds_since_last": self._since_last(customer, second),
                "scheme": scheme,
            }
        )

    def _since_last(self, customer: Array, second: Array) -> Array:
        order = np.argsort(customer, kind="stable")
        payer, paid = customer[order], second[order]
        same = np.append(False, payer[1:] == payer[:-1]) if len(payer) else np.empty(0, dtype=bool)
        before = np.where(same, np.roll(paid, 1), self.last_paid[payer])
        since = np.empty(len(order))
        since[order] = np.where(before < 0, np.nan, paid - before)
        np.maximum.at(self.last_paid, payer, paid)
        return since

    def _terminals_in(self, random: np.random.Generator, day: int, city: Array) -> Array:
        """A terminal in each city, some more popular than others."""
        one, another = self.first[city] + (random.random((2, len(city))) ** 1.3 * self.many[city]).astype(int)
        # Once found out, a terminal goes to repair; its history would point at honest payments otherwise.
        repaired = (self.skimmed_until[one] <= day) & (day < self.skimmed_until[one] + REPAIR_DAYS)
        return np.asarray(np.where(repaired, another, one))


def _replace(random: np.random.Generator, draft: Draft, scheme: str, rows: Draft) -> Draft:
    """Overwrite as many payments, chosen at random, so that a day's count stays what was asked for."""
    many = min(len(draft["scheme"]), len(rows["customer"]))
    chosen = random.permutation(len(draft["scheme"]))[:many]
    columns = {name: values.copy() for name, values in draft.items()}
    for name, values in rows.items():
        columns[name][chosen] = values[:many]
    columns["scheme"][chosen] = scheme
    return columns
