"""The kernel equals the reference model, and cutting its batches anywhere changes nothing."""

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.kernel import drive
from tests.kernel.reference import LIMIT, MARKET, Config, Model

Event = tuple[Any, ...]

configs = st.builds(
    Config,
    bar_us=st.sampled_from([1, 7, 50, 1000]),
    bubble_window_us=st.sampled_from([0, 3, 40, 1000]),
    bubble_band_ticks=st.sampled_from([0, 1, 5]),
    profile_rows_max=st.sampled_from([2, 8, 64]),
    decide_trades_count=st.sampled_from([0, 0, 1, 3, 10]),
    decide_grid_us=st.sampled_from([0, 0, 5, 100]),
    decide_on_fill=st.booleans(),
    equity_grid_us=st.sampled_from([0, 10, 100]),
    latency_us=st.sampled_from([0, 1, 30]),
    maker_fee_ppm=st.sampled_from([0, -100, 999_999, 37]),
    taker_fee_ppm=st.sampled_from([0, 1_000, 40]),
    atoms_per_ticklot=st.sampled_from([1, 10, 10_000]),
    fee_unit_atoms=st.sampled_from([1, 100]),
    initial_cash_atoms=st.sampled_from([0, 10**9, -(10**25)]),
)

sides = st.sampled_from([1, -1])
prices = st.one_of(st.integers(95, 105), st.integers(1, 400))
trade_events = st.tuples(st.just("trade"), st.integers(-3, 30), prices, st.integers(1, 50), sides)
events = st.lists(
    st.one_of(
        trade_events,
        trade_events,
        trade_events,
        st.tuples(st.just("clock"), st.integers(0, 60)),
        st.tuples(st.just("gap")),
        st.tuples(
            st.just("place"),
            st.integers(0, 20),
            st.sampled_from([MARKET, LIMIT]),
            sides,
            st.integers(1, 80),
            prices,
        ),
        st.tuples(st.just("cancel"), st.integers(0, 20), st.integers(0, 5)),
    ),
    max_size=80,
)


def run_model(config: Config, script: list[Event]) -> tuple[Model, list[int]]:
    """Play a script; also return the inputs that made decision points."""
    model = Model(config)
    decisions: list[int] = []
    ts = 1000
    for event in script:
        match event:
            case ("trade", step, price, qty, side):
                ts = max(1, ts + step)
                if model.trade(ts, price, qty, side):
                    decisions.append(model.input)
            case ("clock", step):
                if model.clock(model.stream_us + step):
                    decisions.append(model.input)
            case ("gap",):
                model.gap()
            case ("place", delay, kind, side, qty, price):
                drive.place(model, model.stream_us + delay, kind, side, qty, price)
            case ("cancel", delay, which):
                if model.orders:
                    order = model.orders[which % len(model.orders)]
                    model.cancel(model.stream_us + delay, order.order_id)
    return model, decisions


def run_kernel(
    config: Config, script: list[Event], cuts: list[int]
) -> tuple[Any, drive.Outputs, list[int]]:
    """Play a script with trades gathered in batches of the sizes in `cuts`, over and over."""
    kernel = drive.make_kernel(config)
    out = drive.empty()
    decisions: list[int] = []
    pending: list[tuple[int, int, int, int]] = []
    sizes = 0
    ts = 1000

    def flush() -> None:
        if not pending:
            return
        batch, at = drive.batch_of(pending), 0
        before = int(drive.snapshot_of(kernel)["input"])
        while at < len(batch):
            at, decides = kernel.run(batch, at)
            if decides:
                decisions.append(before + at)
        pending.clear()

    for event in script:
        match event:
            case ("trade", step, price, qty, side):
                ts = max(1, ts + step)
                pending.append((ts, price, qty, side))
                if len(pending) >= cuts[sizes % len(cuts)]:
                    flush()
                    sizes += 1
                continue
        flush()
        now = int(drive.snapshot_of(kernel)["stream_us"])
        match event:
            case ("clock", step):
                if kernel.clock(now + step):
                    decisions.append(int(drive.snapshot_of(kernel)["input"]))
            case ("gap",):
                kernel.gap()
            case ("place", delay, kind, side, qty, price):
                drive.place(kernel, now + delay, kind, side, qty, price)
            case ("cancel", delay, which):
                open_orders = kernel.orders().view(drive.records.ORDER)
                if len(open_orders):
                    order = open_orders[which % len(open_orders)]
                    kernel.cancel(now + delay, int(order["order_id"]))
        drive.take(kernel, out)
    flush()
    drive.take(kernel, out)
    return kernel, out, decisions


@given(configs, events, st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_kernel_equals_reference(config: Config, script: list[Event], cuts: list[int]) -> None:
    model, model_decisions = run_model(config, script)
    kernel, out, decisions = run_kernel(config, script, cuts)
    assert out == drive.of_model(model)
    assert decisions == model_decisions
    drive.assert_same_state(kernel, model)
    kernel.end()
    model.end()
    drive.take(kernel, out)
    assert out == drive.of_model(model)


@given(
    configs,
    events,
    st.lists(st.integers(1, 20), min_size=1, max_size=4),
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
)
def test_cutting_batches_changes_nothing(
    config: Config, script: list[Event], cuts: list[int], other_cuts: list[int]
) -> None:
    first, first_out, first_decisions = run_kernel(config, script, cuts)
    second, second_out, second_decisions = run_kernel(config, script, other_cuts)
    assert first_out == second_out
    assert first_decisions == second_decisions
    assert first.save_state() == second.save_state()


@given(configs, events, events)
def test_saved_state_goes_on_like_the_original(
    config: Config, before: list[Event], after: list[Event]
) -> None:
    kernel, _, _ = run_kernel(config, before, [5])
    copy = drive.make_kernel(config)
    copy.load_state(kernel.save_state())
    assert copy.save_state() == kernel.save_state()
    outputs = []
    for target in (kernel, copy):
        out = drive.empty()
        ts = int(drive.snapshot_of(target)["stream_us"])
        for event in after:
            if event[0] == "trade":
                ts = max(1, ts + event[1])
                batch, at = drive.batch_of([(ts, *event[2:])]), 0
                while at < 1:
                    at, _ = target.run(batch, at)
        drive.take(target, out)
        outputs.append((out, target.save_state()))
    assert outputs[0] == outputs[1]


def test_long_random_tape_equals_reference() -> None:
    """Blocks of hundreds of prints, so that whole runs are added at once."""
    for seed in range(6):
        rng = random.Random(seed)
        config = Config(
            bar_us=rng.choice([500, 5000]),
            bubble_window_us=rng.choice([20, 300]),
            bubble_band_ticks=rng.choice([0, 2]),
            profile_rows_max=16,
            decide_trades_count=rng.choice([0, 700]),
            equity_grid_us=2000,
            latency_us=10,
            taker_fee_ppm=1000,
        )
        script: list[Event] = []
        price, side = 1000, 1
        for _ in range(6000):
            if rng.random() < 0.2:
                side = -side
            if rng.random() < 0.3:
                price = max(1, price + side)
            step = rng.choice([0, 0, 0, 1, 9])
            script.append(("trade", step, price, rng.randint(1, 10**12), side))
            if rng.random() < 0.002:
                offset = rng.randint(-3, 3)
                script.append(("place", 0, LIMIT, rng.choice([1, -1]), 9, price + offset))
        model, model_decisions = run_model(config, script)
        kernel, out, decisions = run_kernel(config, script, [rng.randint(1, 4000)])
        assert out == drive.of_model(model)
        assert decisions == model_decisions
        drive.assert_same_state(kernel, model)
