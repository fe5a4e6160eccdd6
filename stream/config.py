"""What a session fixes before its first input."""

from dataclasses import dataclass, field

from flowtape._kernel import Kernel
from flowtape.stream.decimals import parse_decimal
from flowtape.stream.errors import InputError
from flowtape.stream.instrument import Instrument
from flowtape.stream.orderflow import BarSeries, OrderFlow, TimeBars, make_orderflow

SECOND_US = 1_000_000

SERIES_MAX = 8

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
class EngineConfig:
    """Settings of an engine; equal settings and inputs give equal results.

    Attributes:
        bars: the series of bars, at most 8. The first are time bars, which screens and strategies
            build on.
        orderflow: what else is worked out of the trades.
        bubbles: merge trades to bubbles.
        bubble_window_us: longest span of a bubble.
        bubble_band_ticks: furthest price within a bubble from its first.
        profile_rows_max: rows of the session profile, a power of two; wider ranges get wider rows;
            0: no profile.
        equity_grid_us: stream time between points of the equity curve besides fills; 0: fills only.
        latency_us: from a command to its arrival at the venue.
        maker_fee_ppm: fee of resting fills in millionths of the notional; negative is a rebate.
        taker_fee_ppm: fee of taking fills.
        initial_cash: decimal text in the quote asset.
        orders_max: open orders at most, up to 4096.
        decide: when the strategy is called.
    """

    bars: tuple[BarSeries, ...] = (TimeBars(SECOND_US),)
    orderflow: OrderFlow = field(default_factory=OrderFlow)
    bubbles: bool = True
    bubble_window_us: int = SECOND_US // 2
    bubble_band_ticks: int = 0
    profile_rows_max: int = 1 << 14
    equity_grid_us: int = 0
    latency_us: int = 20_000
    maker_fee_ppm: int = 1_000
    taker_fee_ppm: int = 1_000
    initial_cash: str = "100000"
    orders_max: int = 256
    decide: Decide = field(default_factory=Decide)

    @property
    def bar_us(self) -> int:
        """Span of the first series' bars."""
        return self.bars[0].threshold

    def __post_init__(self) -> None:
        if not 1 <= len(self.bars) <= SERIES_MAX:
            raise InputError(
                f"an engine has 1 to {SERIES_MAX} series of bars, not {len(self.bars)}"
            )
        if not isinstance(self.bars[0], TimeBars):
            raise InputError("the first series of an engine must be time bars")


def bubble_band_ticks(price_ticks: int) -> int:
    """Return the default bubble band for an instrument at a price: half a basis point."""
    return price_ticks // 20_000


def money_decimals(instrument: Instrument) -> int:
    """Return the decimals of the quote asset that one atom of money stands for."""
    return max(FEE_DECIMALS, instrument.price_decimals + instrument.qty_decimals)


def atoms_per_ticklot(instrument: Instrument) -> int:
    """Return how many atoms of money one tick times one lot is."""
    grid = instrument.price_decimals + instrument.qty_decimals
    return int(10 ** (money_decimals(instrument) - grid))


def make_kernel(instrument: Instrument, config: EngineConfig, bubbles_kept: int) -> Kernel:
    """Return a kernel for an instrument; raises InputError for settings out of range."""
    decimals = money_decimals(instrument)
    try:
        return Kernel(
            orderflow=make_orderflow(
                config.orderflow,
                config.bars,
                bubbles_on=config.bubbles,
                bubble_window_us=config.bubble_window_us,
                bubble_band_ticks=config.bubble_band_ticks,
                profile_rows_max=config.profile_rows_max,
            ),
            decide_trades_count=config.decide.trades_count,
            decide_grid_us=config.decide.grid_us,
            decide_on_fill=config.decide.on_fill,
            equity_grid_us=config.equity_grid_us,
            latency_us=config.latency_us,
            maker_fee_ppm=config.maker_fee_ppm,
            taker_fee_ppm=config.taker_fee_ppm,
            atoms_per_ticklot=atoms_per_ticklot(instrument),
            fee_unit_atoms=10 ** (decimals - FEE_DECIMALS),
            initial_cash_atoms=parse_decimal(config.initial_cash, FEE_DECIMALS)
            * 10 ** (decimals - FEE_DECIMALS),
            orders_max=config.orders_max,
            bubbles_kept=bubbles_kept,
        )
    except (OverflowError, ValueError) as error:
        raise InputError(f"a setting of the engine is out of range: {error}") from None
