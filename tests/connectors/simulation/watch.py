"""What really arrived at the client, read off the bytes of its connections."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

import msgspec

from flowtape.connectors.binance.messages import AggTrade, RestAggTrade
from tests.connectors.simulation.network import Connection

FRAME_BYTES_MAX = 1 << 20

_LEAST = re.compile(rb'"LOT_SIZE","minQty":"([0-9.]+)"')

_trade = msgspec.json.Decoder(AggTrade)
_rows = msgspec.json.Decoder(list[RestAggTrade])


@dataclass(slots=True)
class Query:
    """One REST query as the venue got it, and the answer as the client did.

    `status` is 0 for one that was never answered.
    """

    asked_s: float
    name: str
    from_id: int | None
    limit: int
    answered_s: float = 0.0
    status: int = 0
    pause_s: float | None = None
    unreadable: bool = False
    ids: list[int] = field(default_factory=list)

    def withheld(self, agg_id: int) -> bool:
        """Tell whether the answer should have had an id and had not."""
        if self.from_id is None or agg_id < self.from_id or agg_id in self.ids:
            return False
        return len(self.ids) < self.limit or self.ids[-1] > agg_id


@dataclass(slots=True)
class Arrivals:
    """When each id first came to the client whole, over the streams; and every query.

    `refusals` are the times at which a stream was refused, and the pauses that were asked for;
    `listings` when exchangeInfo was asked for and answered, and the least quantity it named.
    """

    stream: dict[int, float] = field(default_factory=dict)
    refusals: list[tuple[float, float]] = field(default_factory=list)
    listings: list[tuple[float, float, str]] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)


def _head(head: bytes) -> tuple[int, dict[str, str]]:
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.lower().split(": ", 1) for line in lines)


class StreamWatcher:
    """Reads the frames of a stream connection on their way to the client."""

    def __init__(self, clock: Callable[[], float], arrivals: Arrivals) -> None:
        self._clock = clock
        self._arrivals = arrivals
        self._bytes = b""
        self._upgraded = False

    def to_server(self, data: bytes) -> None:
        pass

    def ended(self) -> None:
        pass

    def to_client(self, data: bytes) -> None:
        self._bytes += data
        if not self._upgraded:
            head, end, rest = self._bytes.partition(b"\r\n\r\n")
            if not end:
                return
            status, headers = _head(head)
            self._upgraded = status == 101
            if status in (403, 418, 429):
                pause_s = float(headers.get("retry-after", 60))
                self._arrivals.refusals.append((self._clock(), pause_s))
            self._bytes = rest
        while self._upgraded and (frame := self._next_frame()):
            opcode, payload = frame
            if len(payload) > FRAME_BYTES_MAX:
                self._upgraded = False  # the client leaves such a connection
            if opcode == 1:
                try:
                    agg_id = _trade.decode(payload).agg_id
                except msgspec.MsgspecError:
                    continue
                self._arrivals.stream.setdefault(agg_id, self._clock())

    def _next_frame(self) -> tuple[int, bytes] | None:
        data = self._bytes
        if len(data) < 2:
            return None
        size, at = data[1] & 0x7F, 2
        if size >= 126:
            at += 2 if size == 126 else 8
            size = int.from_bytes(data[2:at], "big")
        if len(data) < at + size:
            return None
        self._bytes = data[at + size :]
        return data[0] & 0x0F, data[at : at + size]


class RestWatcher:
    """Reads the queries and answers of a REST connection.

    `asked` is told of a query before the venue gets it, `answering` of the first bytes of its
    answer before the client does.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        arrivals: Arrivals,
        connection: Connection,
        asked: Callable[[Query, Connection], None],
        answering: Callable[[Query, Connection], None],
    ) -> None:
        self._clock = clock
        self._arrivals = arrivals
        self._connection = connection
        self._asked = asked
        self._answering = answering
        self._bytes = b""
        self._query: Query | None = None

    def to_server(self, data: bytes) -> None:
        url = urlsplit(data.split(b" ", 2)[1].decode())
        values = dict(parse_qsl(url.query))
        from_id = values.get("fromId")
        self._query = Query(
            self._clock(),
            url.path.rpartition("/")[2],
            None if from_id is None else int(from_id),
            int(values.get("limit", 0)),
        )
        if self._query.name == "aggTrades":
            self._arrivals.queries.append(self._query)
        self._asked(self._query, self._connection)

    def to_client(self, data: bytes) -> None:
        query = self._query
        assert query is not None
        if not self._bytes:
            self._answering(query, self._connection)
            if not self._connection.open:
                return
        self._bytes += data
        head, end, body = self._bytes.partition(b"\r\n\r\n")
        if not end:
            return
        status, headers = _head(head)
        if len(body) < int(headers["content-length"]):
            return
        self._bytes = b""
        query.answered_s = self._clock()
        query.status = status
        if query.status in (403, 418, 429):
            query.pause_s = float(headers.get("retry-after", 60))
        if query.status == 200 and query.name == "aggTrades":
            try:
                query.ids = [row.agg_id for row in _rows.decode(body)]
            except msgspec.MsgspecError:
                query.status, query.unreadable = 0, True

        if query.status == 200 and query.name == "exchangeInfo":
            found = _LEAST.search(body)
            if found is not None:
                told = query.asked_s, query.answered_s, found.group(1).decode()
                self._arrivals.listings.append(told)

    def ended(self) -> None:
        if self._query is not None and not self._query.answered_s:
            self._query.answered_s = self._clock()
