"""`flowtape demo` and `replay`: tapes and sessions, at any speed."""

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from flowtape.cli import common
from flowtape.cli.engines import config_of, engine_of
from flowtape.cli.keeping import TapeInputs, kept, opener, refuse_settings, strategy_of
from flowtape.cli.playing import Showing, go_on, play, play_tapes, show_again
from flowtape.stream.errors import InputError

if TYPE_CHECKING:
    from flowtape.stream.session import SessionWriter

# What may be said of a session, which has all other settings from its genesis.
_OF_SESSIONS = {
    *("context", "tape", "strategy", "speed", "resume", "dashboard", "trade", "port", "tapes"),
    *("home", "as_json"),
}

DEMO_SPEED = "60"


def demo(
    speed: Annotated[str, typer.Option("--speed", help="0.1 to 10000, or max.")] = DEMO_SPEED,
    port: common.Port = 8787,
) -> None:
    """Watch the bundled tape in a browser.

    Example: flowtape demo --speed 100
    """
    from flowtape.replay.demo_tape import DEMO_SYMBOL, demo_store
    from flowtape.replay.player import parse_speed
    from flowtape.replay.track import Track

    tape = demo_store().open(DEMO_SYMBOL)
    track = Track(engine_of([tape], None, config_of([tape], None, {})), tape)
    play([track], Showing(parse_speed(speed), port))


def replay(
    context: typer.Context,
    tape: Annotated[
        list[str],
        typer.Argument(metavar="TAPE", help="Symbols or tape folders, or one session."),
    ],
    speed: Annotated[str, typer.Option("--speed", help="0.1 to 10000, or max.")] = "60",
    from_: common.From = None,
    to: common.To = None,
    strategy: common.StrategyName = None,
    set_: common.Settings = None,
    latency: common.Latency = "20ms",
    cash: common.Cash = "100000",
    maker_fee_ppm: common.MakerFee = 1000,
    taker_fee_ppm: common.TakerFee = 1000,
    fills: common.Fills = "queued",
    spread_bps: common.SpreadBps = 2,
    account: common.Account = "free",
    leverage: common.Leverage = 1,
    lanes: common.Lanes = True,
    record: common.Record = False,
    label: common.Label = "",
    retain: common.Retain = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a session that was left.")
    ] = False,
    dashboard: Annotated[bool, typer.Option("--dashboard/--no-dashboard")] = True,
    trade: common.Trade = False,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Use the fast copy of the tape.")
    ] = True,
    port: common.Port = 8787,
    tapes: common.Tapes = None,
    home: common.Home = None,
    as_json: common.Json = False,
) -> None:
    """Replay tapes at any speed, on one clock, with or without a strategy.

    A strategy trades all of them with one account. A session is replayed as it was: no strategy
    runs, its orders are given again. With --resume it goes on where it was left.

    Example: flowtape replay BTCUSDT --speed 100 --from 2026-01-01T12:00
    """
    from flowtape.replay.player import parse_speed

    showing = Showing(parse_speed(speed), port if dashboard else None, trade, as_json)
    if trade and not dashboard:
        raise InputError("--trade needs the dashboard, where the order ticket is")
    session = common.session_named(tape, home)
    if session is not None and (resume or strategy is None):
        refuse_settings(context, _OF_SESSIONS)
        if resume:
            go_on(session, strategy_of(session, strategy), opener(tapes, home), showing)
        else:
            show_again(session, opener(tapes, home), showing)
        return
    if resume:
        raise InputError("--resume goes on with one session; see: flowtape sessions")
    if retain and not record:
        raise InputError("--retain goes with --record")
    if not cache and not showing.unseen:
        raise InputError("--no-cache needs --no-dashboard and --speed max")
    settings = common.engine_settings(
        latency,
        cash,
        maker_fee_ppm,
        taker_fee_ppm,
        fills,
        spread_bps,
        account,
        leverage,
        lanes,
    )
    chosen = common.strategy_named(strategy, set_)
    start_us, end_us = common.parse_range_us(from_, to)
    root = common.tapes_dir(tapes, home)
    refs = tape if session is None else [str(session.folder)]
    opened = [common.open_tape(ref, root, start_us, end_us) for ref in refs]
    # Without a strategy tapes have nothing in common but the clock.
    groups = [[one] for one in opened] if chosen is None else [opened]
    configs = [config_of(group, chosen, settings) for group in groups]
    if (record or trade) and len(groups) > 1:
        raise InputError(
            "--record and --trade are for one session: name one tape, or give a --strategy"
        )
    keeping: contextlib.AbstractContextManager[SessionWriter | None] = contextlib.nullcontext()
    if record:
        inputs = TapeInputs(refs, opened, start_us, end_us)
        genesis = inputs.genesis(configs[0], chosen, strategy)
        keeping = kept(
            genesis, common.sessions_dir(home), label=label, places=inputs.places, retain=retain
        )
    with keeping as writer:
        play_tapes(groups, configs, chosen, showing, writer, cached=cache)
