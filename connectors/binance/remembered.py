"""The last trades that went out, to compare later ones of the same id with."""

from collections import deque

from flowtape.connectors.binance.rows import Row, rows_of
from flowtape.stream.trades import Trades


class RememberedTrades:
    """The trades of the last `id_count` ids: single ones as rows, many at once as columns."""

    def __init__(self, id_count: int) -> None:
        self._rows: list[Row | None] = [None] * id_count
        self._blocks: deque[Trades] = deque()
        self._oldest_id = 0

    def keep(self, row: Row) -> None:
        """Remember the next trade."""
        self._rows[row.agg_id % len(self._rows)] = row

    def keep_block(self, trades: Trades) -> None:
        """Remember the next trades, at least one, whose ids follow each other."""
        self._blocks.append(trades)
        self._oldest_id = int(trades.agg_id[-1]) - len(self._rows) + 1
        while int(self._blocks[0].agg_id[-1]) < self._oldest_id:
            self._blocks.popleft()

    def find(self, agg_id: int) -> Row | None:
        """Return the trade of an id, or None when it was never kept or is forgotten."""
        row = self._rows[agg_id % len(self._rows)]
        if row is not None and row.agg_id == agg_id:
            return row
        if agg_id < self._oldest_id:
            return None
        for trades in reversed(self._blocks):
            if (at := agg_id - int(trades.agg_id[0])) >= 0:
                return rows_of(trades.slice(at, at + 1))[0] if at < len(trades) else None
        return None
