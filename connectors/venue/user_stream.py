"""Events of a paper account to the connections that listen for them."""

import asyncio
import math
from dataclasses import dataclass, field
from typing import Any

from flowtape.connectors.binance.messages import encode
from flowtape.connectors.venue.connection import VenueConnection
from flowtape.connectors.venue.frames import text_frames, wrapped
from flowtape.connectors.venue.hub import Hub
from flowtape.connectors.venue.paper_exchange import PaperExchange
from flowtape.connectors.venue.paper_keys import made_key
from flowtape.connectors.venue.paper_orders import Event
from flowtape.connectors.venue.queries import BadQueryError

LISTEN_S = 3_600.0


@dataclass(eq=False, slots=True)
class Listener:
    """A connection of the WebSocket API and the subscriptions it has."""

    connection: VenueConnection
    subscriptions: set[int] = field(default_factory=set)
    last_id: int = -1

    def subscribe(self) -> int:
        """Add a subscription and return its number."""
        self.last_id += 1
        self.subscriptions.add(self.last_id)
        return self.last_id

    def put(self, message: dict[str, Any]) -> None:
        """Send a message."""
        self.connection.put(text_frames([encode(message)]))


class UserStream:
    """Tells connections what happens to the account, by a listen key or a subscription."""

    def __init__(self, exchange: PaperExchange, hub: Hub) -> None:
        self._exchange = exchange
        self._hub = hub
        self._key = ""
        self._key_until_s = -math.inf
        self._listeners: list[Listener] = []
        self._listens = False

    def listen_key(self) -> str:
        """Return the listen key there is, or a new one, valid for an hour from now."""
        if not self._valid():
            self._key = made_key()
        self._key_until_s = asyncio.get_running_loop().time() + LISTEN_S
        self._listen()
        return self._key

    def keep_alive(self, key: str) -> None:
        """Make the listen key valid for an hour from now."""
        self._check(key)
        self.listen_key()

    def forget(self, key: str) -> None:
        """Make the listen key invalid."""
        self._check(key)
        self._key_until_s = -math.inf

    def add(self, listener: Listener) -> None:
        """Tell a connection of what happens, once for each of its subscriptions."""
        self._listeners.append(listener)
        self._listen()

    def remove(self, listener: Listener) -> None:
        """Tell a connection no more."""
        self._listeners.remove(listener)

    def _valid(self) -> bool:
        return asyncio.get_running_loop().time() < self._key_until_s

    def _check(self, key: str) -> None:
        if not self._valid() or key != self._key:
            raise BadQueryError(-1125, "This listenKey does not exist.")

    def _listen(self) -> None:
        """Listen from the first who wants to know; before, nothing is written."""
        if not self._listens:
            self._listens = True
            self._exchange.listen(self._tell)

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            for number in sorted(listener.subscriptions):
                told = event(listener.connection.shape.unit_us)
                listener.put({"subscriptionId": number, "event": told})
        if not self._valid():
            return
        for connection in self._hub.connections:
            if self._key in connection.subscriptions.streams:
                shape = connection.shape
                payloads = wrapped(self._key, [encode(event(shape.unit_us))], shape)
                connection.put(text_frames(payloads, shape.deflate))
