"""Kernel and reference model side by side, compared after every step of any script."""

from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from flowtape.stream.errors import KernelError
from tests.kernel import draws, drive
from tests.kernel.config import PPM, FillModel
from tests.kernel.reference import ceil_div

DEEP = settings().max_examples > 1000

randoms = st.randoms(use_true_random=False)
sides = st.sampled_from([1, -1])


class ExecutionMachine(RuleBasedStateMachine):
    """Feeds both sides the same inputs and commands."""

    kernel: drive.KernelSide
    model: drive.ModelSide

    @initialize(
        rng=randoms,
        cuts=st.lists(st.integers(1, 20), min_size=1, max_size=4),
        sampled=st.booleans(),
    )
    def start(self, rng: Random, cuts: list[int], sampled: bool) -> None:
        config = draws.config(rng)
        self.markets = len(config.markets)
        self.kernel = drive.KernelSide(config, cuts)
        self.model = drive.ModelSide(config)
        self.seen = dict.fromkeys(self.model.out, 0)
        self.printed: dict[int, int] = {}
        self.feed([(1000, 100, 10, 1, 0)])
        if sampled:
            self.break_levels(1, 3)
            self.break_levels(-1, 5)

    # Steps

    @rule(rng=randoms)
    def trade(self, rng: Random) -> None:
        self.feed([draws.step(rng, self.markets)])

    @rule(rng=randoms, count=st.integers(2, 25))
    def trades(self, rng: Random, count: int) -> None:
        self.feed([draws.step(rng, self.markets) for _ in range(count)])

    @rule(side=sides, volume=st.integers(1, 40))
    def break_levels(self, side: int, volume: int) -> None:
        self.feed(draws.breaking_levels(side, volume, volume % self.markets))

    @rule(step=st.integers(0, 60))
    def clock(self, step: int) -> None:
        self.both(lambda side: side.clock(side.now + step))

    @rule(rng=randoms, market=st.integers(0, 1), step=st.integers(0, 20))
    def mark(self, rng: Random, market: int, step: int) -> None:
        price = draws.price(rng)
        self.both(lambda side: side.mark(market, side.now + step, price))

    @rule(rng=randoms, market=st.integers(0, 1), step=st.integers(0, 20))
    def venue_rule(self, rng: Random, market: int, step: int) -> None:
        number, value = draws.rule(rng)
        self.both(lambda side: side.set_rule(market, side.now + step, number, value))

    @rule(
        what=st.sampled_from(["gap", "funding", "cancel all"]),
        market=st.integers(0, 1),
        step=st.integers(0, 20),
        rate=st.sampled_from([0, 100_000, -70_001, 10**6]),
    )
    def rarely(self, what: str, market: int, step: int, rate: int) -> None:
        if what == "gap":
            self.both(lambda side: side.gap(market))
        elif what == "funding":
            self.both(lambda side: side.funding(market, side.now + step, rate))
        else:
            self.both(lambda side: side.cancel_all(side.now + step, market if rate else -1))

    @rule(rng=randoms, delay=st.sampled_from([0, 0, 5]))
    def place(self, rng: Random, delay: int) -> None:
        at = self.model.now + delay
        requests = draws.group(rng, at, self.markets, self.open_ids())
        self.both(lambda side: side.place(at, requests))

    @rule(rng=randoms, times=st.integers(2, 5), count=st.integers(0, 3))
    def place_many(self, rng: Random, times: int, count: int) -> None:
        for _ in range(times):
            self.place(rng, 0)
        self.trades(rng, count)

    @precondition(lambda self: self.open_ids())
    @rule(rng=randoms, delay=st.sampled_from([0, 0, 5]))
    def cancel(self, rng: Random, delay: int) -> None:
        order_id = rng.choice(self.open_ids())
        self.both(lambda side: side.cancel(side.now + delay, order_id))

    @precondition(lambda self: self.open_ids())
    @rule(rng=randoms, delay=st.sampled_from([0, 0, 5]))
    def amend(self, rng: Random, delay: int) -> None:
        order_id = rng.choice(self.open_ids())
        qty, price = rng.choice([0, draws.qty(rng)]), rng.choice([0, draws.price(rng)])
        trigger = rng.choice([0, 0, draws.price(rng)])
        self.both(lambda side: side.amend(side.now + delay, order_id, qty, price, trigger))

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self.both(lambda side: side.end())

    # Feeding and comparing

    def open_ids(self) -> tuple[int, ...]:
        return tuple(order.order_id for order in self.model.model.open_orders)

    def feed(self, steps: list[draws.Step]) -> None:
        rows, first = draws.rows_of(steps, self.model.now), self.model.input + 1
        self.printed.update({first + i: row[2] for i, row in enumerate(rows)})
        self.kernel.trades(rows)
        self.model.trades(rows)
        self.compare()

    def both(self, act: Callable[[drive.Side], Any]) -> None:
        results = []
        for side in (self.kernel, self.model):
            try:
                results.append(act(side))
            except KernelError as error:
                results.append(error.status)
        assert results[0] == results[1]
        self.compare()

    def compare(self) -> None:
        said, expected = self.kernel.out, self.model.out
        for box, rows in expected.items():
            assert said[box][self.seen[box] :] == rows[self.seen[box] :], box
        self.check_fills(said["fills"][self.seen["fills"] :])
        self.seen = {box: len(rows) for box, rows in expected.items()}
        assert self.kernel.decisions == self.model.decisions
        drive.assert_same_state(self.kernel, self.model)

    def check_fills(self, fills: list[drive.Row]) -> None:
        """No fill before the arrival, and no print gives a lane more than its share."""
        given: dict[tuple[int, int], int] = {}
        for number, ts, order_id, _, qty, *_, lane in fills:
            if order_id:
                assert ts > self.model.model.known[order_id].active_us
                given[number, lane] = given.get((number, lane), 0) + qty
        config = self.model.config
        if config.fill_model == FillModel.QUEUED:
            for (number, lane), qty in given.items():
                share = config.lanes[lane].participation_ppm
                assert qty <= ceil_div(self.printed[number] * share, PPM)


ExecutionMachine.TestCase.settings = settings(
    max_examples=2500 if DEEP else 75, stateful_step_count=50
)
TestExecutionMachine = ExecutionMachine.TestCase
