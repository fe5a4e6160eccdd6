"""The one binary message that carries a market to a browser.

A frame is a header of fixed fields followed by columns: first every column with items of 8 bytes,
then those of 4, then those of 1, so that each lies aligned in the buffer. Everything is
little-endian. `layout()` is the table browsers decode by; it is served with the page, so a field
is described in this file and nowhere else.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowtape.stream.execution import Lane
from flowtape.stream.ports import TransportState
from flowtape.stream.records import Records, i128, i128_float
from flowtape.stream.view import Update

MAGIC = 0x50544C46
VERSION = 2

RESTART, PLAYING, LIVE, ENDED, WITH_PROFILE, LOOKING_BACK, TROUBLED = (1 << bit for bit in range(7))

_SECTIONS = ("bars", "bubbles", "prints", "fills", "equity", "orders", "profile", "notice")
_COUNTERS = ("magic", "version", "flags", "feed", "epoch", "seq")
_NUMBERS = (
    "sent_ms",
    "round_trip_ms",
    "clock_ms",
    "speed",
    "start_ms",
    "end_ms",
    "now_ms",
    "lag_ms",
    "trades",
    "last",
    "last_side",
    "buy",
    "sell",
    "high",
    "low",
    "vwap",
    "profile_row",
    "position",
    "entry",
    "realized",
    "unrealized",
    "fees",
    "equity",
    "bar_ts",
    "bar_open",
    "bar_high",
    "bar_low",
    "bar_close",
    "bar_buy",
    "bar_sell",
    "bar_trades",
    "bubble_ts",
    "bubble_price",
    "bubble_qty",
    "bubble_side",
)
_HEADER = struct.Struct(f"<{len(_COUNTERS) + len(_SECTIONS)}I{len(_NUMBERS)}d")
_SEQ_OFFSET = 4 * _COUNTERS.index("seq")
_NUMBERS_OFFSET = 4 * (len(_COUNTERS) + len(_SECTIONS))
_SENT_OFFSET = _NUMBERS_OFFSET + 8 * _NUMBERS.index("sent_ms")
_STAMP = struct.Struct("<dd")


@dataclass(frozen=True, slots=True)
class _Column:
    section: str
    name: str
    dtype: str
    read: Callable[[NDArray[Any], float], NDArray[Any]]


def _plain(section: str, name: str, dtype: str, field: str) -> _Column:
    return _Column(section, name, dtype, lambda records, _: records[field])


def _time(section: str) -> _Column:
    return _Column(section, "ts", "<f8", lambda records, _: records["ts_us"] / 1000.0)


def _vwap(bubbles: Records, _: float) -> NDArray[np.float64]:
    price: NDArray[np.float64] = bubbles["first_ticks"] + (
        bubbles["offset_ticklots"] / np.maximum(bubbles["qty_lots"], 1)
    )
    return price


def _equity(points: Records, atom: float) -> NDArray[np.float64]:
    return i128_float(points["equity_atoms"]) * atom


def _order_price(orders: Records, _: float) -> NDArray[np.int64]:
    request = orders["request"]
    price: NDArray[np.int64] = request["price_ticks"]
    return np.where(price > 0, price, request["trigger_ticks"])


_COLUMNS = tuple(
    sorted(
        (
            _time("bars"),
            _plain("bars", "open", "<f8", "open_ticks"),
            _plain("bars", "high", "<f8", "high_ticks"),
            _plain("bars", "low", "<f8", "low_ticks"),
            _plain("bars", "close", "<f8", "close_ticks"),
            _plain("bars", "buy", "<f8", "buy_lots"),
            _plain("bars", "sell", "<f8", "sell_lots"),
            _plain("bars", "trades", "<f8", "trade_count"),
            _time("bubbles"),
            _Column("bubbles", "price", "<f8", _vwap),
            _plain("bubbles", "qty", "<f8", "qty_lots"),
            _Column(
                "bubbles", "span_ms", "<f4", lambda r, _: (r["last_ts_us"] - r["ts_us"]) / 1000.0
            ),
            _plain("bubbles", "trades", "<u4", "trade_count"),
            _plain("bubbles", "side", "<i1", "side"),
            _time("prints"),
            _plain("prints", "price", "<f8", "price_ticks"),
            _plain("prints", "qty", "<f8", "qty_lots"),
            _plain("prints", "side", "<i1", "side"),
            _time("fills"),
            _plain("fills", "price", "<f8", "price_ticks"),
            _plain("fills", "qty", "<f8", "qty_lots"),
            _plain("fills", "side", "<i1", "side"),
            _time("equity"),
            _Column("equity", "equity", "<f8", _equity),
            _plain("orders", "id", "<f8", "order_id"),
            _Column("orders", "price", "<f8", _order_price),
            _Column(
                "orders",
                "remaining",
                "<f8",
                lambda r, _: r["lanes"]["remaining_lots"][:, Lane.BASE],
            ),
            _Column("orders", "side", "<i1", lambda r, _: r["request"]["side"]),
            _Column("orders", "order_kind", "<i1", lambda r, _: r["request"]["kind"]),
            _plain("orders", "stage", "<i1", "stage"),
            _plain("profile", "price", "<f8", "price_ticks"),
            _plain("profile", "buy", "<f8", "buy_lots"),
            _plain("profile", "sell", "<f8", "sell_lots"),
            _Column("notice", "text", "<u1", lambda text, _: text),
        ),
        key=lambda column: -np.dtype(column.dtype).itemsize,
    )
)


def layout() -> dict[str, object]:
    """Return the table a browser decodes frames by, ready for JSON.

    `counters` are uint32 and `numbers` float64, in header order; `columns` are `[section, name,
    type]` in buffer order, each as long as its section's counter says.
    """
    return {
        "magic": MAGIC,
        "version": VERSION,
        "counters": [*_COUNTERS, *(f"{section}_count" for section in _SECTIONS)],
        "numbers": list(_NUMBERS),
        "columns": [[c.section, c.name, c.dtype[1:]] for c in _COLUMNS],
        "flags": {
            "restart": RESTART,
            "playing": PLAYING,
            "live": LIVE,
            "ended": ENDED,
            "with_profile": WITH_PROFILE,
            "looking_back": LOOKING_BACK,
            "troubled": TROUBLED,
        },
    }


def encode(
    update: Update,
    state: TransportState,
    *,
    feed: int,
    notice: str,
    atoms_per_ticklot: int,
    quote_decimals: int,
    profile_row_ticks: int,
) -> bytes:
    """Return one frame; `stamp` makes it fit a single reader.

    A ticklot is `10**-quote_decimals` of the quote asset; `profile_row_ticks` is the height of a
    row of the profile.

    Prices travel in ticks, quantities in lots, money in the quote asset and times in milliseconds
    since 1970, all as float64 for display. What has no value is NaN.
    """
    atom = 1.0 / (atoms_per_ticklot * 10.0**quote_decimals)
    text = np.frombuffer(notice.encode(), np.uint8)
    nothing: Records = np.zeros(0, np.void)
    sections: dict[str, NDArray[Any]] = {
        "bars": update.bars,
        "bubbles": update.bubbles,
        "prints": update.prints,
        "fills": update.fills,
        "equity": update.equity,
        "orders": update.orders,
        "profile": nothing if update.profile is None else update.profile,
        "notice": text,
    }
    flags = (
        RESTART * update.restart
        | PLAYING * state.playing
        | LIVE * state.live
        | ENDED * state.ended
        | WITH_PROFILE * (update.profile is not None)
        | LOOKING_BACK * state.looking_back
        | TROUBLED * bool(state.trouble)
    )
    counts = [len(sections[name]) for name in _SECTIONS]
    size = _HEADER.size + sum(
        len(sections[column.section]) * np.dtype(column.dtype).itemsize for column in _COLUMNS
    )
    frame = bytearray(size)
    values = _numbers(update.snapshot, state, atoms_per_ticklot, atom)
    values["profile_row"] = profile_row_ticks
    numbers = [float(values[name]) for name in _NUMBERS]
    _HEADER.pack_into(frame, 0, MAGIC, VERSION, flags, feed, update.epoch, 0, *counts, *numbers)
    offset = _HEADER.size
    for column in _COLUMNS:
        records = sections[column.section]
        if len(records):
            out = np.frombuffer(frame, column.dtype, len(records), offset)
            out[:] = column.read(records, atom)
            offset += out.nbytes
    return bytes(frame)


def stamp(frame: bytes, seq: int, sent_ms: float, round_trip_ms: float) -> bytes:
    """Return `frame` numbered `seq` and marked with the sender's clock for one reader."""
    own = bytearray(frame)
    struct.pack_into("<I", own, _SEQ_OFFSET, seq)
    _STAMP.pack_into(own, _SENT_OFFSET, sent_ms, round_trip_ms)
    return bytes(own)


def _numbers(
    snapshot: np.void, state: TransportState, atoms_per_ticklot: int, atom: float
) -> dict[str, float]:
    nan = float("nan")
    volume = int(snapshot["buy_lots"]) + int(snapshot["sell_lots"])
    position = int(snapshot["position_lots"])
    bar, bubble = snapshot["bar"], snapshot["bubble"]
    bubble_qty = int(bubble["qty_lots"])
    money = [
        i128(snapshot[f"{name}_atoms"]) * atom
        for name in ("realized", "unrealized", "fees", "equity")
    ]
    return {
        "sent_ms": 0.0,
        "round_trip_ms": nan,
        "clock_ms": state.clock_us / 1000.0,
        "speed": state.speed,
        "start_ms": state.start_us / 1000.0,
        "end_ms": state.end_us / 1000.0 if state.looking_back or not state.live else nan,
        "now_ms": state.now_us / 1000.0 if state.now_us else nan,
        "lag_ms": state.lag_us / 1000.0,
        "trades": snapshot["trade_count"],
        "last": snapshot["last_ticks"],
        "last_side": snapshot["last_side"],
        "buy": snapshot["buy_lots"],
        "sell": snapshot["sell_lots"],
        "high": snapshot["high_ticks"],
        "low": snapshot["low_ticks"],
        "vwap": i128(snapshot["notional_ticklots"]) / volume if volume else nan,
        "position": position,
        "entry": i128(snapshot["cost_atoms"]) / (atoms_per_ticklot * position) if position else nan,
        "realized": money[0],
        "unrealized": money[1],
        "fees": money[2],
        "equity": money[3],
        "bar_ts": bar["ts_us"] / 1000.0,
        "bar_open": bar["open_ticks"],
        "bar_high": bar["high_ticks"],
        "bar_low": bar["low_ticks"],
        "bar_close": bar["close_ticks"],
        "bar_buy": bar["buy_lots"],
        "bar_sell": bar["sell_lots"],
        "bar_trades": bar["trade_count"],
        "bubble_ts": bubble["ts_us"] / 1000.0,
        "bubble_price": (
            int(bubble["first_ticks"]) + int(bubble["offset_ticklots"]) / bubble_qty
            if bubble_qty
            else nan
        ),
        "bubble_qty": bubble_qty,
        "bubble_side": bubble["side"],
    }
