"""A session's inputs through NATS JetStream, for watchers that no hub on this computer reaches.

Each session has a stream, `flowtape_<id>`, which keeps everything:

    flowtape.<id>.session    JSON: the session's id and genesis; the first message
    flowtape.<id>.inputs     messages of `stream.input_frames`, each under the id `first input`

The number of its first input is a message's id, so the server drops what is sent twice. Beside it
`nats_alive` tells whether more may come. Needs the extra `nats`.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from flowtape.connectors.hub.source import check_inputs
from flowtape.connectors.hub.transport import News, WatchedSession, tell_nobody
from flowtape.stream.errors import FlowError, InputError, SourceError
from flowtape.stream.fanout import Fanout
from flowtape.stream.genesis import Genesis
from flowtape.stream.input_frames import Message, first_of, inputs_of
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.session import is_id

try:
    import nats
    import nats.errors
    import nats.js.errors
    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

    from flowtape.connectors.hub.nats_alive import AliveTimes, Beating, Hearing
except ImportError:
    raise InputError("NATS needs another package; pip install 'flowtape[nats]'") from None

CONNECT_S = 3
PACE_S = 0.05
RETRY_S = 1.0
DRAIN_S = 5.0
FETCH_COUNT = 64
FETCH_S = 0.3
GONE_S = 60.0
"""How long a server that was reached once may be gone, for a watcher."""


class NatsOffer:
    """Gives a session to a NATS server; a reader like any other, so it holds nothing up.

    While the server is away inputs wait in the session's log; `tell` gets a line when that begins.
    """

    def __init__(
        self,
        url: str,
        tell: Callable[[str], None] = tell_nobody,
        times: AliveTimes | None = None,
    ) -> None:
        self._tell = tell
        self._times = times or AliveTimes()
        self._beating: Beating | None = None
        self._address, self._shown, named = _address(url)
        if named is not None:
            raise InputError(f"{self._shown} names a session; leave it out of --nats")
        self._client: Client | None = None
        self._session: tuple[Fanout, Genesis] | None = None
        self._sending: asyncio.Task[None] | None = None
        self._news: News | None = None

    @property
    def url(self) -> str:
        """What a watcher is given."""
        assert self._session is not None
        return f"{self._shown}/{self._session[0].session_id}"

    async def start(self) -> None:
        """Connect; raises InputError when there is no such server."""
        try:
            self._client = client = await _connected(self._address, self._shown)
        except SourceError as error:
            raise InputError(str(error)) from None
        try:
            await client.jetstream().account_info()
        except nats.errors.Error as error:
            await client.close()
            raise InputError(
                f"{self._shown} has no JetStream ({_words(error)}); start it with: nats-server -js"
            ) from None

    def offer(self, fanout: Fanout, genesis: Genesis) -> None:
        """Send a session from now on, from where the server has it."""
        assert self._client is not None
        self._session = fanout, genesis
        self._beating = Beating(self._client, fanout, self._times)
        self._news = News(fanout, lambda: PACE_S)
        self._sending = asyncio.create_task(self._send_all(fanout, genesis, self._news))

    async def stop(self) -> None:
        """Send what is left, for a while."""
        if self._session is not None and self._sending is not None and self._news is not None:
            self._session[0].close()
            await asyncio.wait([self._sending], timeout=DRAIN_S)
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
            self._news.stop()
        if self._beating is not None:
            await self._beating.stop()
        if self._client is not None:
            await self._client.close()

    async def _send_all(self, fanout: Fanout, genesis: Genesis, news: News) -> None:
        assert self._client is not None
        js = self._client.jetstream()
        away = False
        while True:
            try:
                at = await _stream_of(js, fanout.session_id, genesis)
                away = False
                while True:
                    more = news.event
                    message = fanout.recent(at)
                    if message is None and not fanout.waits(at):
                        message = await asyncio.to_thread(fanout.older, at)
                    if message is not None:
                        at = await _publish(js, fanout.session_id, message)
                    elif fanout.closed:
                        return
                    else:
                        await more.wait()
            except (nats.errors.Error, OSError, TimeoutError) as error:
                # The server is away; what it has not had is asked anew.
                if not away:
                    self._tell(f"{self._shown} is away ({_words(error)}); it gets the rest later")
                away = True
                await asyncio.sleep(RETRY_S)
            except FlowError as error:
                self._tell(f"{self._shown} gets no more of the session: {error}")
                return


class NatsSource:
    """Follows a session through a NATS server; see `transport.InputsSource`.

    `url` is `nats://host:port/SESSION`, or without a session where the server has only one.
    """

    def __init__(self, url: str, times: AliveTimes | None = None) -> None:
        self.tell: Callable[[str], None] = tell_nobody
        self._times = times or AliveTimes()
        self._hearing: Hearing | None = None
        self._address, self.place, self._named = _address(url)
        self._client: Client | None = None
        self._session: WatchedSession | None = None
        self._lost_s: float | None = None
        self.ended = False

    async def open(self) -> WatchedSession:
        """Ask what the session is; raises SourceError when there is none."""
        self._client = await _connected(self._address, self.place)
        js = self._client.jetstream()
        try:
            session_id = self._named or await self._only_one(js)
            stream = await js.stream_info(_stream(session_id))
            if not stream.state.messages:
                # A server of 2.9 ends when it is asked for the last of none.
                raise nats.js.errors.NotFoundError(description="nothing of it has come yet")
            asked = await js.get_last_msg(_stream(session_id), _subject(session_id, "session"))
            last = await _last_input(js, session_id)
        except nats.errors.Error as error:
            what = f"session {self._named}" if self._named else "session"
            raise SourceError(f"{self.place} has no {what} ({_words(error)})") from None
        try:
            genesis = Genesis.from_json(json.dumps(json.loads(asked.data or b"")["genesis"]))
        except (KeyError, TypeError, ValueError, FlowError) as error:
            raise SourceError(f"{self.place} has no session that can be read: {error}") from None
        self._session = WatchedSession(session_id, genesis, last, ended=False)
        return self._session

    async def close(self) -> None:
        """Give up the connection."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def inputs(self, first: int = 1) -> AsyncGenerator[Inputs]:
        """Yield the inputs from number `first` on, each once, until no more come.

        Raises SourceError when the server or the session's process is gone for a minute, or the
        server has not all of them.
        """
        assert self._session is not None
        assert self._client is not None
        if self._hearing is None:
            self._hearing = Hearing(self._session.id, self._times, self.tell)
            await self._hearing.begin(self._client)
        at = first
        behind_seq: int | None = None
        while True:
            try:
                if behind_seq is None:
                    behind_seq = await self._seq_before(first)
                async with contextlib.aclosing(self._fetched(behind_seq)) as messages:
                    async for message in messages:
                        self._back()
                        if message is None:
                            if self._hearing.over(at - 1):
                                return
                            continue
                        seq, data = message
                        inputs = self._behind(at, data)
                        if inputs is not None and len(inputs):
                            yield inputs
                            at += len(inputs)
                            if int(inputs.kind[-1]) == InputKind.END:
                                self.ended = True
                                return
                        behind_seq = seq
            except (nats.errors.Error, OSError, TimeoutError) as error:
                self._away(error, at - 1)
                self._hearing.lost()
                await asyncio.sleep(RETRY_S)

    async def _seq_before(self, first: int) -> int:
        """Return a message's number in the stream; the next one has an input or leads to it."""
        assert self._client is not None
        assert self._session is not None
        if first == 1:
            return 0
        js, stream = self._client.jetstream(), _stream(self._session.id)
        state = (await js.stream_info(stream)).state
        low, high = state.first_seq, state.last_seq
        try:
            while low < high:
                middle = (low + high + 1) // 2
                message = await js.get_msg(stream, middle)
                of_inputs = message.subject == _subject(self._session.id, "inputs")
                begins = first_of(message.data or b"") if of_inputs else 0
                low, high = (middle, high) if begins <= first else (low, middle - 1)
        except nats.js.errors.NotFoundError:
            # some were deleted; what is had already is passed over
            return 0
        return low - 1

    def _away(self, error: Exception, last_input: int) -> None:
        """Say that the server is away; raises SourceError when it has been for too long."""
        now_s = asyncio.get_running_loop().time()
        if self._lost_s is None:
            self._lost_s = now_s
            self.tell(f"{self.place} is away ({_words(error)}); trying again for {GONE_S:.0f} s")
        gone_s = now_s - self._lost_s
        if gone_s >= GONE_S:
            raise SourceError(
                f"{self.place} has been gone for {gone_s:.0f} s behind "
                f"input {last_input:,} ({_words(error)}); start again when it is back"
            ) from None

    def _back(self) -> None:
        if self._lost_s is not None:
            self._lost_s = None
            self.tell("")

    def _behind(self, at: int, data: bytes) -> Inputs | None:
        """Return the inputs of a message from number `at` on; None when all were had."""
        assert self._session is not None
        begins = first_of(data)
        inputs = inputs_of(self._session.id, min(begins, at), data)
        check_inputs(inputs, len(self._session.genesis.instruments))
        had = at - begins
        return inputs.slice(had, len(inputs)) if had < len(inputs) else None

    async def _fetched(self, behind_seq: int) -> AsyncGenerator[tuple[int, bytes] | None]:
        """Yield numbers and contents of messages in the stream, None when there is none for now."""
        assert self._client is not None
        assert self._session is not None
        subscription = await self._client.jetstream().pull_subscribe(
            _subject(self._session.id, "inputs"),
            stream=_stream(self._session.id),
            config=ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=behind_seq + 1,
                ack_policy=AckPolicy.NONE,
                inactive_threshold=GONE_S,
            ),
        )
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    for message in await subscription.fetch(FETCH_COUNT, FETCH_S):
                        yield message.metadata.sequence.stream, message.data
                    continue
                if not self._client.is_connected:
                    raise OSError("the connection is lost")
                yield None
        finally:
            with contextlib.suppress(Exception):
                await subscription.unsubscribe()

    async def _only_one(self, js: JetStreamContext) -> str:
        names = [info.config.name or "" for info in await js.streams_info()]
        found = [name.removeprefix("flowtape_") for name in names if name.startswith("flowtape_")]
        if len(found) != 1:
            raise SourceError(
                f"{self.place} has {len(found)} sessions; name one: {self.place}/SESSION"
            )
        return found[0]


async def _connected(address: str, shown: str) -> Client:
    why: list[Exception] = []

    async def note(error: Exception) -> None:
        why[:] = [error]

    try:
        async with asyncio.timeout(CONNECT_S):
            client = await nats.connect(
                address, connect_timeout=2, max_reconnect_attempts=-1, error_cb=note
            )
    except (nats.errors.Error, OSError, TimeoutError) as error:
        said = _words(why[0] if why else error)
        raise SourceError(f"{shown} cannot be reached: {said}") from None
    return client


async def _stream_of(js: JetStreamContext, session_id: str, genesis: Genesis) -> int:
    """Make the stream of a session if need be; return the number of the input it wants next."""
    await js.add_stream(name=_stream(session_id), subjects=[_subject(session_id, "*")])
    said = {"session": session_id, "genesis": json.loads(genesis.to_json())}
    await js.publish(
        _subject(session_id, "session"),
        json.dumps(said).encode(),
        headers={"Nats-Msg-Id": "session"},
    )
    return await _last_input(js, session_id) + 1


async def _publish(js: JetStreamContext, session_id: str, message: Message) -> int:
    """Send a message; return the number of the input that the stream wants next."""
    done = await js.publish(
        _subject(session_id, "inputs"), message.data, headers={"Nats-Msg-Id": str(message.first)}
    )
    if done.duplicate:
        # One that began there and may have been shorter came through after all.
        return await _last_input(js, session_id) + 1
    return message.next


async def _last_input(js: JetStreamContext, session_id: str) -> int:
    """Return the number of the last input that a stream has."""
    try:
        last = await js.get_last_msg(_stream(session_id), _subject(session_id, "inputs"))
    except nats.js.errors.NotFoundError:
        return 0
    data = last.data or b""
    first = first_of(data)
    return first + len(inputs_of(session_id, first, data)) - 1


def _address(url: str) -> tuple[str, str, str | None]:
    """Return where a server is, the same without what is secret, and a session if it is named."""
    try:
        parts = urlsplit(url)
        host, port, named = parts.hostname, parts.port, parts.path.strip("/")
    except ValueError:
        host, named = None, ""
    if host is None or parts.scheme not in {"nats", "tls"} or (named and not is_id(named)):
        raise InputError(
            "that is no address of a NATS server; it looks like nats://127.0.0.1:4222, for a "
            "watcher with /SESSION behind it"
        )
    shown = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
    return urlunsplit((parts.scheme, parts.netloc, "", "", "")), shown, named or None


def _stream(session_id: str) -> str:
    return f"flowtape_{session_id}"


def _subject(session_id: str, what: str) -> str:
    return f"flowtape.{session_id}.{what}"


def _words(error: Exception) -> str:
    said: Any = getattr(error, "description", None) or error
    return " ".join(str(said).split()) or type(error).__name__
