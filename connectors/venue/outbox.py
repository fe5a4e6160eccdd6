"""What is to be sent to one client, in order, and how much of it waits."""

import asyncio
from collections import deque

from flowtape.connectors.venue.faults import Broken

OUTBOX_BYTES = 16 << 20
WRITE_BYTES = 256 << 10

Outgoing = bytes | Broken


class Outbox:
    """A queue of framed bytes and of what happens between them."""

    def __init__(self) -> None:
        self._items: deque[Outgoing] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._roomy = asyncio.Event()
        self._roomy.set()
        self._flushed = asyncio.Event()
        self._flushed.set()

    @property
    def full(self) -> bool:
        """Whether a client is as far behind as it may be."""
        return not self._roomy.is_set()

    def put(self, item: Outgoing) -> None:
        """Add what is to be sent next."""
        self._items.append(item)
        self._flushed.clear()
        if isinstance(item, bytes):
            self._bytes += len(item)
            if self._bytes >= OUTBOX_BYTES:
                self._roomy.clear()
        self._filled.set()

    async def room(self) -> None:
        """Wait until more may be put."""
        await self._roomy.wait()

    async def flushed(self) -> None:
        """Wait until everything was taken, and more was asked for."""
        await self._flushed.wait()

    async def get(self) -> Outgoing:
        """Wait for what is next; bytes that wait come together."""
        while not self._items:
            self._filled.clear()
            self._flushed.set()
            await self._filled.wait()
        first = self._items.popleft()
        if not isinstance(first, bytes):
            return first
        joined, size = [first], len(first)
        while self._items and size < WRITE_BYTES:
            item = self._items[0]
            if not isinstance(item, bytes):
                break
            joined.append(item)
            size += len(item)
            self._items.popleft()
        self._bytes -= size
        if self._bytes < OUTBOX_BYTES // 2:
            self._roomy.set()
        return first if len(joined) == 1 else b"".join(joined)

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()
        self._flushed.set()
        self._bytes = 0
        self._roomy.set()
