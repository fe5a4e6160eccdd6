"""A SHA-256 of bytes that come piece by piece, which can be put down and taken up again.

    h(0) = 32 zero bytes
    h(i) = SHA-256("flowtape running 1" | h(i - 1) | chunk i), of whole chunks of 65,536 bytes
    digest = SHA-256("flowtape running 1" | h(n) | what is left behind chunk n)

`hashlib` cannot put a hash in the middle down; here that is 32 bytes and less than one chunk.
"""

import hashlib
from typing import Self

CHUNK_BYTES = 1 << 16
HEAD_BYTES = 32

_NAME = b"flowtape running 1"


class RunningHash:
    """The hash of all bytes so far; how they were cut makes no difference."""

    def __init__(self, head: bytes = bytes(HEAD_BYTES), rest: bytes = b"") -> None:
        self._head = head
        self._rest = bytearray(rest)

    def update(self, data: bytes | memoryview) -> None:
        """Take in more bytes."""
        if len(self._rest) + len(data) < CHUNK_BYTES:
            self._rest += data
            return
        view = memoryview(data)
        at = CHUNK_BYTES - len(self._rest)
        self._rest += view[:at]
        self._chunk(self._rest)
        while at + CHUNK_BYTES <= len(view):
            self._chunk(view[at : at + CHUNK_BYTES])
            at += CHUNK_BYTES
        self._rest = bytearray(view[at:])

    def digest(self) -> bytes:
        """Return the 32 bytes that name all bytes so far."""
        return hashlib.sha256(_NAME + self._head + self._rest).digest()

    def copy(self) -> Self:
        """Return one that goes on by itself."""
        return type(self)(self._head, bytes(self._rest))

    def put_down(self) -> bytes:
        """Return what `take_up` needs, 32 bytes to 64 KiB."""
        return self._head + self._rest

    @classmethod
    def take_up(cls, put_down: bytes) -> Self:
        """Return a hash that goes on; raises ValueError where that is none that was put down."""
        if not HEAD_BYTES <= len(put_down) < HEAD_BYTES + CHUNK_BYTES:
            raise ValueError(f"a running hash has no {len(put_down)} bytes")
        return cls(put_down[:HEAD_BYTES], put_down[HEAD_BYTES:])

    def _chunk(self, chunk: bytearray | memoryview) -> None:
        self._head = hashlib.sha256(b"".join((_NAME, self._head, chunk))).digest()
