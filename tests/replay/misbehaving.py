"""Strategies that do what no strategy should, each in its own way."""

import asyncio
import contextlib
import os
import random
import sys
import threading
import time
import zlib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from flowtape.stream.config import Decide
from flowtape.stream.errors import FlowError, InputError
from flowtape.stream.strategy import Market, Orders, Request, Strategy

GRID_US = 20_000_000


@dataclass
class Trader(Strategy):
    """Turns its position over; what it asks for is what `lots` says."""

    decide: ClassVar[Decide] = Decide(grid_us=GRID_US)

    def on_start(self, market: Market) -> None:
        self.calls = 0

    def lots(self, market: Market, orders: Orders) -> int:
        """How much to trade now, more than 0."""
        return 100 + market.last_ticks % 7

    def on_decision(self, market: Market, orders: Orders) -> None:
        self.calls += 1
        lots = self.lots(market, orders)
        if len(orders.open()) < 6:
            orders.buy(lots, market.last_ticks - 2)
            orders.sell(lots, market.last_ticks + 2)
        else:
            orders.flatten(market.position_lots)


@dataclass
class Raises(Trader):
    """Fails at one of its calls; 0 is its start."""

    at: int = 1
    how: str = "RuntimeError"

    def on_start(self, market: Market) -> None:
        super().on_start(market)
        if self.at == 0:
            self._fail()

    def lots(self, market: Market, orders: Orders) -> int:
        if self.calls == self.at:
            self._fail()
        return super().lots(market, orders)

    def _fail(self) -> None:
        if self.how == "RecursionError":
            self._fail()
        if self.how == "CancelledError":
            raise asyncio.CancelledError
        if self.how == "SystemExit":
            sys.exit("enough\nof it")
        raise {"RuntimeError": RuntimeError, "MemoryError": MemoryError}[self.how]("out of\nideas")


@dataclass
class WithoutEnd(Trader):
    """Places orders until it is stopped."""

    def lots(self, market: Market, orders: Orders) -> int:
        while True:
            orders.buy(1, market.last_ticks - 50)


@dataclass
class Sleeps(Trader):
    def lots(self, market: Market, orders: Orders) -> int:
        if self.calls % 50 == 0:
            time.sleep(0.005)
        return super().lots(market, orders)


@dataclass
class WallClock(Trader):
    def lots(self, market: Market, orders: Orders) -> int:
        return 1 + time.time_ns() // 1_000 % 1_000_003


@dataclass
class Unseeded(Trader):
    def on_start(self, market: Market) -> None:
        super().on_start(market)
        self.rng = random.Random()

    def lots(self, market: Market, orders: Orders) -> int:
        return self.rng.randint(1, 1_000_000)


@dataclass
class OrderOfSet(Trader):
    """Trades by the order in which Python keeps texts in a set, which differs between processes."""

    def lots(self, market: Market, orders: Orders) -> int:
        names = list({f"level {n}" for n in range(50)})
        return 1 + sum(place * int(name[6:]) for place, name in enumerate(names))


@dataclass
class Addresses(Trader):
    """Trades by where Python happens to keep it."""

    def lots(self, market: Market, orders: Orders) -> int:
        return 1 + id(self) // 16 % 1_000_003


@dataclass
class CountsRuns(Trader):
    """Remembers outside of itself how often it ran, and trades by that later on."""

    runs: ClassVar[list[int]] = [0]

    def on_start(self, market: Market) -> None:
        super().on_start(market)
        self.runs[0] += 1

    def lots(self, market: Market, orders: Orders) -> int:
        return 100 + (self.runs[0] if self.calls > 20 else 0)


@dataclass
class ReadsFile(Trader):
    """Trades by a file that someone may change."""

    path: str = ""

    def lots(self, market: Market, orders: Orders) -> int:
        return int(Path(self.path).read_text())


@dataclass
class ReadsEnvironment(Trader):
    def lots(self, market: Market, orders: Orders) -> int:
        return int(os.environ["FLOWTAPE_TEST_LOTS"])


@dataclass
class Writes(Trader):
    """Decides by every bit of what it is shown, and then writes to all of it."""

    writing: ClassVar[bool] = True

    def lots(self, market: Market, orders: Orders) -> int:
        seen = [zlib.crc32(np.asarray(records).tobytes()) for records in _shown(market, orders)]
        if self.writing:
            for records in _shown(market, orders):
                _scribble(records)
        return 1 + sum(seen) % 500


def _shown(market: Market, orders: Orders) -> list[Any]:
    return [
        *(market.snapshot, market.session, market.profile, market.bars, market.marks),
        *(market.bars_of(0), market.footprints_of(0), market.footprint_rows_of(0)),
        *(market.open_bar(), *market.open_footprint(), market.new_fills, market.new_bubbles),
        orders.open(),
    ]


def _scribble(records: Any) -> None:
    for name in records.dtype.names:
        with contextlib.suppress(ValueError, TypeError):
            field = records[name]
            if isinstance(field, np.ndarray) and field.dtype.names is None:
                field[...] = 5
            records[name] = np.ones((), records.dtype[name])


@dataclass
class Honest(Writes):
    """Decides as `Writes` does and writes nothing."""

    writing: ClassVar[bool] = False


@dataclass
class Anchors(Trader):
    """Not misbehaving at all: sets an anchor at its start and trades by it."""

    def on_start(self, market: Market) -> None:
        super().on_start(market)
        market.set_anchor(1)

    def lots(self, market: Market, orders: Orders) -> int:
        if self.calls == 30:
            market.set_anchor(2)
        return super().lots(market, orders)


@dataclass
class LendsOrders(Trader):
    """Has another thread ask for orders, and waits for it."""

    refused: ClassVar[list[str]] = []

    def lots(self, market: Market, orders: Orders) -> int:
        if self.calls % 40 == 1:
            thread = threading.Thread(target=self._ask, args=(orders, market.last_ticks - 9))
            thread.start()
            thread.join()
        return super().lots(market, orders)

    def _ask(self, orders: Orders, limit_ticks: int) -> None:
        try:
            orders.buy(77, limit_ticks)
        except InputError as error:
            self.refused.append(str(error))


@dataclass
class LeavesThreads(Trader):
    """Leaves threads behind that ask for orders at any time, until they are told to stop."""

    stop: ClassVar[threading.Event] = threading.Event()
    threads: ClassVar[list[threading.Thread]] = []

    def lots(self, market: Market, orders: Orders) -> int:
        if self.calls == 10:
            for _ in range(2):
                thread = threading.Thread(target=self._ask, args=(orders, market.last_ticks - 50))
                thread.start()
                self.threads.append(thread)
        return super().lots(market, orders)

    def _ask(self, orders: Orders, limit_ticks: int) -> None:
        while not self.stop.is_set():
            with contextlib.suppress(Exception):
                orders.buy(1, limit_ticks)
                orders.cancel_all()


@dataclass
class KeepsOrders(Trader):
    """Gives away what it may ask for orders with."""

    given: ClassVar[list[Orders]] = []

    def lots(self, market: Market, orders: Orders) -> int:
        self.given[:] = [orders]
        return super().lots(market, orders)


@dataclass
class AtBlocks(Trader):
    """Asks for an order behind the last input of each block."""

    decide: ClassVar[Decide] = Decide(trades_count=1 << 16)


GARBAGE: dict[str, Any] = {
    "nan": float("nan"),
    "numpy's nan": np.float64("nan"),
    "infinity": float("inf"),
    "half a lot": 1.5,
    "a whole float": 2.0,
    "numpy's half": np.float64(2.5),
    "less than nothing": -5,
    "2 to the 63": 2**63,
    "2 to the 70": 2**70,
    "a text": "12",
    "no number": "many",
    "a decimal": Decimal("1.5"),
    "a list": [1, 2],
    "an array": np.array([1, 2]),
    "a complex number": 1j,
}


@dataclass
class Garbage(Trader):
    """Asks for what cannot be, and goes on with whatever it was told."""

    kind: str = "nan"

    def on_start(self, market: Market) -> None:
        super().on_start(market)
        self.taken: list[str] = []

    def lots(self, market: Market, orders: Orders) -> int:
        if self.calls == 3:
            self._ask(GARBAGE[self.kind], market.last_ticks, orders)
        return super().lots(market, orders)

    def _ask(self, bad: Any, last_ticks: int, orders: Orders) -> None:
        order_id = orders.buy(10, last_ticks - 40)
        asked = {
            "quantity": lambda: orders.buy(bad, last_ticks - 5),
            "price": lambda: orders.sell(5, bad),
            "stop": lambda: orders.place(Request(side=-1, qty_lots=5, stop_ticks=bad)),
            "amended price": lambda: orders.amend(order_id, limit_ticks=bad),
            "amended quantity": lambda: orders.amend(order_id, qty_lots=bad),
            "id": lambda: orders.cancel(bad),
        }
        for name, ask in asked.items():
            with contextlib.suppress(FlowError, TypeError, ValueError, OverflowError):
                ask()
                self.taken.append(name)
