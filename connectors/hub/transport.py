"""How inputs get from a session to its watchers, whatever carries them."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Protocol

from flowtape.stream.fanout import Fanout
from flowtape.stream.genesis import Genesis
from flowtape.stream.inputs import Inputs


@dataclass(frozen=True, slots=True)
class WatchedSession:
    """What is known of a session that can be watched."""

    id: str
    genesis: Genesis
    last_input: int
    ended: bool


class InputsOffer(Protocol):
    """The side of the session: `hub.server.HubServer`, `hub.nats_transport.NatsOffer`."""

    @property
    def url(self) -> str:
        """What a watcher is given."""
        ...

    async def start(self) -> None:
        """Get ready; raises InputError when that cannot be."""
        ...

    def offer(self, fanout: Fanout, genesis: Genesis) -> None:
        """Give out a session from now on."""
        ...

    async def stop(self) -> None:
        """Give out what is left, for a while, and end."""
        ...


class InputsSource(Protocol):
    """The side of the watcher: `hub.source.HubSource`, `hub.nats_transport.NatsSource`."""

    ended: bool
    """Whether the session's end has come."""
    tell: Callable[[str], None]
    """Gets a line when nothing comes for now, and why; an empty one when it does again."""

    async def open(self) -> WatchedSession:
        """Ask what the session is; raises SourceError when there is none."""
        ...

    def inputs(self, first: int = 1) -> AsyncGenerator[Inputs]:
        """Yield the inputs from number `first` on, each once and in order; raises SourceError."""
        ...

    async def close(self) -> None:
        """Give up the connection."""
        ...


def tell_nobody(_line: str) -> None:
    """Take a line that nobody wants."""


class News:
    """Wakes readers of a fan-out on this loop, at most every `pace_s()` seconds."""

    def __init__(self, fanout: Fanout, pace_s: Callable[[], float]) -> None:
        self.event = asyncio.Event()
        """To be taken before one looks for more, and waited for when there is none."""
        self._pace_s = pace_s
        self._waking = False
        self._loop = asyncio.get_running_loop()
        self._fanout = fanout
        fanout.listeners.append(self._told)

    def stop(self) -> None:
        """Hear no more."""
        self._fanout.listeners.remove(self._told)

    def _told(self) -> None:
        """Have readers woken soon; the publisher calls it, perhaps on another thread."""
        if not self._waking:
            self._waking = True
            self._loop.call_soon_threadsafe(self._wake_later)

    def _wake_later(self) -> None:
        self._loop.call_later(self._pace_s(), self._wake)

    def _wake(self) -> None:
        self._waking = False
        event, self.event = self.event, asyncio.Event()
        event.set()
