"""`flowtape serve`: tapes as a venue that any Binance client can connect to."""

import asyncio
import contextlib
import logging
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowtape.cli import common
from flowtape.stream.errors import InputError

if TYPE_CHECKING:
    from flowtape.connectors.venue.archive_tree import ArchiveTree
    from flowtape.connectors.venue.paper_venue import PaperSettings
    from flowtape.connectors.venue.server import VenueServer
    from flowtape.replay.tapes import Tape
    from flowtape.stream.trades import Trades

DEFAULT_PORT = 9443

_EPOCH = date(1970, 1, 1)
_DAY_US = 86_400_000_000
_READ_ROWS = 1 << 18
_PIECE_ROWS = 1 << 16


def serve(
    tape: Annotated[
        list[str], typer.Argument(metavar="TAPE...", help="Symbols or tape folders of one market.")
    ],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of the venue; 0 takes a free one.")
    ] = DEFAULT_PORT,
    speed: Annotated[str, typer.Option("--speed", help="0.1 to 10000, or max.")] = "1",
    from_: common.From = None,
    to: common.To = None,
    history: Annotated[
        str, typer.Option("--history", help="How much before --from REST knows, such as 1h.")
    ] = "24h",
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Begin when someone subscribes, or at once.")
    ] = True,
    once: Annotated[bool, typer.Option("--once", help="End when everything was played.")] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Move all times, so that the tape happens now.")
    ] = False,
    raw_trades: Annotated[
        bool,
        typer.Option("--raw-trades", help="Give @trade and REST trades each aggregate as a trade."),
    ] = False,
    faults: Annotated[
        Path | None,
        typer.Option("--faults", help="A script of what goes wrong; see docs/VENUE.md."),
    ] = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="Take signed spot orders too, of a paper account.")
    ] = False,
    latency: common.Latency = "20ms",
    cash: common.Cash = "100000",
    maker_fee_ppm: common.MakerFee = 1000,
    taker_fee_ppm: common.TakerFee = 1000,
    fills: common.Fills = "queued",
    spread_bps: common.SpreadBps = 2,
    tapes: common.Tapes = None,
    home: common.Home = None,
) -> None:
    """Serve tapes on 127.0.0.1 as Binance would: streams and REST for any client.

    Example: flowtape serve BTCUSDT --speed 10 --from 2026-01-01T12:00
    """
    from flowtape.connectors.venue.fault_script import FaultScript, Rules, read_script
    from flowtape.connectors.venue.listing import Listing
    from flowtape.connectors.venue.prefetch import prefetched
    from flowtape.connectors.venue.server import VenueServer
    from flowtape.replay.player import parse_speed
    from flowtape.replay.words import counted

    pace = parse_speed(speed)
    if now and pace != 1:
        raise InputError("--now goes with --speed 1: at another, times would leave the clock's")
    start_us, end_us = common.parse_range_us(from_, to)
    root = common.tapes_dir(tapes, home)
    before_us = common.parse_span_us(history, "--history")
    opened = [_opened(ref, root, start_us, end_us, before_us) for ref in tape]
    first_ids = {
        one.instrument.symbol: int(one.full_trades(past, past + 1).agg_id[0])
        for one, past in opened
    }
    script = FaultScript(Rules(), ()) if faults is None else read_script(faults, first_ids)
    listings = [
        Listing(
            one.instrument, prefetched(_pieces(one)), happened_count=past, raw_trades=raw_trades
        )
        for one, past in opened
    ]
    market = opened[0][0].instrument.market
    account = None
    if paper:
        account = _paper(
            common.engine_settings(
                *(latency, cash, maker_fee_ppm, taker_fee_ppm, fills, spread_bps),
                account="spot",
                leverage=1,
                lanes=False,
            )
        )
    venue = VenueServer(
        listings,
        speed=pace,
        waits=wait,
        wall_us=_wall_us if now else None,
        faults=script.faults,
        rules=script.rules.connection_rules(market, pace),
        flat_errors=script.rules.flat_errors,
        weight_per_minute=script.rules.weight_per_minute,
        extra=[_archive(tape, root)],
        paper=account,
    )
    what = _what(sum(len(one) - past for one, past in opened), pace, wait=wait)
    if script.faults:
        what += f"; {counted(len(script.faults), 'fault')}"
    said = [] if account is None else _keys_said(account)
    asyncio.run(_serve(venue, market, list(first_ids), what, port, once=once, said=said))


def _paper(settings: dict[str, Any]) -> "PaperSettings":
    from flowtape.connectors.venue.paper_keys import PaperKeys
    from flowtape.connectors.venue.paper_venue import PaperSettings
    from flowtape.stream.config import EngineConfig

    return PaperSettings(EngineConfig(**settings), PaperKeys.made(), _wall_us)


def _keys_said(account: "PaperSettings") -> list[str]:
    return [
        f"a paper account of {account.config.initial_cash} in the quote asset takes signed orders",
        f"  API key    {account.keys.api_key}",
        f"  API secret {account.keys.secret}",
        "  made for this run, of no use elsewhere; no other keys are taken or needed",
    ]


def _opened(
    ref: str, root: Path, start_us: int | None, end_us: int | None, before_us: int
) -> "tuple[Tape, int]":
    """Open a tape with its history; returns with it how many of its trades are past."""
    ranged = common.open_tape(ref, root, start_us, end_us)
    if start_us is None:
        return ranged, 0
    whole = common.open_tape(ref, root, start_us - before_us, end_us)
    return whole, len(whole) - len(ranged)


def _pieces(tape: "Tape") -> "Iterator[Trades]":
    for start in range(0, len(tape), _READ_ROWS):
        read = tape.full_trades(start, start + _READ_ROWS)
        for row in range(0, len(read), _PIECE_ROWS):
            yield read.slice(row, row + _PIECE_ROWS)


def _archive(refs: list[str], root: Path) -> "ArchiveTree":
    """Return an archive of the whole tapes, by days."""
    from flowtape.connectors.venue.archive_tree import ArchiveTree

    whole = [common.open_tape(ref, root) for ref in refs]
    return ArchiveTree({tape.instrument: partial(_day, tape) for tape in whole})


def _day(tape: "Tape", day: date) -> "Trades | None":
    start_us = (day - _EPOCH).days * _DAY_US
    start, stop = tape.row_at(start_us), tape.row_at(start_us + _DAY_US)
    return tape.full_trades(start, stop) if start < stop else None


def _wall_us() -> int:
    return int(datetime.now(UTC).timestamp() * 1e6)


def _what(trade_count: int, pace: float, *, wait: bool) -> str:
    from flowtape.replay.words import counted

    speed = "as fast as clients take them" if math.isinf(pace) else f"at {pace:g}x"
    begins = ", from the first subscription on" if wait else ""
    return f"{counted(trade_count, 'trade')} {speed}{begins}"


@contextlib.contextmanager
def _told(part: str) -> Iterator[None]:
    """Print what happens to connections, and which faults do."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger(part)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


async def _serve(
    venue: "VenueServer",
    market: str,
    symbols: list[str],
    what: str,
    port: int,
    *,
    once: bool,
    said: list[str],
) -> None:
    async def play() -> None:
        await venue.wait_finished()
        if not once:
            typer.echo("everything was played; REST still answers")
            await asyncio.Event().wait()

    await venue.start(port)
    try:
        typer.echo(f"flowtape serves {market} {', '.join(symbols)}: {what}")
        typer.echo(f"  streams {venue.ws_url}   REST {venue.rest_url}")
        market_flag = "" if market == "spot" else f" --market {market}"
        typer.echo(
            f"  flowtape live {symbols[0]}{market_flag} --stream-url {venue.ws_url} "
            f"--rest-url {venue.rest_url}"
        )
        for line in said:
            typer.echo(line)
        typer.echo("other clients take these addresses as Binance's; stop with Ctrl-C")
        with _told("flowtape.connectors.venue"):
            await common.until_stopped(play())
            await venue.stop()
    finally:
        await venue.stop()
