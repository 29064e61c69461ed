"""How often the veto refuses an honest table, and how often it finds a leak that was planted.

    uv run python tests/benchmarks/leak_veto.py [--json] [--tables 400] [--seed 1]

Honest are seeded tables of 150 to 8,000 rows and 4 to 20 columns (skewed numbers, counts, categories with up to
hundreds of values, gaps that depend on other columns, columns that say nearly the same, yesterday's outcome) whose
columns tell the outcome from hardly to nearly always (R2 up to 0.98; up to 95 % of a plain guess's mistakes avoided),
often by one column alone; simulated payments of many sizes; and draws of rows from public sets, where they are there:
scikit-learn's own, and those in ../shared/data or in the folder that CONTENDER_REAL_DATA names.

Planted is one leak in an honest table with 25 rows or more of the rarer outcome: one of `PLANTS`. It is found when one of
its columns is named. Intervals are 95 % Clopper-Pearson intervals. One process, no Spark.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import binomtest
from sklearn import datasets

from contender.contracts.sections import Kind
from contender.replay.payments_simulator import Simulation, simulated_days
from contender.training.leakage import Leak, find_leaks
from contender.values import ModelColumn

PUBLIC = Path(os.environ.get("CONTENDER_REAL_DATA") or Path(__file__).parents[3] / "shared" / "data")
KINDS: tuple[Kind, ...] = ("binary", "multiclass", "regression")


@dataclass(frozen=True)
class Table:
    """Features by name, oldest record first, and outcomes; `past` as in `find_leaks`."""

    name: str
    frame: pd.DataFrame
    y: NDArray[np.generic]
    kind: Kind
    past: tuple[str, ...] = ()

    @property
    def rarer(self) -> int:
        return len(self.y) if self.kind == "regression" else int(np.unique(self.y, return_counts=True)[1].min())

    def with_column(self, **columns: object) -> "Table":
        return Table(self.name, self.frame.assign(**columns), self.y, self.kind, self.past)


def found_in(table: Table) -> tuple[Leak, ...]:
    """All suspects."""
    kinds = [ModelColumn(name, "number" if table.frame[name].dtype.kind == "f" else "category") for name in table.frame]
    return find_leaks(table.frame, table.y, kind=table.kind, columns=kinds, past=table.past, allowed={}, seed=1)


def honest(seed: int) -> Table:
    """A made table whose columns tell a part of the outcome."""
    random = np.random.default_rng([seed, 1])
    rows, width = int(random.choice([150, 400, 1000, 3000, 8000])), int(random.integers(4, 21))
    kind = KINDS[seed % 3]
    hidden = random.normal(size=(rows, width)) + 0.5 * random.normal(size=(rows, 1))
    if ordered := seed % 5 == 0:
        hidden += 3 * np.cumsum(random.normal(size=(rows, width)), axis=0) / np.sqrt(rows)
    weights = random.dirichlet(np.full(width, 0.4)) ** 0.5 * random.choice([-1, 1], width)
    signal = hidden @ weights
    if seed % 4 == 1:
        signal += 0.5 * hidden[:, 0] * hidden[:, 1]
    y = _outcome(signal, kind, random)
    columns = {f"x{place}": _shaped(hidden[:, place], random) for place in range(width)}
    if len(set(y)) > 2 and kind == "multiclass" and seed % 7 == 0:
        # Whoever has no internet has no online backup: one class of several is known.
        columns["without"] = np.where(y == y[0], "none", random.choice(["a", "b"], rows)).astype(object)
    if seed % 6 == 2:
        columns["again"] = np.round(1.8 * hidden[:, int(np.abs(weights).argmax())] + 32, 1)
    if kind == "regression" and ordered:
        columns["yesterday"] = np.concatenate([[np.nan], y[:-1]])
    for name in list(columns)[:: int(random.integers(2, 6))]:
        chance = expit(2 * hidden[:, int(random.integers(width))] - random.uniform(1, 4))
        columns[name] = pd.Series(columns[name]).where(random.random(rows) > chance).to_numpy()
    past: tuple[str, ...] = ()
    if ordered:
        columns["moment"], past = np.arange(rows, dtype=float), ("moment",)
    return Table("made", pd.DataFrame(columns), y, kind, past)


def _shaped(hidden: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.generic]:
    """What a column shows of its hidden normal number."""
    match int(random.integers(7)):
        case 0 | 1:
            return hidden
        case 2:
            return np.round(np.exp(hidden + 3), 2)
        case 3:
            return np.floor(np.exp(hidden))
        case 4:
            return (hidden > random.normal()).astype(float)
        case 5:
            codes = np.digitize(hidden, np.sort(random.normal(size=int(random.integers(2, 9)))))
            return np.array([f"c{code}" for code in codes], dtype=object)
        case _:
            codes = np.digitize(hidden, np.linspace(-3, 3, int(random.integers(60, 400))))
            return np.array([f"place {code}" for code in codes], dtype=object)


def _outcome(signal: NDArray[np.float64], kind: Kind, random: np.random.Generator) -> NDArray[np.generic]:
    signal = (signal - signal.mean()) / signal.std()
    if kind == "regression":
        r2 = random.uniform(0.1, 0.98)
        y = signal + random.normal(size=len(signal)) * np.sqrt(1 / r2 - 1)
        return np.exp(y * random.uniform(0.5, 2.5)) if random.random() < 0.4 else y
    if kind == "multiclass":
        noisy = signal + random.normal(size=len(signal)) * random.uniform(0.05, 2)
        cuts = np.quantile(noisy, np.sort(random.dirichlet(np.full(int(random.integers(3, 6)), 3.0))[:-1].cumsum()))
        return np.array([f"class {code}" for code in np.digitize(noisy, cuts)], dtype=object)
    share = float(random.choice([0.5, 0.3, 0.1, 0.03]))
    noisy = signal + random.normal(size=len(signal)) * random.uniform(0.08, 2)
    return (noisy > np.quantile(noisy, 1 - max(share, 12 / len(signal)))).astype(np.int64)


def payments(seed: int) -> Table | None:
    """Simulated payments of 14 to 60 days, as a training window holds them; None where too few are frauds."""
    random = np.random.default_rng([seed, 2])
    simulation = Simulation(
        seed=seed, payments=int(random.choice([12_000, 60_000, 120_000])), days=int(random.integers(5, 61))
    )
    frame = pd.concat([day.payments for day in simulated_days(simulation)], ignore_index=True)
    y = frame["charged_back"].to_numpy(np.int64)
    if y.sum() < 10:
        return None
    kept = (
        frame[["category", "entry_mode"]]
        .astype(object)
        .assign(
            merchant_id=frame["merchant_id"].astype(object),
            **{name: frame[name].astype(float) for name in ("amount", "distance_from_home", "seconds_since_last")},
            paid_at=frame["paid_at"].astype("datetime64[s]").astype("int64").astype(float),
        )
    )
    return Table("payments", kept, y, "binary", ("paid_at",))


def public() -> dict[str, Callable[[], Table]]:
    """Whole public tables by name, those that are there."""
    made: dict[str, Callable[[], Table]] = {}

    def bundled(name: str, kind: Kind) -> Callable[[], Table]:
        def read() -> Table:
            found = getattr(datasets, f"load_{name}")(as_frame=True)
            y = found.target.to_numpy()
            return Table(name, found.data.astype(float), y.astype(float) if kind == "regression" else y, kind)

        return read

    for name, kind in (
        ("iris", "multiclass"),
        ("wine", "multiclass"),
        ("breast_cancer", "binary"),
        ("diabetes", "regression"),
    ):
        made[name] = bundled(name, kind)  # type: ignore[arg-type]
    if (PUBLIC / "public").is_dir():
        made |= {"telco": _telco, "credit": _credit, "shelter": _shelter, "airquality": _airquality}
    if (PUBLIC / "bikes").is_dir():
        made |= {"bikes": _bikes}
    return made


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers and booleans as floats, all else as objects."""
    numbers = [name for name in frame if pd.api.types.is_numeric_dtype(frame[name])]
    return frame.astype({name: float if name in numbers else object for name in frame})


def _read(pattern: str, **how: object) -> pd.DataFrame:
    found = sorted(PUBLIC.glob(pattern))
    return pd.concat([pd.read_csv(path, **how) for path in found], ignore_index=True)  # type: ignore[call-overload]


def _telco() -> Table:
    frame = _read("public/telco/*.csv", encoding="utf-8-sig", na_values=[" "])
    y = (frame.pop("Churn") == "Yes").to_numpy(np.int64)
    return Table("telco", _plain(frame.drop(columns="customerID")), y, "binary")


def _credit() -> Table:
    path = next((PUBLIC / "public/credit-default").iterdir())
    frame = pd.read_excel(path, header=1) if path.suffix.startswith(".xls") else pd.read_csv(path)
    if not any("default" in str(name).lower() for name in frame):
        frame = pd.read_csv(path, header=1)
    target = next(name for name in frame if "default" in str(name).lower())
    y = frame.pop(target).to_numpy(np.int64)
    return Table("credit", _plain(frame.drop(columns=frame.columns[0])), y, "binary")


def _shelter() -> Table:
    frame = _read("public/shelter/*.csv").dropna(subset=["outcome_type"])
    frame = frame[frame["outcome_type"].map(frame["outcome_type"].value_counts()) >= 100].sort_values("datetime")
    y = frame.pop("outcome_type").to_numpy(object)
    later = ["_id", "animal_id", "outcome_subtype", "datetime", "monthyear", "location_lat", "location_long"]
    return Table("shelter", _plain(frame.drop(columns=later)), y, "multiclass")


def _airquality() -> Table:
    frame = _read("public/airquality/AirQualityUCI.csv", sep=";", decimal=",", na_values=["-200"]).dropna(
        subset=["CO(GT)"]
    )
    frame = frame.dropna(axis=1, how="all")
    y = frame.pop("CO(GT)").to_numpy(float)
    return Table("airquality", _plain(frame.drop(columns=["Date"])), y, "regression")


def _bikes() -> Table:
    frame = _read("bikes/*.csv.gz")
    y = frame.pop("cnt").to_numpy(float)
    return Table("bikes", _plain(frame.drop(columns=["casual", "registered"])), y, "regression")


def drawn(whole: Table, seed: int) -> Table:
    """Some rows of a table, in their order: all of them, or 200 to 5,000."""
    random = np.random.default_rng([seed, 3])
    rows = min(len(whole.y), int(random.choice([200, 600, 2000, 5000])))
    kept = np.sort(random.choice(len(whole.y), rows, replace=False))
    return Table(whole.name, whole.frame.iloc[kept].reset_index(drop=True), whole.y[kept], whole.kind, whole.past)


def _yes(table: Table) -> NDArray[np.bool_]:
    """The outcome as yes and no: the second class, or one of several with many rows."""
    values, counts = np.unique(table.y, return_counts=True)
    return np.asarray(table.y == (values[1] if len(values) == 2 else values[counts.argmax()]))


def _places(table: Table) -> NDArray[np.int64]:
    """The outcome as 0, 1, ... in the order of the classes."""
    return np.unique(table.y, return_inverse=True)[1].astype(np.int64)


def _mistaken(table: Table, random: np.random.Generator) -> NDArray[np.float64]:
    """The outcome with another one in a hundredth of the rows of the rarest, and as many of each other."""
    places = _places(table)
    wrong, classes = round(0.01 * table.rarer), int(places.max()) + 1
    for place in range(classes):
        places[random.choice(np.flatnonzero(_places(table) == place), wrong, replace=False)] += 1
    return (places % classes).astype(float)


def _word(table: Table, random: np.random.Generator) -> NDArray[np.generic]:
    return np.array([f"status {value}" for value in table.y], dtype=object)


def _codes(table: Table, random: np.random.Generator) -> NDArray[np.generic]:
    """A code whose many values each belong to one outcome."""
    details = random.integers(0, max(2, min(30, table.rarer // 12)), len(table.y))
    return np.array([f"{value}-{detail}" for value, detail in zip(table.y, details, strict=True)], dtype=object)


def _late(table: Table, random: np.random.Generator) -> NDArray[np.float64]:
    return np.where(_yes(table), random.normal(size=len(table.y)), np.nan)


def _half_late(table: Table, random: np.random.Generator) -> NDArray[np.float64]:
    return np.where(_yes(table) & (random.random(len(table.y)) < 0.6), random.normal(size=len(table.y)), np.nan)


def _noisy(table: Table, r2: float, random: np.random.Generator) -> NDArray[np.float64]:
    y = table.y.astype(float)
    return y + random.normal(size=len(y)) * y.std() * np.sqrt(1 / r2 - 1)


Plant = Callable[[Table, np.random.Generator], dict[str, object]]
CLASSES: dict[str, Plant] = {
    "copy as a number": lambda t, r: {"leak": _places(t) * 2.0},
    "copy as a word": lambda t, r: {"leak": _word(t, r)},
    "copy with a gap in 2 of 5 rows": lambda t, r: {"leak": pd.Series(_word(t, r)).where(r.random(len(t.y)) < 0.6)},
    "copy with 1 % mistakes": lambda t, r: {"leak": _mistaken(t, r)},
    "number that tells it": lambda t, r: {"leak": 5.0 * _places(t) + r.uniform(0, 4.9, len(t.y))},
    "code of many values": lambda t, r: {"leak": _codes(t, r)},
    "filled only after it": lambda t, r: {"leak": _late(t, r)},
    "filled for 6 of 10 after it": lambda t, r: {"leak": _half_late(t, r)},
    "two that add up": lambda t, r: _added(_places(t) * 3.0 + r.uniform(0, 2.9, len(t.y)), 2, r),
}
NUMBERS: dict[str, Plant] = {
    "copy": lambda t, r: {"leak": t.y},
    "copy in another unit": lambda t, r: {"leak": t.y * 1.19 + 3},
    "rounded copy": lambda t, r: {"leak": np.round(t.y / (np.ptp(t.y) / 200))},
    "copy in one row of three": lambda t, r: {"leak": np.where(r.random(len(t.y)) < 0.34, t.y, np.nan)},
    "copy with noise (R2 0.995)": lambda t, r: {"leak": _noisy(t, 0.995, r)},
    "curve": lambda t, r: {"leak": np.cbrt(t.y - np.median(t.y))},
    "two that add up": lambda t, r: _added(t.y, 2, r),
    "three that add up": lambda t, r: _added(t.y, 3, r),
    "before and after": lambda t, r: (lambda b: {"leak": b + t.y, "leak2": b})(
        10 * t.y.std() * r.normal(size=len(t.y))
    ),
    "price and amount": lambda t, r: (lambda b: {"leak": (t.y - t.y.min() + 1) / b, "leak2": b})(
        np.exp(r.normal(size=len(t.y)))
    ),
}


def _added(total: NDArray[np.float64], parts: int, random: np.random.Generator) -> dict[str, object]:
    rest, made = total.astype(float), {}
    for place in range(parts - 1):
        part = total.mean() / parts + random.normal(size=len(total)) * total.std()
        made[f"leak{place}"], rest = part, rest - part
    return made | {f"leak{parts}": rest}


def planted(seed: int) -> tuple[str, Table]:
    """An honest table with one leak, and the name of what was planted."""
    place = seed
    while (table := honest(place)).rarer < 25:
        place += 15_000
    plants = NUMBERS if table.kind == "regression" else CLASSES
    name = list(plants)[(seed // 3) % len(plants)]
    if name == "price and amount":
        table = Table(table.name, table.frame, table.y - table.y.min() + 1, table.kind, table.past)
    return name, table.with_column(**plants[name](table, np.random.default_rng([seed, 4])))


def _measured(name: str, hits: list[bool], what: str) -> dict[str, object]:
    found = binomtest(sum(hits), len(hits)).proportion_ci(0.95)
    return {
        "table": name,
        "tables": len(hits),
        what: sum(hits),
        "share": sum(hits) / len(hits),
        "low": found.low,
        "high": found.high,
    }


def measure(tables: int, seed: int, tell: Callable[[str], None]) -> list[dict[str, object]]:
    """Rows of the answer: false alarms by source, then planted leaks found by kind, each with a row over all."""
    alarms: dict[str, list[bool]] = {}

    def look(table: Table) -> None:
        found = found_in(table)
        if found:
            tell(
                f"alarm: {table.name} {table.kind} {len(table.y)} rows, rarer {table.rarer}: {'; '.join(map(str, found))}"
            )
        alarms.setdefault(table.name, []).append(bool(found))

    def sources() -> Iterator[Table | None]:
        yield from (honest(seed * 1_000_000 + place) for place in range(tables // 2))
        yield from (payments(seed * 1000 + place) for place in range(tables // 8))
        wholes = {name: read() for name, read in public().items()}
        for place in range(tables // 2 - tables // 8):
            yield drawn(list(wholes.values())[place % len(wholes)], seed * 1000 + place)

    for table in sources():
        if table is not None and table.rarer >= 1:
            look(table)
    found: dict[str, list[bool]] = {}
    for place in range(tables // 2):
        name, table = planted(seed * 1_000_000 + 500_000 + place)
        hit = any(name.startswith("leak") for leak in found_in(table) for name in leak.features)
        if not hit:
            tell(f"missed: {name} {table.kind} {len(table.y)} rows, rarer {table.rarer}")
        found.setdefault(name, []).append(hit)
    return [
        *(_measured(name, hits, "refused") for name, hits in sorted(alarms.items())),
        _measured("all honest tables", [hit for hits in alarms.values() for hit in hits], "refused"),
        *(_measured(name, hits, "found") for name, hits in sorted(found.items())),
        _measured("all planted leaks", [hit for hits in found.values() for hit in hits], "found"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--tables", type=int, default=400, help="honest ones; half as many with a leak")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    began = time.monotonic()
    rows = measure(args.tables, args.seed, lambda line: print(line, file=sys.stderr))
    if args.json:
        print(json.dumps({"seconds": round(time.monotonic() - began, 1), "rows": rows}, indent=2))
        return
    for row in rows:
        what = "refused" if "refused" in row else "found"
        print(
            f"{row['table']:32} {row[what]:>4} of {row['tables']:>4} {what:8} {row['share']:6.1%} ({row['low']:.1%} to {row['high']:.1%})"
        )
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
