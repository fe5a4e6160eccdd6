"""Whether the process that gives a session to a NATS server is still there.

It says so every few seconds on a subject of its own, `flowtape_alive.<id>`, which no stream keeps:

    {"last_input": N, "stopped": false}

`stopped` is true in the last one of a process that ends before the session does.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from flowtape.stream.errors import SourceError
from flowtape.stream.fanout import Fanout


@dataclass(frozen=True, slots=True)
class AliveTimes:
    """How often a process says that it is there, and how long it may be silent, in seconds."""

    beat_s: float = 2.0
    silent_s: float = 10.0
    """Then a watcher says so."""
    gone_s: float = 60.0
    """Then it gives up."""


def alive_subject(session_id: str) -> str:
    """Return the subject that tells of a session's process."""
    return f"flowtape_alive.{session_id}"


class Beating:
    """Says that a session's process is there until it stops."""

    def __init__(self, client: Client, fanout: Fanout, times: AliveTimes) -> None:
        self._client = client
        self._fanout = fanout
        self._task = asyncio.create_task(self._beat(times.beat_s))

    async def stop(self) -> None:
        """Say that nothing more comes from this process."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            await self._say(stopped=True)
            await self._client.flush(timeout=1)

    async def _beat(self, beat_s: float) -> None:
        while True:
            # a server that is away hears of it when it is back
            with contextlib.suppress(nats.errors.Error, OSError):
                await self._say(stopped=False)
            await asyncio.sleep(beat_s)

    async def _say(self, *, stopped: bool) -> None:
        said = {"last_input": self._fanout.last_input, "stopped": stopped}
        subject = alive_subject(self._fanout.session_id)
        await self._client.publish(subject, json.dumps(said).encode())


class Hearing:
    """What a watcher knows of the process of the session it watches.

    Args:
        session_id: of that session.
        times: how long it may be silent.
        tell: gets a line when it is silent, an empty one when it is back.
    """

    def __init__(self, session_id: str, times: AliveTimes, tell: Callable[[str], None]) -> None:
        self._session_id = session_id
        self._times = times
        self._tell = tell
        self._heard_s: float | None = None
        self._stopped_behind: int | None = None
        self._told = False

    async def begin(self, client: Client) -> None:
        """Listen from now on."""
        await client.subscribe(alive_subject(self._session_id), cb=self._take)

    def lost(self) -> None:
        """Take in that nothing could be heard up to now, as the server was away."""
        self._heard_s = None

    def over(self, last_input: int) -> bool:
        """Tell whether nothing comes behind an input, for a watcher that has all there is.

        Raises SourceError when nothing was heard for too long.
        """
        if self._stopped_behind is not None:
            return last_input >= self._stopped_behind
        now_s = asyncio.get_running_loop().time()
        if self._heard_s is None:
            self._heard_s = now_s
        silent_s = now_s - self._heard_s
        if silent_s >= self._times.gone_s:
            raise SourceError(
                f"nothing was heard of the process of session {self._session_id} for "
                f"{silent_s:.0f} s behind input {last_input:,}; start again when it is back"
            )
        if silent_s >= self._times.silent_s and not self._told:
            self._told = True
            self._tell(
                f"nothing was heard of the process of session {self._session_id} for "
                f"{silent_s:.0f} s behind input {last_input:,}; it may have died, waiting up to "
                f"{self._times.gone_s:.0f} s"
            )
        return False

    async def _take(self, message: Msg) -> None:
        try:
            said = json.loads(message.data)
            behind, stopped = int(said["last_input"]), bool(said["stopped"])
        except (KeyError, TypeError, ValueError):
            return
        self._heard_s = asyncio.get_running_loop().time()
        self._stopped_behind = behind if stopped else None
        if self._told and not stopped:
            self._told = False
            self._tell("")
