"""`flowtape watch`: a session that runs elsewhere, folded and shown here."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowtape.cli import common
from flowtape.cli.keeping import finish, kept
from flowtape.cli.live_screen import heard, show_live
from flowtape.cli.offering import HubToken
from flowtape.stream.errors import InputError

if TYPE_CHECKING:
    from flowtape.connectors.hub.transport import InputsSource, WatchedSession
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
    chosen = common.strategy_named(strategy, set_)
    root = common.sessions_dir(home) if record else None
    asyncio.run(
        _watch(url, hub_token, chosen, strategy, root, label, port if dashboard else None, trade)
    )


async def _watch(
    url: str,
    token: str | None,
    strategy: "Strategy | None",
    name: str | None,
    root: Path | None,
    label: str,
    port: int | None,
    trade: bool,
) -> None:
    from flowtape.connectors.hub.following import Following
    from flowtape.replay.backtest import metrics_json, result_of
    from flowtape.replay.sessions import live_genesis
    from flowtape.replay.words import counted
    from flowtape.stream.engine import Engine

    async with contextlib.AsyncExitStack() as stack:
        source = _source(url, token)
        stack.push_async_callback(source.close)
        theirs = await source.open()
        _check_semantics(theirs)
        genesis = live_genesis(theirs.genesis.instruments, theirs.genesis.config, strategy, name)
        writer = None
        if root is not None:
            writer = stack.enter_context(kept(genesis, root, label=label))
        engine = Engine(
            genesis.instruments,
            genesis.config,
            strategy,
            shown=port is not None,
            recorded=None if writer is None else (writer.chain, writer),
        )
        live = Following(source, engine, None if writer is None else writer.inputs)
        symbols = ", ".join(one.symbol for one in genesis.instruments)
        typer.echo(f"watching {symbols} in session {theirs.id}; stop with Ctrl-C")
        try:
            if port is None:
                await common.until_stopped(live.run())
            else:
                folder = None if writer is None else writer.folder
                await show_live(live, engine, port, trade=trade, folder=folder)
        finally:
            end = "its end among them" if source.ended else "it may go on"
            typer.echo(f"{counted(live.input_count, 'input')} of session {theirs.id}, {end}")
        said = "" if writer is None else finish(writer, engine)
    typer.echo(heard(live))
    if strategy is not None and engine.ended:
        common.print_metrics(json.loads(metrics_json(result_of(engine))))
    typer.echo(f"digest {engine.digest()}\n{said}".rstrip())


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
