"""`flowtape demo`, `replay` and `backtest`: tapes through engines."""

import asyncio
import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowtape.cli import common

if TYPE_CHECKING:
    from flowtape.replay.tapes import Tape
    from flowtape.replay.track import Track
    from flowtape.stream.engine import Engine
    from flowtape.stream.strategy import Strategy

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
    track = Track(_engine(tape, None, _engine_settings()), tape)
    asyncio.run(_watch([track], parse_speed(speed), port))


def replay(
    tape: Annotated[list[str], typer.Argument(help="Symbols, tape folders or recordings.")],
    speed: Annotated[str, typer.Option("--speed", help="0.1 to 10000, or max.")] = "60",
    from_: Annotated[
        str | None, typer.Option("--from", help="First UTC time, such as 2026-01-01T12:30.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="UTC time to end before.")] = None,
    strategy: common.StrategyName = None,
    set_: common.Settings = None,
    latency: common.Latency = "20ms",
    cash: common.Cash = "100000",
    maker_fee_ppm: common.MakerFee = 1000,
    taker_fee_ppm: common.TakerFee = 1000,
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

    Example: flowtape replay BTCUSDT --speed 100 --from 2026-01-01T12:00
    """
    from flowtape.replay.player import parse_speed
    from flowtape.replay.track import Track, fold
    from flowtape.stream.errors import InputError

    factor = parse_speed(speed)
    unseen = not dashboard and math.isinf(factor)
    if not cache and not unseen:
        raise InputError("--no-cache needs --no-dashboard and --speed max")
    settings = _engine_settings(latency, cash, maker_fee_ppm, taker_fee_ppm)
    chosen = _strategy(strategy, set_)
    start_us = common.parse_time_us(from_, "--from") if from_ else None
    end_us = common.parse_time_us(to, "--to") if to else None
    root = common.tapes_dir(tapes, home)
    opened = [common.open_tape(ref, root, start_us, end_us) for ref in tape]
    engines = [_engine(t, chosen, settings, shown=dashboard) for t in opened]
    if dashboard:
        tracks = [Track(engine, t) for engine, t in zip(engines, opened, strict=True)]
        asyncio.run(_watch(tracks, factor, port))
        return
    began = time.perf_counter()
    if unseen:
        for engine, one in zip(engines, opened, strict=True):
            with common.progress("replaying", len(one), wanted=not as_json) as tick:
                fold(engine, one.read_batches(cached=cache), tick)
    else:
        tracks = [Track(engine, t) for engine, t in zip(engines, opened, strict=True)]
        _play_unseen(tracks, factor)
    _report(engines, time.perf_counter() - began, as_json=as_json)


def backtest(
    tape: Annotated[str, typer.Argument(help="A symbol, a tape folder or a recording.")],
    strategy: Annotated[
        str, typer.Option("--strategy", help="package.module:Class or path/file.py:Class.")
    ],
    set_: common.Settings = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="First UTC time, such as 2026-01-01T12:30.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="UTC time to end before.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the results.")] = None,
    latency: common.Latency = "20ms",
    cash: common.Cash = "100000",
    maker_fee_ppm: common.MakerFee = 1000,
    taker_fee_ppm: common.TakerFee = 1000,
    tapes: common.Tapes = None,
    home: common.Home = None,
    as_json: common.Json = False,
) -> None:
    """Run a strategy over a tape and write report.html, metrics.json, equity.csv, fills.csv.

    Example: flowtape backtest BTCUSDT --strategy examples/delta_divergence.py:DeltaDivergence
    """
    from flowtape.dashboards.tearsheet import tearsheet
    from flowtape.replay import backtest as batch
    from flowtape.replay.track import fold
    from flowtape.stream.loading import load_strategy

    chosen = load_strategy(strategy, set_ or [])
    start_us = common.parse_time_us(from_, "--from") if from_ else None
    end_us = common.parse_time_us(to, "--to") if to else None
    opened = common.open_tape(tape, common.tapes_dir(tapes, home), start_us, end_us)
    settings = _engine_settings(latency, cash, maker_fee_ppm, taker_fee_ppm)
    engine = _engine(opened, chosen, settings, shown=False)
    with common.progress("backtesting", len(opened), wanted=not as_json) as tick:
        fold(engine, opened.read_batches(cached=True), tick)
    result = batch.result_of(engine)
    metrics = batch.metrics_json(result)
    folder = out or Path(f"backtest-{result.strategy}-{result.instrument.symbol}")
    batch.write_files(
        folder,
        {
            "report.html": tearsheet(
                result.instrument, result.ledger, json.loads(metrics), result.config.bar_us
            ),
            "metrics.json": metrics + "\n",
            "equity.csv": batch.equity_csv(result),
            "fills.csv": batch.fills_csv(result),
        },
    )
    if as_json:
        typer.echo(metrics)
        return
    _print_metrics(json.loads(metrics))
    typer.echo(f"written to {folder}: report.html, metrics.json, equity.csv, fills.csv")


def _engine_settings(
    latency: str = "20ms",
    cash: str = "100000",
    maker_fee_ppm: int = 1000,
    taker_fee_ppm: int = 1000,
) -> dict[str, object]:
    return {
        "latency_us": common.parse_span_us(latency, "--latency"),
        "initial_cash": cash,
        "maker_fee_ppm": maker_fee_ppm,
        "taker_fee_ppm": taker_fee_ppm,
    }


def _strategy(name: str | None, settings: list[str] | None) -> "Strategy | None":
    from flowtape.stream.errors import InputError
    from flowtape.stream.loading import load_strategy

    if name is None:
        if settings:
            raise InputError("--set needs --strategy")
        return None
    return load_strategy(name, settings or [])


def _engine(
    tape: "Tape", strategy: "Strategy | None", settings: dict[str, object], *, shown: bool = True
) -> "Engine":
    from flowtape.replay.backtest import EQUITY_GRID_US
    from flowtape.stream.config import EngineConfig, bubble_band_ticks
    from flowtape.stream.engine import Engine

    first = tape.full_trades(0, 1)
    config = EngineConfig(
        bubble_band_ticks=bubble_band_ticks(int(first.price_ticks[0])),
        equity_grid_us=EQUITY_GRID_US if strategy is not None else 0,
        **settings,  # type: ignore[arg-type]
    )
    return Engine(tape.instrument, config, strategy, shown=shown)


async def _watch(tracks: "list[Track]", speed: float, port: int) -> None:
    from flowtape.replay.player import Player

    player = Player(tracks, speed=speed)
    player.start()
    try:
        await common.show([(track.engine.view, player) for track in tracks], port)
    finally:
        player.stop()
    if all(track.finished for track in tracks):
        _report([track.engine for track in tracks], None, as_json=False)


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
        rate = f", {one['trade_count'] / wall_s / 1e6:,.1f} M/s" if wall_s else ""
        typer.echo(f"{one['symbol']}: {one['trade_count']:,} trades{rate}")
        if "strategy" in one:
            _print_metrics(one)
        else:
            typer.echo(f"digest {one['digest']}")


def _print_metrics(metrics: dict[str, Any]) -> None:
    for key in ("strategy", "fill_count", "round_trips", "net_pnl", "fees", "final_equity"):
        typer.echo(f"{key.replace('_', ' '):<14}{metrics[key]}")
    for key in ("total_return", "max_drawdown", "win_rate"):
        value = metrics[key]
        text = f"{value:.2%}" if isinstance(value, float) else "-"
        typer.echo(f"{key.replace('_', ' '):<14}{text}")
    typer.echo(f"{'digest':<14}{metrics['digest']}")
