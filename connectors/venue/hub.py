"""The connections of a venue, and who of them is sent what."""

import asyncio
from collections.abc import Callable

from flowtape.connectors.venue.connection import VenueConnection
from flowtape.connectors.venue.faults import Broken, Hold, Mute
from flowtape.connectors.venue.frames import Shape
from flowtape.connectors.venue.streams import carried, stream_named


class Hub:
    """Open connections; `spot` decides which routes carry which streams."""

    def __init__(self, *, spot: bool) -> None:
        self._spot = spot
        self._open: dict[VenueConnection, bool] = {}
        self._changed = asyncio.Condition()
        self.names: frozenset[str] = frozenset()

    @property
    def connections(self) -> list[VenueConnection]:
        """Return the open connections."""
        return list(self._open)

    async def add(self, connection: VenueConnection) -> None:
        """Take in a connection."""
        self._open[connection] = True
        await self.changed()

    def remove(self, connection: VenueConnection) -> None:
        """Forget a connection."""
        self._open.pop(connection, None)
        self._learn()

    async def changed(self) -> None:
        """Look again at what connections are subscribed to."""
        self._learn()
        async with self._changed:
            self._changed.notify_all()

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds that depends on subscriptions."""
        async with self._changed:
            await self._changed.wait_for(condition)

    def takers(self, name: str) -> list[VenueConnection]:
        """Return the connections that are to be sent a stream."""
        if name not in self.names:
            return []
        stream = stream_named(name, spot=self._spot)
        return [
            connection
            for connection, served in self._open.items()
            if served
            and name in connection.subscriptions.streams
            and stream is not None
            and carried(stream.kind, connection.route, spot=self._spot)
        ]

    async def send(self, name: str, frames: Callable[[Shape], bytes], *, patient: bool) -> None:
        """Send a stream's frames to those who take it, made once for each shape.

        A `patient` venue waits for clients that are behind; another cuts them off in the end.
        """
        made: dict[Shape, bytes] = {}
        for connection in self.takers(name):
            if name in connection.subscriptions.muted:
                continue
            shape = connection.shape
            if shape not in made:
                made[shape] = frames(shape)
            if patient:
                await connection.room()
            connection.put(made[shape])

    def tell_all(self, frames: Callable[[Shape], bytes]) -> None:
        """Send frames to every connection, whatever it takes."""
        for connection in self.connections:
            connection.put(frames(connection.shape))

    def break_all(self, fault: Broken) -> None:
        """Let something happen to every connection behind what it was sent."""
        for connection in self.connections:
            connection.put(fault)
            self._open[connection] &= isinstance(fault, Hold)

    async def flush(self) -> None:
        """Wait until every client that reads has been sent everything."""
        await asyncio.gather(*(connection.flush() for connection in self.connections))

    def mute(self, fault: Mute, symbol: str) -> None:
        """Let open connections get nothing more of a symbol's streams."""
        for connection in self.connections:
            asked = connection.subscriptions
            for name in asked.streams:
                if name.startswith(f"{symbol.lower()}@"):
                    asked.muted[name] = fault.heals == "connect"

    def _learn(self) -> None:
        self.names = frozenset(
            name for connection in self._open for name in connection.subscriptions.streams
        )
