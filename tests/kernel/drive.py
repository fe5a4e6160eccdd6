"""Drives a kernel and the reference model with the same events and reads both out alike."""

from dataclasses import asdict
from typing import Any

import numpy as np

from flowtape import _kernel
from flowtape.stream import records
from tests.kernel.reference import LIMIT, Config, Model

Outputs = dict[str, list[tuple[Any, ...]]]
BAR_FIELDS = [
    *("ts_us", "open_ticks", "high_ticks", "low_ticks", "close_ticks"),
    *("buy_lots", "sell_lots", "trade_count", "notional_ticklots"),
]
BUBBLE_FIELDS = [
    *("input", "ts_us", "last_ts_us", "first_ticks", "last_ticks"),
    *("qty_lots", "offset_ticklots", "trade_count", "side"),
]
KINDS = ("bars", "bubbles", "fills", "order_events", "equity")


def make_kernel(config: Config, bubbles_kept: int = 1 << 20) -> _kernel.Kernel:
    given = asdict(config)
    flow = _kernel.OrderFlowConfig(
        series=[(0, given.pop("bar_us"), 0)],
        bubbles_on=True,
        bubble_window_us=given.pop("bubble_window_us"),
        bubble_band_ticks=given.pop("bubble_band_ticks"),
        profile_rows_max=given.pop("profile_rows_max"),
    )
    return _kernel.Kernel(orderflow=flow, **given, bubbles_kept=bubbles_kept)


def batch_of(rows: list[tuple[int, int, int, int]]) -> _kernel.Batch:
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    return _kernel.Batch(
        np.array(columns[0], np.int64),
        np.array(columns[1], np.int64),
        np.array(columns[2], np.int64),
        np.array(columns[3], np.int8),
    )


def simple_bars(bars: np.ndarray[Any, Any]) -> list[tuple[Any, ...]]:
    """What the model of trading knows of a bar; `reference_flow` knows all of it."""
    return tuples(np.asarray(bars)[BAR_FIELDS])


def simple_bubbles(bubbles: np.ndarray[Any, Any]) -> list[tuple[Any, ...]]:
    return tuples(np.asarray(bubbles)[BUBBLE_FIELDS])


def tuples(array: np.ndarray[Any, Any]) -> list[tuple[Any, ...]]:
    names = [n for n in array.dtype.names or () if n != "reserved"]
    return [
        tuple(
            records.i128(row[n]) if array.dtype[n] == records.I128 else int(row[n]) for n in names
        )
        for row in array
    ]


def empty() -> Outputs:
    return {kind: [] for kind in KINDS}


def take(kernel: _kernel.Kernel, out: Outputs) -> None:
    out["bars"] += simple_bars(kernel.take_bars().view(records.BAR))
    bubbles, count = kernel.take_bubbles()
    out["bubbles"] += simple_bubbles(bubbles.view(records.BUBBLE))
    assert count == len(bubbles) // records.BUBBLE.itemsize
    out["fills"] += tuples(kernel.take_fills().view(records.FILL))
    out["order_events"] += tuples(kernel.take_order_events().view(records.ORDER_EVENT))
    out["equity"] += tuples(kernel.take_equity().view(records.EQUITY))


def of_model(model: Model) -> Outputs:
    return {kind: list(getattr(model, kind)) for kind in KINDS}


def snapshot_of(kernel: _kernel.Kernel) -> np.void:
    return kernel.snapshot().view(records.SNAPSHOT)[0]


def place(
    target: _kernel.Kernel | Model, ts: int, kind: str, side: int, qty: int, price: int
) -> int:
    if isinstance(target, Model):
        return target.place(ts, kind, side, qty, price if kind == LIMIT else 0)
    if kind == LIMIT:
        return target.place_limit(ts, side, qty, price)
    return target.place_market(ts, side, qty)


def assert_same_state(kernel: _kernel.Kernel, model: Model) -> None:
    snap = snapshot_of(kernel)
    trades = model.trades
    assert int(snap["input"]) == model.input
    assert int(snap["trade_count"]) == len(trades)
    assert int(snap["stream_us"]) == model.stream_us
    assert int(snap["buy_lots"]) == sum(q for _, _, q, s in trades if s > 0)
    assert int(snap["sell_lots"]) == sum(q for _, _, q, s in trades if s < 0)
    assert records.i128(snap["notional_ticklots"]) == sum(p * q for _, p, q, _ in trades)
    if trades:
        assert (int(snap["last_ticks"]), int(snap["last_side"])) == (trades[-1][1], trades[-1][3])
        assert int(snap["high_ticks"]) == max(p for _, p, _, _ in trades)
        assert int(snap["low_ticks"]) == min(p for _, p, _, _ in trades)
    assert int(snap["position_lots"]) == model.position
    for name, value in (
        ("cash_atoms", model.cash),
        ("cost_atoms", model.cost),
        ("realized_atoms", model.realized),
        ("fees_atoms", model.fees),
        ("unrealized_atoms", model.unrealized),
        ("equity_atoms", model.equity_now),
    ):
        assert records.i128(snap[name]) == value, name
    equity, start = records.i128(snap["equity_atoms"]), model.config.initial_cash_atoms
    value = model.position * model.mark * model.config.atoms_per_ticklot
    assert equity == records.i128(snap["cash_atoms"]) + value
    assert equity - start == sum(
        sign * records.i128(snap[f"{name}_atoms"])
        for name, sign in (("realized", 1), ("unrealized", 1), ("fees", -1))
    )
    open_bar = simple_bars(np.array([snap["bar"]]))[0]
    assert open_bar == (tuple(model.bar) if model.bar else (0,) * 9)
    open_bubble = simple_bubbles(np.array([snap["bubble"]]))[0]
    assert open_bubble == (tuple(model.bubble) if model.bubble else (0,) * 9)
    row_ticks, rows = model.profile()
    assert int(snap["profile_row_ticks"]) == row_ticks
    assert tuples(kernel.profile().view(records.PROFILE_ROW)) == rows
    stages = {"pending": 0, "taking": 1, "resting": 2}
    assert tuples(kernel.orders().view(records.ORDER)) == [
        (
            o.order_id,
            o.placed_input,
            o.price,
            o.qty,
            o.remaining,
            o.active_us,
            o.cancel_us,
            o.side,
            int(o.kind == LIMIT),
            stages[o.stage],
        )
        for o in model.orders
    ]
