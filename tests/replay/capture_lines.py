"""Captures of every form, and messages to put into them."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flowtape.replay.tapes import TapeStore
from flowtape.stream.decimals import format_decimal
from tests.replay.archive_files import Row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def event(row: Row, market: str = "spot", symbol: str = "BTCUSDT") -> str:
    """Return the event of a trade as Binance sends it."""
    message = {"e": "aggTrade", "E": row.time + 3, "s": symbol, "a": row.agg_id, "p": row.price}
    message |= {"q": row.qty}
    if market == "um":
        message |= {"nq": row.qty}
    message |= {"f": row.first_id, "l": row.last_id, "T": row.time, "m": row.maker}
    message |= {"spot": {"M": True}, "um": {"st": 1}}.get(market, {})
    return json.dumps(message, separators=(",", ":"))


def combined(message: str) -> str:
    """Return a message in the envelope of a combined stream."""
    name = f"{json.loads(message)['s'].lower()}@aggTrade"
    return f'{{"stream":"{name}","data":{message}}}'


def _iso(us: int) -> str:
    return (EPOCH + timedelta(microseconds=us)).isoformat()


WRAPPERS: dict[str, Callable[[str], str]] = {
    "event": lambda message: message,
    "combined": combined,
    "spaced": lambda message: json.dumps({"data": json.loads(message), "stream": "x"}, indent=None),
    "as text": lambda message: json.dumps({"rx": 1.5, "raw": combined(message)}),
    "as object": lambda message: json.dumps({"at": 1, "msg": json.loads(combined(message))}),
    "in a list": lambda message: f"[1784410630.25, {message}]",
}
RECEIVED: dict[str, Callable[[int], str]] = {
    "nothing": lambda us: "",
    "s": lambda us: f"{us // 1_000_000} ",
    "decimal s": lambda us: f"{us // 1_000_000}.{us % 1_000_000:06} ",
    "ms": lambda us: f"{us // 1_000} ",
    "us": lambda us: f"{us}\t",
    "ns": lambda us: f"{us * 1_000} ",
    "iso": lambda us: f"{_iso(us)} ",
    "spaced iso": lambda us: f"[{_iso(us).replace('T', ' ')}] ",
    "colon": lambda us: f"{us / 1e6}: ",
    "comma": lambda us: f"{us},",
}
OTHERS = [
    combined(event(Row(1003), symbol="ETHUSDT")),
    '{"e":"depthUpdate","E":1784410630175,"s":"BTCUSDT","U":1,"u":2,"b":[["1","2"]],"a":[]}',
    '{"stream":"btcusdt@kline_1s","data":{"e":"kline","E":1,"s":"BTCUSDT","k":{"a":1,"p":"2"}}}',
    '{"e":"trade","E":1784410630175,"s":"BTCUSDT","t":12,"p":"1","q":"2","T":1,"m":true,"M":true}',
    '{"u":1,"s":"BTCUSDT","b":"25.3","B":"31.2","a":"25.4","A":"40.6"}',
    '{"result":null,"id":1}',
    '{"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":1}',
    '[{"e":"24hrMiniTicker","s":"BTCUSDT"},{"e":"24hrMiniTicker","s":"ETHUSDT"}]',
]


def capture(path: Path, lines: Iterable[str | bytes]) -> Path:
    """Write lines, each with its end."""
    raw = (line if isinstance(line, bytes) else line.encode() for line in lines)
    path.write_bytes(b"".join(line + b"\n" for line in raw))
    return path


def kept(store: TapeStore, symbol: str = "BTCUSDT") -> list[Row]:
    """Return the trades of the only tape of a symbol, with times in microseconds."""
    tape = store.open(symbol)
    found = tape.full_trades(0, len(tape))
    return [
        Row(
            int(found.agg_id[i]),
            format_decimal(int(found.price_ticks[i]), tape.instrument.price_decimals),
            format_decimal(int(found.qty_lots[i]), tape.instrument.qty_decimals),
            int(found.first_id[i]),
            int(found.last_id[i]),
            int(found.ts_us[i]),
            bool(found.side[i] < 0),
        )
        for i in range(len(tape))
    ]
