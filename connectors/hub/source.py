"""A session elsewhere, followed through its hub: every input once and in order."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
from yarl import URL

from flowtape._kernel import Batch
from flowtape.connectors.binance.pacing import Backoff, Sleep
from flowtape.connectors.hub.server import HUB_VERSION
from flowtape.connectors.hub.transport import WatchedSession, tell_nobody
from flowtape.stream.errors import FlowError, InputError, KernelError, SourceError
from flowtape.stream.genesis import Genesis
from flowtape.stream.input_frames import MESSAGE_BYTES_MAX, DamagedMessageError, inputs_of
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.session import is_id

DAMAGED_MAX = 3
"""Damaged messages in a row after which it is no accident."""

_SESSION_BYTES_MAX = 1 << 20
_SCHEMES = {"ws": "http", "http": "http", "wss": "https", "https": "https"}
_REFUSED = range(400, 500)


@dataclass(frozen=True, slots=True)
class WatchTimes:
    """How long a watcher waits, in seconds."""

    request_s: float = 10.0
    quiet_s: float = 30.0
    """A hub pings a quiet link every ten seconds."""
    retry_base_s: float = 0.2
    retry_cap_s: float = 2.0
    give_up_s: float = 60.0
    """How long a hub may be gone."""


class _LostError(Exception):
    """The connection is gone; another try may do."""


class HubSource:
    """Follows the session of one hub, over as many connections as it takes.

    Args:
        url: such as `ws://127.0.0.1:9000/?token=...`, as `flowtape live --hub` prints it.
        token: the token, if it is not in the address.
        times: how long to wait.
        rng: spreads the tries of many watchers.
        sleep: waits between tries.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        times: WatchTimes | None = None,
        rng: random.Random | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._base, self._token = _address(url, token)
        self._times = times or WatchTimes()
        self._backoff = Backoff(
            self._times.retry_base_s, self._times.retry_cap_s, rng or random.Random()
        )
        self._sleep = sleep
        self._http: aiohttp.ClientSession | None = None
        self._session: WatchedSession | None = None
        self._lost_s: float | None = None
        self.ended = False
        """Whether the session's end has come."""
        self.tell: Callable[[str], None] = tell_nobody
        self.connect_count = 0
        self.damaged_count = 0

    @property
    def place(self) -> str:
        """The hub's address, without the token."""
        return str(self._base.with_scheme("ws" if self._base.scheme == "http" else "wss"))

    async def open(self) -> WatchedSession:
        """Ask what the session is; raises SourceError when there is no such hub."""
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=self._times.request_s)
            self._http = aiohttp.ClientSession(timeout=timeout)
        try:
            self._session = await self._ask()
        except _LostError as error:
            raise SourceError(f"{self.place} cannot be reached: {error}") from None
        return self._session

    async def close(self) -> None:
        """Give up the connection."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def inputs(self, first: int = 1) -> AsyncGenerator[Inputs]:
        """Yield the inputs from number `first` on, each once, until the hub has no more.

        Raises SourceError when the hub is gone for good, refuses, or serves another session now.
        """
        at, damaged = first, 0
        while True:
            try:
                async with aclosing(self._connected(at)) as pieces:
                    async for inputs in pieces:
                        yield inputs
                        at += len(inputs)
                        damaged = 0
                        self._backoff.reset()
                return
            except DamagedMessageError as error:
                self.damaged_count += 1
                damaged += 1
                if damaged >= DAMAGED_MAX:
                    raise SourceError(f"{self.place}: {error}, {damaged} times running") from None
            except _LostError as error:
                if self._lost_s is None:
                    limit_s = self._times.give_up_s
                    self.tell(f"{self.place} is away ({error}); trying again for {limit_s:.0f} s")
                gone_s = self._gone_s()
                if gone_s >= self._times.give_up_s:
                    raise SourceError(
                        f"{self.place} has been gone for {gone_s:.0f} s behind input {at - 1:,} "
                        f"({error}); start again when it is back"
                    ) from None
            await self._sleep(self._backoff.next_s())

    def _gone_s(self) -> float:
        """Return for how long the hub has been gone by now."""
        now_s = asyncio.get_running_loop().time()
        if self._lost_s is None:
            self._lost_s = now_s
        return now_s - self._lost_s

    async def _connected(self, first: int) -> AsyncGenerator[Inputs]:
        """Yield inputs from one connection; ends when there are no more."""
        assert self._http is not None
        assert self._session is not None
        now = await self._ask()
        if (now.id, now.genesis) != (self._session.id, self._session.genesis):
            raise SourceError(f"{self.place} serves session {now.id} now; start again to watch it")
        if first > now.last_input + 1:
            raise SourceError(
                f"session {now.id} has {now.last_input:,} inputs, {first - 1:,} were had of it: "
                "its disk lost some; start again"
            )
        self.connect_count += 1
        try:
            async with self._http.ws_connect(
                self._address_of("inputs", first),
                autoping=False,
                max_msg_size=MESSAGE_BYTES_MAX,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
            ) as socket:
                if self._lost_s is not None:
                    self._lost_s = None
                    self.tell("")
                at = first
                while (inputs := await self._next(socket, at)) is not None:
                    if len(inputs):
                        yield inputs
                    at += len(inputs)
        except TimeoutError:
            raise _LostError(f"nothing came for {self._times.quiet_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _LostError(_words(error)) from None

    async def _next(self, socket: aiohttp.ClientWebSocketResponse, at: int) -> Inputs | None:
        """Return the next inputs, none when only something was said, None at the end."""
        assert self._session is not None
        message: Any = await socket.receive(self._times.quiet_s)
        match message.type:
            case aiohttp.WSMsgType.BINARY:
                inputs = inputs_of(self._session.id, at, message.data)
                check_inputs(inputs, len(self._session.genesis.instruments))
                return inputs
            case aiohttp.WSMsgType.PING:
                await socket.pong(message.data)
            case aiohttp.WSMsgType.TEXT:
                said = _object(message.data)
                if "error" in said:
                    raise SourceError(f"{self.place}: {said['error']}")
                if "end" in said:
                    self.ended = bool(said.get("ended"))
                    if said["end"] != at - 1:
                        raise DamagedMessageError(f"the hub ended before input {at:,} came")
                    return None
            case aiohttp.WSMsgType.CLOSE | aiohttp.WSMsgType.CLOSED | aiohttp.WSMsgType.CLOSING:
                raise _LostError("it closed the connection")
            case aiohttp.WSMsgType.ERROR:
                raise DamagedMessageError("a message of the hub is no WebSocket message")
        return _NOTHING

    async def _ask(self) -> WatchedSession:
        assert self._http is not None
        try:
            async with self._http.get(
                self._address_of("session"), allow_redirects=False
            ) as response:
                body = await response.content.read(_SESSION_BYTES_MAX)
        except TimeoutError:
            raise _LostError(f"no answer within {self._times.request_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _LostError(_words(error)) from None
        if response.status >= 500:
            raise _LostError(f"it answered {response.status}")
        if response.headers.get("Server") != "flowtape" or response.status == 404:
            raise SourceError(
                f"{self.place} is no hub of flowtape; give the address that flowtape live --hub "
                "printed"
            )
        if response.status in _REFUSED:
            raise SourceError(f"{self.place} refused: {body[:200].decode(errors='replace')}")
        said = _object(body)
        if said.get("flowtape") != HUB_VERSION:
            raise SourceError(f"{self.place} is a hub of another flowtape; use the same version")
        try:
            genesis = Genesis.from_json(json.dumps(said["genesis"]))
            session_id, last_input = str(said["session"]), int(said["last_input"])
            if genesis.sha256.hex() != said["genesis_sha256"]:
                raise _LostError("its answer came damaged")
            if not is_id(session_id) or last_input < 0:
                raise ValueError("no session's id")
            return WatchedSession(session_id, genesis, last_input, bool(said["ended"]))
        except (KeyError, TypeError, ValueError, FlowError) as error:
            raise SourceError(f"{self.place} serves no session that can be read: {error}") from None

    def _address_of(self, what: str, first: int | None = None) -> URL:
        query = {} if self._token is None else {"token": self._token}
        if first is not None:
            query["from"] = str(first)
        return (self._base / what).with_query(query)


_NOTHING = Inputs.zeros(0)


def _address(url: str, token: str | None) -> tuple[URL, str | None]:
    """Return where a hub is, and its token."""
    try:
        parsed = URL(url)
        if parsed.scheme in _SCHEMES and parsed.host:
            base = parsed.with_scheme(_SCHEMES[parsed.scheme]).with_query(None).with_fragment(None)
            return base.with_user(None), parsed.query.get("token", token)
    except ValueError:
        pass
    raise InputError(
        f"{url.partition('?')[0]} is no hub's address; it looks like ws://127.0.0.1:9000/?token=..."
    )


def _object(text: str | bytes) -> dict[str, Any]:
    """Return a JSON object; an empty one when it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _words(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return "nothing listens there; is flowtape live --hub running?"
    if isinstance(error, aiohttp.ClientResponseError):
        # Its own words have the token in them.
        return f"it answered {error.status}"
    return " ".join(str(error).split()) or type(error).__name__


def check_inputs(inputs: Inputs, market_count: int) -> None:
    """Raise DamagedMessageError for inputs that no session of so many instruments has."""
    try:
        if inputs.market.max() >= market_count:
            raise DamagedMessageError("the hub sent inputs of an instrument that is not there")
        known = np.isin(inputs.kind, [int(kind) for kind in InputKind])
        if not known.all():
            raise DamagedMessageError("the hub sent an input of no kind that is known")
        own = inputs.kind == InputKind.TRADE
        trades = inputs.take(np.flatnonzero(own))
        Batch(trades.ts_us, trades.price_ticks, trades.qty_lots, trades.side)
    except KernelError as error:
        raise DamagedMessageError(f"the hub sent a trade that is none: {error}") from None
