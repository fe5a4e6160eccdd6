"""The border between Python and the kernel: layouts, errors, threads, borrowed columns."""

import sys
import threading
from typing import Any

import numpy as np
import pytest

from flowtape import _kernel
from flowtape.stream import records
from flowtape.stream.errors import KernelError
from flowtape.stream.execution import OrderKind
from tests.kernel import drive
from tests.kernel.config import Config, Market, Request


def columns(count: int = 10) -> dict[str, np.ndarray[Any, Any]]:
    return {
        "ts_us": np.arange(1, count + 1),
        "price_ticks": np.full(count, 100),
        "qty_lots": np.full(count, 3),
        "side": np.ones(count, np.int8),
    }


def test_record_layouts_agree_with_the_binary() -> None:
    layouts = _kernel.record_layouts()
    assert len(layouts) > 25
    for name, (size, offsets) in layouts.items():
        dtype = getattr(records, name)
        assert dtype.itemsize == size, name
        assert {field: dtype.fields[field][1] for field in dtype.names} == offsets, name


@pytest.mark.parametrize(
    ("column", "value", "status"),
    [
        ("ts_us", -1, "BAD_TIME"),
        ("price_ticks", 0, "BAD_PRICE"),
        ("price_ticks", -5, "BAD_PRICE"),
        ("qty_lots", 0, "BAD_QTY"),
        ("side", 0, "BAD_SIDE"),
    ],
)
def test_bad_rows_are_named(column: str, value: int, status: str) -> None:
    given = columns()
    given[column][7] = value
    with pytest.raises(KernelError, match=rf"row 7 \(.*{column} {value}\b") as caught:
        _kernel.Batch(**given)
    assert caught.value.status == status


def test_columns_of_unequal_length_are_refused() -> None:
    given = columns() | {"side": np.ones(9, np.int8)}
    with pytest.raises(ValueError, match="equally long, were 10, 10, 10, 9"):
        _kernel.Batch(**given)


@pytest.mark.parametrize("column", ["ts_us", "side"])
def test_wrong_dtypes_and_strides_are_refused(column: str) -> None:
    with pytest.raises(TypeError):
        _kernel.Batch(**(columns() | {column: np.ones(10, np.float64)}))
    wide = np.repeat(columns()[column], 2)[::2]
    with pytest.raises((TypeError, ValueError)):
        _kernel.Batch(**(columns() | {column: wide}))


def place(kernel: _kernel.Kernel, ts_us: int, **request: int) -> list[int]:
    given = {"kind": OrderKind.MARKET} | request
    return kernel.place(ts_us, drive.as_bytes(records.REQUEST, [Request(**given)]))


def test_every_refusal_is_an_exception_with_its_status() -> None:
    kernel = drive.make_kernel(Config(orders_max=1))
    kernel.clock(50)
    for call, status in (
        (lambda: place(kernel, 49, side=1, qty_lots=1), "TIME_REVERSED"),
        (lambda: place(kernel, 50, side=2, qty_lots=1), "BAD_SIDE"),
        (lambda: place(kernel, 50, side=1), "BAD_QTY"),
        (lambda: place(kernel, 50, side=1, qty_lots=-1), "BAD_QTY"),
        (lambda: place(kernel, 50, side=1, qty_lots=1, kind=1), "BAD_PRICE"),
        (lambda: place(kernel, 50, side=1, qty_lots=1, kind=99), "BAD_ORDER"),
        (lambda: place(kernel, 50, side=1, qty_lots=1, market=7), "BAD_MARKET"),
        (lambda: kernel.cancel(50, 77), "UNKNOWN_ORDER"),
        (lambda: kernel.amend(50, 77, 5), "UNKNOWN_ORDER"),
        (lambda: kernel.cancel_all(50, 3), "BAD_MARKET"),
        (lambda: kernel.clock(49), "TIME_REVERSED"),
        (lambda: kernel.gap(9), "BAD_MARKET"),
        (lambda: kernel.mark(0, 50, 0), "BAD_PRICE"),
        (lambda: kernel.funding(0, 50, 100), "NO_MARK"),
        (lambda: kernel.set_rule(7, 50, 4, 5), "BAD_MARKET"),
        (lambda: kernel.set_rule(0, 50, 10, 5), "BAD_RULE"),
        (lambda: kernel.set_rule(0, 50, -1, 5), "BAD_RULE"),
        (lambda: kernel.set_rule(0, 50, 3, 0), "BAD_RULE"),
        (lambda: kernel.set_rule(0, 49, 4, 5), "TIME_REVERSED"),
        (lambda: kernel.snapshot(5), "BAD_MARKET"),
        (lambda: kernel.rules(5), "BAD_MARKET"),
        (lambda: kernel.account(3), "BAD_ORDER"),
        (lambda: kernel.load_state(b"nonsense"), "BAD_STATE"),
    ):
        before = kernel.snapshot().tobytes()
        with pytest.raises(KernelError) as caught:
            call()
        assert caught.value.status == status
        assert status in _kernel.STATUS_NAMES
        assert str(caught.value)
        assert kernel.snapshot().tobytes() == before
    place(kernel, 50, side=1, qty_lots=1)
    with pytest.raises(KernelError, match="number of open orders"):
        place(kernel, 50, side=1, qty_lots=1)


def test_bytes_that_are_no_records_are_refused() -> None:
    kernel = drive.make_kernel(Config())
    with pytest.raises(ValueError, match="REQUEST"):
        kernel.place(0, np.zeros(7, np.uint8))
    with pytest.raises(ValueError, match="CONFIG"):
        _kernel.Kernel(np.zeros(3, np.uint8), np.zeros(0, np.uint8), 1)


def test_trades_of_unknown_instruments_are_refused() -> None:
    kernel = drive.make_kernel(Config(markets=(Market(), Market())))
    with pytest.raises(KernelError) as caught:
        kernel.run(_kernel.Batch(**columns(), market=np.full(10, 2, np.uint8)), 0)
    assert caught.value.status == "BAD_MARKET"
    assert kernel.run(_kernel.Batch(**columns(), market=np.full(10, 1, np.uint8)), 0)[0] == 10
    with pytest.raises(ValueError, match="equally long"):
        _kernel.Batch(**columns(), market=np.zeros(9, np.uint8))


def test_bad_configuration_is_refused() -> None:
    with pytest.raises(KernelError, match="out of its range"):
        drive.make_kernel(Config(orders_max=0))


def test_read_only_columns_are_taken_without_a_copy() -> None:
    given = columns(1000)
    for column in given.values():
        column.flags.writeable = False
    kernel = drive.make_kernel(Config())
    assert kernel.run(_kernel.Batch(**given), 0) == (1000, False)


def test_runs_release_the_interpreter_lock() -> None:
    """With switching off, another thread can only work while a run has let go of the lock."""
    batch = _kernel.Batch(**columns(2_000_000))
    kernel = drive.make_kernel(Config())
    counted, stop = [0], threading.Event()

    def count() -> None:
        while not stop.wait(0.0001):
            counted[0] += 1

    worker = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    worker.start()
    sys.setswitchinterval(1000)
    try:
        before = counted[0]
        for _ in range(200):
            kernel.run(batch, 0)
            if counted[0] > before:
                break
        during = counted[0] - before
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        worker.join()
    assert during > 0


def test_reading_a_kernel_changes_nothing() -> None:
    quiet, watched = drive.make_kernel(Config()), drive.make_kernel(Config())
    batch = _kernel.Batch(**columns(100))
    for kernel in (quiet, watched):
        at = 0
        kernel.run(batch, at)
    for _ in range(5):
        watched.snapshot(0)
        watched.profile(0)
        watched.orders()
        watched.account(0)
        watched.position(0, 2)
    for kernel in (quiet, watched):
        drive.take(kernel, drive.empty())
    assert quiet.save_state() == watched.save_state()


def test_newest_bubbles_are_kept_and_all_are_counted() -> None:
    given = columns(1000)
    given["side"][::2] = -1
    kernel = drive.make_kernel(Config(), bubbles_kept=10)
    kernel.run(_kernel.Batch(**given), 0)
    taken, count = kernel.take_bubbles(0)
    bubbles = taken.view(records.BUBBLE)
    assert count == 999
    assert len(bubbles) >= 10
    assert list(bubbles["input"][-10:]) == list(range(990, 1000))
