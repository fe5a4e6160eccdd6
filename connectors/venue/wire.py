"""Trades as the bytes Binance would send for them."""

import msgspec
import numpy as np

from flowtape.connectors.binance.messages import (
    RestAggTrade,
    RestFuturesAggTrade,
    ServerShutdown,
    encode,
)
from flowtape.connectors.binance.rows import Row
from flowtape.connectors.venue.frames import Shape, wrapped
from flowtape.stream.decimals import format_decimal
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import I64, SELL, Trades

SPOT_DECIMALS = 8
SHUTDOWN_STREAM = "!serverShutdown"


class Wire:
    """The encoder of one instrument.

    Spot pads prices and quantities with zeros to eight decimals; futures print the decimals of the
    instrument.
    """

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.spot = instrument.market == "spot"
        self.stream = f"{instrument.symbol.lower()}@aggTrade"
        # the form of one frame, to be filled by %; a symbol of any script is text of JSON here
        symbol = msgspec.json.encode(instrument.symbol).replace(b"%", b"%%")
        if self.spot:
            self._agg_trade = (
                b'{"e":"aggTrade","E":%d,"s":' + symbol + b',"a":%d,"p":"%b","q":"%b","f":%d,'
                b'"l":%d,"T":%d,"m":%b,"M":true}'
            )
            self._trade = (
                b'{"e":"trade","E":%d,"s":' + symbol + b',"t":%d,"p":"%b","q":"%b","T":%d,'
                b'"m":%b,"M":true}'
            )
        else:
            self._agg_trade = (
                b'{"e":"aggTrade","E":%d,"a":%d,"s":' + symbol + b',"p":"%b","q":"%b","nq":"%b",'
                b'"f":%d,"l":%d,"T":%d,"m":%b,"st":1}'
            )
            self._trade = (
                b'{"e":"trade","E":%d,"T":%d,"s":' + symbol + b',"t":%d,"p":"%b","q":"%b",'
                b'"X":"MARKET","m":%b,"st":1}'
            )

    def agg_trades(self, trades: Trades, event_us: I64, shape: Shape) -> list[bytes]:
        """Return the stream's frames for trades that are pushed at `event_us`."""
        unit = shape.unit_us
        events = (event_us // unit).tolist()
        ids = trades.agg_id.tolist()
        prices, qtys = self._columns(trades)
        firsts, lasts = trades.first_id.tolist(), trades.last_id.tolist()
        times = (trades.ts_us // unit).tolist()
        makers = _flags(trades)
        columns = (
            (events, ids, prices, qtys, firsts, lasts, times, makers)
            if self.spot
            else (events, ids, prices, qtys, qtys, firsts, lasts, times, makers)
        )
        payloads = [self._agg_trade % row for row in zip(*columns, strict=True)]
        return wrapped(self.stream, payloads, shape)

    def raw_trades(self, trades: Trades, event_us: I64, shape: Shape) -> list[bytes]:
        """Return frames of `@trade`: each aggregate as one trade, by the id of its last."""
        unit = shape.unit_us
        events = (event_us // unit).tolist()
        ids = raw_ids(trades).tolist()
        prices, qtys = self._columns(trades)
        times = (trades.ts_us // unit).tolist()
        makers = _flags(trades)
        columns = (
            (events, ids, prices, qtys, times, makers)
            if self.spot
            else (events, times, ids, prices, qtys, makers)
        )
        payloads = [self._trade % row for row in zip(*columns, strict=True)]
        return wrapped(f"{self.instrument.symbol.lower()}@trade", payloads, shape)

    def rest_rows(self, rows: list[Row], *, micros: bool) -> bytes:
        """Return the REST answer that holds `rows`."""
        unit = 1 if micros else 1_000
        if self.spot:
            return encode(
                [
                    RestAggTrade(
                        agg_id=row.agg_id,
                        price=self.price(row.price_ticks),
                        qty=self.qty(row.qty_lots),
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
                    price=self.price(row.price_ticks),
                    qty=self.qty(row.qty_lots),
                    qty_without_rpi=self.qty(row.qty_lots),
                    first_id=row.first_id,
                    last_id=row.last_id,
                    trade_time=row.ts_us // unit,
                    is_buyer_maker=row.is_buyer_maker,
                )
                for row in rows
            ]
        )

    def price(self, ticks: int) -> str:
        """Return a price as text."""
        return self._text(ticks, self.instrument.price_decimals)

    def qty(self, lots: int) -> str:
        """Return a quantity as text."""
        return self._text(lots, self.instrument.qty_decimals)

    def quote(self, tick_lots: int) -> str:
        """Return an amount of the quote asset as text; on spot decimals past the eighth are cut."""
        decimals = self.instrument.price_decimals + self.instrument.qty_decimals
        if self.spot and decimals > SPOT_DECIMALS:
            return format_decimal(tick_lots // 10 ** (decimals - SPOT_DECIMALS), SPOT_DECIMALS)
        return self._text(tick_lots, decimals)

    def _text(self, value: int, decimals: int) -> str:
        if not self.spot or decimals >= SPOT_DECIMALS:
            return format_decimal(value, decimals)
        return format_decimal(value * 10 ** (SPOT_DECIMALS - decimals), SPOT_DECIMALS)

    def _columns(self, trades: Trades) -> tuple[list[bytes], list[bytes]]:
        prices = self._texts(trades.price_ticks, self.instrument.price_decimals)
        return prices, self._texts(trades.qty_lots, self.instrument.qty_decimals)

    def _texts(self, values: I64, decimals: int) -> list[bytes]:
        if not decimals and not self.spot:
            return [b"%d" % value for value in values.tolist()]
        zeros = b"0" * (SPOT_DECIMALS - decimals) if self.spot else b""
        if not decimals:
            return [b"%d.%b" % (value, zeros) for value in values.tolist()]
        form = b"%%d.%%0%dd%b" % (decimals, zeros)
        wholes, parts = np.divmod(values, 10**decimals)
        return [form % pair for pair in zip(wholes.tolist(), parts.tolist(), strict=True)]


def raw_ids(trades: Trades) -> I64:
    """Return one id of a raw trade for each aggregate: its last, or its own where none is known."""
    return np.where(trades.last_id >= 0, trades.last_id, trades.agg_id)


def shutdown_notice(event_us: int, shape: Shape) -> list[bytes]:
    """Return the frame that announces the end of the server."""
    message = ServerShutdown(event_time=max(1, event_us // shape.unit_us))
    return wrapped(SHUTDOWN_STREAM, [encode(message)], shape)


def _flags(trades: Trades) -> list[bytes]:
    return [b"true" if side == SELL else b"false" for side in trades.side.tolist()]
