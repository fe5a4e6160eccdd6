"""What the tests of the venue ask and hear."""

import asyncio

from aiohttp import WSMsgType

STREAM = "btcusdt@aggTrade"
FIRST_ID = 1_000


async def get(http, venue, path, **query):
    async with http.get(f"{venue.rest_url}{path}", params=query) as response:
        body = await response.text()
        kind = "text/html; charset=utf-8" if body[:1] == "<" else "application/json;charset=UTF-8"
        assert response.headers["Content-Type"] == kind
        return response.status, body, response.headers


async def next_text(socket) -> str:
    message = await asyncio.wait_for(socket.receive(), 5)
    assert message.type is WSMsgType.TEXT, message
    return message.data
