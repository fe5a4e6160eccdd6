import numpy as np
import pytest

from flowtape.dashboards.cutter import BUBBLES_SENT_MAX, PROFILE_ROWS_MAX
from flowtape.dashboards.messages import TEXT_MAX
from flowtape.dashboards.screens import (
    ACK_TIMEOUT_S,
    IDLE_S,
    IN_FLIGHT_MAX,
    OVERVIEW_S,
)
from flowtape.stream.errors import InputError
from flowtape.stream.records import PROFILE_ROW
from tests.dashboards.feeder import Feeder
from tests.dashboards.room import Browser, Room, settle
from tests.dashboards.test_frames import decode


@pytest.fixture
def room() -> Room:
    return Room(Feeder(span_s=600, at_s=60, rate_per_s=20, symbols=("BTCUSDT", "ETHUSDT")))


async def test_nothing_is_sent_before_hello(room: Room) -> None:
    browser = Browser(room.hub)
    room.browsers.append(browser)
    await room.tick()
    assert browser.frames == []
    browser.say(room.now_s, kind="hello", feed=0)
    await room.tick()
    assert browser.is_restart()


async def test_a_silent_browser_gets_three_frames_and_then_one_long_one(room: Room) -> None:
    browser = room.enter()
    for _ in range(20):
        await room.tick(move_s=0.4)
        assert browser.screen.in_flight_count <= IN_FLIGHT_MAX
    assert len(browser.frames) == IN_FLIGHT_MAX
    sent = sum(decode(frame)[0]["prints_count"] for frame in browser.frames[1:])
    browser.say(room.now_s, kind="ack", seq=IN_FLIGHT_MAX)
    await room.tick(move_s=0.4)
    assert not browser.is_restart()
    sent += browser.header()["prints_count"]
    assert sent == browser.header()["trades"] - decode(browser.frames[0])[0]["trades"]


async def test_bars_and_bubbles_arrive_once_each_however_acks_come(room: Room) -> None:
    rng = np.random.default_rng(5)
    browser = room.enter()
    for _ in range(60):
        await room.tick(move_s=float(rng.uniform(0, 5)))
        if browser.frames and rng.random() < 0.5:
            browser.say(room.now_s, kind="ack", seq=int(browser.header()["seq"]))
    browser.say(room.now_s, kind="ack", seq=int(browser.header()["seq"]))
    await room.tick()
    parts = [decode(frame)[1] for frame in browser.frames]
    bars = np.concatenate([part["bars.ts"] for part in parts])
    np.testing.assert_array_equal(
        np.rint(bars * 1000).astype(np.int64), room.feeder.views[0].bars.all()["ts_us"]
    )
    bubbles = np.concatenate([part["bubbles.qty"] for part in parts])
    kept = room.feeder.views[0].bubbles.since(0)
    np.testing.assert_array_equal(bubbles, kept["qty_lots"])


async def test_after_the_time_out_the_next_frame_is_a_snapshot(room: Room) -> None:
    browser = room.enter()
    for _ in range(5):
        await room.tick()
    await room.tick(passed_s=ACK_TIMEOUT_S + 0.1)
    assert len(browser.frames) == IN_FLIGHT_MAX
    browser.say(room.now_s, kind="ack", seq=IN_FLIGHT_MAX)
    await room.tick()
    assert browser.is_restart()


async def test_acknowledging_what_was_never_sent_changes_nothing(room: Room) -> None:
    browser = room.enter()
    for _ in range(6):
        await room.tick()
    browser.say(room.now_s, kind="ack", seq=4000)
    await room.tick()
    assert len(browser.frames) == IN_FLIGHT_MAX


async def test_screens_in_step_share_one_cut(room: Room) -> None:
    first, second = room.enter(), room.enter()
    await room.tick()
    await room.tick()
    cutter = room.hub.cutters[0]
    assert len(cutter._cuts) == 1
    assert first.frames[-1] == second.frames[-1]


async def test_an_idle_market_is_told_rarely(room: Room) -> None:
    browser = room.enter()
    for _ in range(3):
        await room.tick(move_s=0)
        browser.say(room.now_s, kind="ack", seq=len(browser.frames))
    sent = len(browser.frames)
    await room.tick(move_s=0)
    assert len(browser.frames) == sent
    await room.tick(move_s=0, passed_s=IDLE_S)
    assert len(browser.frames) == sent + 1


async def test_hello_switches_the_feed(room: Room) -> None:
    browser = room.enter(0)
    await room.tick()
    browser.say(room.now_s, kind="hello", feed=1)
    await room.tick()
    assert browser.header()["feed"] == 1
    assert browser.is_restart()
    with pytest.raises(InputError, match="feed 2"):
        browser.say(room.now_s, kind="hello", feed=2)


async def test_the_overview_of_a_tape_is_sent_once(room: Room) -> None:
    browser = room.enter()
    for _ in range(3):
        await room.tick(passed_s=OVERVIEW_S)
        browser.say(room.now_s, kind="ack", seq=len(browser.frames))
    await settle(lambda: bool(browser.overviews()))
    assert len(browser.overviews()) == 1


async def test_a_flood_of_bubbles_is_trimmed_and_healed(room: Room) -> None:
    feeder = Feeder(span_s=3600, at_s=1, rate_per_s=60)
    feeder.set_speed(float("inf"))
    crowded = Room(feeder)
    browser = crowded.enter()
    await crowded.tick()
    await crowded.tick(move_s=3000)
    assert browser.header()["bubbles_count"] == BUBBLES_SENT_MAX
    assert not browser.is_restart()
    feeder.set_speed(1)
    await crowded.tick()
    assert browser.is_restart()
    assert browser.header()["bubbles_count"] == feeder.views[0].bubbles.head


async def test_a_wide_profile_is_merged_without_losing_volume(room: Room) -> None:
    view = room.feeder.views[0]
    rows = np.zeros(PROFILE_ROWS_MAX * 5 + 7, PROFILE_ROW)
    rows["price_ticks"] = 100 * (np.arange(len(rows)) + 3)
    rows["buy_lots"], rows["sell_lots"] = 2, 3
    browser = room.enter()
    view.profile = rows
    await room.tick(move_s=0)
    header, columns = decode(browser.frames[-1])
    assert header["profile_count"] <= PROFILE_ROWS_MAX + 1
    assert columns["profile.buy"].sum() == 2 * len(rows)
    assert columns["profile.sell"].sum() == 3 * len(rows)
    assert header["profile_row"] == 600
    assert np.all(columns["profile.price"] % 600 == 0)


async def test_commands_reach_the_transport_in_order(room: Room) -> None:
    browser = room.enter()
    room.feeder.commands.clear()
    for message in (
        {"kind": "pause"},
        {"kind": "step", "unit": "bar"},
        {"kind": "speed", "factor": 60},
        {"kind": "speed", "factor": "max"},
        {"kind": "seek", "ts_us": 1},
        {"kind": "now"},
        {"kind": "play"},
    ):
        browser.say(room.now_s, **message)
    await settle(lambda: len(room.feeder.commands) >= 7)
    expected = ["pause", "step bar", "speed 60", "speed inf", "seek", "now", "play"]
    assert room.feeder.commands == expected


async def test_a_refused_command_is_explained_to_who_gave_it(room: Room) -> None:
    first, second = room.enter(), room.enter()
    first.say(room.now_s, kind="speed", factor=0)
    await settle(lambda: bool(first.refusals()))
    assert "0.1 to 10000" in first.refusals()[0]
    assert second.refusals() == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"kind": "order"}',
        '{"kind": "hello", "feed": -1}',
        '{"kind": "hello", "feed": 0, "more": 1}',
        '{"kind": "speed", "factor": "fast"}',
        '{"kind": "step", "unit": "week"}',
        '{"kind": "seek", "ts_us": 1.5}',
        '{"kind": "seek", "ts_us": 9223372036854775808}',
        '{"kind": "now", "at": 1}',
        " " * TEXT_MAX + '{"kind": "now"}',
    ],
)
async def test_messages_that_are_not_ours_are_refused(room: Room, text: str) -> None:
    with pytest.raises(InputError, match="a browser sent a message"):
        room.enter().screen.receive(text, room.now_s)
