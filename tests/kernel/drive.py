"""Kernels and reference models behind one face, so that a test can drive either or both."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flowtape import _kernel
from flowtape.stream import records
from flowtape.stream.orderflow import OrderFlow, TimeBars, make_orderflow
from tests.kernel.config import BASE, Config, Request
from tests.kernel.reference import FlowConfig
from tests.kernel.reference_execution import Model
from tests.kernel.reference_orders import Order

Row = tuple[Any, ...]
Outputs = dict[str, list[Row]]
Trade = tuple[int, int, int, int, int]
"""Time, price, quantity, side, instrument."""
OUTBOXES = ("fills", "order_events", "equity")


class Side(Protocol):
    """One of the two that are compared. Refusals are KernelErrors."""

    config: Config
    decisions: list[int]
    """Numbers of the inputs that made decision points."""

    @property
    def now(self) -> int: ...
    @property
    def input(self) -> int: ...
    @property
    def out(self) -> Outputs: ...

    def trades(self, rows: Sequence[Trade]) -> None: ...
    def clock(self, ts: int) -> None: ...
    def gap(self, market: int) -> None: ...
    def mark(self, market: int, ts: int, mark_ticks: int) -> None: ...
    def funding(self, market: int, ts: int, rate_ppb: int) -> None: ...
    def set_rule(self, market: int, ts: int, rule: int, value: int) -> None: ...
    def end(self) -> None: ...
    def place(self, ts: int, requests: Sequence[Request]) -> list[int]: ...
    def cancel(self, ts: int, order_id: int) -> None: ...
    def cancel_all(self, ts: int, market: int) -> int: ...
    def amend(self, ts: int, order_id: int, qty: int, price: int, trigger: int) -> None: ...
    def orders(self) -> list[Row]: ...
    def account(self, lane: int) -> Row: ...
    def position(self, market: int, lane: int) -> Row: ...
    def snapshot(self, market: int) -> dict[str, Any]: ...
    def profile(self, market: int) -> list[Row]: ...


# Between plain Python and NumPy records


def encode(dtype: np.dtype[Any], value: Any) -> Any:
    """Write an object as one record: attributes of the names of the fields, padded with zeros."""
    if dtype == records.I128:
        return (value & (1 << 64) - 1, value >> 64)
    if dtype == records.ORDERFLOW_CONFIG:
        return orderflow_of(value)
    if dtype.subdtype:
        inner, (count,) = dtype.subdtype
        items = [encode(inner, item) for item in value]
        filled = np.zeros(count, inner)
        filled[: len(items)] = np.array(items, inner)
        return filled
    if dtype.names:
        return tuple(encode(dtype[name], getattr(value, name)) for name in dtype.names)
    return value


def orderflow_of(config: FlowConfig) -> Any:
    """The few settings that the model of order flow here knows; `reference_flow` knows all."""
    return make_orderflow(
        OrderFlow(vwap=False),
        (TimeBars(config.bar_us),),
        bubbles_on=True,
        bubble_window_us=config.bubble_window_us,
        bubble_band_ticks=config.bubble_band_ticks,
        profile_rows_max=config.profile_rows_max,
    )[0]


def as_bytes(dtype: np.dtype[Any], values: Iterable[Any]) -> NDArray[np.uint8]:
    values = list(values)
    rows = np.zeros(len(values), dtype)
    for i, value in enumerate(values):
        for name in dtype.names or ():
            if name == "abi_version":
                rows[i][name] = _kernel.ABI_VERSION
            elif name != "reserved":
                rows[i][name] = encode(dtype[name], getattr(value, name))
    return rows.view(np.uint8)


def plain(value: Any, dtype: np.dtype[Any]) -> Any:
    """Read a record as plain tuples and integers, without what is reserved."""
    if dtype == records.I128:
        return records.i128(value)
    if dtype.subdtype:
        return tuple(plain(item, dtype.subdtype[0]) for item in value)
    if dtype.names:
        return tuple(plain(value[n], dtype[n]) for n in dtype.names if n != "reserved")
    return int(value)


BAR_FIELDS = [
    *("ts_us", "open_ticks", "high_ticks", "low_ticks", "close_ticks"),
    *("buy_lots", "sell_lots", "trade_count", "notional_ticklots"),
]
BUBBLE_FIELDS = [
    *("input", "ts_us", "last_ts_us", "first_ticks", "last_ticks"),
    *("qty_lots", "offset_ticklots", "trade_count", "side"),
]


def tuples(array: NDArray[Any]) -> list[Row]:
    return [plain(row, array.dtype) for row in array]


def make_kernel(config: Config, bubbles_kept: int = 1 << 20) -> _kernel.Kernel:
    return _kernel.Kernel(
        as_bytes(records.CONFIG, [config]), as_bytes(records.MARKET, config.markets), bubbles_kept
    )


def batch_of(rows: Sequence[Trade]) -> _kernel.Batch:
    columns = np.array(rows, np.int64).reshape(len(rows), 5).T.copy()
    return _kernel.Batch(
        columns[0], columns[1], columns[2], columns[3].astype(np.int8), columns[4].astype(np.uint8)
    )


def snapshot_of(kernel: _kernel.Kernel, market: int = 0) -> np.void:
    snap: np.void = kernel.snapshot(market).view(records.SNAPSHOT)[0]
    return snap


def outboxes(markets: int) -> list[str]:
    return [*OUTBOXES, *(f"{kind}{m}" for m in range(markets) for kind in ("bars", "bubbles"))]


def take(kernel: _kernel.Kernel, out: Outputs, markets: int = 1) -> None:
    """Empty all outboxes of a kernel into `out`."""
    out["fills"] += tuples(kernel.take_fills().view(records.FILL))
    out["order_events"] += tuples(kernel.take_order_events().view(records.ORDER_EVENT))
    out["equity"] += tuples(kernel.take_equity().view(records.EQUITY))
    for market in range(markets):
        out[f"bars{market}"] += tuples(kernel.take_bars(0, market).view(records.BAR)[BAR_FIELDS])
        bubbles, count = kernel.take_bubbles(market)
        out[f"bubbles{market}"] += tuples(bubbles.view(records.BUBBLE)[BUBBLE_FIELDS])
        assert count == len(bubbles) // records.BUBBLE.itemsize


def empty(markets: int = 1) -> Outputs:
    return {name: [] for name in outboxes(markets)}


class KernelSide:
    """The kernel through its Python border; trades go in batches of the sizes in `cuts`."""

    def __init__(self, config: Config, cuts: Sequence[int] = (1 << 20,)) -> None:
        self.config = config
        self.kernel = make_kernel(config)
        self.decisions: list[int] = []
        self.cuts = cuts
        self._cut = 0
        self._out = empty(len(config.markets))

    @property
    def now(self) -> int:
        return int(snapshot_of(self.kernel)["stream_us"])

    @property
    def input(self) -> int:
        return int(snapshot_of(self.kernel)["input"])

    @property
    def out(self) -> Outputs:
        self.drain()
        return self._out

    def drain(self) -> None:
        take(self.kernel, self._out, len(self.config.markets))

    def _decide(self, decides: bool) -> None:
        if decides:
            self.decisions.append(self.input)
        self.drain()

    def trades(self, rows: Sequence[Trade]) -> None:
        start = 0
        while start < len(rows):
            size = self.cuts[self._cut % len(self.cuts)]
            self._cut += 1
            batch = batch_of(rows[start : start + size])
            at = 0
            while at < len(batch):
                at, decides = self.kernel.run(batch, at)
                self._decide(decides)
            start += size

    def clock(self, ts: int) -> None:
        self._decide(self.kernel.clock(ts))

    def gap(self, market: int) -> None:
        self.kernel.gap(market)
        self.drain()

    def mark(self, market: int, ts: int, mark_ticks: int) -> None:
        self._decide(self.kernel.mark(market, ts, mark_ticks))

    def funding(self, market: int, ts: int, rate_ppb: int) -> None:
        self._decide(self.kernel.funding(market, ts, rate_ppb))

    def set_rule(self, market: int, ts: int, rule: int, value: int) -> None:
        self._decide(self.kernel.set_rule(market, ts, rule, value))

    def end(self) -> None:
        self.kernel.end()

    def place(self, ts: int, requests: Sequence[Request]) -> list[int]:
        return self.kernel.place(ts, as_bytes(records.REQUEST, requests))

    def cancel(self, ts: int, order_id: int) -> None:
        self.kernel.cancel(ts, order_id)

    def cancel_all(self, ts: int, market: int) -> int:
        return self.kernel.cancel_all(ts, market)

    def amend(self, ts: int, order_id: int, qty: int, price: int, trigger: int) -> None:
        self.kernel.amend(ts, order_id, qty, price, trigger)

    def orders(self) -> list[Row]:
        found = []
        for row in self.kernel.orders().view(records.ORDER):
            lanes = []
            for lane in self.config.lanes_run:
                numbers = row["lanes"][lane]
                done = bool(numbers["done"])
                of_open = tuple(int(numbers[f"{n}_lots"]) for n in ("remaining", "queue", "shown"))
                filled = (int(numbers["filled_lots"]), records.i128(numbers["filled_ticklots"]))
                lanes.append((done, filled, None if done else of_open))
            names = [n for n in records.ORDER.names or () if n not in ("rank", "request", "lanes")]
            numbers_of = {name: int(row[name]) for name in names if name != "reserved"}
            request = plain(row["request"], records.REQUEST)
            found.append((*numbers_of.items(), ("request", request), ("lanes", tuple(lanes))))
        return found

    def account(self, lane: int) -> Row:
        return tuples(self.kernel.account(lane).view(records.ACCOUNT))[0]

    def position(self, market: int, lane: int) -> Row:
        return tuples(self.kernel.position(market, lane).view(records.POSITION))[0]

    def snapshot(self, market: int) -> dict[str, Any]:
        snap = snapshot_of(self.kernel, market)
        names = [n for n in records.SNAPSHOT.names or () if n not in ("bar", "bubble")]
        known = {name: plain(snap[name], records.SNAPSHOT[name]) for name in names}
        known["bar"] = tuples(np.array([snap["bar"]])[BAR_FIELDS])[0]
        known["bubble"] = tuples(np.array([snap["bubble"]])[BUBBLE_FIELDS])[0]
        return known

    def profile(self, market: int) -> list[Row]:
        return tuples(self.kernel.profile(market).view(records.PROFILE_ROW))


class ModelSide:
    """The reference model."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = Model(config)
        self.decisions: list[int] = []

    @property
    def now(self) -> int:
        return self.model.stream_us

    @property
    def input(self) -> int:
        return self.model.input

    @property
    def out(self) -> Outputs:
        out: Outputs = {name: getattr(self.model, name) for name in OUTBOXES}
        for market, flow in enumerate(self.model.flows):
            out[f"bars{market}"] = flow.bars
            out[f"bubbles{market}"] = flow.bubbles
        return out

    def _decide(self, decides: bool) -> None:
        if decides:
            self.decisions.append(self.model.input)

    def trades(self, rows: Sequence[Trade]) -> None:
        for row in rows:
            self._decide(self.model.trade(*row))

    def clock(self, ts: int) -> None:
        self._decide(self.model.clock(ts))

    def gap(self, market: int) -> None:
        self.model.gap(market)

    def mark(self, market: int, ts: int, mark_ticks: int) -> None:
        self._decide(self.model.mark(market, ts, mark_ticks))

    def funding(self, market: int, ts: int, rate_ppb: int) -> None:
        self._decide(self.model.funding(market, ts, rate_ppb))

    def set_rule(self, market: int, ts: int, rule: int, value: int) -> None:
        self._decide(self.model.set_rule(market, ts, rule, value))

    def end(self) -> None:
        self.model.end()

    def place(self, ts: int, requests: Sequence[Request]) -> list[int]:
        return self.model.place(ts, requests)

    def cancel(self, ts: int, order_id: int) -> None:
        self.model.cancel(ts, order_id)

    def cancel_all(self, ts: int, market: int) -> int:
        return self.model.cancel_all(ts, market)

    def amend(self, ts: int, order_id: int, qty: int, price: int, trigger: int) -> None:
        self.model.amend(ts, order_id, qty, price, trigger)

    def orders(self) -> list[Row]:
        return [self._order(order) for order in self.model.open_orders]

    @staticmethod
    def _order(o: Order) -> Row:
        lanes = tuple(
            (
                n.done,
                (n.filled, n.filled_ticklots),
                None if n.done else (n.remaining, n.queue, n.shown),
            )
            for n in o.lanes.values()
        )
        return (
            ("order_id", o.order_id),
            ("placed_input", o.placed_input),
            ("live_input", o.live_input),
            ("active_us", o.active_us),
            ("cancel_us", o.cancel_us),
            ("amend_us", o.amend_us),
            ("amend_qty_lots", o.amend[0]),
            ("amend_price_ticks", o.amend[1]),
            ("amend_trigger_ticks", o.amend[2]),
            ("best_ticks", o.best),
            ("first_ticks", o.first),
            ("first_us", o.first_us),
            ("stage", int(o.stage)),
            ("request", o.request()),
            ("lanes", lanes),
        )

    def account(self, lane: int) -> Row:
        account, marks = self.model.account(lane), self.model.marks
        return (
            account.cash,
            account.realized,
            account.unrealized(marks),
            account.fees,
            account.funding,
            account.equity(marks),
            self.model.free(lane),
        )

    def position(self, market: int, lane: int) -> Row:
        position = self.model.account(lane).positions[market]
        mark = self.model.tapes[market].value_ticks
        return (position.lots, mark, position.cost, position.margin)

    def snapshot(self, market: int) -> dict[str, Any]:
        model, tape, flow = self.model, self.model.tapes[market], self.model.flows[market]
        trades, (row_ticks, rows) = flow.trades, flow.profile()
        base = model.account(BASE)
        return {
            "input": model.input,
            "trade_count": len(trades),
            "stream_us": model.stream_us,
            "last_ticks": tape.last,
            "last_side": tape.last_side,
            "bid_ticks": tape.touch(-1),
            "ask_ticks": tape.touch(1),
            "mark_ticks": tape.mark,
            "buy_lots": sum(q for _, _, q, s in trades if s > 0),
            "sell_lots": sum(q for _, _, q, s in trades if s < 0),
            "high_ticks": max((p for _, p, _, _ in trades), default=0),
            "low_ticks": min((p for _, p, _, _ in trades), default=0),
            "profile_row_ticks": row_ticks,
            "profile_row_count": len(rows),
            "open_order_count": sum(o.is_base_open for o in model.open_orders),
            "order_count": len(model.open_orders),
            "next_order_id": len(model.known) + 1,
            "position_lots": base.positions[market].lots,
            "notional_ticklots": sum(p * q for _, p, q, _ in trades),
            "cost_atoms": base.positions[market].cost,
            "cash_atoms": base.cash,
            "realized_atoms": base.realized,
            "unrealized_atoms": base.unrealized(model.marks),
            "fees_atoms": base.fees,
            "funding_atoms": base.funding,
            "equity_atoms": base.equity(model.marks),
            "optimistic_atoms": model.account(0).equity(model.marks),
            "pessimistic_atoms": model.account(2).equity(model.marks),
            "bar": tuple(flow.bar) if flow.bar else (0,) * 9,
            "bubble": tuple(flow.bubble) if flow.bubble else (0,) * 9,
        }

    def profile(self, market: int) -> list[Row]:
        return list(self.model.flows[market].profile()[1])


def assert_same_outputs(kernel: Side, model: Side) -> None:
    """Everything said so far, told apart box by box."""
    said, expected = kernel.out, model.out
    for box in expected:
        assert said[box] == expected[box], box
    assert kernel.decisions == model.decisions


def assert_same_state(kernel: Side, model: Side) -> None:
    """Orders, accounts, positions, snapshots and profiles are equal, and the books balance."""
    assert kernel.orders() == model.orders()
    config = kernel.config
    for lane in range(3):
        assert kernel.account(lane) == model.account(lane), f"account of lane {lane}"
        cash, realized, unrealized, fees, funding, equity, _ = kernel.account(lane)
        value = 0
        for market, terms in enumerate(config.markets):
            lots, mark, *_ = kernel.position(market, lane)
            assert kernel.position(market, lane) == model.position(market, lane)
            value += lots * mark * terms.atoms_per_ticklot
        assert equity == cash + value
        assert equity - config.initial_cash_atoms == realized + unrealized - fees - funding
    for market in range(len(config.markets)):
        expected = model.snapshot(market)
        said = {name: value for name, value in kernel.snapshot(market).items() if name in expected}
        assert said == expected, f"snapshot of instrument {market}"
        assert kernel.profile(market) == model.profile(market)
