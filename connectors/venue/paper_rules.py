"""What the engine of a paper account is told: its rules, what was before, and what it refuses."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flowtape.connectors.venue.exchange_info import assets_of
from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.paper_forms import NEW_ORDER_REJECTED
from flowtape.connectors.venue.pieces import picked
from flowtape.connectors.venue.queries import BadQueryError
from flowtape.connectors.venue.rules import NOTIONAL_MIN
from flowtape.stream.config import EngineConfig, MarketSettings
from flowtape.stream.errors import InputError, KernelError
from flowtape.stream.execution import AccountKind, VenueRules
from flowtape.stream.inputs import Inputs
from flowtape.stream.trades import Trades

PAST_ROWS = 1 << 18
"""So many of the trades before the venue opened are told to the engine, of each symbol."""
ORDERS_MAX = 4_096

_FILTERS = {"BAD_PRICE": "PRICE_FILTER", "BAD_QTY": "LOT_SIZE", "CAPACITY": "MAX_NUM_ORDERS"}
_OWN_FILTERS = ("PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "NOTIONAL", "PERCENT_PRICE")


def traded_assets(listings: Sequence[Listing]) -> tuple[tuple[str, ...], str]:
    """Return the base assets and the one quote asset; raises InputError where they are more."""
    if any(listing.instrument.market != "spot" for listing in listings):
        raise InputError("--paper trades spot; serve spot tapes, or leave it out")
    assets = [assets_of(listing.symbol) for listing in listings]
    quotes = sorted({quote for _, quote in assets})
    if len(quotes) > 1:
        raise InputError(
            f"a paper account has one quote asset, but these have {' and '.join(quotes)}; "
            "start one venue for each"
        )
    return tuple(base for base, _ in assets), quotes[0]


def paper_config(listings: Sequence[Listing], config: EngineConfig) -> EngineConfig:
    """Return the settings of an account that trades as `exchangeInfo` says."""
    grids = [(one.instrument.price_decimals, one.instrument.qty_decimals) for one in listings]
    rules = [VenueRules(notional_min_ticklots=NOTIONAL_MIN * 10 ** sum(grid)) for grid in grids]
    return replace(
        config,
        account=AccountKind.SPOT,
        all_lanes=False,
        trace=False,
        orders_max=ORDERS_MAX,
        markets=tuple(MarketSettings(rules=rule) for rule in rules),
    )


def past_inputs(listings: Sequence[Listing]) -> Inputs:
    """Return what happened before the venue opened, by time."""
    parts = [Inputs.zeros(0)]
    for market, listing in enumerate(listings):
        left = PAST_ROWS
        for piece in reversed(listing.market.happened()):
            start = max(0, len(piece) - left)
            trades = sound_trades(piece.slice(start, len(piece)).trades)
            parts.append(Inputs.of_trades(trades, market))
            left -= len(piece) - start
            if left <= 0:
                break
    past = Inputs.concat(parts)
    return past.take(np.lexsort((past.agg_id, past.market, past.ts_us)))


def sound_trades(trades: Trades) -> Trades:
    """Return trades without rows that are no trades, such as those that were voided."""
    sound = (trades.price_ticks > 0) & (trades.qty_lots > 0)
    return trades if sound.all() else picked(trades, sound)


def kernel_refusal(error: KernelError) -> BadQueryError:
    """Return what a client is told where the kernel refuses."""
    if error.status == "UNKNOWN_ORDER":
        return BadQueryError(-2011, "Unknown order sent.")
    name = _FILTERS.get(error.status, error.status)
    if name in _OWN_FILTERS or error.status in _FILTERS:
        return BadQueryError(-1013, f"Filter failure: {name}")
    return BadQueryError(NEW_ORDER_REJECTED, f"{error.status}: {error}")
