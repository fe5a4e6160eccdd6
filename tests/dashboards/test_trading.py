"""Orders of people: what the server takes, and the ticket they are written on."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from flowtape.dashboards.trading import ORDERS_PER_S
from flowtape.stream.errors import InputError
from flowtape.stream.ports import Ticket
from tests.dashboards.desk import PaperDesk
from tests.dashboards.feeder import Feeder
from tests.dashboards.live_session import LiveSession
from tests.dashboards.room import Browser, Room, settle

BUY: dict[str, Any] = {"kind": "order", "side": 1, "qty_lots": 500}


@pytest.fixture
def desk() -> PaperDesk:
    return PaperDesk()


@pytest.fixture
def room(desk: PaperDesk) -> Iterator[Room]:
    session = LiveSession(
        span_s=600, at_s=300, rate_per_s=20, desk=desk, symbols=("BTCUSDT", "ETHUSDT")
    )
    yield Room(session)
    session.close()


def answers(browser: Browser) -> list[tuple[str, str, Any]]:
    return [
        (
            n["kind"],
            n["content"]["cmd_id"],
            n["content"].get("order_id", n["content"].get("reason")),
        )
        for n in browser.notes
        if n["kind"].startswith("order_")
    ]


async def answered(browser: Browser, count: int) -> list[tuple[str, str, Any]]:
    await settle(lambda: len(answers(browser)) >= count)
    return answers(browser)


async def test_tickets_reach_the_desk_in_order_and_are_answered(
    room: Room, desk: PaperDesk
) -> None:
    browser = room.enter(feed=1)
    browser.say(room.now_s, **BUY, cmd_id="a", limit_ticks=6_421_010)
    browser.say(room.now_s, kind="order", cmd_id="b", side=-1, qty_lots=2**63 - 1)
    browser.say(room.now_s, kind="cancel", cmd_id="c", order_id=1)
    browser.say(room.now_s, kind="cancel_all", cmd_id="d")
    browser.say(room.now_s, kind="flatten", cmd_id="e")
    assert await answered(browser, 5) == [
        ("order_done", "a", 1),
        ("order_done", "b", 2),
        ("order_done", "c", 0),
        ("order_done", "d", 0),
        ("order_done", "e", 0),
    ]
    assert desk.asked == [
        Ticket("order", 1, side=1, qty_lots=500, limit_ticks=6_421_010),
        Ticket("order", 1, side=-1, qty_lots=2**63 - 1),
        Ticket("cancel", 1, order_id=1),
        Ticket("cancel_all", 1),
        Ticket("flatten", 1),
    ]


async def test_a_command_that_comes_again_is_answered_again_only(
    room: Room, desk: PaperDesk
) -> None:
    browser, other = room.enter(), room.enter()
    desk.open_.clear()
    browser.say(room.now_s, **BUY, cmd_id="a")
    browser.say(room.now_s, **BUY, cmd_id="a")
    desk.open_.set()
    assert await answered(browser, 1) == [("order_done", "a", 1)]
    browser.say(room.now_s + 60, **BUY, cmd_id="a")
    assert await answered(browser, 2) == 2 * [("order_done", "a", 1)]
    other.say(room.now_s, **BUY, cmd_id="a")
    assert await answered(other, 1) == [("order_done", "a", 2)]
    assert len(desk.asked) == 2


async def test_a_refusal_is_not_tried_again_under_the_same_name(
    room: Room, desk: PaperDesk
) -> None:
    browser = room.enter()
    desk.refusal = "MIN_NOTIONAL: 3.2 is less than 5"
    browser.say(room.now_s, **BUY, cmd_id="a")
    refused = ("order_refused", "a", desk.refusal)
    assert await answered(browser, 1) == [refused]
    desk.refusal = ""
    browser.say(room.now_s, **BUY, cmd_id="a")
    assert await answered(browser, 2) == [refused, refused]
    assert len(desk.asked) == 1


async def test_a_desk_that_fails_is_no_refusal_in_silence(room: Room, desk: PaperDesk) -> None:
    browser = room.enter()
    desk.failure = OSError("disk full")
    browser.say(room.now_s, **BUY, cmd_id="a")
    kind, _, reason = (await answered(browser, 1))[0]
    assert kind == "order_refused"
    assert "not known how far it came" in reason


async def test_no_more_than_five_a_second_are_taken_from_a_screen(
    room: Room, desk: PaperDesk
) -> None:
    browser, other = room.enter(), room.enter()
    count = int(ORDERS_PER_S)
    for n in range(count + 2):
        browser.say(room.now_s, **BUY, cmd_id=f"n{n}")
    other.say(room.now_s, **BUY, cmd_id="other")
    outcome = {cmd_id: kind for kind, cmd_id, _ in await answered(browser, count + 2)}
    assert [f"n{n}" for n in range(count)] == [c for c, k in outcome.items() if k == "order_done"]
    assert "more than 5 in a second" in str(answers(browser))
    assert (await answered(other, 1))[0][0] == "order_done"
    browser.say(room.now_s + 1, **BUY, cmd_id=f"n{count}")
    await settle(lambda: len(desk.asked) == count + 2)


async def test_while_looking_back_nothing_is_ordered(room: Room, desk: PaperDesk) -> None:
    browser = room.enter()
    room.feeder.seek(0)
    browser.say(room.now_s, **BUY, cmd_id="a")
    kind, _, reason = (await answered(browser, 1))[0]
    assert (kind, desk.asked) == ("order_refused", [])
    assert "jump to now" in reason
    room.feeder.to_now()
    browser.say(room.now_s, **BUY, cmd_id="b")
    assert (await answered(browser, 2))[1] == ("order_done", "b", 1)


async def test_without_a_desk_orders_are_refused() -> None:
    room = Room(Feeder(span_s=60, at_s=30, rate_per_s=10))
    browser = room.enter()
    browser.say(room.now_s, **BUY, cmd_id="a")
    assert await answered(browser, 1) == [
        ("order_refused", "a", "this screen may look, but not trade")
    ]


@pytest.mark.parametrize(
    "message",
    [
        BUY,
        BUY | {"cmd_id": ""},
        BUY | {"cmd_id": "x" * 65},
        BUY | {"cmd_id": "a\n"},
        BUY | {"cmd_id": "a", "side": 0},
        BUY | {"cmd_id": "a", "side": 2},
        BUY | {"cmd_id": "a", "qty_lots": 0},
        BUY | {"cmd_id": "a", "qty_lots": -1},
        BUY | {"cmd_id": "a", "qty_lots": 0.5},
        BUY | {"cmd_id": "a", "qty_lots": "5"},
        BUY | {"cmd_id": "a", "qty_lots": 2**63},
        BUY | {"cmd_id": "a", "limit_ticks": -1},
        BUY | {"cmd_id": "a", "limit_ticks": 2**63},
        BUY | {"cmd_id": "a", "order_id": 1},
        {"kind": "cancel", "cmd_id": "a"},
        {"kind": "cancel", "cmd_id": "a", "order_id": 0},
        {"kind": "cancel", "cmd_id": "a", "order_id": -1},
        {"kind": "flatten"},
        {"kind": "cancel_all", "cmd_id": 7},
    ],
)
async def test_orders_that_make_no_sense_are_none_of_ours(
    room: Room, desk: PaperDesk, message: dict[str, Any]
) -> None:
    browser = room.enter()
    with pytest.raises(InputError, match="not understood"):
        browser.screen.receive(json.dumps(message), room.now_s)
    assert desk.asked == []
