"""Where Binance's markets live and what asking them costs."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from flowtape.connectors.binance.messages import SymbolInfo
from flowtape.stream.errors import InputError
from flowtape.stream.instrument import Instrument, Market

UNRULED_DECIMALS = 8
"""Decimals where the venue sets no step; spot texts never carry more."""


@dataclass(frozen=True, slots=True)
class MarketApi:
    """One market's addresses and request weights.

    `spare_stream_urls` bring the same streams as `stream_url`, for when it does not, and
    `spare_rest_urls` the same answers as `rest_url`, out of one budget of weights. Weights are
    charged against `weight_per_minute` for each IP address. `microseconds` says that the market can
    be asked for times in microseconds.
    Source: binance-spot-api-docs rest-api.md and web-socket-streams.md; USD-M general info.
    """

    market: Market
    stream_url: str
    rest_url: str
    stream_prefix: str
    rest_prefix: str
    weight_per_minute: int
    agg_trades_weight: int
    exchange_info_weight: int
    microseconds: bool
    spare_stream_urls: tuple[str, ...] = ()
    spare_rest_urls: tuple[str, ...] = ()

    def stream_address(self, base_url: str, symbol: str) -> str:
        """Return the address of the raw connection that carries the symbol's trades."""
        unit = "?timeUnit=MICROSECOND" if self.microseconds else ""
        return f"{base_url}{self.stream_prefix}/ws/{quote(symbol.lower())}@aggTrade{unit}"


SPOT = MarketApi(
    market="spot",
    stream_url="wss://stream.binance.com:9443",
    rest_url="https://api.binance.com",
    stream_prefix="",
    rest_prefix="/api/v3",
    weight_per_minute=6_000,
    agg_trades_weight=4,
    exchange_info_weight=20,
    microseconds=True,
    spare_stream_urls=("wss://stream.binance.com:443", "wss://data-stream.binance.vision"),
    spare_rest_urls=(
        "https://api-gcp.binance.com",
        "https://api1.binance.com",
        "https://data-api.binance.vision",
    ),
)

USD_M = MarketApi(
    market="um",
    stream_url="wss://fstream.binance.com",
    rest_url="https://fapi.binance.com",
    stream_prefix="/market",
    rest_prefix="/fapi/v1",
    weight_per_minute=2_400,
    agg_trades_weight=20,
    exchange_info_weight=1,
    microseconds=False,
)


def market_api(market: str) -> MarketApi:
    """Return how to reach a market; raises InputError for one that has no live connection."""
    for api in (SPOT, USD_M):
        if api.market == market:
            return api
    raise InputError(f"market {market!r} cannot be watched live; choose --market spot or um")


def base_url(url: str, schemes: tuple[str, str], flag: str) -> str:
    """Return `url` without what the client adds itself; raises InputError naming `flag`."""
    try:
        parts = urlsplit(url)
        reachable = parts.scheme in schemes and parts.hostname and parts.port != 0
    except ValueError:
        reachable = False
    if not reachable:
        raise InputError(f"{url!r} is no {schemes[0]}:// or {schemes[1]}:// address; check {flag}")
    trimmed = url.rstrip("/")
    for suffix in ("/ws", "/stream"):
        trimmed = trimmed.removesuffix(suffix)
    return trimmed


def is_loopback(url: str) -> bool:
    """Tell whether an address stays on this machine, where no proxy belongs in between."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def instrument_of(listed: SymbolInfo, market: Market) -> Instrument:
    """Return the instrument whose decimal grid holds the symbol's tick and step size."""
    return Instrument(
        listed.symbol,
        market,
        price_decimals=_step_decimals(listed, "PRICE_FILTER", "tickSize"),
        qty_decimals=_step_decimals(listed, "LOT_SIZE", "stepSize"),
    )


def unknown_symbol(symbol: str, market: Market) -> InputError:
    """Return the error for a symbol that the venue does not list."""
    return InputError(f"Binance {market} lists no symbol {symbol!r}; check the name and --market")


def _step_decimals(info: SymbolInfo, filter_type: str, key: str) -> int:
    found: dict[str, Any] = next(
        (rule for rule in info.filters if rule.get("filterType") == filter_type), {}
    )
    step = str(found.get(key, "0"))
    whole, _, fraction = step.partition(".")
    if not (whole + fraction).isdecimal():
        raise InputError(f"{info.symbol}: {filter_type} {key} {step!r} is no decimal number")
    if not (whole + fraction).strip("0"):
        return UNRULED_DECIMALS
    return len(fraction.rstrip("0"))
