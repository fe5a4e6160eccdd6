"""The order microscope: everything that happened to one order, and why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from flowtape.stream.config import atoms_per_ticklot, money_decimals
from flowtape.stream.decimals import format_decimal
from flowtape.stream.errors import InputError
from flowtape.stream.execution import (
    ALL_LANES,
    Change,
    Flag,
    Lane,
    OrderKind,
    Reason,
    Role,
    TimeInForce,
)
from flowtape.stream.instrument import Instrument
from flowtape.stream.ledger import Ledger
from flowtape.stream.records import Records, i128

NEVER = 2**63 - 1

_REASONS = {
    Reason.BY_COMMAND: "as asked",
    Reason.BY_AMENDMENT: "the new quantity was filled already",
    Reason.BY_SIBLING: "its pair filled or triggered",
    Reason.BY_PARENT: "its parent ended without a fill",
    Reason.BY_LIQUIDATION: "the position was liquidated",
    Reason.TIME_IS_UP: "its time is up",
    Reason.NOTHING_LEFT: "its moment is over",
    Reason.NOT_ENOUGH: "the print gives less than all of it",
    Reason.WOULD_TAKE: "post-only, and it would take",
    Reason.WOULD_TRIGGER: "it would trigger at once",
    Reason.NOTHING_TO_REDUCE: "there is no position to reduce",
    Reason.INSUFFICIENT_BALANCE: "the account cannot carry it",
    Reason.BUDGET_SPENT: "own orders have used up their share of the print",
    Reason.BY_CAPACITY: "too many orders that only this lane still has open",
    Reason.OTHER_SIDE: "this lane takes from prints of its own side only",
}


_WORDS = {
    Change.PLACED: "placed, arrives {ms:g} ms later",
    Change.CANCEL_ASKED: "cancel asked for, arrives {ms:g} ms later",
    Change.AMEND_ASKED: "change asked for, arrives {ms:g} ms later",
    Change.RESTING: "rests; {ahead}",
    Change.SLICED: "shows its next part; {ahead}",
    Change.QUEUED: "not filled: those ahead took it; {ahead}",
    Change.TRIGGERED: "triggered at {price}",
    Change.WAITING: "waits for {price}",
    Change.AMENDED: "changed, {left} left",
    Change.RELEASED: "its parent filled: asks for {qty} more",
    Change.REDUCED: "its pair filled: asks for {qty} less",
    Change.STARVED: "not filled{why}",
    Change.UNKNOWN: "trades are missing here: what they would have done is not known",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to an order.

    Attributes:
        input: number of the input behind which, or by which, it happened.
        ts_us: stream time at which it took effect.
        lane: the lane it happened in; None when it is the same in all.
        change: what happened; a fill has none.
        reason: why.
        print_ticks: price of the print concerned; 0: none.
        print_lots: its quantity.
        qty_lots: filled by this step; 0 unless it is a fill.
        price_ticks: what was paid for it.
        role: maker, taker or liquidated; None unless it is a fill.
        remaining_lots: left to fill behind the step.
        queue_lots: ahead of it at its price, estimated; None: never reached.
        detail: what `Change` says of it: latency drawn, trigger price, lots more or less.
    """

    input: int
    ts_us: int
    lane: Lane | None
    change: Change | None
    reason: Reason
    print_ticks: int
    print_lots: int
    qty_lots: int
    price_ticks: int
    role: Role | None
    remaining_lots: int
    queue_lots: int | None
    detail: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an order in one lane.

    Attributes:
        filled_lots: filled in all.
        notional_ticklots: sum of price times quantity of its fills.
        fees_atoms: paid for them; negative for rebates.
    """

    filled_lots: int
    notional_ticklots: int
    fees_atoms: int


@dataclass(frozen=True, slots=True, eq=False)
class OrderHistory:
    """An order as it was asked for (a record of `records.COMMAND`) and its steps in order."""

    instrument: Instrument
    money_decimals: int
    """Decimals of the quote asset that an atom stands for."""
    command: np.void
    steps: tuple[Step, ...]
    fills: Records
    """Its fills in all lanes, records of `records.FILL`."""

    @classmethod
    def of(cls, instruments: Sequence[Instrument], ledger: Ledger, order_id: int) -> "OrderHistory":
        """Return the history of an order; raises InputError when there was none such."""
        commands = ledger.placed()
        found = commands[commands["order_id"] == order_id]
        if len(found) == 0:
            count = len(commands)
            known = f"orders 1 to {count} were placed" if count else "no order was placed"
            raise InputError(f"there is no order {order_id}: {known}")
        events = ledger.order_events.all()
        every = np.concatenate([ledger.fills.all(), ledger.other_fills.all()])
        fills = every[every["order_id"] == order_id]
        steps = [
            *(_of_event(e) for e in events[events["order_id"] == order_id]),
            *(_of_fill(fill) for fill in fills),
        ]
        steps.sort(key=_place)
        instrument = instruments[int(found[0]["request"]["market"])]
        return cls(instrument, money_decimals(*instruments), found[0], tuple(steps), fills)

    def history(self) -> tuple[Step, ...]:
        """Return the steps in order."""
        return self.steps

    def outcome(self, lane: Lane = Lane.BASE) -> Outcome:
        """Return what became of the order in a lane."""
        own = self.fills[self.fills["lane"] == lane]
        return Outcome(
            filled_lots=int(own["qty_lots"].sum()),
            notional_ticklots=sum(int(f["price_ticks"]) * int(f["qty_lots"]) for f in own),
            fees_atoms=sum(i128(f["fee_atoms"]) for f in own),
        )

    def pnl_atoms(self, mark_ticks: int, lane: Lane = Lane.BASE) -> int:
        """Return what its fills have gained in a lane at a price, fees paid."""
        one = self.outcome(lane)
        gain = mark_ticks * one.filled_lots - one.notional_ticklots
        side = int(self.command["request"]["side"])
        atoms = atoms_per_ticklot(self.instrument, self.money_decimals)
        return side * gain * atoms - one.fees_atoms

    def lines(self, lane: Lane | None = None) -> Iterator[str]:
        """Yield the history in words, of one lane or of all."""
        yield self._asked()
        for step in self.steps:
            if lane is None or step.lane in (None, lane):
                where = "all lanes" if step.lane is None else step.lane.name.lower()
                yield f"{_clock(step.ts_us)}  #{step.input:<10,} {where:<12} {self._said(step)}"
        for one in Lane if lane is None else (lane,):
            if self.outcome(one).filled_lots:
                yield f"{one.name.lower():<12} {self._outcome(one)}"

    def _outcome(self, lane: Lane) -> str:
        one = self.outcome(lane)
        average = one.notional_ticklots / one.filled_lots / 10.0**self.instrument.price_decimals
        fees = f"{Decimal(one.fees_atoms).scaleb(-self.money_decimals):f}"
        return f"filled {self._qty(one.filled_lots)} at {average:,.4f} on average, fees {fees}"

    def _asked(self) -> str:
        request = self.command["request"]
        kind = OrderKind(int(request["kind"])).name.lower().replace("_", " ")
        words = [
            f"order {int(self.command['order_id'])}:",
            "buy" if request["side"] > 0 else "sell",
            self._qty(int(request["qty_lots"])) if request["qty_lots"] else "the position",
            kind,
        ]
        if request["price_ticks"]:
            words.append(f"at {self._price(int(request['price_ticks']))}")
        if request["trigger_ticks"]:
            words.append(f"trigger {self._price(int(request['trigger_ticks']))}")
        words.append(TimeInForce(int(request["time_in_force"])).name)
        flags = Flag(int(request["flags"]))
        words += [
            flag.name.lower().replace("_", "-") for flag in Flag if flag in flags and flag.name
        ]
        return " ".join(words)

    def _said(self, step: Step) -> str:
        printed = ""
        if step.print_ticks:
            printed = f" | print {self._qty(step.print_lots)} at {self._price(step.print_ticks)}"
        if step.change is None:
            role = step.role.name.lower() if step.role is not None else ""
            text = f"filled {self._qty(step.qty_lots)} at {self._price(step.price_ticks)} as {role}"
            return f"{text}, {self._qty(step.remaining_lots)} left{printed}"
        return f"{self._words(step, step.change)}{printed}"

    def _words(self, step: Step, change: Change) -> str:
        ahead = "only a print through its price fills it"
        if step.queue_lots is not None:
            ahead = f"{self._qty(step.queue_lots)} ahead (estimated)"
        return _WORDS.get(change, change.name.lower() + "{why}").format(
            ahead=ahead,
            ms=step.detail / 1000,
            price=self._price(step.detail) if step.detail else "a start",
            qty=self._qty(step.detail),
            left=self._qty(step.remaining_lots),
            why=f": {_REASONS[step.reason]}" if step.reason in _REASONS else "",
        )

    def _qty(self, lots: int) -> str:
        return format_decimal(lots, self.instrument.qty_decimals)

    def _price(self, ticks: int) -> str:
        return format_decimal(ticks, self.instrument.price_decimals)


_BEHIND_FILLS = {
    *(Change.FILLED, Change.SLICED, Change.CANCELED, Change.EXPIRED, Change.REJECTED),
}


def _place(step: Step) -> tuple[int, int, int, int]:
    """Within an input: what led to a fill, the fill, what it led to; lane by lane."""
    part = 1 if step.change is None else 2 * (step.change in _BEHIND_FILLS)
    if step.lane is None:
        return step.input, part, 0, part
    return step.input, 1, step.lane, part


def _of_event(event: np.void) -> Step:
    lane, queue = int(event["lane"]), int(event["queue_lots"])
    return Step(
        input=int(event["input"]),
        ts_us=int(event["ts_us"]),
        lane=None if lane == ALL_LANES else Lane(lane),
        change=Change(int(event["change"])),
        reason=Reason(int(event["reason"])),
        print_ticks=int(event["print_ticks"]),
        print_lots=int(event["print_lots"]),
        qty_lots=0,
        price_ticks=0,
        role=None,
        remaining_lots=int(event["remaining_lots"]),
        queue_lots=None if queue == NEVER else queue,
        detail=int(event["detail"]),
    )


def _of_fill(fill: np.void) -> Step:
    return Step(
        input=int(fill["input"]),
        ts_us=int(fill["ts_us"]),
        lane=Lane(int(fill["lane"])),
        change=None,
        reason=Reason.NONE,
        print_ticks=0,
        print_lots=0,
        qty_lots=int(fill["qty_lots"]),
        price_ticks=int(fill["price_ticks"]),
        role=Role(int(fill["role"])),
        remaining_lots=int(fill["remaining_lots"]),
        queue_lots=None,
        detail=0,
    )


def _clock(ts_us: int) -> str:
    seconds, micros = divmod(ts_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{micros:06d}"
