"""A strategy that keeps anything, and things that it may keep or not."""

import random
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

import numpy as np

from flowtape.stream.config import Decide, EngineConfig, TimeBars
from flowtape.stream.execution import Flag as OrderFlag
from flowtape.stream.execution import Lane
from flowtape.stream.instrument import Instrument
from flowtape.stream.orders import Request
from flowtape.stream.strategy import Market, Orders, Strategy
from tests.stream.strategies import Flipper
from tests.stream.tapes import INSTRUMENT


class Keeper(Strategy):
    """Keeps whatever it is given."""

    def __init__(self, **kept: object) -> None:
        vars(self).update(kept)

    def on_decision(self, market: Market, orders: Orders) -> None: ...


class Other(Keeper):
    pass


class Mood(Enum):
    CALM = "calm"
    STORM = ("storm", 3)


class Rank(IntEnum):
    FIRST = 1
    SECOND = 2


class Marks(Flag):
    ONE = 1
    TWO = 2
    FOUR = 4


class Wide(IntFlag):
    ONE = 1


class OddFlags(Flag):
    ONE = 1
    TWO = 2

    @classmethod
    def _missing_(cls, value: object) -> Any:
        RAN.append("_missing_")
        return super()._missing_(value)


class Pair(NamedTuple):
    first: object
    second: object


@dataclass(frozen=True, slots=True)
class Level:
    price_ticks: int
    more: object = None


@dataclass(frozen=True, slots=True)
class Below(Level):
    lots: int = 0


class Node:
    def __init__(self, name: str) -> None:
        self.name = name
        self.book: dict[Any, Any] = {}

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.name == other.name


RAN: list[str] = []


class Loud:
    """Tells of every method of its own that runs."""

    def __init__(self) -> None:
        RAN.append("__init__")

    def __setattr__(self, name: str, value: object) -> None:
        RAN.append("__setattr__")

    def __setstate__(self, state: object) -> None:
        RAN.append("__setstate__")

    def __reduce__(self) -> str:
        RAN.append("__reduce__")
        return "Loud"

    @property
    def guarded(self) -> int:
        return 1

    @guarded.setter
    def guarded(self, value: int) -> None:
        RAN.append("setter")


class Made:
    def __new__(cls) -> "Made":
        RAN.append("__new__")
        return super().__new__(cls)


class Dying:
    def __del__(self) -> None:
        RAN.append("__del__")


class OwnList(list[int]):
    pass


@dataclass
class Gambler(Flipper):
    """Keeps much of what a strategy may keep, and decides by it."""

    decide: ClassVar[Decide] = Decide(grid_us=500_000, on_fill=True)
    seed: int = 5
    seen: deque[int] = field(default_factory=lambda: deque(maxlen=20))
    by_price: dict[int, Level] = field(default_factory=dict)

    def on_start(self, market: Market) -> None:
        super().on_start(market)
        self.rng, self.plain = np.random.default_rng(self.seed), random.Random(self.seed)
        self.mood = Mood.CALM
        self.sums = np.zeros(4, np.int64)
        self.latest = self.seen

    def on_decision(self, market: Market, orders: Orders) -> None:
        self.seen.append(market.last_ticks)
        self.sums[self.calls % 4] += market.last_ticks
        level = self.by_price.setdefault(market.last_ticks, Level(market.last_ticks, []))
        level.more.append(self.calls)  # type: ignore[attr-defined]
        self.mood = Mood.STORM if len(level.more) % 2 else Mood.CALM  # type: ignore[arg-type]
        lots = int(self.rng.integers(1, 5_000)) + self.plain.randrange(100) + int(self.sums[0] % 9)
        if self.mood is Mood.STORM and self.plain.random() < 0.3:
            orders.buy(lots, min(self.latest) - 2)
        super().on_decision(market, orders)


def lock() -> object:
    return threading.Lock()


PRICES = np.arange(12, dtype=np.int64).reshape(3, 4)
RECORDS = np.zeros(
    3, [("ts_us", "<i8"), ("name", "S5"), ("rows", "<f8", (2, 2)), ("at", "<M8[us]")]
)
RECORDS["rows"][1] = np.pi
PADDED = np.zeros(2, np.dtype({"names": ["a", "b"], "formats": ["i1", ">i4"], "offsets": [0, 8]}))

VALUES: dict[str, object] = {
    "nothing": None,
    "truth": [True, False],
    "numbers": [0, -1, 2**53, 2**53 + 1, -(2**200), 1 << 20_000],
    "floats": [0.1, -0.0, 5e-324, 1e308, float("inf"), float("-inf"), float("nan")],
    "texts": ["", "ä€😀", "\ud800\udc00", "\udfff", "x" * 100, "\x00\n", "__class__"],
    "bytes": [b"", b"\x00\xff", bytearray(b"abc"), bytearray()],
    "rows": [[], (), (1,), [[1], (2, [3])], deque([1, 2], 5), deque([1]), deque(maxlen=0)],
    "dicts": [{}, {"b": 1, "a": 2, 3: None, (1, "x"): [2]}, {1.5: {}, None: 0, b"x": 1}],
    "more dicts": [OrderedDict(b=1, a=2), Counter("abca"), Counter(), defaultdict(None, a=1)],
    "factories": [defaultdict(kind, a=1) for kind in (list, int, float, dict, set, str)],
    "arrays": [PRICES, PRICES[::2, 1:3], PRICES.T, np.zeros((0, 3)), np.array(5), np.array([True])],
    "records": [RECORDS, RECORDS[1], RECORDS[:0], PADDED, np.zeros(0, np.dtype([]))],
    "odd arrays": [np.array(["ab", "c"]), np.array([1], ">u2"), np.array([1j]), np.array([b"x"])],
    "scalars": [np.int64(3), np.float32(0.1), np.bool_(True), np.str_("x"), np.datetime64(7, "us")],
    "more scalars": [np.str_(""), np.bytes_(b"ab"), np.timedelta64(3, "s"), np.float64("nan")],
    "exact": [Decimal("1.10"), Decimal("-0E+5"), Decimal("NaN123"), Fraction(-3, 7)],
    "times": [datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), datetime(1, 1, 1, fold=1), UTC],  # noqa: DTZ001
    "days": [date(2026, 1, 2), timedelta(-1, 5, 7), timedelta.max],
    "members": [Mood.CALM, Mood.STORM, Rank.SECOND, Lane.BASE, OddFlags.ONE],
    "flags": [Marks.ONE, Marks.ONE | Marks.FOUR, Marks(0), OrderFlag(5), ~Marks.ONE],
    "classes": [Keeper, Level, Mood, Instrument],
    "objects": [Level(1, [2]), Below(1, None, 3), Node("x"), Request(side=1), INSTRUMENT],
    "tuples": [Pair(1, [2]), Pair(Pair(1, 2), None)],
    "flowtape's": [EngineConfig(), Lane, TimeBars(1_000_000)],
}
