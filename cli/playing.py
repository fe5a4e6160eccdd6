"""Tracks on the clock: on a screen or unseen, kept or not, and what is said at the end."""

import asyncio
import json
import math
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from flowtape.cli import common
from flowtape.cli.engines import engine_of, stream_of
from flowtape.cli.keeping import digest_words, finish, sealed
from flowtape.stream.errors import InputError

if TYPE_CHECKING:
    from flowtape.replay.player import Player
    from flowtape.replay.session_rows import OpenTape
    from flowtape.replay.tapes import Tape
    from flowtape.replay.track import Track
    from flowtape.stream.config import EngineConfig
    from flowtape.stream.engine import Engine
    from flowtape.stream.ports import Feed
    from flowtape.stream.session import Session, SessionWriter
    from flowtape.stream.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Showing:
    """How a playback is shown: its speed, the port of its dashboard, if any, and the rest."""

    speed: float
    port: int | None
    trade: bool = False
    as_json: bool = False

    @property
    def unseen(self) -> bool:
        """Whether nobody looks and nothing is paced."""
        return self.port is None and math.isinf(self.speed)


def show_again(session: "Session", open_tape: "OpenTape", showing: Showing) -> None:
    """Replay a session as it was; no strategy runs."""
    from flowtape.replay.look_back import past_of
    from flowtape.replay.session_rows import SessionRows
    from flowtape.replay.sessions import repeated
    from flowtape.replay.verifying import check_semantics

    if showing.trade:
        raise InputError(
            "a replayed session is what it was; to trade on it: flowtape branch --trade"
        )
    check_semantics(session)
    if not session.ended:
        typer.echo(f"session {session.id} has not ended; replaying as far as it goes", err=True)
    rows = SessionRows.of(session, open_tape)
    if showing.port is not None:
        play([past_of(session, rows)], showing)
        return
    track, chain = repeated(session, rows)
    play([track], showing)
    if not showing.as_json:
        typer.echo(digest_words(session, chain.value))


def go_on(
    session: "Session", strategy: "Strategy | None", open_tape: "OpenTape", showing: Showing
) -> None:
    """Go on with a session over tapes that was left."""
    from flowtape.replay.resuming import resume
    from flowtape.replay.track import Track

    resumed = resume(session, open_tape, strategy, shown=showing.port is not None)
    engine = resumed.engine
    if resumed.notice:
        typer.echo(f"{session.id}: {resumed.notice}", err=True)
    if not showing.as_json:
        typer.echo(f"session {session.id} goes on behind input {engine.input:,}")
    with sealed(resumed.writer):
        play([Track(engine, resumed.rows)], showing, resumed.writer)


def play_tapes(
    groups: "list[list[Tape]]",
    configs: "list[EngineConfig]",
    strategy: "Strategy | None",
    showing: Showing,
    writer: "SessionWriter | None",
    *,
    cached: bool,
) -> None:
    """Play tapes, those of a group through one engine; a writer keeps the only group's session."""
    from flowtape.replay.track import Track, fold

    streams = [stream_of(group) for group in groups]
    engines = [
        engine_of(group, strategy, config, shown=showing.port is not None, writer=writer)
        for group, config in zip(groups, configs, strict=True)
    ]
    pairs = list(zip(engines, streams, strict=True))
    if not showing.unseen:
        play([Track(*pair) for pair in pairs], showing, writer)
        return
    began = time.perf_counter()
    for engine, stream in pairs:
        with common.progress("replaying", len(stream), wanted=not showing.as_json) as tick:
            fold(engine, stream.read_batches(cached=cached), tick)
    _end(engines, showing, writer, time.perf_counter() - began)


def play(tracks: "list[Track]", showing: Showing, writer: "SessionWriter | None" = None) -> None:
    """Play tracks on a dashboard until Ctrl-C, or unseen to their end."""
    began = time.perf_counter()
    if showing.port is not None:
        asyncio.run(_watch(tracks, showing, writer))
    else:
        _play_unseen(tracks, showing.speed)
    wall_s = None if showing.port is not None else time.perf_counter() - began
    _end([track.engine for track in tracks], showing, writer, wall_s)


def _end(
    engines: "list[Engine]",
    showing: Showing,
    writer: "SessionWriter | None",
    wall_s: float | None,
) -> None:
    said = None if writer is None else finish(writer, engines[0])
    if all(engine.ended for engine in engines):
        _report(engines, wall_s, as_json=showing.as_json)
    if said is not None and not showing.as_json:
        typer.echo(said)


async def _watch(tracks: "list[Track]", showing: Showing, writer: "SessionWriter | None") -> None:
    from flowtape.replay.player import Player

    assert showing.port is not None
    player = Player(tracks, speed=showing.speed)
    player.start()
    try:
        feeds = _feeds(tracks, player, showing, writer)
        await common.show(feeds, showing.port, _tell_failure(player))
    finally:
        player.stop()


def _feeds(
    tracks: "list[Track]", player: "Player", showing: Showing, writer: "SessionWriter | None"
) -> "list[Feed]":
    from flowtape.replay.look_back import LookBack, past_of_playback
    from flowtape.stream.ports import Feed
    from flowtape.stream.session import Session

    desk = player if showing.trade else None
    if writer is None:
        return [
            Feed.of(view, player, desk, number)
            for track in tracks
            for number, view in enumerate(track.engine.views)
        ]
    (track,) = tracks
    session = Session.open(writer.folder)
    past = partial(past_of_playback, session, track)
    screen = LookBack(player, track.engine.views, past, player)
    return [
        Feed(screen, partial(screen.look, number), None if desk is None else screen, number)
        for number in range(len(track.engine.views))
    ]


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
            if engine.strategy is not None or engine.ledger.commands.head
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
