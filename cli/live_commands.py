"""`flowtape live` and `record`: a market's feed, watched and kept."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowtape.cli import common
from flowtape.stream.errors import InputError

if TYPE_CHECKING:
    from flowtape.connectors.binance.client import BinanceSource
    from flowtape.stream.live import LiveSession
    from flowtape.stream.strategy import Strategy

Symbol = Annotated[list[str], typer.Argument(metavar="SYMBOL", help="A symbol such as BTCUSDT.")]
Market = Annotated[str, typer.Option("--market", help="spot or um.")]
StreamUrl = Annotated[
    str | None, typer.Option("--stream-url", help="WebSocket base, if not Binance's own.")
]
RestUrl = Annotated[str | None, typer.Option("--rest-url", help="REST base, if not Binance's own.")]
Silence = Annotated[
    float, typer.Option("--silence", min=1, help="Seconds without a frame before reconnecting.")
]


def live(
    symbol: Symbol,
    market: Market = "spot",
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
    stream_url: StreamUrl = None,
    rest_url: RestUrl = None,
    silence: Silence = 30.0,
    dashboard: Annotated[bool, typer.Option("--dashboard/--no-dashboard")] = True,
    port: common.Port = 8787,
) -> None:
    """Watch a live feed, and paper-trade on it with a strategy.

    Example: flowtape live BTCUSDT --strategy examples/delta_divergence.py:DeltaDivergence
    """
    chosen = common.strategy_named(strategy, set_)
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
    source = _source(_one(symbol), market, stream_url, rest_url, silence)
    asyncio.run(_live(source, chosen, settings, port if dashboard else None))


def record(
    symbol: Symbol,
    market: Market = "spot",
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the new recording.")] = None,
    for_: Annotated[
        str | None, typer.Option("--for", help="How long, such as 30s or 8h; else until Ctrl-C.")
    ] = None,
    stream_url: StreamUrl = None,
    rest_url: RestUrl = None,
    silence: Silence = 30.0,
    home: common.Home = None,
) -> None:
    """Record a live feed to a tape in a new folder.

    Example: flowtape record BTCUSDT --for 30s --out recordings
    """
    span_us = None if for_ is None else common.parse_span_us(for_, "--for")
    folder = out or common.home_dir(home) / "recordings"
    source = _source(_one(symbol), market, stream_url, rest_url, silence)
    asyncio.run(_record(source, folder, span_us))


def _one(symbols: list[str]) -> str:
    if len(symbols) != 1:
        raise InputError("one symbol at a time, please; start flowtape once for each")
    return symbols[0]


def _source(
    symbol: str, market: str, stream_url: str | None, rest_url: str | None, silence_s: float
) -> "BinanceSource":
    from flowtape.connectors.binance.client import BinanceSource

    return BinanceSource(
        symbol, market=market, stream_url=stream_url, rest_url=rest_url, silence_s=silence_s
    )


async def _live(
    source: "BinanceSource",
    strategy: "Strategy | None",
    settings: dict[str, object],
    port: int | None,
) -> None:
    from flowtape.replay.backtest import metrics_json, result_of
    from flowtape.stream.config import SECOND_US, EngineConfig, bubble_band_ticks
    from flowtape.stream.engine import Engine
    from flowtape.stream.live import LiveSession

    await source.open()
    try:
        config = EngineConfig(
            bubble_band_ticks=bubble_band_ticks(await source.last_price_ticks() or 0),
            equity_grid_us=60 * SECOND_US if strategy is not None else 0,
            **settings,  # type: ignore[arg-type]
        )
        engine = Engine(source.instrument, config, strategy, tradable=strategy is not None)
        session = LiveSession(source, engine)
        if port is None:
            typer.echo(f"following {source.instrument.symbol}; stop with Ctrl-C")
            await common.until_stopped(session.run(), source.finish)
        else:
            await common.show([(engine.view, session)], port, session.run(), source.finish)
    finally:
        await source.close()
    typer.echo(_heard(session))
    if engine.strategy is not None and engine.ended:
        common.print_metrics(json.loads(metrics_json(result_of(engine))))
    typer.echo(f"digest {engine.digest()}")


async def _record(source: "BinanceSource", out: Path, span_us: int | None) -> None:
    from flowtape.replay.recorder import TapeRecorder
    from flowtape.stream.live import LiveSession

    await source.open()
    try:
        began = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        recorder = TapeRecorder(out, f"{source.instrument.symbol}-{began}", source.instrument)
        typer.echo(f"recording {source.instrument.symbol} to {recorder.folder}")
        session = LiveSession(source, None, [recorder])
        try:
            if span_us is not None:
                asyncio.get_running_loop().call_later(span_us / 1e6, source.finish)
            await common.until_stopped(session.run(), source.finish)
        finally:
            recorder.close()
    finally:
        await source.close()
    hint = "there is nothing to replay"
    if session.trade_count:
        hint = f"replay it with: flowtape replay {recorder.folder}"
    typer.echo(f"{_heard(session)}; {hint}")


def _heard(session: "LiveSession") -> str:
    from flowtape.replay.words import counted

    return f"{counted(session.trade_count, 'trade')}, {counted(session.gap_count, 'gap')}"
