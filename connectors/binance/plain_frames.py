"""Frames of trades in bulk: what is plain goes through native code, which reads nothing else."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowtape._kernel import read_trade_frames
from flowtape.connectors.binance.decode import EVENT_SKEW_US_MAX, MICROSECONDS_FROM
from flowtape.connectors.binance.frame_connection import Message
from flowtape.stream.instrument import Instrument
from flowtape.stream.limits import PRICE_TICKS_MAX, QTY_LOTS_MAX, TS_US_MAX
from flowtape.stream.trades import Trades

_LIMITS = (PRICE_TICKS_MAX, QTY_LOTS_MAX, TS_US_MAX, MICROSECONDS_FROM, EVENT_SKEW_US_MAX)


@dataclass(frozen=True, slots=True)
class PlainFrames:
    """Trades of an instrument and the times at which the venue pushed them, in microseconds."""

    trades: Trades
    event_us: NDArray[np.int64]


def read_plain_frames(frames: list[Message], start: int, instrument: Instrument) -> PlainFrames:
    """Read frames from `start` on up to the first that is not a plain trade of the instrument.

    Each is one that `decode.decode_frame` reads to the same trade; that tells what the next one is.
    """
    decimals = (instrument.price_decimals, instrument.qty_decimals)
    agg_id, ts_us, price_ticks, qty_lots, first_id, last_id, side, event_us = read_trade_frames(
        frames, start, instrument.symbol, decimals, _LIMITS
    )
    trades = Trades(agg_id, ts_us, price_ticks, qty_lots, first_id, last_id, side)
    return PlainFrames(trades, event_us)
