"""A run of trades as columns: the one shape that sources, tapes and recorders share."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
I8 = NDArray[np.int8]

BUY = 1
SELL = -1


def side_of(is_buyer_maker: NDArray[np.bool_]) -> I8:
    """Return the aggressor's side: a resting buyer means that the seller was the aggressor."""
    return np.where(is_buyer_maker, np.int8(SELL), np.int8(BUY))


@dataclass(frozen=True, slots=True, eq=False)
class Trades:
    """Equally long, C-contiguous columns of one instrument's trades, in sequence order.

    `agg_id, ts_us, price_ticks, qty_lots, first_id, last_id` are int64; `side` is int8, +1 where
    the buyer was the aggressor and -1 where the seller was. Unknown first and last ids are -1.
    """

    agg_id: I64
    ts_us: I64
    price_ticks: I64
    qty_lots: I64
    first_id: I64
    last_id: I64
    side: I8

    def __len__(self) -> int:
        return len(self.agg_id)

    def slice(self, start: int, stop: int) -> Self:
        """Return rows [start, stop) as views of these columns."""
        return type(self)(*(getattr(self, f.name)[start:stop] for f in fields(self)))

    @classmethod
    def concat(cls, parts: list["Trades"]) -> "Trades":
        """Return the parts one behind the other, copied into new columns."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    @classmethod
    def empty(cls) -> Self:
        """Return no trades."""
        none = np.empty(0, np.int64)
        return cls(none, none, none, none, none, none, np.empty(0, np.int8))
