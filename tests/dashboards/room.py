"""A hub without a server or browsers: tests say what browsers say and when time passes."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from flowtape.dashboards.frames import layout
from flowtape.dashboards.screens import Hub, Screen
from tests.dashboards.feeder import Feeder
from tests.dashboards.test_frames import decode

FLAGS: Any = layout()["flags"]


class Browser:
    """A browser that keeps what it is sent."""

    def __init__(self, hub: Hub) -> None:
        self.frames: list[bytes] = []
        self.notes: list[dict[str, Any]] = []
        self.screen: Screen = hub.add(self._take)

    async def _take(self, kind: str, content: bytes | str) -> None:
        if isinstance(content, bytes):
            assert kind == "frame"
            self.frames.append(content)
        else:
            self.notes.append(json.loads(content))

    def say(self, now_s: float, **message: Any) -> None:
        self.screen.receive(json.dumps(message), now_s)

    def header(self) -> dict[str, float]:
        return decode(self.frames[-1])[0]

    def refusals(self) -> list[str]:
        return [note["content"] for note in self.notes if note["kind"] == "refused"]

    def overviews(self) -> list[dict[str, Any]]:
        return [note["content"] for note in self.notes if note["kind"] == "overview"]

    def is_restart(self) -> bool:
        return bool(int(self.header()["flags"]) & FLAGS["restart"])


class Room:
    """A hub driven by hand: time passes when a test says so."""

    def __init__(self, feeder: Feeder) -> None:
        self.now_s = 100.0
        self.feeder = feeder
        self.hub = Hub(list(feeder.feeds), lambda: self.now_s)
        self.browsers: list[Browser] = []

    def enter(self, feed: int = 0) -> Browser:
        browser = Browser(self.hub)
        self.browsers.append(browser)
        browser.say(self.now_s, kind="hello", feed=feed)
        return browser

    async def tick(self, *, move_s: float = 1.0, passed_s: float = 0.04) -> None:
        self.now_s += passed_s
        if move_s:
            self.feeder._advance(self.feeder._clock_us + move_s * 1e6)
        self.hub.round()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def settle(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came to that")
