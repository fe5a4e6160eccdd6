"""Sessions that others may follow while they are made."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flowtape.connectors.hub.transport import InputsOffer
    from flowtape.stream.session import SessionWriter

HubPort = Annotated[
    int | None,
    typer.Option(
        "--hub",
        min=0,
        max=65535,
        help="Port on which others may follow this session, with: flowtape watch.",
        show_default=False,
    ),
]
HubToken = Annotated[
    str | None,
    typer.Option(
        "--hub-token",
        envvar="FLOWTAPE_HUB_TOKEN",
        help="What watchers must know; else every start makes a new one.",
        show_default=False,
    ),
]


NatsUrl = Annotated[
    str | None,
    typer.Option(
        "--nats",
        help="NATS server with JetStream that gets this session too, such as nats://host:4222.",
        show_default=False,
    ),
]


@dataclass
class Offering:
    """Where a session's inputs may be had, if anywhere."""

    port: int | None = None
    token: str | None = None
    nats: str | None = None
    _offers: "list[InputsOffer]" = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Be ready while the block runs; what cannot be is told before anything is made."""
        async with contextlib.AsyncExitStack() as stack:
            for one in self._wanted():
                await one.start()
                stack.push_async_callback(one.stop)
                self._offers.append(one)
            yield

    def _wanted(self) -> "Iterator[InputsOffer]":
        if self.port is not None:
            from flowtape.connectors.hub.server import HubServer

            yield HubServer(self.port, self.token)
        if self.nats is not None:
            from flowtape.connectors.hub.nats_transport import NatsOffer

            yield NatsOffer(self.nats, lambda line: typer.echo(line, err=True))

    def offer(self, writer: "SessionWriter", last_input: int = 0) -> None:
        """Offer a session that has so many inputs by now, and all that follow."""
        if not self._offers:
            return
        from flowtape.stream.fanout import Fanout

        fanout = Fanout(writer.folder / "inputs", writer.folder.name, last_input)
        writer.published = fanout.publish
        for one in self._offers:
            one.offer(fanout, writer.genesis)
            typer.echo(f'follow it elsewhere with: flowtape watch "{one.url}"')
