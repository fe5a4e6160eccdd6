"""A session that goes on, and a screen that looks back on it."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from flowtape.dashboards.screens import IN_FLIGHT_MAX, OVERVIEW_S
from tests.dashboards.live_session import LiveSession
from tests.dashboards.room import FLAGS, Room, settle
from tests.dashboards.test_frames import decode


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
