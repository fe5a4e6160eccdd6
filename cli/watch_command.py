"""`flowtape watch`: a session that runs elsewhere, folded and shown here."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowtape.cli import common
from flowtape.cli.keeping import finish, kept, opener, sealed, strategy_of
from flowtape.cli.live_screen import heard, show_live
from flowtape.cli.offering import HubToken
from flowtape.cli.watch_keeping import last_input, left_watching, note_watched
from flowtape.stream.errors import InputError

if TYPE_CHECKING:
    from flowtape.connectors.hub.transport import InputsSource, WatchedSession
    from flowtape.stream.engine import Engine
    from flowtape.stream.inputs import Inputs
    from flowtape.stream.session import SessionWriter
    from flowtape.stream.strategy import Strategy

Address = Annotated[
    str,
    typer.Argument(metavar="URL", help="The address that flowtape live --hub or record printed."),
]


def watch(
    url: Address,
    strategy: common.StrategyName = None,
    set_: common.Settings = None,
    trade: common.Trade = False,
    record: common.Record = False,
    label: common.Label = "",
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with what --record kept of the session before."),
    ] = False,
    dashboard: Annotated[bool, typer.Option("--dashboard/--no-dashboard")] = True,
    port: common.Port = 8788,
    hub_token: HubToken = None,
    home: common.Home = None,
) -> None:
    """Follow a session that runs elsewhere, from its first input on, and show it here.

    What comes over is what the other session is told: trades, clocks, gaps. Its orders do not: a
    strategy here, and orders by hand, are on an account of their own, under the same rules.

    Example: flowtape watch "ws://127.0.0.1:9000/?token=..."
    """
    if trade and not dashboard:
        raise InputError("--trade needs the dashboard; leave --no-dashboard out")
    if label and not record:
        raise InputError("--label names a session that is kept; add --record")
    if resume and (set_ or label):
        raise InputError("--resume goes on with a session as it is; leave --set and --label out")
    chosen = None if resume else common.strategy_named(strategy, set_)
    root = common.sessions_dir(home) if record or resume else None
    keeping = _Keeping(chosen, strategy, root, label, resume, port if dashboard else None)
    asyncio.run(_watch(url, hub_token, keeping, trade=trade))


@dataclass(frozen=True, slots=True)
class _Keeping:
    """What runs on a session that is watched, and where it is kept, if it is."""

    strategy: "Strategy | None"
    name: str | None
    root: Path | None
    label: str
    resumes: bool
    port: int | None


@dataclass(frozen=True, slots=True)
class _Ours:
    """A session that watches: its engine, its writer if it is kept, and the last input it has."""

    engine: "Engine"
    writer: "SessionWriter | None" = None
    last: "Inputs | None" = None


async def _watch(url: str, token: str | None, keeping: _Keeping, *, trade: bool) -> None:
    from flowtape.connectors.hub.following import Following
    from flowtape.replay.backtest import metrics_json, result_of
    from flowtape.replay.words import counted

    async with contextlib.AsyncExitStack() as stack:
        source = _source(url, token)
        stack.push_async_callback(source.close)
        theirs = await source.open()
        _check_semantics(theirs)
        ours = stack.enter_context(_ours(theirs, keeping))
        engine, writer = ours.engine, ours.writer
        live = Following(source, engine, None if writer is None else writer.inputs, ours.last)
        live.say = lambda line: typer.echo(line or f"session {theirs.id} goes on", err=True)
        symbols = ", ".join(one.symbol for one in engine.instruments)
        typer.echo(f"watching {symbols} in session {theirs.id}; stop with Ctrl-C")
        try:
            if keeping.port is None:
                await common.until_stopped(live.run())
            else:
                folder = None if writer is None else writer.folder
                await show_live(live, engine, keeping.port, trade=trade, folder=folder)
        finally:
            end = "its end among them" if source.ended else "it may go on"
            typer.echo(f"{counted(live.input_count, 'input')} of session {theirs.id}, {end}")
        said = "" if writer is None else _finished(writer, engine)
    typer.echo(heard(live))
    if engine.strategy is not None and engine.ended:
        common.print_metrics(json.loads(metrics_json(result_of(engine))))
    typer.echo(f"digest {engine.digest()}\n{said}".rstrip())


@contextlib.contextmanager
def _ours(theirs: "WatchedSession", keeping: _Keeping) -> "Iterator[_Ours]":
    """Make what watches a session, or bring back what watched it before."""
    from flowtape.replay.sessions import live_genesis
    from flowtape.stream.engine import Engine

    shown = keeping.port is not None
    if keeping.resumes:
        assert keeping.root is not None
        with _resumed(keeping.root, theirs.id, keeping.name, shown=shown) as ours:
            yield ours
        return
    genesis = live_genesis(
        theirs.genesis.instruments, theirs.genesis.config, keeping.strategy, keeping.name
    )
    with contextlib.ExitStack() as stack:
        writer = None
        if keeping.root is not None:
            writer = stack.enter_context(kept(genesis, keeping.root, label=keeping.label))
            note_watched(writer.folder, theirs.id)
        engine = Engine(
            genesis.instruments,
            genesis.config,
            keeping.strategy,
            shown=shown,
            recorded=None if writer is None else (writer.chain, writer),
        )
        yield _Ours(engine, writer)


@contextlib.contextmanager
def _resumed(root: Path, session_id: str, name: str | None, *, shown: bool) -> "Iterator[_Ours]":
    from flowtape.replay.resuming import resume

    left = left_watching(root, session_id)
    resumed = resume(left, opener(None, None), strategy_of(left, name), shown=shown)
    engine = resumed.engine
    if resumed.notice:
        typer.echo(f"{left.id}: {resumed.notice}", err=True)
    typer.echo(f"session {left.id} goes on behind input {engine.input:,}")
    with sealed(resumed.writer):
        yield _Ours(engine, resumed.writer, last_input(left, engine.input))


def _finished(writer: "SessionWriter", engine: "Engine") -> str:
    """Say what became of a session that was kept."""
    if engine.ended:
        return finish(writer, engine)
    writer.close()
    return (
        f"session {writer.folder.name} is kept as far as it went; "
        "go on with: flowtape watch URL --resume"
    )


def _source(url: str, token: str | None) -> "InputsSource":
    if url.startswith(("nats:", "tls:")):
        from flowtape.connectors.hub.nats_transport import NatsSource

        return NatsSource(url)
    from flowtape.connectors.hub.source import HubSource

    return HubSource(url, token=token)


def _check_semantics(theirs: "WatchedSession") -> None:
    from flowtape._kernel import SEMANTICS_VERSION

    made = theirs.genesis.semantics_version
    if made != SEMANTICS_VERSION:
        raise InputError(
            f"session {theirs.id} runs on semantics {made}, this flowtape has {SEMANTICS_VERSION}: "
            "equal inputs may lead to other results; use the same version"
        )
