import asyncio
import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

from flowtape.dashboards.server import DashboardServer, serve
from tests.dashboards.feeder import Feeder
from tests.dashboards.live_session import LiveSession

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu"]
NAMES = ("chromium", "chromium-browser", "google-chrome")


# How many pixels of the price canvas are nearer to a colour than 60 of 441.
COUNT_PIXELS = """colour => {
  const canvas = flowtape.screen.views.price.canvas_view.primary.canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] > 60 && Math.hypot(data[i] - r, data[i + 1] - g, data[i + 2] - b) < 60) count++;
  }
  return count;
}"""


class Dashboard:
    """A server on an event loop of its own, so that browsers can be driven from here."""

    def __init__(self, feeder: Feeder, port: int = 0) -> None:
        self.feeder = feeder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dashboard")
        self._thread.start()
        self.links: list[str] = []
        self.server: DashboardServer = asyncio.run_coroutine_threadsafe(
            serve(feeder.feeds, port=port, on_link=self.links.append), self._loop
        ).result(10)

    @property
    def url(self) -> str:
        return self.server.url

    def drop_sockets(self) -> None:
        """Cut every connection as a network would, without stopping the server."""

        async def cut() -> None:
            for client in list(self.server._application.sockets):
                client.ws_connection._abort()

        asyncio.run_coroutine_threadsafe(cut(), self._loop).result(10)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class Watched:
    """A page, what went wrong on it, and ways to wait that need no eval in the page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)

    def stats(self) -> dict[str, Any]:
        return dict(self.page.evaluate("flowtape.stats.snapshot()"))

    def until(self, expression: str, timeout_s: float = 10.0) -> None:
        for _ in range(int(timeout_s / 0.05)):
            with contextlib.suppress(Error):  # the page may be reloading
                if self.page.evaluate(expression):
                    return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never true: {expression}; {self.errors}")

    def open(self, url: str) -> "Watched":
        self.page.goto(url)
        self.until("(window.flowtape?.stats.received_frames ?? 0) > 2")
        self.until("flowtape.stats.frames > 10")
        return self


def _chromium() -> str:
    path = os.environ.get("FLOWTAPE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        reason = f"no browser: none of {', '.join(NAMES)} is installed; set FLOWTAPE_CHROMIUM"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for a module; no test of that may be `async`, as Playwright has the loop."""
    path = _chromium()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@contextlib.contextmanager
def dashboards() -> Iterator[Callable[..., Dashboard]]:
    """Starts dashboards, and ends them when all is done."""
    opened: list[Dashboard] = []

    def start(**options: Any) -> Dashboard:
        options.setdefault("span_s", 1800)
        options.setdefault("at_s", 600)
        options.setdefault("speed", 20)
        port = options.pop("port", 0)
        kind = LiveSession if options.pop("goes_on", False) else Feeder
        opened.append(Dashboard(kind(**options).start(), port))
        return opened[-1]

    try:
        yield start
    finally:
        for one in opened:
            one.feeder.close()
            if not one.server.stopped:
                one.close()


@contextlib.contextmanager
def visitors(browser: Browser) -> Iterator[Callable[[], Watched]]:
    """Makes pages of people who share nothing, and closes them when all is done."""
    contexts = []

    def new() -> Watched:
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 760}))
        return Watched(contexts[-1].new_page())

    try:
        yield new
    finally:
        for context in contexts:
            context.close()


@pytest.fixture
def dashboard() -> Iterator[Callable[..., Dashboard]]:
    with dashboards() as start:
        yield start


@pytest.fixture
def watch(browser: Browser) -> Iterator[Callable[[], Watched]]:
    with visitors(browser) as new:
        yield new
