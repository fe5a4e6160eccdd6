"""Sessions that keep their own inputs, as a live feed makes them, without a network."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import numpy as np

from flowtape.connectors.binance.messages import AggTrade, encode
from flowtape.replay.generate import GeneratorConfig, generate
from flowtape.replay.sessions import live_genesis
from flowtape.replay.summary import summary_of
from flowtape.stream.config import SECOND_US, Decide, EngineConfig, bubble_band_ticks
from flowtape.stream.desk import carry_out
from flowtape.stream.engine import Engine
from flowtape.stream.ports import Ticket
from flowtape.stream.session import SessionWriter
from flowtape.stream.strategy import Market, Orders, Strategy
from flowtape.stream.trades import SELL, Trades

SEED = 1
MARKET = GeneratorConfig.preset("fine")


@dataclass
class Regular(Strategy):
    """An order every `every_s`, by turns a market order and a limit a little off the price."""

    decide: ClassVar[Decide] = Decide(grid_us=SECOND_US)

    every_s: int = 65
    lots: int = 1_000

    def on_start(self, market: Market) -> None:
        self._next_us = self._count = 0

    def on_decision(self, market: Market, orders: Orders) -> None:
        if market.now_us < self._next_us:
            return
        self._next_us = market.now_us + self.every_s * SECOND_US
        self._count += 1
        place = orders.buy if self._count % 2 else orders.sell
        place(self.lots, None if self._count % 4 < 2 else market.last_ticks)


@functools.cache
def trades(count: int) -> Trades:
    """Return the first trades of a seeded market."""
    return Trades.concat(list(generate(MARKET, seed=SEED, trades_count=count)))


def frames(some: Trades) -> list[str]:
    """Return trades as the venue's stream sends them."""
    made = []
    for agg_id, ts_us, price, qty, first_id, last_id, side in zip(
        *(column.tolist() for column in _columns(some)), strict=True
    ):
        frame = AggTrade(
            event_time=ts_us,
            symbol=MARKET.instrument.symbol,
            agg_id=agg_id,
            price=_decimal(price, MARKET.instrument.price_decimals),
            qty=_decimal(qty, MARKET.instrument.qty_decimals),
            first_id=first_id,
            last_id=last_id,
            trade_time=ts_us,
            is_buyer_maker=side == SELL,
        )
        made.append(encode(frame).decode())
    return made


def config() -> EngineConfig:
    """Return the settings that `flowtape record` has."""
    return EngineConfig(
        bubble_band_ticks=bubble_band_ticks(MARKET.start_price_ticks),
        equity_grid_us=60 * SECOND_US,
    )


def engine_of(
    writer: SessionWriter | None, strategy: Strategy | None = None, *, shown: bool = False
) -> Engine:
    """Return an engine of the market, kept by a writer if there is one."""
    recorded = None if writer is None else (writer.chain, writer)
    return Engine(MARKET.instrument, config(), strategy, shown=shown, recorded=recorded)


def writer_below(root: Path, strategy: Strategy | None = None) -> SessionWriter:
    """Begin a session."""
    genesis = live_genesis(MARKET.instrument, config(), strategy, None)
    return SessionWriter.create(root, genesis, datetime.now(UTC))


def cut(whole: Trades, sizes: tuple[int, int]) -> Iterator[Trades]:
    """Yield trades in events of random sizes, both bounds inclusive."""
    rng, at = np.random.default_rng(SEED), 0
    while at < len(whole):
        stop = min(at + int(rng.integers(sizes[0], sizes[1] + 1)), len(whole))
        yield whole.slice(at, stop)
        at = stop


def keep(
    root: Path,
    whole: Trades,
    *,
    sizes: tuple[int, int],
    strategy: Strategy | None = None,
    tickets: int = 0,
    ends: bool = True,
    seen: Callable[[Path, int], None] | None = None,
) -> Path:
    """Keep a session; returns its folder.

    `tickets` are market orders of people, evenly spread; without `ends` it is left as a killed
    process leaves it, but for its locks. `seen` is called with the folder and the trades so far.
    """
    writer = writer_below(root, strategy)
    engine = engine_of(writer, strategy)
    done = asked = 0
    for event in cut(whole, sizes):
        engine.apply_event(event)
        done += len(event)
        while asked < tickets * done // len(whole):
            side = 1 if asked % 2 else -1
            carry_out(engine, Ticket("order", side=side, qty_lots=1_000 + asked % 7), 0)
            asked += 1
        if seen is not None:
            seen(writer.folder, done)
    if ends:
        engine.end()
        writer.finish(summary_of(engine, writer.chain.value))
    return writer.folder


def _columns(some: Trades) -> tuple[np.ndarray, ...]:
    ids = (some.first_id, some.last_id)
    return (some.agg_id, some.ts_us, some.price_ticks, some.qty_lots, *ids, some.side)


def _decimal(value: int, decimals: int) -> str:
    digits = str(value).rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}"
