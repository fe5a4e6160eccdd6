"""`flowtape live` and `record`: a market's feed, watched and kept."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowtape.cli import common, offering
from flowtape.cli.keeping import finish, kept, opener, refuse_settings, sealed, strategy_of
from flowtape.cli.live_screen import heard, show_live
from flowtape.cli.offering import Offering
from flowtape.stream.errors import InputError

if TYPE_CHECKING:
    from flowtape.connectors.binance.client import BinanceSource
    from flowtape.connectors.feed_notes import FeedNotes
    from flowtape.stream.engine import Engine
    from flowtape.stream.journal import SyncPolicy
    from flowtape.stream.live import LiveSession
    from flowtape.stream.session import Session
    from flowtape.stream.strategy import Strategy

CLOCK_OFF_US = 1_000_000
"""A clock that is further off is told of."""

# What may be said of a session, which has all other settings from its genesis.
_OF_SESSIONS = {
    *("context", "symbols", "market", "strategy", "stream_url", "rest_url", "silence", "resume"),
    "rules_every",
    *("dashboard", "trade", "port", "retain", "sync", "home", "hub", "hub_token", "nats"),
}

Symbols = Annotated[
    list[str],
    typer.Argument(
        metavar="SYMBOL...", help="Such as BTCUSDT; several of one quote asset share an account."
    ),
]
Market = Annotated[str, typer.Option("--market", help="spot or um.")]
StreamUrl = Annotated[
    str | None, typer.Option("--stream-url", help="WebSocket base, if not Binance's own.")
]
RestUrl = Annotated[str | None, typer.Option("--rest-url", help="REST base, if not Binance's own.")]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on with the newest session of the symbol that was left."),
]
Sync = Annotated[
    str,
    typer.Option(
        "--sync",
        help="When the disk is told to hold what was written: batch (with every event), 1s, or "
        "none (when the system likes). Orders by hand are there before they are acknowledged.",
    ),
]
Silence = Annotated[
    float, typer.Option("--silence", min=1, help="Seconds without a frame before reconnecting.")
]
RulesEvery = Annotated[
    str,
    typer.Option(
        "--rules-every",
        help="How often, about, the venue is asked for its rules of orders, such as 30m.",
    ),
]


def _new_notes() -> "FeedNotes":
    from flowtape.connectors.feed_notes import FeedNotes

    return FeedNotes(lambda: datetime.now(UTC))


@dataclass
class _Keeping:
    """Where a live session is kept, and who looks on."""

    root: Path
    label: str = ""
    port: int | None = None
    trade: bool = False
    retain: str | None = None
    sync: "SyncPolicy" = "1s"
    hub: Offering = field(default_factory=Offering)
    notes: "FeedNotes" = field(default_factory=_new_notes)
    folder: Path = Path()
    """The session's own, once it was made."""
    left: "Session | None" = None
    """The session to go on with."""


def live(
    context: typer.Context,
    symbols: Symbols,
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
    rules_every: RulesEvery = "1h",
    resume: Resume = False,
    dashboard: Annotated[bool, typer.Option("--dashboard/--no-dashboard")] = True,
    trade: common.Trade = False,
    port: common.Port = 8787,
    label: common.Label = "",
    retain: common.Retain = None,
    sync: Sync = "1s",
    hub: offering.HubPort = None,
    hub_token: offering.HubToken = None,
    nats: offering.NatsUrl = None,
    home: common.Home = None,
) -> None:
    """Watch live feeds, and paper-trade on them with a strategy or by hand; the session is kept.

    Example: flowtape live BTCUSDT --strategy examples/delta_divergence.py:DeltaDivergence
    """
    root = common.sessions_dir(home)
    keeping = _Keeping(
        root,
        label,
        port if dashboard else None,
        trade,
        retain,
        _policy(sync),
        hub=Offering(hub, hub_token, nats),
    )
    if resume:
        refuse_settings(context, _OF_SESSIONS)
        keeping.left = _left(root, symbols, market)
        chosen = strategy_of(keeping.left, strategy)
    else:
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
    sources = _sources(symbols, market, stream_url, rest_url, silence, rules_every, keeping)
    asyncio.run(_live(sources, chosen, strategy, settings, keeping))


def record(
    symbols: Symbols,
    market: Market = "spot",
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the new recording.")] = None,
    for_: Annotated[
        str | None, typer.Option("--for", help="How long, such as 30s or 8h; else until Ctrl-C.")
    ] = None,
    stream_url: StreamUrl = None,
    rest_url: RestUrl = None,
    silence: Silence = 30.0,
    rules_every: RulesEvery = "1h",
    retain: common.Retain = None,
    sync: Sync = "1s",
    resume: Resume = False,
    hub: offering.HubPort = None,
    hub_token: offering.HubToken = None,
    nats: offering.NatsUrl = None,
    home: common.Home = None,
) -> None:
    """Record live feeds as one session in a new folder.

    Example: flowtape record BTCUSDT --for 30s --out recordings
    """
    span_us = None if for_ is None else common.parse_span_us(for_, "--for")
    keeping = _Keeping(
        out or common.sessions_dir(home),
        retain=retain,
        sync=_policy(sync),
        hub=Offering(hub, hub_token, nats),
    )
    if resume:
        keeping.left = _left(keeping.root, symbols, market)
        if keeping.left.genesis.strategy is not None:
            raise InputError(
                f"session {keeping.left.id} runs a strategy; go on with flowtape live --resume"
            )
    sources = _sources(symbols, market, stream_url, rest_url, silence, rules_every, keeping)
    asyncio.run(_record(sources, keeping, span_us))


def _policy(name: str) -> "SyncPolicy":
    match name:
        case "none" | "1s" | "batch":
            return name
    raise InputError(f"--sync must be none, 1s or batch, was {name}")


def _left(root: Path, symbols: list[str], market: str) -> "Session":
    from flowtape.replay.session_store import SessionStore

    return SessionStore(root).left_live([symbol.upper() for symbol in symbols], market)


def _sources(
    symbols: list[str],
    market: str,
    stream_url: str | None,
    rest_url: str | None,
    silence_s: float,
    rules_every: str,
    keeping: _Keeping,
) -> "list[BinanceSource]":
    from flowtape.connectors.binance.client import BinanceSource
    from flowtape.connectors.binance.markets import market_api
    from flowtape.connectors.binance.pacing import Allowance
    from flowtape.connectors.binance.source_types import SourceTimes

    left = keeping.left
    # The venue counts what comes from an address, however many symbols it is for.
    allowance = Allowance(market_api(market).weight_per_minute)
    times = SourceTimes(rules_s=max(common.parse_span_us(rules_every, "--rules-every") / 1e6, 0.1))
    names = [symbol.upper() for symbol in symbols]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{twice} was named twice; name each symbol once")
    return [
        BinanceSource(
            name,
            market=market,
            stream_url=stream_url,
            rest_url=rest_url,
            silence_s=silence_s,
            times=times,
            start_after=last_id,
            dead_letters=keeping.notes.letter_of(name),
            instrument=None if left is None else left.genesis.instruments[number],
            rules_changed=keeping.notes.rules_of(name),
            allowance=allowance,
        )
        for number, (name, last_id) in enumerate(
            zip(names, [None] * len(names) if left is None else left.last_ids(), strict=True)
        )
    ]


@contextlib.asynccontextmanager
async def _opened(sources: "list[BinanceSource]") -> "AsyncIterator[None]":
    async with contextlib.AsyncExitStack() as stack:
        for source in sources:
            stack.push_async_callback(source.close)
        for source in sources:
            await source.open()
        if (said := clock_words(await sources[0].clock_off_us(_wall_us))) is not None:
            typer.echo(said, err=True)
        yield


def _wall_us() -> int:
    return int(datetime.now(UTC).timestamp() * 1e6)


def clock_words(off_us: int | None) -> str | None:
    """Say how far this machine's clock is ahead of the venue's, if that is worth a word."""
    if off_us is None or abs(off_us) <= CLOCK_OFF_US:
        return None
    off = timedelta(seconds=abs(off_us) // 1_000_000)
    return (
        f"this machine's clock is {off} {'ahead of' if off_us > 0 else 'behind'} Binance's; trades "
        "and orders go by Binance's, but names of sessions and times of notes are off: set it"
    )


def _finisher(sources: "list[BinanceSource]") -> Callable[[], None]:
    def finish() -> None:
        for source in sources:
            source.finish()

    return finish


async def _live(
    sources: "list[BinanceSource]",
    strategy: "Strategy | None",
    name: str | None,
    settings: dict[str, object],
    keeping: _Keeping,
) -> None:
    from flowtape.replay.backtest import metrics_json, result_of

    async with (
        keeping.hub.listening(),
        _opened(sources),
        _kept(sources, strategy, name, settings, keeping) as (live, engine, finish),
        _noting(sources, keeping),
    ):
        if keeping.port is None:
            typer.echo(f"following {_named(sources)}; stop with Ctrl-C")
            await common.until_stopped(live.run(), _finisher(sources))
        else:
            await show_live(
                live,
                engine,
                keeping.port,
                trade=keeping.trade,
                folder=keeping.folder,
                finish=_finisher(sources),
            )
        said = finish()
    typer.echo(heard(live))
    if engine.strategy is not None and engine.ended:
        common.print_metrics(json.loads(metrics_json(result_of(engine))))
    typer.echo(f"digest {engine.digest()}\n{said}")


@contextlib.asynccontextmanager
async def _noting(sources: "list[BinanceSource]", keeping: _Keeping) -> "AsyncIterator[None]":
    noting = asyncio.create_task(keeping.notes.keep(sources))
    try:
        yield
    finally:
        noting.cancel()
        await asyncio.gather(noting, return_exceptions=True)


def _named(sources: "list[BinanceSource]") -> str:
    return ", ".join(source.instrument.symbol for source in sources)


async def _record(sources: "list[BinanceSource]", keeping: _Keeping, span_us: int | None) -> None:
    from flowtape.replay.session_tape import tape_store_of
    from flowtape.stream.session import Session

    async with (
        keeping.hub.listening(),
        _opened(sources),
        _kept(sources, None, None, {}, keeping) as (live, _, finish),
        _noting(sources, keeping),
    ):
        typer.echo(f"recording {_named(sources)} to {keeping.folder}")
        if span_us is not None:
            asyncio.get_running_loop().call_later(span_us / 1e6, _finisher(sources))
        await common.until_stopped(live.run(), _finisher(sources))
        finish()
    hint = "there is nothing to replay"
    if live.trade_count:
        tape_store_of(Session.open(keeping.folder))
        hint = f"replay it with: flowtape replay {keeping.folder}"
    typer.echo(f"{heard(live)}; {hint}")


@contextlib.asynccontextmanager
async def _kept(
    sources: "list[BinanceSource]",
    strategy: "Strategy | None",
    name: str | None,
    settings: dict[str, object],
    keeping: _Keeping,
) -> "AsyncIterator[tuple[LiveSession, Engine, Callable[[], str]]]":
    """Give a live session that is kept, its engine, and what ends it and says so."""
    from flowtape.replay.resuming import resume
    from flowtape.replay.sessions import live_genesis
    from flowtape.stream.config import SECOND_US, EngineConfig, MarketSettings, bubble_band_ticks
    from flowtape.stream.engine import Engine

    shown = keeping.port is not None
    left = keeping.left
    if left is not None:
        _check_same(sources, left)
        keeping.folder = left.folder
        keeping.notes.begin(left.folder)
        resumed = resume(left, opener(None, None), strategy, shown=shown, sync=keeping.sync)
        if resumed.notice:
            typer.echo(f"{left.id}: {resumed.notice}", err=True)
        typer.echo(f"session {left.id} goes on behind input {resumed.engine.input:,}")
        with sealed(resumed.writer):
            engine = resumed.engine
            keeping.hub.offer(resumed.writer, engine.input)
            yield _session(sources, engine), engine, lambda: finish(resumed.writer, engine)
        return
    prices = [await source.last_price_ticks() or 0 for source in sources]
    config = EngineConfig(
        markets=tuple(
            MarketSettings(bubble_band_ticks=bubble_band_ticks(price), rules=source.rules)
            for price, source in zip(prices, sources, strict=True)
        ),
        equity_grid_us=60 * SECOND_US,
        **settings,  # type: ignore[arg-type]
    )
    instruments = [source.instrument for source in sources]
    genesis = live_genesis(instruments, config, strategy, name)
    keeps = kept(
        genesis, keeping.root, label=keeping.label, retain=keeping.retain, sync=keeping.sync
    )
    with keeps as writer:
        keeping.folder = writer.folder
        keeping.notes.begin(writer.folder)
        keeping.hub.offer(writer)
        engine = Engine(
            genesis.instruments,
            genesis.config,
            strategy,
            shown=shown,
            recorded=(writer.chain, writer),
        )
        yield _session(sources, engine), engine, lambda: finish(writer, engine)


def _session(sources: "list[BinanceSource]", engine: "Engine") -> "LiveSession":
    from flowtape.connectors.feed_condition import FeedCondition
    from flowtape.stream.live import LiveSession

    return LiveSession(sources, engine, trouble=FeedCondition(sources).trouble)


def _check_same(sources: "list[BinanceSource]", left: "Session") -> None:
    for source, then in zip(sources, left.genesis.instruments, strict=True):
        if source.instrument != then:
            raise InputError(
                f"{then.symbol} has finer prices or quantities now than in session {left.id}; "
                "start a new one"
            )
