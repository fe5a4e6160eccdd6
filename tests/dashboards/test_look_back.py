"""A session that goes on, and a screen that looks back on it."""

import asyncio
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from flowtape.dashboards.screens import IN_FLIGHT_MAX, OVERVIEW_S
from tests.dashboards.conftest import COUNT_PIXELS, Dashboard, Watched
from tests.dashboards.live_session import LiveSession
from tests.dashboards.room import FLAGS, Room, settle
from tests.dashboards.test_frames import decode

Start = Callable[..., Dashboard]
Watch = Callable[[], Watched]


@pytest.fixture
def going_on() -> Iterator[Room]:
    session = LiveSession(span_s=600, at_s=300, rate_per_s=20)
    yield Room(session)
    session.close()


def session_of(room: Room) -> LiveSession:
    assert isinstance(room.feeder, LiveSession)
    return room.feeder


async def test_another_view_starts_afresh_though_its_epoch_is_the_same(going_on: Room) -> None:
    session, browser = session_of(going_on), going_on.enter()
    await going_on.tick()
    now = browser.header()
    assert not int(now["flags"]) & FLAGS["looking_back"]

    session.seek(session._start_us + 60_000_000)
    assert session.past is not None
    session.past.pause()
    past = session.past.views[0]
    assert past.epoch == session.views[0].epoch
    await going_on.tick(passed_s=0.01)
    header, columns = decode(browser.frames[-1])
    assert browser.is_restart()
    assert int(header["flags"]) & FLAGS["looking_back"]
    assert header["clock_ms"] < now["clock_ms"] == header["now_ms"] - 1000
    assert header["end_ms"] == header["now_ms"]
    np.testing.assert_array_equal(columns["bubbles.qty"], past.bubbles.since(0)["qty_lots"])
    np.testing.assert_array_equal(columns["bars.close"], past.bars.all()["close_ticks"])

    session.to_now()
    await going_on.tick(passed_s=0.01)
    header, columns = decode(browser.frames[-1])
    assert browser.is_restart()
    assert np.isnan(header["end_ms"])
    assert header["clock_ms"] == header["now_ms"] > now["now_ms"]
    present = session.views[0].bubbles.since(0)
    np.testing.assert_array_equal(columns["bubbles.qty"], present["qty_lots"])


async def test_a_browser_that_is_behind_learns_of_another_view_too(going_on: Room) -> None:
    session, browser = session_of(going_on), going_on.enter()
    for _ in range(IN_FLIGHT_MAX + 2):
        await going_on.tick()
    session.seek(session._start_us + 60_000_000)
    await going_on.tick()
    assert len(browser.frames) == IN_FLIGHT_MAX
    browser.say(going_on.now_s, kind="ack", seq=IN_FLIGHT_MAX)
    await going_on.tick()
    assert browser.is_restart()
    assert int(browser.header()["flags"]) & FLAGS["looking_back"]


async def test_the_overview_grows_with_the_session(going_on: Room) -> None:
    browser = going_on.enter()
    await settle(lambda: len(browser.overviews()) == 1)
    await going_on.tick(move_s=30, passed_s=OVERVIEW_S)
    await settle(lambda: len(browser.overviews()) == 2)
    first, second = browser.overviews()
    assert first["start_ms"] == second["start_ms"]
    assert second["end_ms"] == first["end_ms"] + 30_000
    assert sum(second["volume"]) > sum(first["volume"])
    await going_on.tick(passed_s=OVERVIEW_S / 2)
    for _ in range(2 * IN_FLIGHT_MAX):
        await going_on.tick()
    await going_on.tick(passed_s=OVERVIEW_S)
    await asyncio.sleep(0.05)
    assert len(browser.overviews()) == 2, "a browser that is behind is not sent more"


@pytest.mark.browser
def test_a_session_that_goes_on_is_looked_back_on(dashboard: Start, watch: Watch) -> None:
    board = dashboard(goes_on=True, at_s=1200, speed=1)
    screen = watch().open(board.url)
    sign = screen.page.locator("#look-back")
    assert not sign.is_visible()
    assert screen.page.locator("#seek").is_visible()
    assert not screen.page.locator("#speeds").is_visible()
    screen.until("flowtape.screen.bar.overview.volume.length > 0")
    newest = "flowtape.screen.store.bubbles.ts[flowtape.screen.store.bubbles.length - 1]"
    present = screen.page.evaluate(newest)

    screen.page.keyboard.press("l")
    screen.until("flowtape.stats.snapshot().looking_back")
    sign.wait_for(state="visible")
    behind = "flowtape.screen.store.header.now_ms - flowtape.stats.snapshot().clock_ms"
    assert screen.page.evaluate(behind) == pytest.approx(600_000, abs=5_000)
    screen.until("/^(10 m 0\\d|9 m 5\\d) s behind now$/.test(behind.textContent)")
    assert screen.page.evaluate(newest) < present - 500_000
    assert screen.page.locator("#speeds").is_visible()

    screen.page.keyboard.press("4")
    screen.until("flowtape.stats.snapshot().speed === 100")
    screen.until(f"{behind} < 500000")
    screen.page.keyboard.press("Space")
    screen.until("flowtape.stats.snapshot().playing === false")
    screen.page.keyboard.press("ArrowRight")
    screen.until("flowtape.screen.store.header.clock_ms % 1000 === 0")

    box = screen.page.locator("#seek").bounding_box()
    assert box is not None
    screen.page.mouse.click(box["x"] + box["width"] / 4, box["y"] + 10)
    state = board.feeder.state()
    quarter = (state.start_us + (state.now_us - state.start_us) / 4) / 1000
    screen.until(f"Math.abs(flowtape.stats.snapshot().clock_ms - {quarter}) < 5000")

    screen.page.locator("#to-now").click()
    screen.until("!flowtape.stats.snapshot().looking_back")
    sign.wait_for(state="hidden")
    screen.until(f"{behind} < 1000 && {newest} >= {present}")
    assert not screen.page.locator("#speeds").is_visible()

    screen.page.mouse.click(box["x"] + 50, box["y"] + 10)
    screen.until("flowtape.stats.snapshot().looking_back")
    screen.page.keyboard.press("n")
    screen.until("!flowtape.stats.snapshot().looking_back")
    assert screen.errors == []


@pytest.mark.browser
def test_bubbles_of_the_other_view_leave_the_glass(dashboard: Start, watch: Watch) -> None:
    board = dashboard(goes_on=True, at_s=1200, speed=1)
    screen = watch().open(board.url)
    screen.until("!flowtape.screen.tiles.pending")
    generation = screen.page.evaluate("flowtape.screen.tiles.set.generation")
    board.feeder.seek(0)
    screen.until("flowtape.stats.snapshot().looking_back")
    board.feeder.pause()
    screen.until(f"flowtape.screen.tiles.set.generation > {generation}")
    screen.page.wait_for_timeout(400)
    assert screen.stats()["bubbles"] < 200
    colours = screen.page.evaluate("flowtape.screen.colours")
    few = screen.page.evaluate(COUNT_PIXELS, colours["buy"])
    board.feeder.to_now()
    screen.until("flowtape.stats.snapshot().bubbles > 1000 && !flowtape.screen.tiles.pending")
    screen.page.wait_for_timeout(400)
    assert screen.page.evaluate(COUNT_PIXELS, colours["buy"]) > 2 * few
    assert screen.errors == []


@pytest.mark.browser
def test_a_live_feed_without_a_past_has_no_seek_bar(dashboard: Start, watch: Watch) -> None:
    screen = watch().open(dashboard(live=True, speed=1).url)
    for part in ("#seek", "#last-minutes", "#speeds", "#look-back"):
        assert not screen.page.locator(part).is_visible(), part
    screen.until("document.getElementById('state').textContent === 'live'")
    assert screen.errors == []
