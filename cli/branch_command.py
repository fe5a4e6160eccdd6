"""`flowtape branch`: what if."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flowtape.cli import common
from flowtape.cli.keeping import finish, opener, sealed, strategy_of
from flowtape.cli.playing import Showing, play
from flowtape.stream.errors import InputError

if TYPE_CHECKING:
    from flowtape.replay.branching import Fork, OrdersAgain
    from flowtape.replay.session_rows import OpenTape
    from flowtape.stream.session import Session, Summary
    from flowtape.stream.strategy import Strategy


def branch(
    session: Annotated[
        str, typer.Argument(metavar="SESSION", help="An id, how it begins, a folder, or `last`.")
    ],
    at: Annotated[
        str | None, typer.Option("--at", help="UTC time from which it goes another way.")
    ] = None,
    without: Annotated[
        int | None,
        typer.Option("--without", min=1, help="A person's order that is not placed this time."),
    ] = None,
    strategy: common.StrategyName = None,
    set_: common.Settings = None,
    no_strategy: Annotated[
        bool, typer.Option("--no-strategy", help="No strategy decides behind the branch.")
    ] = False,
    trade: common.Trade = False,
    speed: Annotated[str, typer.Option("--speed", help="With --trade: 0.1 to 10000.")] = "1",
    port: common.Port = 8787,
    label: common.Label = "",
    tapes: common.Tapes = None,
    home: common.Home = None,
) -> None:
    """Begin a new session as another one began, and go another way from some point on.

    With --at the session's own strategy decides on its own from there, or another one, or none;
    with --trade you do, on the screen. With --without everything happens again but for one order.

    Example: flowtape branch last --without 17
    """
    from flowtape.replay.branching import OrdersAgain, fork_at, fork_before
    from flowtape.replay.branching import branch as branch_off
    from flowtape.replay.player import parse_speed
    from flowtape.replay.session_rows import SessionRows
    from flowtape.replay.session_store import SessionStore

    if (at is None) == (without is None):
        raise InputError("say where it goes another way: --at TIME or --without ORDER")
    if no_strategy and (strategy or set_):
        raise InputError("--no-strategy cannot go with --strategy or --set")
    store = SessionStore(common.sessions_dir(home))
    parent, open_tape = store.open(session), opener(tapes, home)
    chosen, name = _strategy(parent, strategy, set_, none=no_strategy)
    rows = SessionRows.of(parent, open_tape)
    again = None
    if at is not None:
        fork = fork_at(parent, rows, common.parse_time_us(at, "--at"))
    else:
        assert without is not None
        goes_on = strategy is None and set_ is None and chosen is not None
        fork = fork_before(parent, without, decides_again=goes_on)
        again = OrdersAgain(parent, fork, without)
    made = branch_off(
        parent, fork, store.root, datetime.now(UTC), strategy=chosen, name=name, label=label
    )
    typer.echo(f"session {made.id} leaves {parent.id} behind input {fork.input:,}")
    showing = Showing(parse_speed(speed), port if trade else None, trade)
    _play(made, fork, chosen, open_tape, showing, again)
    _compare(parent.summary, type(made).open(made.folder).summary)


def _strategy(
    parent: "Session", name: str | None, settings: list[str] | None, *, none: bool
) -> "tuple[Strategy | None, str | None]":
    identity = parent.genesis.strategy
    if none or (name is None and identity is None):
        return None, None
    if name is None and settings:
        assert identity is not None
        name = identity.name
    if name is None:
        assert identity is not None
        return strategy_of(parent, None), identity.name
    return common.strategy_named(name, settings), name


def _play(
    made: "Session",
    fork: "Fork",
    strategy: "Strategy | None",
    open_tape: "OpenTape",
    showing: Showing,
    again: "OrdersAgain | None",
) -> None:
    from flowtape.replay.resuming import resume
    from flowtape.replay.track import Track

    shown = showing.port is not None
    resumed = resume(made, open_tape, strategy, shown=shown, until=fork.input)
    with sealed(resumed.writer):
        track = Track(resumed.engine, resumed.rows, again)
        if shown:
            play([track], showing, resumed.writer)
            return
        track.advance(track.row_count)
        typer.echo(finish(resumed.writer, resumed.engine))
    for line in again.refused if again else ():
        typer.echo(f"not asked again {line}", err=True)


def _compare(before: "Summary | None", now: "Summary | None") -> None:
    if before is None or now is None:
        return
    for words, summary in (("before", before), ("now", now)):
        typer.echo(
            f"{words:<8}{summary.order_count:,} orders  {summary.fill_count:,} fills  "
            f"net P&L {float(summary.net_pnl):,.2f}"
        )
