"""A live session's inputs for any number of readers, each at its own pace.

A reader is no more than the number of the input that it wants next. What was appended of late is
in a ring in memory, encoded once; what is older is read from the session's log. So no reader needs
a queue, none can hold the session up, nothing is left out, and who falls behind goes on from the
log without noticing.
"""

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from flowtape.stream.errors import SourceError
from flowtape.stream.input_frames import MESSAGE_BYTES, Frame, Message, cut, frames_of, joined
from flowtape.stream.input_log import read_inputs
from flowtape.stream.inputs import InputKind, Inputs

RING_BYTES = 32 << 20
BLOCK_INPUTS = 1 << 16
BLOCKS_KEPT = 4

# What Python takes for a frame beside its rows.
_FRAME_BYTES = 250


class Fanout:
    """The inputs of one session from any number on; all methods may be called by any thread.

    Args:
        folder: the log of the session's inputs, as `input_log` keeps it.
        session_id: of the session.
        last_input: the number of the last input that is in the log by now.
        ended: whether that is the end of the session.
        ring_bytes: what the ring may take in memory; the newest append is kept whatever it takes.
    """

    def __init__(
        self,
        folder: Path,
        session_id: str,
        last_input: int = 0,
        *,
        ended: bool = False,
        ring_bytes: int = RING_BYTES,
    ) -> None:
        self.session_id = session_id
        self.ended = ended
        """Whether the session's end is the last input."""
        self.closed = ended
        """Whether nothing more will come, from this process at least."""
        self.listeners: list[Callable[[], None]] = []
        """Called by the publisher when there is more to read, or nothing more will come."""
        self._folder = folder
        self._last = last_input
        self._ring = _Ring(ring_bytes, last_input + 1)
        self._blocks: OrderedDict[int, list[Frame]] = OrderedDict()
        self._edge: Message | None = None
        self._lock = threading.Lock()
        self._reading = threading.Lock()

    @property
    def last_input(self) -> int:
        """Number of the last input that was published."""
        return self._last

    def publish(self, first: int, inputs: Inputs) -> None:
        """Take inputs that the log holds by now, the first of which has that number.

        Waits for no reader: a reader holds the lock while it looks up frames in memory, never
        while it reads or sends.
        """
        if not len(inputs):
            return
        frames = list(frames_of(self.session_id, first, inputs))
        with self._lock:
            if first != self._last + 1:
                raise ValueError(f"input {first} was published behind input {self._last}")
            self._ring.extend(frames)
            self._last += len(inputs)
            self.ended = self.closed = int(inputs.kind[-1]) == InputKind.END
        self._tell()

    def close(self) -> None:
        """Tell readers that nothing more will come, whether the session ended or not."""
        self.closed = True
        self._tell()

    def recent(self, first: int) -> Message | None:
        """Return inputs from `first` on out of memory.

        None when there are none yet, and when they must be read first: see `older`.
        """
        edge = self._edge
        with self._lock:
            if edge is not None and edge.first == first and self._is_all(edge):
                return edge
            of_late = self._ring.take(first)
            frames = of_late or self._of_blocks(first)
        if not frames:
            return None
        message = joined([cut(self.session_id, frames[0], first), *frames[1:]])
        if of_late:
            # Most readers want the same one.
            self._edge = message
        return message

    def waits(self, first: int) -> bool:
        """Tell whether the input of that number is still to come."""
        return first > self._last

    def older(self, first: int) -> Message:
        """Return inputs from `first` on, read from the log if need be; it must be there.

        Reads for one reader at a time, and keeps some of what was read for the others. Raises
        JournalDamagedError when the log is not as it was written, SourceError when it is gone.
        """
        with self._reading:
            message = self.recent(first)
            if message is None:
                self._read_block(first)
                message = self.recent(first)
        assert message is not None
        return message

    def _tell(self) -> None:
        for told in self.listeners:
            told()

    def _is_all(self, message: Message) -> bool:
        return message.next > self._last or len(message.data) >= MESSAGE_BYTES

    def _of_blocks(self, first: int) -> list[Frame]:
        for begin, frames in self._blocks.items():
            if begin <= first < frames[-1].next:
                self._blocks.move_to_end(begin)
                at = bisect_right(frames, first, key=lambda frame: frame.first) - 1
                return _some(frames, at)
        return []

    def _read_block(self, first: int) -> None:
        last, number = self._last, first
        frames: list[Frame] = []
        for piece in read_inputs(self._folder, first):
            # What was written and not published yet may not be there in the end.
            known = piece.slice(0, last + 1 - number)
            frames += frames_of(self.session_id, number, known)
            number += len(known)
            if number > last or number - first >= BLOCK_INPUTS:
                break
        if not frames:
            raise SourceError(f"{self._folder} has lost the inputs from {first:,} on")
        with self._lock:
            self._blocks[first] = frames
            while len(self._blocks) > BLOCKS_KEPT:
                self._blocks.popitem(last=False)


class _Ring:
    """Consecutive frames, of which the oldest are forgotten."""

    def __init__(self, bytes_max: int, next_input: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._frames: list[Frame] = []
        self._firsts: list[int] = []
        self._forgotten = 0
        """Frames at the front that are no longer there, until the lists are cut."""
        self._next = next_input

    def extend(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self._frames.append(frame)
            self._firsts.append(frame.first)
            self._bytes += len(frame.rows) + _FRAME_BYTES
        self._next = frames[-1].next
        stop = len(self._frames) - len(frames)
        while self._bytes > self._bytes_max and self._forgotten < stop:
            oldest = self._frames[self._forgotten]
            self._bytes -= len(oldest.rows) + _FRAME_BYTES
            # The list is cut later, and all at once.
            self._frames[self._forgotten] = _NO_FRAME
            self._forgotten += 1
        if self._forgotten > len(self._frames) // 2:
            del self._frames[: self._forgotten], self._firsts[: self._forgotten]
            self._forgotten = 0

    def take(self, first: int) -> list[Frame]:
        """Return a message's worth of frames that begin at or before `first`."""
        if first >= self._next:
            return []
        at = bisect_right(self._firsts, first, lo=self._forgotten) - 1
        return _some(self._frames, at) if at >= self._forgotten else []


_NO_FRAME = Frame(0, 0, 0, b"")


def _some(frames: list[Frame], at: int) -> list[Frame]:
    """Return frames from the one at `at` on, as many as a message takes."""
    size, stop = 0, at
    while stop < len(frames) and size < MESSAGE_BYTES:
        size += len(frames[stop].rows)
        stop += 1
    return frames[at:stop]
