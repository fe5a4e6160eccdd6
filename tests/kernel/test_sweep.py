"""Arrays natively: decision points, targets and orders against a loop in Python around the same
kernel, and sweeps against both, over random tapes, settings and cuts."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from flowtape import _kernel
from flowtape.stream import records
from flowtape.stream.errors import KernelError
from flowtape.stream.records import i128
from tests.kernel import drive
from tests.kernel.config import GROUP, PPM, Config, FeeTier, Kind, Lane, Market, Request, Rules

I64 = NDArray[np.int64]
RANDOM = st.randoms(use_true_random=False)
DAY_US = 86_400_000_000


# What is drawn


def any_config(rng: Random, lane_count: int = 1) -> Config:
    lane = Lane(
        participation_ppm=rng.choice([PPM, PPM // 2, rng.randint(1, PPM)]),
        slip_ticks=rng.choice([0, 0, 1, 3]),
        own_side_only=rng.randrange(2),
    )
    tiers = [FeeTier(0, 0, rng.randint(-2_000_000, 2_000_000))]
    for _ in range(rng.randrange(3)):
        more = tiers[-1].from_atoms + rng.randint(1, 100_000)
        tiers.append(FeeTier(more, 0, rng.randint(-2_000_000, 2_000_000)))
    rules = Rules(
        price_step_ticks=rng.choice([1, 1, 2, 5]),
        qty_step_lots=rng.choice([1, 1, 1, 1, 2]),
        qty_min_lots=rng.choice([0, 0, 0, 2]),
        qty_max_lots=rng.choice([0, 0, 0, 15]),
        market_qty_max_lots=rng.choice([0, 0, 0, 12]),
        notional_min_ticklots=rng.choice([0, 0, 0, 200]),
    )
    return Config(
        markets=(Market(atoms_per_ticklot=rng.choice([1, 100]), rules=rules),),
        orders_max=rng.choice([1, 2, 3, 8, 64]),
        seed=rng.getrandbits(64),
        decide_trades_count=rng.choice([0, 0, 1, 2, 7]),
        decide_grid_us=rng.choice([0, 1, 50, 50, 1000]),
        equity_grid_us=rng.choice([0, 70]),
        fill_model=int(rng.randrange(5) == 4),
        lane_count=lane_count,
        touch_stale_us=rng.choice([0, 20, 500]),
        spread_ppm=rng.choice([0, 30_000]),
        fee_unit_atoms=rng.choice([1, 3]),
        initial_cash_atoms=rng.choice([0, 10_000, -5]),
        lanes=(replace(lane, participation_ppm=PPM, slip_ticks=0, own_side_only=0), lane, lane),
        fee_tiers=tuple(tiers),
        latencies_us=tuple(rng.choice([0, 5, 60, 400]) for _ in range(rng.choice([1, 3]))),
    )


def any_rows(rng: Random, count: int) -> list[drive.Trade]:
    """Prints a few microseconds apart, some of them late, some after a pause of days."""
    rows = []
    ts, price, side = DAY_US - 1000, 100, 1
    for _ in range(count):
        ts += rng.choice([0, 0, 1, 7, 30]) if rng.randrange(40) else rng.choice([5000, 9 * DAY_US])
        side = side if rng.randrange(3) else -side
        price = max(1, price + rng.choice([0, 0, side, 2 * side, -side]))
        late = rng.randint(1, 60) if rng.randrange(15) == 0 else 0
        rows.append((ts - late, price, rng.choice([1, 2, 5, 40]), side, 0))
    return rows


def any_targets(rng: Random, set_count: int, decision_count: int) -> I64:
    found = np.zeros((set_count, decision_count), np.int64)
    for lots in found:
        often, target = rng.choice([1, 2, 5, 20]), 0
        for i in range(decision_count):
            if rng.randrange(often) == 0:
                target = rng.randint(-8, 8)
            lots[i] = target
    return found


def any_cuts(rng: Random, count: int) -> list[tuple[int, int]]:
    edges = sorted({0, count, *(rng.randint(0, count) for _ in range(rng.randrange(4)))})
    return list(pairwise(edges))


# A loop in Python, and what it found


@dataclass
class Looped:
    """A session with a kernel, decided in Python."""

    equity: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    placed: list[Any] = field(default_factory=list)
    fills: list[drive.Row] = field(default_factory=list)
    state: bytes = b""
    snapshot: Any = None
    refused: tuple[str, int] = ("OK", -1)


Decide = Callable[[int], Sequence[Request]]


def request_of(change: int) -> Request:
    return Request(kind=Kind.MARKET, side=1 if change > 0 else -1, qty_lots=abs(change))


def follow(targets: Sequence[int]) -> Decide:
    before = [0, *(int(target) for target in targets)]

    def decide(decision: int) -> Sequence[Request]:
        change = before[decision + 1] - before[decision]
        return [request_of(change)] if change else []

    return decide


def loop(config: Config, rows: Sequence[drive.Trade], decide: Decide) -> Looped:
    kernel, batch, found = drive.make_kernel(config), drive.batch_of(rows), Looped()
    at = 0
    while at < len(batch):
        at, decides = kernel.run(batch, at)
        if not decides:
            continue
        now = drive.snapshot_of(kernel)
        found.equity.append(i128(now["equity_atoms"]))
        found.rows.append(at - 1)
        found.times.append(int(now["stream_us"]))
        for request in decide(len(found.rows) - 1):
            record = drive.as_bytes(records.REQUEST, [request])
            try:
                order_id = kernel.place(int(now["stream_us"]), record)[0]
            except KernelError as error:
                found.refused = (error.status, len(found.rows) - 1)
                break
            found.placed.append(
                (int(now["input"]), int(now["stream_us"]), order_id, record.tobytes())
            )
        if found.refused[0] != "OK":
            break
    take_rest(kernel, found)
    return found


def take_rest(kernel: _kernel.Kernel, found: Looped) -> None:
    fills = drive.tuples(kernel.take_fills().view(records.FILL))
    found.fills = [fill for fill in fills if fill[10] == 1]
    found.snapshot = drive.snapshot_of(kernel)
    out = drive.empty()
    drive.take(kernel, out)
    found.state = kernel.save_state()


def never(_: int) -> Sequence[Request]:
    return []


def pieces(rows: Sequence[drive.Trade], cuts: list[tuple[int, int]]) -> Iterator[_kernel.Batch]:
    for start, stop in cuts:
        yield drive.batch_of(rows[start:stop])


def sweep_of(config: Config, set_count: int) -> _kernel.Sweep:
    return _kernel.Sweep(
        drive.as_bytes(records.CONFIG, [config]),
        drive.as_bytes(records.MARKET, config.markets),
        set_count,
    )


def results_of(sweep: _kernel.Sweep) -> NDArray[np.void]:
    found: NDArray[np.void] = sweep.results().view(records.SWEEP_RESULT)
    return found


def assert_same(result: np.void, looped: Looped, config: Config) -> None:
    snapshot = looped.snapshot
    for name in ("cash", "realized", "unrealized", "fees", "equity", "cost"):
        assert i128(result[f"{name}_atoms"]) == i128(snapshot[f"{name}_atoms"]), name
    assert result["position_lots"] == snapshot["position_lots"]
    assert result["open_order_count"] == snapshot["open_order_count"]
    assert result["order_count"] == len(looped.placed)
    assert result["fill_count"] == len(looped.fills)
    notional = sum(fill[3] * fill[4] for fill in looped.fills)
    assert i128(result["notional_atoms"]) == notional * config.markets[0].atoms_per_ticklot
    samples = np.array([config.initial_cash_atoms, *looped.equity])
    assert i128(result["equity_min_atoms"]) == samples.min()
    assert i128(result["equity_max_atoms"]) == samples.max()
    falls = np.maximum.accumulate(samples) - samples
    assert i128(result["drawdown_max_atoms"]) == falls.max()
    status = _kernel.STATUS_NAMES[int(result["refused_status"])]
    assert (status, int(result["refused_decision"])) == looped.refused


# Properties


@given(RANDOM)
def test_decision_points_are_those_of_the_kernel(rng: Random) -> None:
    config, rows = any_config(rng), any_rows(rng, rng.randint(0, 150))
    looped = loop(config, rows, never)
    finder = _kernel.Decisions(config.decide_trades_count, config.decide_grid_us)
    counter = _kernel.Decisions(config.decide_trades_count, config.decide_grid_us)
    found: list[int] = []
    times: list[int] = []
    for start, stop in any_cuts(rng, len(rows)):
        ts = np.array([row[0] for row in rows[start:stop]], np.int64)
        at, stamped = finder.find(ts)
        assert counter.count(ts) == len(at)
        found += (at + start).tolist()
        times += stamped.tolist()
    assert (found, times) == (looped.rows, looped.times)


def test_many_decision_points_are_found_at_once() -> None:
    ts = np.arange(20_000, dtype=np.int64) * 3
    rows, stamps = _kernel.Decisions(1, 0).find(ts)
    assert np.array_equal(rows, np.arange(20_000))
    assert np.array_equal(stamps, ts)


@given(RANDOM)
def test_targets_are_followed_as_a_loop_in_python_would(rng: Random) -> None:
    config, rows = any_config(rng, rng.choice([1, 3])), any_rows(rng, rng.randint(1, 150))
    targets = any_targets(rng, 1, len(loop(config, rows, never).rows))[0]
    looped = loop(config, rows, follow(targets))
    kernel, run, refusal = drive.make_kernel(config), _kernel.TargetRun(targets), None
    for batch in pieces(rows, any_cuts(rng, len(rows))):
        refusal = run.run(kernel, batch)
    assert_same_session(kernel, run, refusal, looped)


@given(RANDOM)
def test_orders_are_placed_as_a_loop_in_python_would(rng: Random) -> None:
    config, rows = any_config(rng, rng.choice([1, 3])), any_rows(rng, rng.randint(1, 150))
    count = len(loop(config, rows, never).rows)
    decisions = sorted(rng.randrange(count) for _ in range(rng.randrange(30))) if count else []
    orders = [
        Request(
            kind=rng.choice([Kind.MARKET, Kind.LIMIT]),
            side=rng.choice([1, -1]),
            qty_lots=rng.choice([1, 3, 8, 14]),
            client_id=place,
        )
        for place in range(len(decisions))
    ]
    orders = [
        replace(order, price_ticks=rng.randint(95, 105)) if order.kind == Kind.LIMIT else order
        for order in orders
    ]

    def decide(decision: int) -> Sequence[Request]:
        return [order for order, at in zip(orders, decisions, strict=True) if at == decision]

    looped = loop(config, rows, decide)
    run = _kernel.OrderRun(drive.as_bytes(records.REQUEST, orders), np.array(decisions, np.int64))
    kernel, refusal = drive.make_kernel(config), None
    for batch in pieces(rows, any_cuts(rng, len(rows))):
        refusal = run.run(kernel, batch)
    assert_same_session(kernel, run, refusal, looped)


def assert_same_session(
    kernel: _kernel.Kernel,
    run: _kernel.TargetRun | _kernel.OrderRun,
    refusal: tuple[str, str, int, int] | None,
    looped: Looped,
) -> None:
    if refusal is None:
        assert looped.refused == ("OK", -1)
        assert run.decision_count() == len(looped.rows)
    else:
        assert (refusal[0], refusal[2]) == looped.refused
        assert refusal[3] == len(looped.placed)
    placed = run.take_placed().view(records.PLACED)
    assert [
        (int(p["input"]), int(p["ts_us"]), int(p["order_id"]), p["request"].tobytes())
        for p in placed
    ] == looped.placed
    assert len(run.take_placed()) == 0
    ours = Looped()
    take_rest(kernel, ours)
    assert ours.fills == looped.fills
    assert ours.state == looped.state


@given(RANDOM)
def test_each_set_of_a_sweep_is_what_the_kernel_makes_of_it(rng: Random) -> None:
    config, rows = any_config(rng, rng.choice([1, 3])), any_rows(rng, rng.randint(1, 200))
    plan = loop(config, rows, never)
    targets = any_targets(rng, rng.randint(0, 4), len(plan.rows))
    given_as = targets.astype(rng.choice([np.int32, np.int64]))
    equity = np.zeros(targets.shape, records.I128)
    sweep = sweep_of(config, len(targets))
    for batch in pieces(rows, any_cuts(rng, len(rows))):
        sweep.run(batch, given_as, 0, equity.view(np.int64))
    assert sweep.decision_count() == len(plan.rows)
    for lots, result, curve in zip(targets, results_of(sweep), equity, strict=True):
        looped = loop(config, rows, follow(lots))
        assert_same(result, looped, config)
        stands_still = [i128(looped.snapshot["equity_atoms"])] * (len(lots) - len(looped.equity))
        assert [i128(pair) for pair in curve] == [*looped.equity, *stands_still]


@given(RANDOM)
def test_progress_is_the_result_of_a_shorter_tape(rng: Random) -> None:
    """Looking at the results on the way changes nothing, and each look is right."""
    config, rows = any_config(rng), any_rows(rng, rng.randint(1, 150))
    targets = any_targets(rng, 2, len(loop(config, rows, never).rows))
    sweep = sweep_of(config, 2)
    for start, stop in any_cuts(rng, len(rows)):
        first = sweep.decision_count()
        window = np.ascontiguousarray(targets[:, first:])
        sweep.run(drive.batch_of(rows[start:stop]), window, first)
        for lots, result in zip(targets, results_of(sweep), strict=True):
            assert_same(result, loop(config, rows[:stop], follow(lots)), config)


def test_long_chunks_are_followed_to_the_row() -> None:
    """Far more rows than are prepared at once, long latencies, a set that hardly trades."""
    rng = Random(5)
    rows = any_rows(rng, 30_000)
    config = replace(
        any_config(rng),
        decide_trades_count=0,
        decide_grid_us=50,
        markets=(Market(),),
        orders_max=64,
        latencies_us=(5, 300_000),
        lanes=(Lane(), Lane(0, PPM // 10), Lane(0, PPM // 10)),
    )
    count = len(loop(config, rows, never).rows)
    targets = any_targets(rng, 3, count)
    targets[2] = np.where(np.arange(count) < count // 2, 300, -300)
    sweep = sweep_of(config, 3)
    sweep.run(drive.batch_of(rows), targets)
    for lots, result in zip(targets, results_of(sweep), strict=True):
        looped = loop(config, rows, follow(lots))
        assert looped.refused[0] == "OK"
        assert len(looped.fills) > 3
        assert_same(result, looped, config)


# Groups of orders


def test_orders_of_the_array_can_hang_together() -> None:
    """The exits of two brackets name their own entry, not the first order of their decision."""
    config = Config(decide_trades_count=1, lane_count=1)
    bracket = [
        Request(kind=Kind.MARKET, side=1, qty_lots=2),
        Request(side=-1, qty_lots=2, price_ticks=110, parent_id=GROUP),
        Request(kind=Kind.STOP, side=-1, qty_lots=2, trigger_ticks=90, parent_id=GROUP),
    ]
    bracket[2] = replace(bracket[2], sibling_id=GROUP + 1)
    second = [
        bracket[0],
        replace(bracket[1], parent_id=GROUP + 3),
        replace(bracket[2], parent_id=GROUP + 3, sibling_id=GROUP + 4),
    ]
    decisions = np.array([0, 0, 0, 2, 2, 2], np.int64)
    run = _kernel.OrderRun(drive.as_bytes(records.REQUEST, [*bracket, *second]), decisions)
    kernel = drive.make_kernel(config)
    rows = [(10 * i, 100, 50, 1, 0) for i in range(1, 9)]
    assert run.run(kernel, drive.batch_of(rows)) is None
    requests = run.take_placed().view(records.PLACED)["request"]
    assert requests["parent_id"].tolist() == [0, 1, 1, 0, 4, 4]
    assert requests["sibling_id"].tolist() == [0, 0, 2, 0, 0, 5]
    assert drive.snapshot_of(kernel)["position_lots"] == 4
    assert drive.snapshot_of(kernel)["open_order_count"] == 4


def test_an_order_can_only_name_earlier_ones() -> None:
    later = Request(side=-1, qty_lots=2, price_ticks=110, parent_id=GROUP)
    run = _kernel.OrderRun(drive.as_bytes(records.REQUEST, [later]), np.zeros(1, np.int64))
    kernel = drive.make_kernel(Config(decide_trades_count=1))
    refusal = run.run(kernel, drive.batch_of([(1, 100, 1, 1, 0)]))
    assert refusal is not None
    assert refusal[0] == "UNKNOWN_ORDER"
    again = run.run(kernel, drive.batch_of([(2, 100, 1, 1, 0)]))
    assert again == refusal
    assert drive.snapshot_of(kernel)["trade_count"] == 1


# What does not fit

ROWS = [(10 * i, 100 + i % 3, 5, 1 if i % 2 else -1, 0) for i in range(1, 40)]
EACH_TRADE = Config(decide_trades_count=1, lane_count=1)


def test_a_batch_with_too_few_targets_does_nothing() -> None:
    sweep = sweep_of(EACH_TRADE, 2)
    before = sweep.results().tobytes()
    with pytest.raises(KernelError) as caught:
        sweep.run(drive.batch_of(ROWS), np.ones((2, len(ROWS) - 1), np.int32))
    assert caught.value.status == "SMALL_BUFFER"
    assert sweep.results().tobytes() == before
    sweep.run(drive.batch_of(ROWS), np.ones((2, len(ROWS)), np.int32))
    assert results_of(sweep)["position_lots"].tolist() == [1, 1]


def test_a_run_without_a_target_says_which() -> None:
    run = _kernel.TargetRun(np.ones(3, np.int64))
    kernel = drive.make_kernel(EACH_TRADE)
    with pytest.raises(ValueError, match="decision point 3 has no target"):
        run.run(kernel, drive.batch_of(ROWS))
    assert drive.snapshot_of(kernel)["trade_count"] == 4


@pytest.mark.parametrize(
    ("targets", "error"),
    [
        (np.ones((2, 39), np.float64), TypeError),
        (np.ones(39, np.int64), TypeError),
        (np.ones((3, 39), np.int64), ValueError),
        (np.ones((39, 2), np.int64).T, ValueError),
    ],
)
def test_targets_of_a_wrong_shape_or_type_are_refused(targets: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        sweep_of(EACH_TRADE, 2).run(drive.batch_of(ROWS), targets)


def test_equity_of_a_wrong_shape_is_refused() -> None:
    targets = np.ones((2, 39), np.int64)
    for shape in ((2, 77), (2, 40), (1, 78)):
        with pytest.raises(ValueError, match=r"row for each set|two words"):
            sweep_of(EACH_TRADE, 2).run(drive.batch_of(ROWS), targets, 0, np.zeros(shape, np.int64))


@pytest.mark.parametrize(
    "more", [{"decide_on_fill": 1}, {"account_kind": 1}, {"account_kind": 2}, {"orders_max": 0}]
)
def test_settings_that_a_sweep_cannot_follow_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(KernelError) as caught:
        sweep_of(replace(EACH_TRADE, **more), 1)
    assert caught.value.status == "BAD_CONFIG"


def test_orders_out_of_order_are_refused() -> None:
    two = drive.as_bytes(records.REQUEST, [request_of(1), request_of(1)])
    for decisions in ([1, 0], [-1, 0]):
        with pytest.raises(ValueError, match="must not fall"):
            _kernel.OrderRun(two, np.array(decisions, np.int64))
    with pytest.raises(ValueError, match="2 orders but 1"):
        _kernel.OrderRun(two, np.zeros(1, np.int64))


def test_a_target_too_far_away_is_refused() -> None:
    far = [2**63 - 1, -(2**63)]
    targets = np.array([far, [0, 2**56 + 1]], np.int64)
    config, rows = replace(EACH_TRADE, decide_trades_count=20), [*ROWS[:39], (400, 100, 5, 1, 0)]
    sweep = sweep_of(config, 2)
    sweep.run(drive.batch_of(rows), targets)
    for lots, result in zip(targets, results_of(sweep), strict=True):
        refusal = _kernel.TargetRun(lots).run(drive.make_kernel(config), drive.batch_of(rows))
        assert refusal is not None
        assert refusal[0] == "BAD_QTY"
        assert _kernel.STATUS_NAMES[int(result["refused_status"])] == "BAD_QTY"
        assert int(result["refused_decision"]) == refusal[2]


def test_volume_beyond_64_bits_is_refused() -> None:
    rows = [(i, 100, 1 << 56, 1, 0) for i in range(100)]
    sweep = sweep_of(replace(EACH_TRADE, decide_trades_count=0), 1)
    none = np.zeros((1, 0), np.int64)
    sweep.run(drive.batch_of(rows), none)
    before = sweep.results().tobytes()
    with pytest.raises(KernelError) as caught:
        sweep.run(drive.batch_of(rows), none)
    assert caught.value.status == "OVERFLOW"
    assert sweep.results().tobytes() == before


# Threads


def test_sets_can_be_shared_out_among_threads() -> None:
    rng = Random(9)
    rows = any_rows(rng, 3000)
    batch = drive.batch_of(rows)
    targets = any_targets(rng, 8, len(rows)).astype(np.int32)
    whole = sweep_of(EACH_TRADE, 8)
    curves = np.zeros((2, 8, len(rows)), records.I128)
    whole.run(batch, targets, 0, curves[0].view(np.int64))

    def part(start: int) -> bytes:
        sweep = sweep_of(EACH_TRADE, 2)
        rows_of = slice(start, start + 2)
        sweep.run(batch, targets[rows_of], 0, curves[1, rows_of].view(np.int64))
        return sweep.results().tobytes()

    with ThreadPoolExecutor(4) as pool:
        assert b"".join(pool.map(part, range(0, 8, 2))) == whole.results().tobytes()
    assert np.array_equal(curves[0], curves[1])


@pytest.mark.parametrize("name", ["sweep", "targets", "orders", "decisions"])
def test_runs_release_the_interpreter_lock(name: str) -> None:
    """With switching off, another thread can only work while a run has let go of the lock."""
    rows = any_rows(Random(1), 20_000)
    batch, ts = drive.batch_of(rows), np.array([row[0] for row in rows], np.int64)
    ones = np.ones((64, len(rows)), np.int64)
    orders = drive.as_bytes(records.REQUEST, [])
    runs: dict[str, Callable[[], object]] = {
        "sweep": lambda: sweep_of(EACH_TRADE, 64).run(batch, ones),
        "targets": lambda: _kernel.TargetRun(ones[0]).run(drive.make_kernel(EACH_TRADE), batch),
        "orders": lambda: _kernel.OrderRun(orders, np.zeros(0, np.int64)).run(
            drive.make_kernel(EACH_TRADE), batch
        ),
        "decisions": lambda: _kernel.Decisions(1, 0).find(ts),
    }
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
        for _ in range(300):
            runs[name]()
            if counted[0] > before:
                break
        during = counted[0] - before
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        worker.join()
    assert during > 0
