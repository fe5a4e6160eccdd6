"""A Binance-compatible venue on 127.0.0.1: streams and REST over the trades of some symbols."""

import asyncio
import contextlib
import errno
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from aiohttp import web

from flowtape.connectors.venue.faults import Deny, Fault, Refuse, RestFault
from flowtape.connectors.venue.hub import Hub
from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.paper_exchange import PaperExchange
from flowtape.connectors.venue.paper_venue import PaperSettings, PaperVenue
from flowtape.connectors.venue.playing import MarketPlayer
from flowtape.connectors.venue.rest import PublicRest
from flowtape.connectors.venue.rules import ConnectionRules, WeightMeter, rules_of
from flowtape.connectors.venue.sockets import StreamSockets
from flowtape.stream.errors import InputError
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import Trades

HOST = "127.0.0.1"
GOING_AWAY = 1001
LINE_BYTES_MAX = 64 << 10
"""Addresses may name hundreds of streams; Binance takes about 16,000 characters."""


class Routes(Protocol):
    """Something that answers requests of its own on a venue."""

    def routes(self) -> list[web.RouteDef]:
        """Return the addresses it answers, which are no one else's."""


class VenueServer:
    """Plays trades to any Binance client, on loopback only.

    With a `speed` the trades happen by themselves, in stream seconds for each wall second (`inf`:
    as fast as clients take them), from the first subscription to them on; without one they happen
    when `publish` is called.

    Args:
        listed: the symbols, all on one market; for a single one its instrument will do.
        trades: of that single one.
        speed: the pace, above 0.
        waits: begin with the first subscriber; else at once.
        wall_us: the wall clock in microseconds, if the trades are to happen now: all times are
            moved so that the first trade happens when playing begins.
        happened_count: so many trades of that single one have happened before the venue opens.
        faults: what goes wrong; more can be added by `inject`.
        rules: what is demanded of connections; the market's own when None.
        flat_errors: refuse control messages in the form the documentation prints.
        weight_per_minute: the REST limit; the market's own when None.
        extra: what answers further addresses, such as an archive.
        paper: an account that clients may trade with, on spot.
    """

    def __init__(
        self,
        listed: Instrument | Sequence[Listing],
        trades: Trades | Iterable[Trades] = (),
        *,
        speed: float | None = None,
        waits: bool = True,
        wall_us: Callable[[], int] | None = None,
        happened_count: int = 0,
        faults: Iterable[Fault] = (),
        rules: ConnectionRules | None = None,
        flat_errors: bool = False,
        weight_per_minute: int | None = None,
        extra: Sequence[Routes] = (),
        paper: PaperSettings | None = None,
    ) -> None:
        if speed is not None and not speed > 0:
            raise InputError(f"speed must be above 0, was {speed:g}")
        if isinstance(listed, Instrument):
            listed = [Listing(listed, trades, happened_count=happened_count)]
        first = listed[0]
        self._listings = _by_symbol(listed)
        spot = first.wire.spot
        hub = Hub(spot=spot)
        rules = rules or rules_of(first.instrument.market)
        self._hub = hub
        self._sockets = StreamSockets(first.api, hub, rules, flat_errors=flat_errors)
        self._player = MarketPlayer(
            list(self._listings.values()),
            hub,
            speed=speed,
            wall_us=wall_us,
            change=self._change,
            happened=None if paper is None else self._happened,
        )
        self._meter = WeightMeter(weight_per_minute or first.api.weight_per_minute)
        self._rest = PublicRest(first.api, self._listings, self._player.clock_us, self._meter)
        self._paper: PaperVenue | None = None
        if paper is not None:
            self._paper = PaperVenue(
                paper,
                self._listings,
                first.api,
                hub,
                rules=rules,
                meter=self._meter,
                clock_us=self._player.clock_us,
                steady_us=self._player.steady_us,
            )
        self._extra = (*extra, self._paper) if self._paper is not None else tuple(extra)
        self._waits = waits
        self._speed = speed
        self._finished = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._playing: asyncio.Task[None] | None = None
        self._address = ""
        for fault in faults:
            self.inject(fault)

    @property
    def ws_url(self) -> str:
        """Return the address clients take for streams; known once started."""
        return f"ws://{self._address}"

    @property
    def rest_url(self) -> str:
        """Return the address clients take for REST; known once started."""
        return f"http://{self._address}"

    @property
    def last_id(self) -> int | None:
        """Return the id of the first symbol's newest trade that has happened."""
        return next(iter(self._listings.values())).market.last_id

    @property
    def accepted_count(self) -> int:
        """Return how many connections there have been."""
        return self._sockets.accepted_count

    @property
    def paper(self) -> PaperExchange | None:
        """Return the paper exchange, if there is one."""
        return None if self._paper is None else self._paper.exchange

    @property
    def subscriber_count(self) -> int:
        """Return how many open connections get trades."""
        names = [listing.wire.stream for listing in self._listings.values()]
        return len({taker for name in names for taker in self._hub.takers(name)})

    async def start(self, port: int = 0) -> None:
        """Listen on loopback; port 0 takes a free one. Raises InputError when it is taken."""
        self._player.move_to_now()
        if self._paper is not None:
            self._paper.begin()
        app = web.Application()
        parts: list[Routes] = [self._sockets, self._rest, *self._extra]
        for part in parts:
            app.router.add_routes(part.routes())
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=1.0, max_line_size=LINE_BYTES_MAX
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, HOST, port).start()
        except OSError as error:
            await self._runner.cleanup()
            taken = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error}"
            raise InputError(f"port {port} {taken}; choose another with --port") from None
        self._address = f"{HOST}:{self._runner.addresses[0][1]}"
        if self._speed is not None:
            self._playing = asyncio.create_task(self._play())

    async def stop(self) -> None:
        """End every connection and stop listening; may be called again."""
        if self._playing is not None:
            self._playing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._playing
            self._playing = None
        await asyncio.gather(
            *(connection.close(GOING_AWAY) for connection in self._hub.connections)
        )
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def inject(self, fault: Fault) -> None:
        """Let something go wrong, when its trade is due; raises InputError for unknown symbols."""
        symbol = fault.symbol or next(iter(self._listings))
        listing = self._listings.get(symbol)
        if listing is None:
            raise InputError(f"a fault is for {symbol}, which is not on this venue")
        self._player.inject(listing, fault)

    async def publish(self, count: int) -> int:
        """Let the next `count` trades of the first symbol happen; return how many there were."""
        return await self._player.publish(next(iter(self._listings.values())), count)

    async def wait_for_subscribers(self, count: int = 1) -> None:
        """Wait until `count` open connections get trades."""
        await self._hub.wait_for(lambda: self.subscriber_count >= count)

    async def wait_finished(self) -> None:
        """Wait until a venue with a speed has played all its trades."""
        await self._finished.wait()
        if self._playing is not None:
            await self._playing

    async def _play(self) -> None:
        try:
            if self._waits:
                await self._hub.wait_for(lambda: self._player.watched or self._traded)
            await self._player.play()
        finally:
            self._finished.set()

    @property
    def _traded(self) -> bool:
        return self._paper is not None and self._paper.traded

    def _happened(self, listing: Listing, trades: Trades) -> None:
        if self._paper is not None:
            self._paper.happened(listing, trades)

    def _change(self, fault: RestFault | Refuse | Deny) -> None:
        if isinstance(fault, RestFault):
            self._rest.inject(fault)
        else:
            self._sockets.inject(fault)


def _by_symbol(listings: Sequence[Listing]) -> dict[str, Listing]:
    markets = sorted({listing.instrument.market for listing in listings})
    if len(markets) > 1:
        raise InputError(
            f"one venue has one market, but these are {' and '.join(markets)}; start one for each"
        )
    by_symbol = {listing.symbol: listing for listing in listings}
    if len(by_symbol) < len(listings):
        raise InputError("a symbol is on the venue twice; name each tape once")
    return by_symbol
