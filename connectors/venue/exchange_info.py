"""`exchangeInfo`: what a venue lists, in a form that strict clients can build markets from."""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from flowtape.connectors.binance.markets import MarketApi
from flowtape.connectors.binance.messages import ExchangeInfo, SymbolInfo, encode
from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.paper_limits import ORDER_LIMITS, TRAILING_BIPS
from flowtape.connectors.venue.rules import NOTIONAL_MIN, TOP_DIGITS
from flowtape.connectors.venue.wire import SPOT_DECIMALS, Wire

_QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "USD")


_SPOT_ORDER_TYPES = (
    *("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT"),
    *("TAKE_PROFIT", "TAKE_PROFIT_LIMIT"),
)


class _SpotSymbol(SymbolInfo, frozen=True, rename="camel"):
    """What may be done on spot, with a paper account."""

    iceberg_allowed: bool = True
    oco_allowed: bool = True
    oto_allowed: bool = False
    quote_order_qty_market_allowed: bool = True
    allow_trailing_stop: bool = True
    cancel_replace_allowed: bool = True
    amend_allowed: bool = True


class _FuturesSymbol(SymbolInfo, frozen=True, rename="camel"):
    """What futures clients look for besides."""

    pair: str = ""
    margin_asset: str = ""
    underlying_type: str = "COIN"
    delivery_date: int = 4_133_404_800_000
    onboard_date: int = 1_569_398_400_000
    time_in_force: tuple[str, ...] = ("GTC", "IOC", "FOK", "GTX")


def exchange_info(
    symbols: Sequence[SymbolInfo],
    api: MarketApi,
    server_us: int,
    *,
    micros: bool,
) -> bytes:
    """Return exchangeInfo with symbols."""
    limits = [_limit("REQUEST_WEIGHT", "MINUTE", 1, api.weight_per_minute)]
    if api.market == "spot":
        limits.append(_limit("RAW_REQUESTS", "MINUTE", 5, 300_000))
        limits += [limit.row() for limit in ORDER_LIMITS]
    return encode(
        ExchangeInfo(
            symbols=list(symbols),
            server_time=server_us // (1 if micros else 1_000),
            rate_limits=limits,
        )
    )


def assets_of(symbol: str) -> tuple[str, str]:
    """Return the base and the quote asset of a symbol, as far as its name tells."""
    quote = next((q for q in _QUOTES if symbol.endswith(q) and symbol != q), symbol[-3:])
    return symbol.removesuffix(quote) or symbol, quote


def _limit(kind: str, interval: str, count: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}


def symbol_info(listing: Listing, *, permission_sets: bool = True) -> SymbolInfo:
    """Return what is said of a symbol now."""
    wire, status, changed = listing.wire, listing.status, listing.filters
    instrument = wire.instrument
    symbol = instrument.symbol
    base, quote = assets_of(symbol)
    filters = [{**rule, **changed.get(rule["filterType"], {})} for rule in _filters(wire)]
    known = {rule["filterType"] for rule in filters}
    filters += [{"filterType": name, **changed[name]} for name in changed if name not in known]
    if wire.spot:
        return _SpotSymbol(
            symbol=symbol,
            status=status,
            base_asset=base,
            base_asset_precision=SPOT_DECIMALS,
            quote_asset=quote,
            quote_precision=SPOT_DECIMALS,
            filters=filters,
            order_types=list(_SPOT_ORDER_TYPES),
            quote_asset_precision=SPOT_DECIMALS,
            is_spot_trading_allowed=True,
            is_margin_trading_allowed=False,
            permissions=[],
            permission_sets=[["SPOT"]] if permission_sets else UNSET,
        )
    return _FuturesSymbol(
        symbol=symbol,
        status=status,
        base_asset=base,
        base_asset_precision=SPOT_DECIMALS,
        quote_asset=quote,
        quote_precision=SPOT_DECIMALS,
        filters=filters,
        order_types=["LIMIT", "MARKET"],
        contract_type="PERPETUAL",
        price_precision=instrument.price_decimals,
        quantity_precision=instrument.qty_decimals,
        pair=symbol,
        margin_asset=quote,
    )


def _filters(wire: Wire) -> list[dict[str, Any]]:
    tick, step = wire.price(1), wire.qty(1)
    top_price = wire.price(10 ** (wire.instrument.price_decimals + TOP_DIGITS))
    top_qty = wire.qty(10 ** (wire.instrument.qty_decimals + TOP_DIGITS))
    decimals = wire.instrument.price_decimals + wire.instrument.qty_decimals
    notional = wire.quote(NOTIONAL_MIN * 10**decimals)
    rules: list[dict[str, Any]] = [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": top_price, "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": top_qty, "stepSize": step},
        {"filterType": "MARKET_LOT_SIZE", "minQty": step, "maxQty": top_qty, "stepSize": step},
    ]
    if wire.spot:
        least, most = TRAILING_BIPS
        rules.append(
            {
                "filterType": "TRAILING_DELTA",
                "minTrailingAboveDelta": least,
                "maxTrailingAboveDelta": most,
                "minTrailingBelowDelta": least,
                "maxTrailingBelowDelta": most,
            }
        )
        rules.append(
            {
                "filterType": "NOTIONAL",
                "minNotional": notional,
                "applyMinToMarket": True,
                "maxNotional": top_price,
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            }
        )
    else:
        rules.append({"filterType": "MIN_NOTIONAL", "notional": notional})
    return rules
