"""The slow model's orders: their numbers, their latency, and what is refused at the door."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.kernel.config import (
    BASE,
    GROUP,
    NEVER,
    PPM,
    PRICE_MAX,
    QTY_MAX,
    TS_MAX,
    Config,
    Flag,
    Kind,
    Request,
    Rules,
    Stage,
    Tif,
)

STOPS = (Kind.STOP, Kind.STOP_LIMIT, Kind.TRAILING_STOP)
TAKE_PROFITS = (Kind.TAKE_PROFIT, Kind.TAKE_PROFIT_LIMIT)
WAITING_KINDS = STOPS + TAKE_PROFITS
LIMIT_KINDS = (Kind.LIMIT, Kind.STOP_LIMIT, Kind.TAKE_PROFIT_LIMIT)
AMENDABLE_TRIGGERS = (Kind.STOP, Kind.STOP_LIMIT, Kind.TAKE_PROFIT, Kind.TAKE_PROFIT_LIMIT)
CLOSING_KINDS = (Kind.MARKET, Kind.STOP, Kind.TAKE_PROFIT)

SUBMIT, CANCEL, AMEND = 0, 1, 2
GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def mix(x: int) -> int:
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & MASK
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def draw_us(config: Config, order_id: int, leg: int) -> int:
    bits = mix(config.seed + GOLDEN & MASK)
    bits = mix((bits ^ order_id) + GOLDEN & MASK)
    bits = mix((bits ^ leg) + GOLDEN & MASK)
    return config.latency_us[bits >> 58]


@dataclass
class OrderLane:
    remaining: int = 0
    filled: int = 0
    queue: int = 0
    shown: int = 0
    filled_ticklots: int = 0
    done: bool = False


@dataclass
class Order:
    order_id: int
    placed_input: int
    live_input: int
    active_us: int
    market: int
    side: int
    kind: Kind
    tif: Tif
    flags: Flag
    qty: int
    price: int
    trigger: int
    trail: int
    display: int
    expire_us: int
    parent_id: int
    sibling_id: int
    client_id: int
    lanes: dict[int, OrderLane]
    rank: int = 0
    cancel_us: int = NEVER
    amend_us: int = NEVER
    amend: tuple[int, int, int] = (0, 0, 0)
    best: int = 0
    first: int = 0
    first_us: int = 0
    stage: Stage = Stage.PENDING
    children: list[int] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return not all(lane.done for lane in self.lanes.values())

    @property
    def is_base_open(self) -> bool:
        return not self.base.done

    @property
    def has_limit(self) -> bool:
        return self.kind in LIMIT_KINDS

    @property
    def waits(self) -> bool:
        return self.kind in WAITING_KINDS

    @property
    def closes(self) -> bool:
        return bool(self.flags & Flag.CLOSE_POSITION)

    @property
    def reduces(self) -> bool:
        return bool(self.flags & (Flag.REDUCE_ONLY | Flag.CLOSE_POSITION))

    @property
    def on_mark(self) -> bool:
        return bool(self.flags & Flag.ON_MARK)

    @property
    def base(self) -> OrderLane:
        return self.lanes[BASE]

    def open_lanes(self) -> list[int]:
        return [lane for lane, numbers in self.lanes.items() if not numbers.done]

    def may_trade(self, ts: int, number: int) -> bool:
        return ts > self.active_us and number > self.live_input

    def request(self) -> tuple[int, ...]:
        return (
            self.client_id,
            self.parent_id,
            self.sibling_id,
            self.qty,
            self.price,
            self.trigger,
            self.trail,
            self.display,
            self.expire_us,
            self.market,
            self.side,
            self.kind,
            self.tif,
            self.flags,
        )


def flags_fit(r: Request) -> bool:
    kind, flags, quick = r.kind, r.flags, r.time_in_force in (Tif.IOC, Tif.FOK)
    limits, trails = kind in LIMIT_KINDS, kind == Kind.TRAILING_STOP
    by_ppm = bool(flags & Flag.TRAIL_PPM)
    faults = (
        kind not in tuple(Kind),
        r.time_in_force not in tuple(Tif),
        flags >= 2 * Flag.ON_MARK,
        flags & Flag.POST_ONLY and (quick or not limits),
        flags & Flag.CLOSE_POSITION and kind not in CLOSING_KINDS,
        flags & Flag.ON_MARK and kind not in WAITING_KINDS,
        trails and not 1 <= r.trail <= (PPM - 1 if by_ppm else PRICE_MAX),
        not trails and (r.trail or by_ppm),
        r.display_lots and (quick or not limits or not 1 <= r.display_lots < r.qty_lots),
        r.expire_us and r.time_in_force != Tif.GTD,
    )
    return not any(faults)


def numbers_fit(r: Request, ts: int) -> str | None:
    least = 0 if r.flags & Flag.CLOSE_POSITION else 1
    most = 0 if r.flags & Flag.CLOSE_POSITION else QTY_MAX
    least_trigger = 0 if r.kind == Kind.TRAILING_STOP else 1
    faults = {
        "BAD_QTY": not least <= r.qty_lots <= most,
        "BAD_PRICE": not fits(r.price_ticks, 1, wanted=r.kind in LIMIT_KINDS)
        or not fits(r.trigger_ticks, least_trigger, wanted=r.kind in WAITING_KINDS),
        "BAD_TIME": r.time_in_force == Tif.GTD and not ts < r.expire_us <= TS_MAX,
    }
    return next((status for status, at_fault in faults.items() if at_fault), None)


def fits(ticks: int, least: int, *, wanted: bool) -> bool:
    return least <= ticks <= PRICE_MAX if wanted else ticks == 0


def venue_refuses(
    rules: Rules, kind: Kind, flags: int, last: int, *, qty: int, price: int, trigger: int
) -> str | None:
    """The venue's name for the rule an order breaks; a number that is 0 is not looked at."""

    def outside(number: int, step: int, least: int, most: int) -> bool:
        return bool(number) and (number % step > 0 or number < least or 0 < most < number)

    limits, reduces = kind in LIMIT_KINDS, flags & (Flag.REDUCE_ONLY | Flag.CLOSE_POSITION)
    at = price if limits else last
    price_range = (rules.price_step_ticks, rules.price_min_ticks, rules.price_max_ticks)
    up, down = rules.price_up_ppm, rules.price_down_ppm
    faults = {
        "PRICE_FILTER": outside(price, *price_range) or outside(trigger, *price_range),
        "LOT_SIZE": outside(qty, rules.qty_step_lots, rules.qty_min_lots, rules.qty_max_lots),
        "MARKET_LOT_SIZE": not limits and 0 < rules.market_qty_max_lots < qty,
        "NOTIONAL": not reduces and at and qty * at < rules.notional_min_ticklots,
        "PERCENT_PRICE": limits
        and last
        and ((up and price * PPM > last * up) or (down and price * PPM < last * down)),
    }
    return next((status for status, at_fault in faults.items() if at_fault), None)


def links_fit(order: Order, known: dict[int, Order]) -> str | None:
    """Check parent and sibling against the open orders and the earlier ones of the call."""

    def is_open(order_id: int) -> bool:
        return order_id in known and known[order_id].is_base_open

    if order.parent_id:
        if not is_open(order.parent_id):
            return "UNKNOWN_ORDER"
        parent = known[order.parent_id]
        if parent.market != order.market or parent.parent_id or parent.closes:
            return "BAD_ORDER"
    if order.sibling_id:
        if not is_open(order.sibling_id):
            return "UNKNOWN_ORDER"
        sibling = known[order.sibling_id]
        if (
            sibling.market != order.market
            or sibling.side != order.side
            or sibling.sibling_id
            or sibling.parent_id != order.parent_id
        ):
            return "BAD_ORDER"
    return None


def resolve(link: int, ids: Sequence[int]) -> int:
    """The order a link names: an open one, or an earlier one of the same call; -1: neither."""
    if link < GROUP:
        return link
    return ids[link - GROUP] if link - GROUP < len(ids) else -1
