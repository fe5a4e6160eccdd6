"""A live session on a dashboard."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flowtape.cli import common
from flowtape.cli.keeping import opener
from flowtape.stream.errors import FlowError

if TYPE_CHECKING:
    from flowtape.replay.track import Track
    from flowtape.stream.engine import Engine
    from flowtape.stream.live import LiveSession
    from flowtape.stream.ports import Feed


async def show_live(
    live: "LiveSession",
    engine: "Engine",
    port: int,
    *,
    trade: bool,
    folder: Path | None = None,
    finish: Callable[[], None] | None = None,
) -> None:
    """Run a session before a dashboard; one kept in a folder can be looked back on."""
    stopped = asyncio.Event()

    def stop() -> None:
        stopped.set()
        if finish is not None:
            finish()

    feeds = _feeds(live, engine, folder, trade=trade)
    await common.show(feeds, port, _until_halted(live, stopped), None if finish is None else stop)


def _feeds(
    live: "LiveSession", engine: "Engine", folder: Path | None, *, trade: bool
) -> "list[Feed]":
    from flowtape.replay.look_back import LookBack, past_before
    from flowtape.stream.ports import Feed
    from flowtape.stream.session import Session

    if folder is None:
        desk = live if trade else None
        return [Feed.of(view, live, desk, number) for number, view in enumerate(engine.views)]
    session = Session.open(folder)

    def past(ts_us: int) -> "Track":
        return past_before(session, opener(None, None), ts_us)

    screen = LookBack(live, engine.views, past, live)
    return [
        Feed(screen, partial(screen.look, number), screen if trade else None, number)
        for number in range(len(engine.views))
    ]


async def _until_halted(live: "LiveSession", stopped: asyncio.Event) -> None:
    """Run a feed; what goes wrong with the disk or a strategy is told, and the screen stays."""
    try:
        await live.run()
    except FlowError as error:
        typer.echo(f"halted: {error}", err=True)
        await stopped.wait()


def heard(live: "LiveSession") -> str:
    """Say what came of a feed."""
    from flowtape.replay.words import counted

    return f"{counted(live.trade_count, 'trade')}, {counted(live.gap_count, 'gap')}"
