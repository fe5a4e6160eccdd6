"""What the venue sent and no trade came of, with its raw text, for whoever wants to look at it."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from flowtape.connectors.binance.sequencer import Stray

TEXT_BYTES_MAX = 4_096
LETTERS_PER_MINUTE = 1_000

Origin = Literal["stream", "rest"]
Fate = Literal["unreadable", "conflict", "late", "doubted"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One frame, row or page that did not become a trade.

    Attributes:
        origin: the way it came.
        fate: `unreadable`; in `conflict` with the trade of its id, which stays as it is; `late`,
            after its id had been declared missing; `doubted`, its id being out of all reason.
        reason: what is wrong with it, in one line.
        text: its first bytes, at most 4 KiB.
        received_us: when it was received, by the source's own clock.
    """

    origin: Origin
    fate: Fate
    reason: str
    text: bytes
    received_us: int


class DeadLetterOffice:
    """Hands dead letters on, at most so many each minute that nobody drowns in them."""

    def __init__(self, take: Callable[[DeadLetter], None] | None) -> None:
        self._take = take
        self._minute_us = 0
        self._posted = 0

    def post(
        self, origin: Origin, fate: Fate, reason: str, text: str | bytes, received_us: int
    ) -> None:
        """Hand a letter on, or drop it when the minute had enough of them."""
        if self._take is None:
            return
        if received_us - self._minute_us >= 60_000_000:
            self._minute_us, self._posted = received_us, 0
        self._posted += 1
        if self._posted <= LETTERS_PER_MINUTE:
            data = text.encode(errors="backslashreplace") if isinstance(text, str) else text
            self._take(DeadLetter(origin, fate, reason, data[:TEXT_BYTES_MAX], received_us))

    def post_strays(
        self,
        origin: Origin,
        strays: deque[Stray],
        texts: Mapping[int, str | bytes],
        received_us: int,
    ) -> None:
        """Hand on rows that the sequencer did not want, and empty `strays`; `texts` are by id."""
        while strays:
            stray = strays.popleft()
            agg_id = stray.row.agg_id
            fate: Fate = "late"
            reason = f"trade {agg_id} came after its id was declared missing or forgotten"
            if stray.kept is not None:
                fate, reason = "conflict", f"trade {agg_id} is not what came before: {stray.kept}"
            self.post(origin, fate, reason, texts.get(agg_id, b""), received_us)
