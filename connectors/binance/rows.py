"""One decoded aggregate trade, and its way into and out of columns."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from flowtape.stream.trades import SELL, Trades, side_of

_MS = 1_000


class Row(Struct, frozen=True):
    """One aggregate trade in exact integers.

    `ts_us` is trade time. Binance marks rows it took back with zero price and quantity: such a
    `void` row says that its id is accounted for and that nothing was traded.
    """

    agg_id: int
    ts_us: int
    price_ticks: int
    qty_lots: int
    first_id: int
    last_id: int
    is_buyer_maker: bool

    @property
    def void(self) -> bool:
        """Tell whether the row stands for a trade that was taken back."""
        return self.price_ticks == 0 or self.qty_lots == 0


def same_trade(one: Row, other: Row) -> bool:
    """Tell whether two rows are one trade, allowing for times of which one is in milliseconds."""
    if one == other:
        return True
    coarse = one.ts_us % _MS == 0 or other.ts_us % _MS == 0
    return (
        coarse
        and one.ts_us // _MS == other.ts_us // _MS
        and one.agg_id == other.agg_id
        and one.price_ticks == other.price_ticks
        and one.qty_lots == other.qty_lots
        and one.first_id == other.first_id
        and one.last_id == other.last_id
        and one.is_buyer_maker == other.is_buyer_maker
    )


def trades_of(rows: Sequence[Row]) -> Trades:
    """Return rows as columns, in their order."""
    count = len(rows)
    return Trades(
        agg_id=np.fromiter((row.agg_id for row in rows), np.int64, count),
        ts_us=np.fromiter((row.ts_us for row in rows), np.int64, count),
        price_ticks=np.fromiter((row.price_ticks for row in rows), np.int64, count),
        qty_lots=np.fromiter((row.qty_lots for row in rows), np.int64, count),
        first_id=np.fromiter((row.first_id for row in rows), np.int64, count),
        last_id=np.fromiter((row.last_id for row in rows), np.int64, count),
        side=side_of(np.fromiter((row.is_buyer_maker for row in rows), np.bool_, count)),
    )


def rows_of(trades: Trades) -> list[Row]:
    """Return columns as rows, in their order."""
    return list(
        map(
            Row,
            trades.agg_id.tolist(),
            trades.ts_us.tolist(),
            trades.price_ticks.tolist(),
            trades.qty_lots.tolist(),
            trades.first_id.tolist(),
            trades.last_id.tolist(),
            (trades.side == SELL).tolist(),
        )
    )
