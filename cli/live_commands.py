"""`flowtape live` and `record`: a market's feed, watched and kept."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowtape.cli import common
from flowtape.cli.keeping import finish, kept, opener
from flowtape.stream.errors import FlowError, InputError

if TYPE_CHECKING:
    from flowtape.connectors.binance.client import BinanceSource
    from flowtape.replay.track import Track
    from flowtape.stream.engine import Engine
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


@dataclass
class _Keeping:
    """Where a live session is kept, and who looks on."""

    root: Path
    label: str = ""
    port: int | None = None
    trade: bool = False
    retain: str | None = None
    folder: Path = Path()
    """The session's own, once it was made."""


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
    trade: common.Trade = False,
    port: common.Port = 8787,
    label: common.Label = "",
    retain: common.Retain = None,
    home: common.Home = None,
) -> None:
    """Watch a live feed, and paper-trade on it with a strategy or by hand; the session is kept.

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
    root = common.sessions_dir(home)
    keeping = _Keeping(root, label, port if dashboard else None, trade, retain)
    asyncio.run(_live(source, chosen, strategy, settings, keeping))


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
    retain: common.Retain = None,
    home: common.Home = None,
) -> None:
    """Record a live feed as a session in a new folder.

    Example: flowtape record BTCUSDT --for 30s --out recordings
    """
    span_us = None if for_ is None else common.parse_span_us(for_, "--for")
    folder = out or common.sessions_dir(home)
    source = _source(_one(symbol), market, stream_url, rest_url, silence)
    asyncio.run(_record(source, _Keeping(folder, retain=retain), span_us))


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
    name: str | None,
    settings: dict[str, object],
    keeping: _Keeping,
) -> None:
    from flowtape.replay.backtest import metrics_json, result_of

    await source.open()
    try:
        async with _kept(source, strategy, name, settings, keeping) as (live, engine, finish):
            if keeping.port is None:
                typer.echo(f"following {source.instrument.symbol}; stop with Ctrl-C")
                await common.until_stopped(live.run(), source.finish)
            else:
                await _watch(live, engine, keeping, source)
            said = finish()
    finally:
        await source.close()
    typer.echo(_heard(live))
    if engine.strategy is not None and engine.ended:
        common.print_metrics(json.loads(metrics_json(result_of(engine))))
    typer.echo(f"digest {engine.digest()}\n{said}")


async def _record(source: "BinanceSource", keeping: _Keeping, span_us: int | None) -> None:
    from flowtape.replay.session_tape import tape_store_of
    from flowtape.stream.session import Session

    await source.open()
    try:
        settings: dict[str, object] = {}
        async with _kept(source, None, None, settings, keeping) as (live, _, finish):
            typer.echo(f"recording {source.instrument.symbol} to {keeping.folder}")
            if span_us is not None:
                asyncio.get_running_loop().call_later(span_us / 1e6, source.finish)
            await common.until_stopped(live.run(), source.finish)
            finish()
    finally:
        await source.close()
    hint = "there is nothing to replay"
    if live.trade_count:
        tape_store_of(Session.open(keeping.folder))
        hint = f"replay it with: flowtape replay {keeping.folder}"
    typer.echo(f"{_heard(live)}; {hint}")


@contextlib.asynccontextmanager
async def _kept(
    source: "BinanceSource",
    strategy: "Strategy | None",
    name: str | None,
    settings: dict[str, object],
    keeping: _Keeping,
) -> "AsyncIterator[tuple[LiveSession, Engine, Callable[[], str]]]":
    """Give a live session that is kept, its engine, and what ends it and says so."""
    from flowtape.replay.sessions import live_genesis
    from flowtape.stream.config import SECOND_US, EngineConfig, bubble_band_ticks
    from flowtape.stream.engine import Engine
    from flowtape.stream.live import LiveSession

    config = EngineConfig(
        bubble_band_ticks=bubble_band_ticks(await source.last_price_ticks() or 0),
        equity_grid_us=60 * SECOND_US,
        **settings,  # type: ignore[arg-type]
    )
    genesis = live_genesis(source.instrument, config, strategy, name)
    with kept(genesis, keeping.root, label=keeping.label, retain=keeping.retain) as writer:
        keeping.folder = writer.folder
        engine = Engine(
            genesis.instruments,
            genesis.config,
            strategy,
            shown=keeping.port is not None,
            recorded=(writer.chain, writer),
        )
        yield LiveSession(source, engine), engine, lambda: finish(writer, engine)


async def _watch(
    live: "LiveSession", engine: "Engine", keeping: _Keeping, source: "BinanceSource"
) -> None:
    from flowtape.replay.look_back import LookBack, past_of
    from flowtape.replay.session_rows import SessionRows
    from flowtape.stream.ports import Feed
    from flowtape.stream.session import Session

    assert keeping.port is not None
    session = Session.open(keeping.folder)

    def past() -> "Track":
        return past_of(session, SessionRows.of(session, opener(None, None)))

    screen = LookBack(live, engine.views, past, live)
    feed = Feed(screen, screen.look, screen if keeping.trade else None)
    await common.show([feed], keeping.port, _until_halted(live), source.finish)


async def _until_halted(live: "LiveSession") -> None:
    """Run a feed; what goes wrong with the disk or a strategy is told, and the screen stays."""
    try:
        await live.run()
    except FlowError as error:
        typer.echo(f"halted: {error}", err=True)
        await asyncio.Event().wait()


def _heard(session: "LiveSession") -> str:
    from flowtape.replay.words import counted

    return f"{counted(session.trade_count, 'trade')}, {counted(session.gap_count, 'gap')}"
