"""Sessions that keep their own inputs, made without a network."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from flowtape.replay.sessions import live_genesis
from flowtape.replay.summary import summary_of
from flowtape.stream.config import Decide, EngineConfig
from flowtape.stream.desk import carry_out
from flowtape.stream.engine import Engine
from flowtape.stream.ports import Clock, Event, Gap, Ticket
from flowtape.stream.session import Session, SessionWriter
from flowtape.stream.strategy import Strategy
from flowtape.stream.trades import Trades
from tests.stream.strategies import Flipper
from tests.stream.tapes import INSTRUMENT, make_columns

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CONFIG = EngineConfig(bubble_band_ticks=40, equity_grid_us=60_000_000)


class Calm(Flipper):
    """Few decisions, so that the tests take little time."""

    decide = Decide(grid_us=20_000_000)


def trades(count: int, seed: int = 5) -> Trades:
    columns = make_columns(count, seed)
    ids = np.arange(700, 700 + count, dtype=np.int64)
    return Trades(
        ids,
        columns.ts_us,
        columns.price_ticks,
        columns.qty_lots,
        ids * 3,
        ids * 3 + 2,
        columns.side,
    )


def events(count: int, seed: int = 5) -> Iterator[Event]:
    """Trades in pieces of odd sizes, with a statement behind some of them."""
    whole, rng, at = trades(count, seed), np.random.default_rng(seed), 0
    while at < count:
        stop = min(at + int(rng.integers(1, 900)), count)
        yield whole.slice(at, stop)
        if rng.random() < 0.1:
            yield Clock(int(whole.ts_us[at:stop].max()) + 3)
        if rng.random() < 0.02:
            yield Gap(int(whole.agg_id[stop - 1]), int(whole.agg_id[stop - 1]), "nobody has it")
        at = stop


def people_at(number: int) -> list[Ticket]:
    """What people ask for behind the `number`-th event."""
    if number % 9 == 4:
        return [Ticket("order", side=1, qty_lots=4_000)]
    if number % 9 == 7:
        return [
            Ticket("order", side=-1, qty_lots=3_000, limit_ticks=100_900),
            Ticket("order", side=1, qty_lots=2_000, limit_ticks=99_100),
        ]
    if number % 31 == 30:
        return [Ticket("flatten")]
    return []


def run_live(
    root: Path,
    count: int,
    strategy: Strategy | None = None,
    *,
    left_at: int | None = None,
    people: bool = True,
) -> Session:
    """Keep a session as a live feed would; `left_at` that event it is left without an end."""
    genesis = live_genesis(INSTRUMENT, CONFIG, strategy, None)
    writer = SessionWriter.create(root, genesis, NOW, sync="none")
    engine = Engine(
        genesis.instruments,
        genesis.config,
        strategy,
        shown=False,
        recorded=(writer.chain, writer),
    )
    for number, event in enumerate(events(count)):
        if number == left_at:
            writer.close()
            return Session.open(writer.folder)
        engine.apply_event(event)
        for ticket in people_at(number) if people else ():
            carry_out(engine, ticket, 0)
    engine.end()
    writer.finish(summary_of(engine, writer.chain.value))
    return Session.open(writer.folder)


def no_tape(*_: object) -> None:
    """A live session opens no tape."""
    raise AssertionError
