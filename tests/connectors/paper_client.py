"""A plain client of a paper account: it signs as Binance's documentation says, and no more."""

import asyncio
import hashlib
import hmac
import json
from urllib.parse import urlencode

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

    async def raw(self, method, path, text="", *, body="", key=KEYS.api_key, headers=None):
        """Ask with a query and a body as they are; return status and answer."""
        url = f"{self._venue.rest_url}/api/v3/{path}" + (f"?{text}" if text else "")
        more = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        asked = {"X-MBX-APIKEY": key, **more, **(headers or {})}
        async with self._http.request(
            method, _as_it_is(url), data=body or None, headers=asked
        ) as got:
            return got.status, json.loads(await got.text())

    async def ask(self, method, path, **params):
        """Ask with a signed query; return the answer to it, which is no refusal."""
        status, answer = await self.raw(method, path, self.signed(params))
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
