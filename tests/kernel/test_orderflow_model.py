"""Order flow of the kernel equals its reference model, however its inputs are cut."""

import random
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape import _kernel
from flowtape.stream import records
from flowtape.stream.config import EngineConfig, kernel_records
from flowtape.stream.errors import KernelError
from flowtape.stream.instrument import Instrument
from tests.kernel import drive
from tests.kernel.reference_flow import DAY_US, DOLLAR, TIME, FlowConfig, FlowModel, volume_by_price

Event = tuple[Any, ...]
Outputs = dict[str, list[tuple[Any, ...]]]


def make_kernel(config: FlowConfig) -> _kernel.Kernel:
    trading = EngineConfig(orders_max=1)
    flow = np.zeros((), records.ORDERFLOW_CONFIG)
    for name, value in asdict(config).items():
        if name == "series":
            flow["series_count"] = len(value)
            for place, one in enumerate(value):
                flow["series"][place] = tuple(one)
        elif name == "size_class_lots":
            flow["size_class_count"] = len(value)
            flow[name][: len(value)] = value
        else:
            flow[name] = value
    header, market = kernel_records(Instrument("TEST", "spot", 0, 0), trading)
    market["flow"] = flow
    return _kernel.Kernel(header.view(np.uint8), market.view(np.uint8), 1 << 20)


def thresholds(kind: int) -> st.SearchStrategy[int]:
    if kind == DOLLAR:
        return st.sampled_from([1, 5_000, 100_000])
    return st.sampled_from([1, 7, 50, 400])


one_series = st.integers(0, 7).flatmap(
    lambda kind: st.tuples(st.just(kind), thresholds(kind), st.sampled_from([0, 1, 3, 16, 1000]))
)

configs = st.builds(
    FlowConfig,
    series=st.lists(one_series, min_size=1, max_size=4),
    footprint_rows_max=st.sampled_from([2, 4, 64]),
    value_area_ppm=st.sampled_from([1, 700_000, 1_000_000]),
    imbalance_ppm=st.sampled_from([0, 1, 1_000_000, 3_000_000]),
    imbalance_min_lots=st.sampled_from([0, 20]),
    imbalance_stack_count=st.sampled_from([1, 2, 3]),
    bubbles_on=st.just(value=True),
    bubble_window_us=st.sampled_from([0, 3, 40]),
    bubble_band_ticks=st.sampled_from([0, 1, 5]),
    large_window_count=st.sampled_from([0, 1, 5, 50]),
    large_ppm=st.sampled_from([1, 500_000, 990_000, 1_000_000]),
    large_min_count=st.just(1),
    vwap_on=st.just(value=True),
    anchor_on_utc_day=st.booleans(),
    size_class_lots=st.sampled_from([[], [10], [2, 25, 40]]),
    recent_trades_count=st.sampled_from([0, 1, 6, 700]),
    recent_slot_us=st.sampled_from([0, 1, 25]),
    recent_slot_count=st.sampled_from([1, 4]),
    sweep_level_count=st.sampled_from([0, 2, 3]),
    sweep_window_us=st.sampled_from([0, 30]),
    absorption_lots=st.sampled_from([0, 40, 100]),
    absorption_window_us=st.sampled_from([0, 100]),
    absorption_ticks=st.sampled_from([1, 3]),
    exhaustion_count=st.sampled_from([0, 1, 2]),
    exhaustion_ticks=st.sampled_from([1, 4]),
)

prices = st.one_of(st.integers(95, 105), st.integers(1, 400))
steps = st.one_of(st.integers(-3, 30), st.just(0), st.just(DAY_US))
trade_events = st.tuples(
    st.just("trade"), steps, prices, st.integers(1, 50), st.sampled_from([1, -1])
)
events = st.lists(
    st.one_of(
        *[trade_events] * 6,
        st.tuples(st.just("clock"), st.integers(0, 60)),
        st.tuples(st.just("gap")),
        st.tuples(st.just("anchor"), st.integers(0, 3)),
    ),
    max_size=80,
)
cuts = st.lists(st.integers(1, 20), min_size=1, max_size=4)


def empty(config: FlowConfig) -> Outputs:
    kinds = ["bubbles", "marks"]
    for i in range(len(config.series)):
        kinds += [f"bars {i}", f"footprints {i}", f"rows {i}"]
    return {kind: [] for kind in kinds}


def take(kernel: _kernel.Kernel, config: FlowConfig, out: Outputs) -> None:
    for i in range(len(config.series)):
        out[f"bars {i}"] += drive.tuples(kernel.take_bars(i).view(records.BAR))
        footprints, rows = kernel.take_footprints(i)
        out[f"footprints {i}"] += drive.tuples(footprints.view(records.FOOTPRINT))
        out[f"rows {i}"] += drive.tuples(rows.view(records.FOOTPRINT_ROW))
    out["bubbles"] += drive.tuples(kernel.take_bubbles()[0].view(records.BUBBLE))
    out["marks"] += drive.tuples(kernel.take_marks().view(records.MARK))


def of_model(model: FlowModel) -> Outputs:
    out = {"bubbles": model.bubbles, "marks": model.marks}
    for i, series in enumerate(model.series):
        out |= {f"bars {i}": series.bars, f"footprints {i}": series.footprints}
        out[f"rows {i}"] = series.rows
    return out


def run_model(config: FlowConfig, script: list[Event]) -> FlowModel:
    model, ts = FlowModel(config), 1000
    for event in script:
        match event:
            case ("trade", step, price, qty, side):
                ts = max(1, ts + step)
                model.trade(ts, price, qty, side)
            case ("clock", step):
                model.clock(model.now + step)
            case ("gap",):
                model.gap()
            case ("anchor", which):
                model.anchor(which)
    return model


def feed(
    kernel: _kernel.Kernel, config: FlowConfig, script: list[Event], sizes: list[int], out: Outputs
) -> None:
    """Play a script with trades gathered in batches of the given sizes, over and over."""
    pending: list[tuple[int, int, int, int]] = []
    ts, batches = 1000, 0

    def flush() -> None:
        if pending:
            assert kernel.run(drive.batch_of([(*row, 0) for row in pending]), 0)[0] == len(pending)
            pending.clear()

    for event in script:
        if event[0] == "trade":
            ts = max(1, ts + event[1])
            pending.append((ts, *event[2:]))
            if len(pending) >= sizes[batches % len(sizes)]:
                flush()
                batches += 1
            continue
        flush()
        match event:
            case ("clock", step):
                kernel.clock(int(drive.snapshot_of(kernel)["stream_us"]) + step)
            case ("gap",):
                kernel.gap()
            case ("anchor", which):
                kernel.anchor(which)
        take(kernel, config, out)
    flush()
    take(kernel, config, out)


def numbers(record: Any) -> tuple[Any, ...]:
    return tuple(
        records.i128(record[n])
        if record.dtype[n] == records.I128
        else records.u192(record[n])
        if record.dtype[n] == records.U192
        else int(record[n])
        for n in record.dtype.names
    )


def assert_same_now(kernel: _kernel.Kernel, model: FlowModel) -> None:
    for i, series in enumerate(model.series):
        assert drive.tuples(kernel.bar(i).view(records.BAR))[0] == series.bar()
        footprint, rows = kernel.footprint(i)
        expected, expected_rows = series.footprint()
        assert drive.tuples(footprint.view(records.FOOTPRINT))[0] == expected
        assert drive.tuples(rows.view(records.FOOTPRINT_ROW)) == expected_rows
    session = kernel.session().view(records.SESSION)[0]
    expected_session = model.session()
    for name in ("vwap", "recent_trades", "recent_time"):
        assert numbers(session[name]) == expected_session[name], name
    assert [numbers(one) for one in session["anchors"]] == expected_session["anchors"]
    classes = expected_session["size_classes"]
    assert [numbers(one) for one in session["size_classes"]][: len(classes)] == classes
    assert int(session["large_threshold_lots"]) == expected_session["large_threshold_lots"]


@given(configs, events, cuts)
def test_order_flow_equals_reference(
    config: FlowConfig, script: list[Event], sizes: list[int]
) -> None:
    model = run_model(config, script)
    kernel, out = make_kernel(config), empty(config)
    feed(kernel, config, script, sizes, out)
    assert out == of_model(model)
    assert_same_now(kernel, model)
    kernel.end()
    model.end()
    take(kernel, config, out)
    assert out == of_model(model)


@given(configs, events, events, cuts)
def test_saved_order_flow_goes_on_like_the_original(
    config: FlowConfig, before: list[Event], after: list[Event], sizes: list[int]
) -> None:
    kernel, copy = make_kernel(config), make_kernel(config)
    feed(kernel, config, before, sizes, empty(config))
    copy.load_state(kernel.save_state())
    assert copy.save_state() == kernel.save_state()
    outputs = []
    for target, pieces in ((kernel, sizes), (copy, [1])):
        out = empty(config)
        feed(target, config, after, pieces, out)
        outputs.append((out, target.save_state(), target.session().tobytes()))
    assert outputs[0] == outputs[1]


@given(configs, events, cuts)
def test_every_trade_lies_in_exactly_one_bar_and_bubble(
    config: FlowConfig, script: list[Event], sizes: list[int]
) -> None:
    """No model needed: volume, counts and input numbers account for every trade."""
    trades = run_model(config, script).trades
    kernel, out = make_kernel(config), empty(config)
    feed(kernel, config, script, sizes, out)
    kernel.end()
    take(kernel, config, out)
    inputs = [t.input for t in trades]
    total = sum(t.qty for t in trades)
    names = [n for n in records.BAR.names or () if n != "reserved"]
    for i, (_, _, row_ticks) in enumerate(config.series):
        bars = [dict(zip(names, bar, strict=True)) for bar in out[f"bars {i}"]]
        held = [n for b in bars for n in inputs if b["first_input"] <= n <= b["last_input"]]
        assert held == inputs
        assert sum(b["trade_count"] for b in bars) == len(trades)
        assert sum(b["buy_lots"] + b["sell_lots"] for b in bars) == total
        assert [b["sequence"] for b in bars] == list(range(len(bars)))
        if row_ticks:
            assert sum(row[2] + row[3] for row in out[f"rows {i}"]) == total
    assert sum(bubble[5] for bubble in out["bubbles"]) == total


def tape(rng: random.Random, count: int, price: int, jump: float) -> list[Event]:
    script: list[Event] = []
    side = 1
    for _ in range(count):
        if rng.random() < 0.2:
            side = -side
        if rng.random() < 0.3:
            price = max(1, price + side * rng.choice([1, 1, 2]))
        if rng.random() < jump:
            price = max(1, price + rng.randint(-500, 500))
        script.append(
            ("trade", rng.choice([0, 0, 0, 1, 9]), price, int(rng.lognormvariate(3, 2)) + 1, side)
        )
    return script


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.deep) for seed in range(2, 10))]
)
def test_long_tapes_equal_the_reference(seed: int) -> None:
    """Blocks of hundreds of prints, so that whole runs are added at once."""
    rng = random.Random(seed)
    config = FlowConfig(
        series=[
            (TIME, 700, rng.choice([1, 5])),
            *((kind, {DOLLAR: 10**6}.get(kind, 900), rng.choice([0, 3])) for kind in range(1, 8)),
        ],
        footprint_rows_max=rng.choice([8, 256]),
        imbalance_ppm=2_000_000,
        bubble_window_us=20,
        bubble_band_ticks=2,
        large_window_count=300,
        large_ppm=950_000,
        large_min_count=10,
        vwap_on=True,
        size_class_lots=[10, 100, 1000],
        recent_trades_count=100,
        recent_slot_us=50,
        recent_slot_count=7,
        sweep_level_count=3,
        sweep_window_us=5,
        absorption_lots=500,
        absorption_window_us=1000,
        absorption_ticks=3,
        exhaustion_count=2,
        exhaustion_ticks=3,
    )
    script = tape(rng, 2500, 1000, rng.choice([0, 0.002]))
    model = run_model(config, script)
    kernel, out = make_kernel(config), empty(config)
    feed(kernel, config, script, [rng.randint(500, 2500)], out)
    assert out == of_model(model)
    assert_same_now(kernel, model)
    assert {mark[8] for mark in model.marks} == {0, 1, 2}
    assert any(bubble[10] for bubble in model.bubbles)


def test_changing_the_future_changes_nothing_told() -> None:
    rng = random.Random(9)
    config = FlowConfig(
        series=[(kind, {DOLLAR: 10**6}.get(kind, 300), 2) for kind in range(8)],
        imbalance_ppm=2_000_000,
        bubble_window_us=20,
        large_window_count=50,
        sweep_level_count=2,
        absorption_lots=100,
        absorption_window_us=1000,
        exhaustion_count=1,
    )
    past = tape(rng, 1500, 1000, 0)
    told = empty(config)
    feed(make_kernel(config), config, past, [400], told)
    for future in (tape(rng, 500, 1, 0.1), tape(rng, 500, 5000, 0.1)):
        out = empty(config)
        feed(make_kernel(config), config, past + future, [333], out)
        for kind, records_told in told.items():
            assert out[kind][: len(records_told)] == records_told, kind


@given(st.lists(st.tuples(prices, st.integers(1, 50), st.sampled_from([1, -1])), min_size=1))
def test_rows_hold_the_volume_of_their_prices(trades: list[tuple[int, int, int]]) -> None:
    config = FlowConfig(series=[(TIME, 10**9, 1)], footprint_rows_max=1024)
    kernel = make_kernel(config)
    kernel.run(drive.batch_of([(1, *t, 0) for t in trades]), 0)
    rows = kernel.footprint()[1].view(records.FOOTPRINT_ROW)
    found = {(int(r["price_ticks"]), 1): int(r["buy_lots"]) for r in rows}
    found |= {(int(r["price_ticks"]), -1): int(r["sell_lots"]) for r in rows}
    model = FlowModel(config)
    for trade in trades:
        model.trade(1, *trade)
    assert {k: v for k, v in found.items() if v} == volume_by_price(model.trades)


def test_value_area_of_a_profile() -> None:
    prices_ = np.arange(100, 107)
    buy = np.array([1, 5, 20, 40, 20, 5, 1])
    area = _kernel.value_area(prices_, buy, np.zeros(7, np.int64), 700_000)
    record = area.view(records.VALUE_AREA)[0]
    # 40 at 103, then 20 above (the upper one of equals), then 20 below: 80 of 92 lots.
    assert tuple(record) == (103, 102, 104, 80, 92)
    none = np.zeros(0, np.int64)
    assert tuple(_kernel.value_area(none, none, none, 1).view(records.VALUE_AREA)[0]) == (0,) * 5
    with pytest.raises(KernelError, match="quantity"):
        _kernel.value_area(prices_, -buy, buy, 700_000)


@pytest.mark.parametrize(("series", "anchor"), [(1, 0), (0, 4)])
def test_unknown_series_and_anchors_are_refused(series: int, anchor: int) -> None:
    kernel = make_kernel(FlowConfig(vwap_on=True))
    with pytest.raises((KernelError, IndexError)):
        kernel.take_bars(series) if series else kernel.anchor(anchor)
    with pytest.raises(KernelError):
        make_kernel(FlowConfig()).anchor(0)
