"""A WebSocket connection whose messages are taken many at a time."""

import asyncio
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State

MESSAGES_WAITING_MAX = 4_096

Message = bytes | bytearray
"""A text message as its bytes, which nobody has looked at; a binary message as a bytearray."""


class FrameConnection(ClientConnection):
    """A connection that keeps what came until it is taken, and then hands over all of it.

    When `MESSAGES_WAITING_MAX` wait nothing more is read, which in the end holds up the server.
    `beating` is set by signs of life other than data.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.beating = False
        self._messages: list[Message] = []
        self._parts: list[bytes] = []
        self._is_text = True
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    async def take(self) -> list[Message]:
        """Return what came since the last time, one message at least.

        Raises ConnectionClosed when the connection has ended and everything was taken.
        """
        while not self._messages:
            if self.state is State.CLOSED:
                raise self.protocol.close_exc
            self._waiter = self.loop.create_future()
            await self._waiter
        messages, self._messages = self._messages, []
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        return messages

    def process_event(self, event: Frame | Response) -> None:  # type: ignore[override]
        """Keep data; leave everything else to the library."""
        if not isinstance(event, Frame):
            super().process_event(event)
        elif event.opcode is Opcode.TEXT and event.fin:
            self._keep(bytes(event.data))
        elif event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._keep_part(event)
        else:
            self.beating |= event.opcode in (Opcode.PING, Opcode.PONG)
            super().process_event(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits for more."""
        super().connection_lost(exc)
        self._wake()

    def _keep_part(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        self._parts.append(bytes(frame.data))
        if frame.fin:
            whole = b"".join(self._parts)
            self._parts = []
            self._keep(whole if self._is_text else bytearray(whole))

    def _keep(self, message: Message) -> None:
        self._messages.append(message)
        if len(self._messages) >= MESSAGES_WAITING_MAX and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
