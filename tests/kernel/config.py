"""Configurations, requests and the kernel's small numbers, as the tests write them down."""

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from tests.kernel.reference import FlowConfig

OPTIMISTIC, BASE, PESSIMISTIC = 0, 1, 2
ALL_LANES = -1
PPM, PPB = 1_000_000, 1_000_000_000
QUEUE_NEVER = PPM + 1
NEVER = 2**63 - 1
GROUP = 1 << 63
DAY_US = 86_400_000_000
PRICE_MAX, QTY_MAX, TS_MAX = 1 << 50, 1 << 56, 1 << 53


class Kind(IntEnum):
    MARKET = 0
    LIMIT = 1
    STOP = 2
    STOP_LIMIT = 3
    TAKE_PROFIT = 4
    TAKE_PROFIT_LIMIT = 5
    TRAILING_STOP = 6


class Tif(IntEnum):
    GTC = 0
    IOC = 1
    FOK = 2
    GTD = 3


class Flag(IntFlag):
    NONE = 0
    POST_ONLY = 1
    REDUCE_ONLY = 2
    CLOSE_POSITION = 4
    TRAIL_PPM = 8
    ON_MARK = 16


class Stage(IntEnum):
    PENDING = 0
    HELD = 1
    WAITING = 2
    TAKING = 3
    RESTING = 4


class Role(IntEnum):
    MAKER = 0
    TAKER = 1
    LIQUIDATED = 2


class Change(IntEnum):
    PLACED = 0
    RESTING = 1
    TAKING = 2
    WAITING = 3
    TRIGGERED = 4
    QUEUED = 5
    STARVED = 6
    FILLED = 7
    CANCEL_ASKED = 8
    CANCELED = 9
    AMEND_ASKED = 10
    AMENDED = 11
    EXPIRED = 12
    REJECTED = 13
    RELEASED = 14
    REDUCED = 15
    SLICED = 16
    UNKNOWN = 17


class Reason(IntEnum):
    NONE = 0
    BY_COMMAND = 1
    BY_AMENDMENT = 2
    BY_SIBLING = 3
    BY_PARENT = 4
    BY_LIQUIDATION = 5
    TIME_IS_UP = 6
    NOTHING_LEFT = 7
    NOT_ENOUGH = 8
    WOULD_TAKE = 9
    WOULD_TRIGGER = 10
    NOTHING_TO_REDUCE = 11
    INSUFFICIENT_BALANCE = 12
    BUDGET_SPENT = 13
    OTHER_SIDE = 14
    BY_CAPACITY = 15


class FillModel(IntEnum):
    QUEUED = 0
    SPREAD = 1


class AccountKind(IntEnum):
    FREE = 0
    SPOT = 1
    ISOLATED = 2


@dataclass(frozen=True)
class Lane:
    queue_ppm: int = 0
    participation_ppm: int = PPM
    slip_ticks: int = 0
    own_side_only: int = 0


@dataclass(frozen=True)
class FeeTier:
    from_atoms: int = 0
    maker_ppb: int = 0
    taker_ppb: int = 0


@dataclass(frozen=True)
class Rules:
    price_step_ticks: int = 1
    price_min_ticks: int = 0
    price_max_ticks: int = 0
    qty_step_lots: int = 1
    qty_min_lots: int = 0
    qty_max_lots: int = 0
    market_qty_max_lots: int = 0
    notional_min_ticklots: int = 0
    price_up_ppm: int = 0
    price_down_ppm: int = 0


@dataclass(frozen=True)
class Market:
    atoms_per_ticklot: int = 1
    leverage: int = 1
    maintenance_ppm: int = 0
    rules: Rules = Rules()
    flow: FlowConfig = field(default_factory=FlowConfig)


DEFAULT_LANES = (Lane(), Lane(500_000, 500_000), Lane(QUEUE_NEVER, 200_000, 1, 1))


@dataclass(frozen=True)
class Config:
    """Mirrors flow_config field by field; `markets` stands for the instruments beside it."""

    markets: tuple[Market, ...] = (Market(),)
    orders_max: int = 64
    seed: int = 0
    decide_trades_count: int = 0
    decide_grid_us: int = 0
    decide_on_fill: int = 0
    equity_grid_us: int = 0
    fill_model: int = FillModel.QUEUED
    account_kind: int = AccountKind.FREE
    lane_count: int = 3
    trace: int = 0
    queue_window: int = 256
    touch_stale_us: int = 500_000
    ioc_window_us: int = 0
    spread_ppm: int = 0
    fee_unit_atoms: int = 1
    initial_cash_atoms: int = 0
    lanes: tuple[Lane, ...] = DEFAULT_LANES
    fee_tiers: tuple[FeeTier, ...] = (FeeTier(),)
    latencies_us: tuple[int, ...] = (0,)
    """Repeated until there are 64."""

    @property
    def fee_tier_count(self) -> int:
        return len(self.fee_tiers)

    @property
    def latency_us(self) -> tuple[int, ...]:
        return (self.latencies_us * 64)[:64]

    @property
    def lanes_run(self) -> tuple[int, ...]:
        return (OPTIMISTIC, BASE, PESSIMISTIC) if self.lane_count == 3 else (BASE,)


@dataclass(frozen=True)
class Request:
    """Mirrors flow_request."""

    client_id: int = 0
    parent_id: int = 0
    sibling_id: int = 0
    qty_lots: int = 0
    price_ticks: int = 0
    trigger_ticks: int = 0
    trail: int = 0
    display_lots: int = 0
    expire_us: int = 0
    market: int = 0
    side: int = 1
    kind: int = Kind.LIMIT
    time_in_force: int = Tif.GTC
    flags: int = 0
