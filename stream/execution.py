"""The vocabulary of orders and fills, and what a session assumes about them.

The numbers are those of `kernel/include/flow_execution.h`; `docs/EXECUTION.md` states the rules.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag

PPM = 1_000_000
QUEUE_NEVER = PPM + 1
LANE_COUNT = 3
LATENCY_POINTS = 64
FEE_TIERS_MAX = 10
ALL_LANES = -1


class Lane(IntEnum):
    """A set of assumptions under which every order is settled."""

    OPTIMISTIC = 0
    BASE = 1
    PESSIMISTIC = 2


class OrderKind(IntEnum):
    """What an order is; LIQUIDATION stands in fills only."""

    MARKET = 0
    LIMIT = 1
    STOP = 2
    STOP_LIMIT = 3
    TAKE_PROFIT = 4
    TAKE_PROFIT_LIMIT = 5
    TRAILING_STOP = 6


class TimeInForce(IntEnum):
    """How long an order lives."""

    GTC = 0
    IOC = 1
    FOK = 2
    GTD = 3


class Flag(IntFlag):
    """Further instructions of an order."""

    POST_ONLY = 1
    REDUCE_ONLY = 2
    CLOSE_POSITION = 4
    TRAIL_PPM = 8
    ON_MARK = 16


class Stage(IntEnum):
    """Where an open order stands."""

    PENDING = 0
    HELD = 1
    WAITING = 2
    TAKING = 3
    RESTING = 4


class Role(IntEnum):
    """What a fill was."""

    MAKER = 0
    TAKER = 1
    LIQUIDATED = 2


class Change(IntEnum):
    """What happened to an order."""

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
    """Why it happened."""

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
    """How fills are made: by queue and shared volume, or by a fixed spread."""

    QUEUED = 0
    SPREAD = 1


class AccountKind(IntEnum):
    """What an account may do: anything, what it can pay for, or perpetuals on isolated margin."""

    FREE = 0
    SPOT = 1
    ISOLATED = 2


@dataclass(frozen=True, slots=True)
class LaneRules:
    """Assumptions of one lane; from lane to lane none may become kinder.

    Attributes:
        queue_ppm: quantile of the sampled levels that stands ahead of a resting order, in
            millionths; `QUEUE_NEVER`: only prints through its price fill it.
        participation_ppm: own orders' share of a print in millionths.
        slip_ticks: what takers pay beyond the touch.
        own_side_only: takers trade with prints of their own side only.
    """

    queue_ppm: int
    participation_ppm: int
    slip_ticks: int = 0
    own_side_only: bool = False


DEFAULT_LANES = (
    LaneRules(queue_ppm=0, participation_ppm=PPM),
    LaneRules(queue_ppm=PPM // 2, participation_ppm=PPM // 2),
    LaneRules(queue_ppm=QUEUE_NEVER, participation_ppm=PPM // 5, slip_ticks=1, own_side_only=True),
)


@dataclass(frozen=True, slots=True)
class FeeTier:
    """Fees from an own volume on.

    Attributes:
        from_quote: notional of the last 30 days in the quote asset, decimal text.
        maker_ppb: fee of resting fills in billionths of the notional; negative is a rebate.
        taker_ppb: fee of taking fills.
    """

    from_quote: str
    maker_ppb: int
    taker_ppb: int


@dataclass(frozen=True, slots=True)
class VenueRules:
    """What a venue takes as an order; 0: no such rule. Prices in ticks, quantities in lots."""

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
