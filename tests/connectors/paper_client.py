"""A plain client of a paper account: it signs as Binance's documentation says, and no more."""

import asyncio
import hashlib
import hmac
import json
from urllib.parse import urlencode

from aiohttp import WSMsgType
from yarl import URL

from flowtape.connectors.venue.paper_keys import PaperKeys

KEYS = PaperKeys("A" * 64, "b" * 64)


class PaperClient:
    """Signs queries of the account with `KEYS`, at a time that stays what it was told."""

    def __init__(self, http, venue, now_us):
        self._http = http
        self._venue = venue
        self.now_us = now_us

    def signed(self, params):
        """Return the text of a query with its time and signature."""
        text = urlencode({**params, "timestamp": self.now_us() // 1_000})
        return f"{text}&signature={signature(text)}"

    async def raw(
        self, method, path, text="", *, body="", key=KEYS.api_key, headers=None, told=None
    ):
        """Ask with a query and a body as they are; return status and answer.

        `told` takes the answer's headers.
        """
        url = f"{self._venue.rest_url}/api/v3/{path}" + (f"?{text}" if text else "")
        more = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        asked = {"X-MBX-APIKEY": key, **more, **(headers or {})}
        async with self._http.request(
            method, _as_it_is(url), data=body or None, headers=asked
        ) as got:
            if told is not None:
                told.clear()
                told.update({name.upper(): value for name, value in got.headers.items()})
            return got.status, json.loads(await got.text())

    async def ask(self, method, path, told=None, **params):
        """Ask with a signed query; return the answer to it, which is no refusal."""
        status, answer = await self.raw(method, path, self.signed(params), told=told)
        assert status == 200, answer
        return answer

    async def refused(self, method, path, **params):
        """Ask with a signed query that is refused; return the code and the text."""
        status, answer = await self.raw(method, path, self.signed(params))
        assert status == 400, answer
        return answer["code"], answer["msg"]


def signature(text, secret=KEYS.secret):
    """Return the signature of a text."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def _as_it_is(url):
    return URL(url, encoded=True)


async def until(holds):
    """Wait until something holds, for some seconds at most."""
    for _ in range(2_000):
        if holds():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never came about")


async def while_trading(venue, asked, count=1):
    """Return what is answered while trades happen, `count` at a time."""
    task = asyncio.ensure_future(asked)
    while not task.done():
        await venue.publish(count)
        await asyncio.sleep(0.002)
    return task.result()


async def heard(socket):
    message = await asyncio.wait_for(socket.receive(), 5)
    assert message.type is WSMsgType.TEXT, message
    return json.loads(message.data)


async def heard_until(socket, kind):
    """Return what comes up to a report of an execution type, which comes last."""
    events = [await heard(socket)]
    while events[-1].get("x") != kind:
        events.append(await heard(socket))
    return events


async def listen_key(client):
    status, answer = await client.raw("POST", "userDataStream")
    assert status == 200
    return answer["listenKey"]


async def listening(socket, key):
    """Wait until the venue knows of a connection and of the key it listens with."""
    await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 0})
    answer = await heard(socket)
    assert answer.get("data", answer)["result"] == [key]


class Caller:
    """Calls of the WebSocket API over one connection."""

    def __init__(self, socket, now_us):
        self._socket = socket
        self._now_us = now_us
        self._number = 0

    async def call(self, method, *, signed=True, **params):
        self._number += 1
        if signed:
            params |= {"apiKey": KEYS.api_key, "timestamp": self._now_us() // 1_000}
            params["signature"] = signature(urlencode(sorted(params.items())))
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        answer = await heard(self._socket)
        assert answer["id"] == self._number
        return answer

    async def result(self, method, **params):
        answer = await self.call(method, **params)
        assert answer["status"] == 200, answer
        return answer["result"]
