"""What came of a session as tables: fills, orders, the account over time."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa

from flowtape.replay.backtest import Result
from flowtape.stream.commands import Origin
from flowtape.stream.decimals import format_decimal
from flowtape.stream.execution import (
    ALL_LANES,
    Change,
    Flag,
    Lane,
    OrderKind,
    Role,
    TimeInForce,
)
from flowtape.stream.instrument import Instrument
from flowtape.stream.records import Records, i128

_ENDS = (Change.FILLED, Change.CANCELED, Change.EXPIRED, Change.REJECTED)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of whole numbers and exact decimal texts; None where there is nothing to say."""

    header: tuple[str, ...]
    rows: list[tuple[object, ...]]

    def csv(self) -> str:
        """Return it as CSV with a header."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows(self.rows)
        return text.getvalue()

    def arrow(self) -> pa.Table:
        """Return it as an Arrow table: int64 and text."""
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.header)
        return pa.table(dict(zip(self.header, map(list, columns), strict=True)))


def equity_table(result: Result) -> Table:
    """Return the account at each fill and each point of the equity grid."""
    decimals = result.money_decimals

    def row(point: np.void) -> Iterator[object]:
        one = result.instruments[int(point["market"])]
        yield int(point["ts_us"])
        yield _money(i128(point["equity_atoms"]), decimals)
        yield format_decimal(int(point["position_lots"]), one.qty_decimals)
        yield format_decimal(int(point["mark_ticks"]), one.price_decimals)
        yield _money(i128(point["realized_atoms"]), decimals)
        yield _money(i128(point["fees_atoms"]), decimals)
        yield from _symbol(result, one)

    header = ("ts_us", "equity", "position", "mark", "realized_pnl", "fees")
    rows = [tuple(row(point)) for point in result.ledger.equity.all()]
    return Table(_with_symbol(result, header), rows)


def fills_table(result: Result) -> Table:
    """Return the fills of every lane."""
    ledger = result.ledger
    fills = np.concatenate([ledger.fills.all(), ledger.other_fills.all()])
    client_ids = {
        int(c["order_id"]): int(c["request"]["client_id"])
        for c in ledger.placed()
        if c["request"]["client_id"]
    }

    def row(fill: np.void) -> Iterator[object]:
        one = result.instruments[int(fill["market"])]
        yield int(fill["order_id"])
        yield client_ids.get(int(fill["order_id"]))
        yield Lane(int(fill["lane"])).name.lower()
        yield int(fill["ts_us"])
        yield "buy" if fill["side"] > 0 else "sell"
        yield format_decimal(int(fill["price_ticks"]), one.price_decimals)
        yield format_decimal(int(fill["qty_lots"]), one.qty_decimals)
        yield Role(int(fill["role"])).name.lower()
        yield _money(i128(fill["fee_atoms"]), result.money_decimals)
        yield from _symbol(result, one)

    header = ("order_id", "client_id", "lane", "ts_us", "side", "price", "qty", "role", "fee")
    in_order = fills[np.argsort(fills["input"], kind="stable")]
    return Table(_with_symbol(result, header), [tuple(row(fill)) for fill in in_order])


def orders_table(result: Result) -> Table:
    """Return all orders: who placed them, as what, and how they ended in the base lane."""
    ledger = result.ledger
    filled: dict[int, int] = {}
    for fill in ledger.fills.all():
        order_id = int(fill["order_id"])
        filled[order_id] = filled.get(order_id, 0) + int(fill["qty_lots"])
    ends = _ends(ledger.order_events.all())

    def row(command: np.void) -> Iterator[object]:
        request, order_id = command["request"], int(command["order_id"])
        one = result.instruments[int(request["market"])]
        yield order_id
        yield int(request["client_id"]) or None
        yield int(command["input"])
        yield int(command["ts_us"])
        yield one.symbol
        yield Origin(int(command["origin"])).name.lower()
        yield "buy" if request["side"] > 0 else "sell"
        yield OrderKind(int(request["kind"])).name.lower()
        yield TimeInForce(int(request["time_in_force"])).name.lower()
        yield format_decimal(int(request["qty_lots"]), one.qty_decimals)
        for name in ("price_ticks", "trigger_ticks"):
            yield format_decimal(int(request[name]), one.price_decimals) if request[name] else None
        yield " ".join(flag.name.lower() for flag in Flag(int(request["flags"])) if flag.name)
        yield format_decimal(filled.get(order_id, 0), one.qty_decimals)
        yield ends.get(order_id, "open")

    header = (
        *("order_id", "client_id", "input", "ts_us", "symbol", "origin", "side", "type"),
        *("time_in_force", "qty", "price", "trigger_price", "flags", "filled_qty", "status"),
    )
    return Table(header, [tuple(row(command)) for command in ledger.placed()])


def _ends(events: Records) -> dict[int, str]:
    """How orders ended in the base lane."""
    here = np.isin(events["lane"], (ALL_LANES, Lane.BASE))
    own = events[here & np.isin(events["change"], _ENDS)]
    ids, changes = own["order_id"].tolist(), own["change"].tolist()
    return {i: Change(change).name.lower() for i, change in zip(ids, changes, strict=True)}


def _with_symbol(result: Result, header: tuple[str, ...]) -> tuple[str, ...]:
    return (*header, "symbol") if len(result.instruments) > 1 else header


def _symbol(result: Result, instrument: Instrument) -> tuple[str, ...]:
    return (instrument.symbol,) if len(result.instruments) > 1 else ()


def _money(atoms: int, decimals: int) -> str:
    return f"{Decimal(atoms).scaleb(-decimals):f}"
