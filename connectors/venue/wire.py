"""Trades as the bytes Binance would send for them."""

from msgspec import Raw, structs

from flowtape.connectors.binance.messages import (
    AggTrade,
    Combined,
    ExchangeInfo,
    FuturesAggTrade,
    RestAggTrade,
    RestFuturesAggTrade,
    ServerShutdown,
    SymbolInfo,
    encode,
)
from flowtape.connectors.binance.rows import Row
from flowtape.stream.decimals import format_decimal
from flowtape.stream.instrument import Instrument

SPOT_DECIMALS = 8
SHUTDOWN_STREAM = "!serverShutdown"

_QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "USD")


class Wire:
    """The encoder of one instrument.

    Spot pads prices and quantities with zeros to eight decimals; futures print the decimals of the
    instrument.
    """

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self._spot = instrument.market == "spot"
        self.stream = f"{instrument.symbol.lower()}@aggTrade"

    def frame(self, row: Row, event_us: int, *, combined: bool, micros: bool) -> str:
        """Return the stream frame of a trade that is pushed at `event_us`."""
        unit = 1 if micros else 1_000
        message: AggTrade | FuturesAggTrade
        if self._spot:
            message = AggTrade(
                event_time=event_us // unit,
                symbol=self.instrument.symbol,
                agg_id=row.agg_id,
                price=self._price(row),
                qty=self._qty(row),
                first_id=row.first_id,
                last_id=row.last_id,
                trade_time=row.ts_us // unit,
                is_buyer_maker=row.is_buyer_maker,
            )
        else:
            message = FuturesAggTrade(
                event_time=event_us // unit,
                agg_id=row.agg_id,
                symbol=self.instrument.symbol,
                price=self._price(row),
                qty=self._qty(row),
                qty_without_rpi=self._qty(row),
                first_id=row.first_id,
                last_id=row.last_id,
                trade_time=row.ts_us // unit,
                is_buyer_maker=row.is_buyer_maker,
            )
        return _framed(self.stream, encode(message), combined)

    def shutdown(self, event_us: int, *, combined: bool, micros: bool) -> str:
        """Return the frame that announces the end of the server."""
        message = ServerShutdown(event_time=max(1, event_us // (1 if micros else 1_000)))
        return _framed(SHUTDOWN_STREAM, encode(message), combined)

    def rest_rows(self, rows: list[Row], *, micros: bool) -> bytes:
        """Return the REST answer that holds `rows`."""
        unit = 1 if micros else 1_000
        if self._spot:
            return encode(
                [
                    RestAggTrade(
                        agg_id=row.agg_id,
                        price=self._price(row),
                        qty=self._qty(row),
                        first_id=row.first_id,
                        last_id=row.last_id,
                        trade_time=row.ts_us // unit,
                        is_buyer_maker=row.is_buyer_maker,
                    )
                    for row in rows
                ]
            )
        return encode(
            [
                RestFuturesAggTrade(
                    agg_id=row.agg_id,
                    price=self._price(row),
                    qty=self._qty(row),
                    qty_without_rpi=self._qty(row),
                    first_id=row.first_id,
                    last_id=row.last_id,
                    trade_time=row.ts_us // unit,
                    is_buyer_maker=row.is_buyer_maker,
                )
                for row in rows
            ]
        )

    def exchange_info(self, server_us: int, *, micros: bool) -> bytes:
        """Return exchangeInfo with the one symbol there is."""
        symbol = self.instrument.symbol
        quote = next((q for q in _QUOTES if symbol.endswith(q) and symbol != q), symbol[-3:])
        info = SymbolInfo(
            symbol=symbol,
            status="TRADING",
            base_asset=symbol.removesuffix(quote) or symbol,
            base_asset_precision=SPOT_DECIMALS,
            quote_asset=quote,
            quote_precision=SPOT_DECIMALS,
            filters=self._filters(),
            order_types=["LIMIT", "LIMIT_MAKER", "MARKET"],
        )
        if self._spot:
            info = structs.replace(
                info,
                quote_asset_precision=SPOT_DECIMALS,
                is_spot_trading_allowed=True,
                is_margin_trading_allowed=False,
                permissions=[],
                permission_sets=[["SPOT"]],
            )
        else:
            info = structs.replace(
                info,
                contract_type="PERPETUAL",
                price_precision=self.instrument.price_decimals,
                quantity_precision=self.instrument.qty_decimals,
            )
        limit = 6_000 if self._spot else 2_400
        return encode(
            ExchangeInfo(
                symbols=[info],
                server_time=server_us // (1 if micros else 1_000),
                rate_limits=[
                    {
                        "rateLimitType": "REQUEST_WEIGHT",
                        "interval": "MINUTE",
                        "intervalNum": 1,
                        "limit": limit,
                    }
                ],
            )
        )

    def _filters(self) -> list[dict[str, object]]:
        tick = self._text(1, self.instrument.price_decimals)
        step = self._text(1, self.instrument.qty_decimals)
        top = self._text(10**12, 0)
        return [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": top,
                "tickSize": tick,
            },
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": top, "stepSize": step},
            {
                "filterType": "NOTIONAL",
                "minNotional": self._text(5, 0),
                "applyMinToMarket": True,
                "maxNotional": top,
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
        ]

    def _price(self, row: Row) -> str:
        return self._text(row.price_ticks, self.instrument.price_decimals)

    def _qty(self, row: Row) -> str:
        return self._text(row.qty_lots, self.instrument.qty_decimals)

    def _text(self, value: int, decimals: int) -> str:
        if not self._spot or decimals >= SPOT_DECIMALS:
            return format_decimal(value, decimals)
        return format_decimal(value * 10 ** (SPOT_DECIMALS - decimals), SPOT_DECIMALS)


def _framed(stream: str, payload: bytes, combined: bool) -> str:
    return (encode(Combined(stream, Raw(payload))) if combined else payload).decode()
