"""What a session fixes before its first input."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from flowtape._kernel import ABI_VERSION, Kernel
from flowtape.stream.decimals import parse_decimal
from flowtape.stream.errors import InputError
from flowtape.stream.execution import (
    DEFAULT_LANES,
    FEE_TIERS_MAX,
    LANE_COUNT,
    LATENCY_POINTS,
    AccountKind,
    FeeTier,
    FillModel,
    LaneRules,
    VenueRules,
)
from flowtape.stream.instrument import Instrument
from flowtape.stream.orderflow import NO_ORDER_FLOW, BarSeries, OrderFlow, TimeBars, make_orderflow
from flowtape.stream.records import (
    CONFIG,
    LANE,
    MARKET,
    VENUE_RULES,
    Records,
    i128_pair,
)

SECOND_US = 1_000_000

SERIES_MAX = 8
INSTRUMENTS_MAX = 64

# Fees are charged at the precision in which Binance books commissions.
FEE_DECIMALS = 8


@dataclass(frozen=True, slots=True)
class Decide:
    """When a strategy is called: a function of the data alone.

    Attributes:
        grid_us: at the first trade at or behind each multiple of this stream time; 0: never.
        trades_count: at every m-th trade; 0: never.
        on_fill: after each trade that filled one of its orders.
    """

    grid_us: int = 0
    trades_count: int = 0
    on_fill: bool = False


@dataclass(frozen=True, slots=True)
class MarketSettings:
    """What one instrument of several has for itself; None: what the config says for all.

    Attributes:
        bubble_band_ticks: furthest price within a bubble from its first.
        leverage: of isolated positions.
        maintenance_ppm: margin that an isolated position must keep.
        rules: what the venue takes as an order.
    """

    bubble_band_ticks: int | None = None
    leverage: int | None = None
    maintenance_ppm: int | None = None
    rules: VenueRules | None = None


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of an engine; equal settings and inputs give equal results.

    Attributes:
        bars: the series of bars, at most 8. The first are time bars, which screens and strategies
            build on. With none, all order flow must be off, as `without_order_flow` makes it.
        orderflow: what else is worked out of the trades.
        bubbles: merge trades to bubbles.
        bubble_window_us: longest span of a bubble.
        bubble_band_ticks: furthest price within a bubble from its first.
        profile_rows_max: rows of the session profile, a power of two; wider ranges get wider rows;
            0: no profile.
        equity_grid_us: stream time between points of the equity curve besides fills; 0: fills only.
        latency_us: from a command to its arrival at the venue: one value, or up to 64 equally
            likely ones to draw from.
        seed: of the latency draws.
        maker_fee_ppb: fee of resting fills in billionths of the notional; negative is a rebate.
        taker_fee_ppb: fee of taking fills.
        fee_tiers: better fees from an own volume on, ascending.
        initial_cash: decimal text in the quote asset.
        orders_max: open orders at most, up to 4096.
        fill_model: how fills are made.
        spread_ppm: the whole spread of the simple model.
        lanes: assumptions of the optimistic, the base and the pessimistic lane.
        all_lanes: settle all three; else the base lane alone.
        trace: tell of prints that reached an order and gave it nothing.
        queue_window: broken levels a side that the queue estimate is made of; 0: no estimate.
        touch_stale_us: age at which a side's last print says nothing any more.
        ioc_window_us: how long after its first print an IOC order may still fill.
        account: what the account may do.
        leverage: of isolated positions.
        maintenance_ppm: margin that an isolated position must keep, in millionths of its value.
        rules: what the venue takes as an order.
        markets: what instruments have for themselves, in the order of their numbers.
        decide: when the strategy is called.
    """

    bars: tuple[BarSeries, ...] = (TimeBars(SECOND_US),)
    orderflow: OrderFlow = field(default_factory=OrderFlow)
    bubbles: bool = True
    bubble_window_us: int = SECOND_US // 2
    bubble_band_ticks: int = 0
    profile_rows_max: int = 1 << 14
    equity_grid_us: int = 0
    latency_us: int | tuple[int, ...] = 20_000
    seed: int = 0
    maker_fee_ppb: int = 1_000_000
    taker_fee_ppb: int = 1_000_000
    fee_tiers: tuple[FeeTier, ...] = ()
    initial_cash: str = "100000"
    orders_max: int = 256
    fill_model: FillModel = FillModel.QUEUED
    spread_ppm: int = 200
    lanes: tuple[LaneRules, LaneRules, LaneRules] = DEFAULT_LANES
    all_lanes: bool = True
    trace: bool = True
    queue_window: int = 1024
    touch_stale_us: int = SECOND_US // 2
    ioc_window_us: int = 0
    account: AccountKind = AccountKind.FREE
    leverage: int = 1
    maintenance_ppm: int = 5_000
    rules: VenueRules = field(default_factory=VenueRules)
    markets: tuple[MarketSettings, ...] = ()
    decide: Decide = field(default_factory=Decide)

    @property
    def bar_us(self) -> int:
        """Span of the first series' bars; a second where there are none."""
        return self.bars[0].threshold if self.bars else SECOND_US

    def __post_init__(self) -> None:
        if len(self.bars) > SERIES_MAX:
            count = len(self.bars)
            raise InputError(f"an engine has at most {SERIES_MAX} series of bars, not {count}")
        if self.bars and not isinstance(self.bars[0], TimeBars):
            raise InputError("the first series of an engine must be time bars")
        none = replace(NO_ORDER_FLOW, sums=self.orderflow.sums)
        quiet = not self.bubbles and not self.profile_rows_max and self.orderflow == none
        if not self.bars and not quiet:
            raise InputError("an engine without bars must have all other order flow off too")

    def without_order_flow(self, *, sums: bool = True) -> "EngineConfig":
        """Return the same settings with nothing worked out but orders: the same fills, faster.

        With `sums` the session's volume, delta, notional, high and low are kept; without, they
        read 0.
        """
        none = replace(NO_ORDER_FLOW, sums=sums)
        return replace(self, bars=(), bubbles=False, profile_rows_max=0, orderflow=none)


def bubble_band_ticks(price_ticks: int) -> int:
    """Return the default bubble band for an instrument at a price: half a basis point."""
    return price_ticks // 20_000


def money_decimals(*instruments: Instrument) -> int:
    """Return the decimals of the quote asset that one atom of an account's money stands for.

    Instruments that share an account share the finest.
    """
    return max((FEE_DECIMALS, *(one.price_decimals + one.qty_decimals for one in instruments)))


def atoms_per_ticklot(instrument: Instrument, decimals: int) -> int:
    """Return how many atoms one tick times one lot is, for money of so many decimals."""
    return int(10 ** (decimals - instrument.price_decimals - instrument.qty_decimals))


def make_kernel(
    instruments: Instrument | Sequence[Instrument], config: EngineConfig, bubbles_kept: int
) -> Kernel:
    """Return a kernel for one instrument or several; raises InputError for bad settings.

    All instruments share one account, whose money has the decimals of the finest.
    """
    header, markets = kernel_records(instruments, config)
    return Kernel(header.view(np.uint8), markets.view(np.uint8), bubbles_kept)


def kernel_records(
    instruments: Instrument | Sequence[Instrument], config: EngineConfig
) -> tuple[Records, Records]:
    """Return what a kernel is made of: records of `records.CONFIG` and of `records.MARKET`."""
    if isinstance(instruments, Instrument):
        instruments = (instruments,)
    if not 1 <= len(instruments) <= INSTRUMENTS_MAX:
        count = len(instruments)
        raise InputError(f"an account holds 1 to {INSTRUMENTS_MAX} instruments, not {count}")
    if len(config.markets) > len(instruments):
        given, there = len(config.markets), len(instruments)
        raise InputError(f"settings for {given} markets were given, but there are {there}")
    decimals = money_decimals(*instruments)
    own = (*config.markets, *[MarketSettings()] * (len(instruments) - len(config.markets)))
    try:
        markets = [
            _market_record(instrument, _for_market(config, one), decimals)
            for instrument, one in zip(instruments, own, strict=True)
        ]
        return _config_record(config, decimals), np.concatenate(markets)
    except (OverflowError, ValueError) as error:
        raise InputError(f"a setting of the engine is out of range: {error}") from None


def latency_points(latency_us: int | tuple[int, ...]) -> NDArray[np.int64]:
    """Return the 64 equally likely latencies; fewer values are each taken as often as can be."""
    values = (latency_us,) if isinstance(latency_us, int) else latency_us
    if not 1 <= len(values) <= LATENCY_POINTS:
        raise ValueError(f"latency_us takes 1 to {LATENCY_POINTS} values, was given {len(values)}")
    places = np.arange(LATENCY_POINTS) * len(values) // LATENCY_POINTS
    return np.array(sorted(values), np.int64)[places]


def _config_record(config: EngineConfig, decimals: int) -> Records:
    atoms = 10 ** (decimals - FEE_DECIMALS)
    record = np.zeros(1, CONFIG)
    record["abi_version"] = ABI_VERSION
    record["decide_trades_count"] = config.decide.trades_count
    record["decide_grid_us"] = config.decide.grid_us
    record["decide_on_fill"] = config.decide.on_fill
    record["lane_count"] = LANE_COUNT if config.all_lanes else 1
    record["account_kind"] = config.account
    record["fee_unit_atoms"] = atoms
    record["initial_cash_atoms"] = i128_pair(
        parse_decimal(config.initial_cash, FEE_DECIMALS) * atoms
    )
    for name in (
        "orders_max",
        "seed",
        "equity_grid_us",
        "fill_model",
        "trace",
        "queue_window",
        "touch_stale_us",
        "ioc_window_us",
        "spread_ppm",
    ):
        record[name] = getattr(config, name)
    for place, lane in enumerate(config.lanes):
        for name in LANE.names or ():
            record["lanes"][name][0, place] = getattr(lane, name)
    tiers = (FeeTier("0", config.maker_fee_ppb, config.taker_fee_ppb), *config.fee_tiers)
    if len(tiers) > FEE_TIERS_MAX:
        raise ValueError(f"at most {FEE_TIERS_MAX - 1} fee_tiers")
    record["fee_tier_count"] = len(tiers)
    for place, tier in enumerate(tiers):
        from_atoms = parse_decimal(tier.from_quote, FEE_DECIMALS) * atoms
        record["fee_tiers"][0, place] = (i128_pair(from_atoms), tier.maker_ppb, tier.taker_ppb)
    record["latency_us"][0] = latency_points(config.latency_us)
    return record


def _for_market(config: EngineConfig, own: MarketSettings) -> EngineConfig:
    given = {f.name: getattr(own, f.name) for f in fields(own)}
    return replace(config, **{name: value for name, value in given.items() if value is not None})


def _market_record(instrument: Instrument, config: EngineConfig, decimals: int) -> Records:
    record = np.zeros(1, MARKET)
    record["atoms_per_ticklot"] = atoms_per_ticklot(instrument, decimals)
    record["leverage"] = config.leverage
    record["maintenance_ppm"] = config.maintenance_ppm
    for name in VENUE_RULES.names or ():
        record["rules"][name] = getattr(config.rules, name)
    record["flow"] = make_orderflow(
        config.orderflow,
        config.bars,
        bubbles_on=config.bubbles,
        bubble_window_us=config.bubble_window_us,
        bubble_band_ticks=config.bubble_band_ticks,
        profile_rows_max=config.profile_rows_max,
    )
    return record
