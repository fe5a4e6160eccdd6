"""Sessions that begin as another one did, and then go their own way."""

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from flowtape.replay.script import Script
from flowtape.replay.session_rows import SessionRows
from flowtape.replay.verifying import check_semantics
from flowtape.stream.commands import ALL_MARKETS, CommandKind, Origin, calls_of
from flowtape.stream.engine import Engine
from flowtape.stream.errors import FlowError, InputError
from flowtape.stream.genesis import Parent, StrategyIdentity
from flowtape.stream.orders import GROUP
from flowtape.stream.records import Records
from flowtape.stream.session import Session, SessionWriter
from flowtape.stream.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Fork:
    """Where a session is left: the last input and the last command behind it that still count."""

    input: int
    place: int


def fork_at(session: Session, rows: SessionRows, ts_us: int) -> Fork:
    """Return the place before the first input of a stream time or later.

    Raises InputError when the session has none so late.
    """
    before = 0
    for piece in rows.segments():
        late = np.flatnonzero(piece.ts_us >= ts_us)
        if len(late):
            return _behind(session.commands(), before + int(late[0]))
        before += len(piece)
    raise InputError(f"session {session.id} ends before that time")


def fork_before(session: Session, order_id: int, *, decides_again: bool) -> Fork:
    """Return the place right before an order was placed.

    Raises InputError when there is none such, and when it was the strategy's, which would place it
    again if it `decides_again`.
    """
    commands = session.commands()
    placed = (commands["kind"] == CommandKind.PLACE) & (commands["order_id"] == order_id)
    if not placed.any():
        raise InputError(f"session {session.id} has no order {order_id}")
    command = commands[placed][0]
    if decides_again and command["origin"] == Origin.STRATEGY:
        raise InputError(
            f"order {order_id} was the strategy's, which would place it again; give another "
            "--strategy, or --no-strategy"
        )
    return Fork(int(command["input"]), int(command["place"]) - 1)


def _behind(commands: Records, at_input: int) -> Fork:
    own = commands["place"][commands["input"] == at_input]
    return Fork(at_input, int(own.max(initial=0)))


def branch(
    session: Session,
    fork: Fork,
    root: Path,
    now: datetime,
    *,
    strategy: Strategy | None,
    name: str | None,
    label: str = "",
) -> Session:
    """Make a session below `root` that is the same as another one up to a place.

    Its strategy is that of the parent, going on, when it is the same one with the same parameters;
    any other begins at the fork. What follows is for `resuming.resume` up to the fork, and then
    for whoever plays on. Raises InputError when there is no room for it, SessionError and
    JournalDamagedError when the parent cannot be read.
    """
    check_semantics(session)
    old = session.genesis
    identity = None if strategy is None else StrategyIdentity.of(strategy, name)
    goes_on = identity is not None and _same(identity, old.strategy)
    decide = old.config.decide if strategy is None else type(strategy).decide
    genesis = replace(
        old,
        config=replace(old.config, decide=decide),
        strategy=identity,
        parent=Parent(
            session.id, old.sha256.hex(), fork.input, fork.place, strategy_begins=not goes_on
        ),
    )
    writer = SessionWriter.create(root, genesis, now, label=label, places=session.places)
    commands = session.commands()
    for piece in session.inputs():
        writer.inputs(piece)
    common = (commands["input"] < fork.input) | (
        (commands["input"] == fork.input) & (commands["place"] <= fork.place)
    )
    if common.any():
        writer.commands(commands[common], durable=True)
    writer.close()
    return Session.open(writer.folder)


def _same(one: StrategyIdentity, other: StrategyIdentity | None) -> bool:
    return other is not None and (one.sha256, one.parameters) == (other.sha256, other.parameters)


class OrdersAgain(Script):
    """What people asked for behind a fork, but for one order, asked again as far as it can be.

    Orders that were placed together with the one left out are left out as well.
    """

    def __init__(self, session: Session, fork: Fork, without: int) -> None:
        commands = session.commands()
        later = (commands["input"] > fork.input) | (
            (commands["input"] == fork.input) & (commands["place"] > fork.place)
        )
        by_people = commands["origin"] == Origin.PERSON
        super().__init__(commands[later & by_people])
        self._next = 0
        self._without = without
        self._ids: dict[int, int] = {}
        """Numbers of their later orders, then and now."""
        placed = later & (commands["kind"] == CommandKind.PLACE)
        self._first_later = int(commands["order_id"][placed].min(initial=GROUP - 1))
        self.refused: list[str] = []
        """What could not be asked again, in words."""

    def catch_up(self, engine: Engine, here: int) -> None:
        """Ask again for what was asked behind input `here`."""
        waiting = self._commands[self._next :]
        own = waiting[waiting["input"] == here]
        self._next += len(own)
        for call in calls_of(own):
            try:
                self._ask(engine, call)
            except FlowError as error:
                self.refused.append(f"behind input {here:,}: {error}")

    def _ask(self, engine: Engine, call: Records) -> None:
        first = call[0]
        kind, order_id = CommandKind(int(first["kind"])), int(first["order_id"])
        orders, request = engine.orders_of_person(int(first["ts_us"])), first["request"]
        if kind is CommandKind.PLACE:
            if self._without in call["order_id"]:
                return
            requests = call["request"].copy()
            for field in ("parent_id", "sibling_id"):
                requests[field] = [self._now(int(one)) for one in requests[field]]
            ids = orders.place_records(requests)
            self._ids |= dict(zip(call["order_id"].tolist(), ids, strict=True))
        elif kind is CommandKind.ANCHOR:
            engine.markets[int(request["market"])].set_anchor(int(request["client_id"]))
        elif kind is CommandKind.CANCEL_ALL:
            market = int(request["market"])
            orders.cancel_all(-1 if market == ALL_MARKETS else market)
        else:
            now_id = self._now(order_id)
            if kind is CommandKind.CANCEL:
                orders.cancel(now_id)
            else:
                orders.amend(
                    now_id,
                    qty_lots=int(request["qty_lots"]),
                    limit_ticks=int(request["price_ticks"]),
                    trigger_ticks=int(request["trigger_ticks"]),
                )

    def _now(self, order_id: int) -> int:
        """Return an order's number now; orders before the fork have the one they had."""
        if order_id in self._ids or order_id < self._first_later or order_id >= GROUP:
            return self._ids.get(order_id, order_id)
        raise InputError(f"order {order_id} was not placed this time")
