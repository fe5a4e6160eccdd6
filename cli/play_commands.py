"""`flowtape demo` and `replay`: tapes through engines, at any speed."""

import asyncio
import contextlib
import json
import math
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowtape.cli import common
from flowtape.cli.engines import config_of, engine_of, stream_of
from flowtape.cli.keeping import Inputs, finish, kept
from flowtape.stream.errors import InputError

if TYPE_CHECKING:
    from flowtape.replay.player import Player
    from flowtape.replay.track import Track
    from flowtape.stream.engine import Engine

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
    asyncio.run(_watch([track], parse_speed(speed), port))


def replay(
    tape: Annotated[
        list[str], typer.Argument(metavar="TAPE", help="Symbols, tape folders or recordings.")
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
    dashboard: Annotated[bool, typer.Option("--dashboard/--no-dashboard")] = True,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Use the fast copy of the tape.")
    ] = True,
    port: common.Port = 8787,
    tapes: common.Tapes = None,
    home: common.Home = None,
    as_json: common.Json = False,
) -> None:
    """Replay tapes at any speed, on one clock, with or without a strategy.

    A strategy trades all of them with one account.

    Example: flowtape replay BTCUSDT --speed 100 --from 2026-01-01T12:00
    """
    from flowtape.replay.player import parse_speed
    from flowtape.replay.track import Track, fold

    factor = parse_speed(speed)
    unseen = not dashboard and math.isinf(factor)
    if not cache and not unseen:
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
    opened = [common.open_tape(ref, root, start_us, end_us) for ref in tape]
    # Without a strategy tapes have nothing in common but the clock.
    groups = [[one] for one in opened] if chosen is None else [opened]
    streams = [stream_of(group) for group in groups]
    configs = [config_of(group, chosen, settings) for group in groups]
    if record and (dashboard or len(groups) > 1):
        raise InputError(
            "--record needs --no-dashboard"
            if dashboard
            else "--record keeps one session: name one tape, or give a --strategy"
        )
    with contextlib.ExitStack() as stack:
        writer = None
        if record:
            inputs = Inputs(tape, opened, start_us, end_us)
            session = kept(inputs, configs[0], chosen, name=strategy, label=label, home=home)
            writer = stack.enter_context(session)
        engines = [
            engine_of(group, chosen, config, shown=dashboard, writer=writer)
            for group, config in zip(groups, configs, strict=True)
        ]
        pairs = list(zip(engines, streams, strict=True))
        if dashboard:
            asyncio.run(_watch([Track(*pair) for pair in pairs], factor, port))
            return
        began = time.perf_counter()
        if unseen:
            for engine, one in pairs:
                with common.progress("replaying", len(one), wanted=not as_json) as tick:
                    fold(engine, one.read_batches(cached=cache), tick)
        else:
            _play_unseen([Track(*pair) for pair in pairs], factor)
        said = None if writer is None else finish(writer, engines[0])
    _report(engines, time.perf_counter() - began, as_json=as_json)
    if said is not None and not as_json:
        typer.echo(said)


async def _watch(tracks: "list[Track]", speed: float, port: int) -> None:
    from flowtape.replay.player import Player

    player = Player(tracks, speed=speed)
    player.start()
    try:
        feeds = [(view, player) for track in tracks for view in track.engine.views]
        await common.show(feeds, port, _tell_failure(player))
    finally:
        player.stop()
    if all(track.finished for track in tracks):
        _report([track.engine for track in tracks], None, as_json=False)


async def _tell_failure(player: "Player") -> None:
    while player.error is None:  # noqa: ASYNC110 (it is set on another thread)
        await asyncio.sleep(0.5)
    typer.echo(f"the replay stands still: {player.error}", err=True)
    await asyncio.Event().wait()


def _play_unseen(tracks: "list[Track]", speed: float) -> None:
    from flowtape.replay.player import Player

    player = Player(tracks, speed=speed)
    player.start()
    try:
        player.wait()
    finally:
        player.stop()


def _report(engines: "list[Engine]", wall_s: float | None, *, as_json: bool) -> None:
    from flowtape.replay.backtest import metrics_json, result_of
    from flowtape.replay.words import counted

    found: list[dict[str, Any]] = []
    for engine in engines:
        found.append(
            json.loads(metrics_json(result_of(engine)))
            if engine.strategy is not None
            else {
                "symbol": engine.instrument.symbol,
                "market": engine.instrument.market,
                "trade_count": int(engine.snapshot["trade_count"]),
                "start_us": engine.start_us,
                "end_us": int(engine.snapshot["stream_us"]),
                "digest": engine.digest(),
            }
        )
        if wall_s is not None:
            found[-1]["wall_s"] = round(wall_s, 3)
    if as_json:
        typer.echo(json.dumps(found if len(found) > 1 else found[0], indent=2))
        return
    for one in found:
        typer.echo(f"{one['symbol']}: {counted(one['trade_count'], 'trade')}")
        if "strategy" in one:
            common.print_metrics(one)
        typer.echo(f"digest {one['digest']}")
    if wall_s:
        count = sum(one["trade_count"] for one in found)
        per_s = count / wall_s
        rate = f"{per_s:,.0f}" if per_s < 1e6 else f"{per_s / 1e6:,.1f} M"
        typer.echo(f"{counted(count, 'trade')} in {wall_s:,.2f} s, {rate} trades/s")
