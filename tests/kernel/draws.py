"""Random configurations, orders and scripts, from ranges so small that things collide.

All of it is drawn from a `random.Random`: one of a seed, or one that hypothesis steers.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from flowtape.stream.errors import KernelError
from tests.kernel import drive
from tests.kernel.config import (
    DEFAULT_LANES,
    GROUP,
    PPM,
    QUEUE_NEVER,
    AccountKind,
    Config,
    FeeTier,
    FillModel,
    Flag,
    Kind,
    Lane,
    Market,
    Request,
    Rules,
    Tif,
)
from tests.kernel.reference import FlowConfig

Event = tuple[Any, ...]
Step = tuple[int, int, int, int, int]
"""A print relative to what was before: time, price, quantity, side, instrument."""

LIMITS = (Kind.LIMIT, Kind.STOP_LIMIT, Kind.TAKE_PROFIT_LIMIT)
TRIGGERED = (Kind.STOP, Kind.STOP_LIMIT, Kind.TAKE_PROFIT, Kind.TAKE_PROFIT_LIMIT)
CLOSING = (Kind.MARKET, Kind.STOP, Kind.TAKE_PROFIT)


def one_in(rng: Random, count: int) -> bool:
    return rng.randrange(count) == count - 1


def price(rng: Random) -> int:
    if one_in(rng, 20):
        return rng.randint(1, 250)
    return rng.randint(96, 104) if rng.randrange(2) else rng.randint(90, 110)


def qty(rng: Random) -> int:
    return rng.randint(1, 12) if rng.randrange(2) else rng.randint(1, 60)


# Configurations


def lane_settings(rng: Random) -> tuple[Lane, ...]:
    """Three lanes of which none is kinder than the one before."""

    def three(*choices: int) -> list[int]:
        return sorted(rng.choice(choices) for _ in range(3))

    queues = three(0, 0, 200_000, 500_000, PPM, QUEUE_NEVER)
    shares = reversed(three(1, 200_000, 400_000, PPM))
    columns = zip(queues, shares, three(0, 0, 1, 3), three(0, 0, 1), strict=True)
    return tuple(Lane(*column) for column in columns)


RULES: dict[str, tuple[int, ...]] = {
    "price_step_ticks": (1, 1, 2),
    "price_min_ticks": (0, 92),
    "price_max_ticks": (0, 108),
    "qty_step_lots": (1, 1, 2),
    "qty_min_lots": (0, 3),
    "qty_max_lots": (0, 50),
    "market_qty_max_lots": (0, 30),
    "notional_min_ticklots": (0, 500),
    "price_up_ppm": (0, 1_050_000),
    "price_down_ppm": (0, 950_000),
}


def rule(rng: Random) -> tuple[int, int]:
    """A rule's number, and what it becomes; now and then what none can be."""
    number = rng.randrange(len(RULES))
    value = rng.choice(tuple(RULES.values())[number])
    return (number, value) if rng.randrange(12) else rng.choice([(number, -1), (10, value)])


def market_settings(rng: Random) -> Market:
    rules = Rules()
    if one_in(rng, 4):
        rules = Rules(**{name: rng.choice(values) for name, values in RULES.items()})
    flow = FlowConfig(
        bar_us=rng.choice([7, 50, 1000]),
        bubble_window_us=rng.choice([0, 3, 40, 1000]),
        bubble_band_ticks=rng.choice([0, 1, 5]),
        profile_rows_max=rng.choice([2, 8, 64]),
    )
    return Market(
        atoms_per_ticklot=rng.choice([1, 10, 1000]),
        leverage=rng.choice([1, 3, 20]),
        maintenance_ppm=rng.choice([0, 5_000, 60_000]),
        rules=rules,
        flow=flow,
    )


def fee_ladder(rng: Random) -> tuple[FeeTier, ...]:
    def rate() -> int:
        return rng.choice([0, 1_000_000, 400_000, -100_000, 37_777])

    starts = [s for s in (500, 5_000, 50_000, 10**6) if rng.randrange(2)]
    return tuple(FeeTier(start, rate(), rate()) for start in [0, *starts])


def latency_table(rng: Random) -> tuple[int, ...]:
    if rng.randrange(2):
        return (rng.choice([0, 0, 1, 30]),)
    return tuple(rng.randint(0, 60) for _ in range(rng.choice([2, 5, 64])))


def config(rng: Random, **fixed: Any) -> Config:
    drawn = Config(
        markets=tuple(market_settings(rng) for _ in range(rng.choice([1, 1, 2]))),
        orders_max=rng.choice([40, 40, 3]),
        seed=rng.choice([0, 7, 2**64 - 1]),
        decide_trades_count=rng.choice([0, 0, 1, 3]),
        decide_grid_us=rng.choice([0, 0, 5, 100]),
        decide_on_fill=rng.choice([0, 1]),
        equity_grid_us=rng.choice([0, 10, 100]),
        fill_model=rng.choice([FillModel.QUEUED] * 3 + [FillModel.SPREAD]),
        account_kind=rng.choice([AccountKind.FREE, *AccountKind]),
        lane_count=rng.choice([3, 3, 3, 1]),
        trace=rng.choice([0, 1]),
        queue_window=rng.choice([256, 256, 20, 0]),
        touch_stale_us=rng.choice([0, 20, 500_000]),
        ioc_window_us=rng.choice([0, 15]),
        spread_ppm=rng.choice([0, 10_000, 33_333]),
        fee_unit_atoms=rng.choice([1, 100]),
        initial_cash_atoms=rng.choice([10**9, 100_000, 10**9, 3_000]),
        lanes=rng.choice([DEFAULT_LANES, lane_settings(rng)]),
        fee_tiers=fee_ladder(rng),
        latencies_us=latency_table(rng),
    )
    return replace(drawn, **fixed)


# Orders


def flags_of(rng: Random, kind: Kind, *, quick: bool) -> Flag:
    flags = Flag.NONE
    if kind in LIMITS and not quick and one_in(rng, 6):
        flags |= Flag.POST_ONLY
    if one_in(rng, 8):
        flags |= Flag.REDUCE_ONLY
    if kind in CLOSING and one_in(rng, 6):
        flags |= Flag.CLOSE_POSITION
    if kind not in (Kind.MARKET, Kind.LIMIT) and one_in(rng, 4):
        flags |= Flag.ON_MARK
    if kind == Kind.TRAILING_STOP and rng.randrange(2):
        flags |= Flag.TRAIL_PPM
    return flags


def request(
    rng: Random, now: int, market_count: int, links: Sequence[int] = (), **fixed: int
) -> Request:
    """An order of any kind whose parts go together; `links` may become parent or sibling."""
    kind = rng.choice([Kind.LIMIT] * 3 + list(Kind))
    quick = one_in(rng, 4)
    tif = rng.choice([Tif.IOC, Tif.FOK] if quick else [Tif.GTC, Tif.GTC, Tif.GTD])
    flags = flags_of(rng, kind, quick=quick)
    lots = 0 if flags & Flag.CLOSE_POSITION else qty(rng)
    display = trail = trigger = 0
    if kind in LIMITS and not quick and lots > 1 and one_in(rng, 5):
        display = rng.randint(1, lots - 1)
    if kind == Kind.TRAILING_STOP:
        trail = rng.randint(1, 6) * (9_999 if flags & Flag.TRAIL_PPM else 1)
    if kind in TRIGGERED or (kind == Kind.TRAILING_STOP and rng.randrange(2)):
        trigger = price(rng)
    drawn = Request(
        client_id=rng.randint(0, 3),
        parent_id=rng.choice(links) if links and one_in(rng, 3) else 0,
        sibling_id=rng.choice(links) if links and one_in(rng, 3) else 0,
        qty_lots=lots,
        price_ticks=price(rng) if kind in LIMITS else 0,
        trigger_ticks=trigger,
        trail=trail,
        display_lots=display,
        expire_us=now + rng.randint(1, 200) if tif == Tif.GTD else 0,
        market=rng.randrange(market_count),
        side=rng.choice([1, -1]),
        kind=kind,
        time_in_force=tif,
        flags=flags,
    )
    return replace(drawn, **fixed)


def group(rng: Random, now: int, market_count: int, links: Sequence[int] = ()) -> list[Request]:
    """Single orders, pairs, brackets, and orders that hang on what is open."""
    shape = rng.choice(["single"] * 3 + ["pair", "bracket", "bracket", "loose"])
    if shape == "single":
        return [request(rng, now, market_count, links)]
    first = request(rng, now, market_count)

    def related(side: int, **more: int) -> Request:
        return request(rng, now, market_count, (), side=side, market=first.market, **more)

    if shape == "pair":
        return [first, related(first.side, sibling_id=GROUP)]
    if shape == "loose":
        others = [request(rng, now, market_count, (*links, GROUP + i)) for i in range(2)]
        return [first, *others]
    profit = related(-first.side, parent_id=GROUP)
    loss = related(-first.side, parent_id=GROUP, sibling_id=GROUP + 1)
    return [first, profit, loss] if rng.randrange(2) else [first, profit]


def alone(rng: Random, now: int, market_count: int) -> Request:
    """An order that stands alone: no parent, no sibling, no reducing, no closing."""
    drawn = request(rng, now, market_count)
    flags = drawn.flags & ~(Flag.REDUCE_ONLY | Flag.CLOSE_POSITION)
    return replace(drawn, flags=int(flags), qty_lots=drawn.qty_lots or qty(rng))


# Scripts: what happens, in terms of what is there when it happens


KINDS_OF_EVENT = (
    *(["trade"] * 36 + ["trades"] * 12 + ["levels"] * 3 + ["clock"] * 5 + ["gap"]),
    *(["mark"] * 3 + ["funding"] + ["rule"] + ["place"] * 24 + ["cancel"] * 5 + ["cancel all"]),
    *(["amend"] * 9),
)


def step(rng: Random, market_count: int) -> Step:
    side = rng.choice([1, -1])
    return rng.randint(-3, 30), price(rng), qty(rng), side, rng.randrange(market_count)


def breaking_levels(side: int, volume: int, market: int) -> list[Step]:
    """More levels than a sample needs, broken on a side (-1: bids), ending near the orders."""
    return [(1, 100 + side * (i - 18), volume + i, side, market) for i in range(18)]


def rows_of(steps: Sequence[Step], now: int) -> list[drive.Trade]:
    rows, ts = [], now
    for wait, ticks, lots, side, market in steps:
        ts = max(1, ts + wait)
        rows.append((ts, ticks, lots, side, market))
    return rows


def event(rng: Random, market_count: int) -> Event:
    market, delay, back = rng.randrange(market_count), rng.choice([0, 0, 5]), rng.randint(1, 8)
    match rng.choice(KINDS_OF_EVENT):
        case "trade":
            happening: Event = ("trades", [step(rng, market_count)])
        case "trades":
            happening = ("trades", [step(rng, market_count) for _ in range(12)])
        case "levels":
            side, volume = rng.choice([1, -1]), rng.randint(1, 40)
            happening = ("trades", breaking_levels(side, volume, market))
        case "clock":
            happening = ("clock", rng.randint(0, 60))
        case "gap":
            happening = ("gap", market)
        case "mark":
            happening = ("mark", market, rng.randint(0, 20), price(rng))
        case "funding":
            rate = rng.choice([0, 100_000, -70_001, 10**6])
            happening = ("funding", market, rng.randint(0, 20), rate)
        case "rule":
            happening = ("rule", market, rng.randint(0, 20), *rule(rng))
        case "place":
            happening = ("place", delay, group(rng, 0, market_count, (1, 2, 3, 4)))
        case "cancel":
            happening = ("cancel", delay, back)
        case "cancel all":
            happening = ("cancel_all", delay, rng.choice([-1, market]))
        case _:
            trigger = rng.choice([0, 0, price(rng)])
            lots, ticks = rng.choice([0, qty(rng)]), rng.choice([0, price(rng)])
            happening = ("amend", delay, back, lots, ticks, trigger)
    return happening


def script(rng: Random, length: int, market_count: int) -> list[Event]:
    return [event(rng, market_count) for _ in range(length)]


def act(side: drive.Side, happening: Event) -> Any:
    """Let one event happen; returns what a command returned, or the status of its refusal."""
    try:
        return _act(side, side.now, *happening)
    except KernelError as error:
        return error.status


def _act(side: drive.Side, now: int, what: str, *values: Any) -> Any:
    def order_id(back: int) -> int:
        return max(1, int(side.snapshot(0)["next_order_id"]) - back)

    result: Any = None
    match (what, *values):
        case ("trades", steps):
            side.trades(rows_of(steps, now))
        case ("clock", wait):
            side.clock(now + wait)
        case ("gap", market):
            side.gap(market)
        case ("mark", market, wait, ticks):
            side.mark(market, now + wait, ticks)
        case ("funding", market, wait, rate):
            side.funding(market, now + wait, rate)
        case ("rule", market, wait, number, value):
            side.set_rule(market, now + wait, number, value)
        case ("place", delay, requests):
            at = now + delay
            result = side.place(at, [_now(asked, at, order_id) for asked in requests])
        case ("cancel", delay, back):
            side.cancel(now + delay, order_id(back))
        case ("cancel_all", delay, market):
            result = side.cancel_all(now + delay, market)
        case ("amend", delay, back, lots, ticks, trigger):
            side.amend(now + delay, order_id(back), lots, ticks, trigger)
    return result


def _now(asked: Request, at: int, order_id: Callable[[int], int]) -> Request:
    """Links count orders back from the newest; the end of a GTD order counts from now."""

    def link(number: int) -> int:
        return order_id(number) if 0 < number < GROUP else number

    return replace(
        asked,
        parent_id=link(asked.parent_id),
        sibling_id=link(asked.sibling_id),
        expire_us=asked.expire_us and asked.expire_us + at,
    )
