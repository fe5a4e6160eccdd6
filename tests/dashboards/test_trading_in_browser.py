"""The order ticket, driven in headless Chromium."""

import json
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser

from flowtape.stream.ports import Ticket
from tests.dashboards.conftest import Dashboard, Watched, dashboards, visitors
from tests.dashboards.desk import PaperDesk

pytestmark = pytest.mark.browser

Start = Callable[..., Dashboard]
Watch = Callable[[], Watched]


@pytest.fixture
def desk() -> PaperDesk:
    return PaperDesk()


def toast(screen: Watched, text: str) -> None:
    shown = "document.getElementById('toast').textContent"
    screen.until(f"{shown} === {json.dumps(text)}")


@pytest.fixture
def ticket(dashboard: Start, watch: Watch, desk: PaperDesk) -> Watched:
    return watch().open(dashboard(desk=desk, speed=1).url)


@pytest.fixture(scope="module")
def quiet_ticket(browser: Browser) -> Iterator[tuple[Watched, PaperDesk]]:
    """A ticket for tests that place nothing, and its desk."""
    desk = PaperDesk()
    with dashboards() as start, visitors(browser) as new:
        yield new().open(start(desk=desk, speed=1).url), desk


def test_a_screen_without_a_desk_has_no_ticket(dashboard: Start, watch: Watch) -> None:
    screen = watch().open(dashboard().url)
    assert not screen.page.locator("#ticket").is_visible()
    sent = "flowtape.screen.ticket.sent.size"
    for key in ("o", "Shift+B", "Shift+S", "Shift+F"):
        screen.page.keyboard.press(key)
    assert screen.page.evaluate(sent) == 0
    screen.page.keyboard.press("?")
    assert not screen.page.get_by_text("to the order ticket").is_visible()
    assert screen.errors == []


def test_orders_are_placed_by_mouse_and_by_keys(ticket: Watched, desk: PaperDesk) -> None:
    page = ticket.page
    page.locator("#ticket-qty").fill("0.5")
    page.locator("#ticket-buy").click()
    toast(ticket, "Buy 0.5 at market placed as #1")
    page.keyboard.press("o")
    page.keyboard.type("1,250.125")
    page.keyboard.press("Tab")
    page.keyboard.type("64,210.10")
    page.keyboard.press("Shift+S")
    toast(ticket, "Sell 1,250.125 @ 64,210.1 placed as #2")
    assert page.locator("#ticket-qty").input_value() == "1,250.125"
    row = page.locator("#ticket-orders li")
    row.wait_for()
    assert row.inner_text().split("\n")[:3] == ["▼", "1.25k @ 64,210.10", "#2"]
    row.locator("button").click()
    toast(ticket, "Cancel of #2 placed")
    row.wait_for(state="detached")
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Shift+X")
    toast(ticket, "Cancel of all orders placed")
    page.locator("#ticket-flatten").click()
    toast(ticket, "Flatten placed")
    assert desk.asked == [
        Ticket("order", 0, side=1, qty_lots=500),
        Ticket("order", 0, side=-1, qty_lots=1_250_125, limit_ticks=6_421_010),
        Ticket("cancel", 0, order_id=2),
        Ticket("cancel_all", 0),
        Ticket("flatten", 0),
    ]
    assert ticket.stats()["playing"]
    page.reload()
    ticket.until("(window.flowtape?.stats.received_frames ?? 0) > 2")
    assert page.locator("#ticket-qty").input_value() == "1,250.125"
    assert ticket.errors == []


def test_single_letters_and_held_keys_place_nothing_more(ticket: Watched, desk: PaperDesk) -> None:
    page = ticket.page
    page.locator("#ticket-qty").fill("0.5")
    page.evaluate("document.activeElement.blur()")
    for key in ("b", "s", "x", "f", "Enter", "Control+Shift+B", "Alt+Shift+S"):
        page.keyboard.press(key)
    page.keyboard.down("Shift")
    for _ in range(4):
        page.keyboard.down("S")
    page.keyboard.up("S")
    page.keyboard.up("Shift")
    toast(ticket, "Sell 0.5 at market placed as #1")
    page.locator("#speed").focus()
    page.keyboard.press("Shift+B")
    page.wait_for_timeout(300)
    assert len(desk.asked) == 1


@pytest.mark.parametrize(
    ("qty", "price", "words"),
    [
        ("", "", "Give a quantity"),
        ("0", "", "Quantity must be more than 0"),
        ("0.0005", "", "Quantity has at most 3 decimals here"),
        ("0,5", "", "Quantity: “0,5” is no number such as 0.5"),
        ("-1", "", "Quantity: “-1” is no number such as 0.5"),
        ("1e3", "", "Quantity: “1e3” is no number such as 0.5"),
        (".", "", "Quantity: “.” is no number such as 0.5"),
        ("9007199254740.992", "", "Quantity is too large"),
        ("1", "64210.123", "Price has at most 2 decimals here"),
        ("1", "0", "Price must be more than 0"),
    ],
)
def test_mistakes_are_told_before_anything_is_sent(
    quiet_ticket: tuple[Watched, PaperDesk], qty: str, price: str, words: str
) -> None:
    ticket, desk = quiet_ticket
    ticket.page.evaluate("document.getElementById('ticket-note').textContent = ''")
    ticket.page.locator("#ticket-qty").fill(qty)
    ticket.page.locator("#ticket-price").fill(price)
    ticket.page.locator("#ticket-buy").click()
    ticket.until(f"document.getElementById('ticket-note').textContent === {json.dumps(words)}")
    assert ticket.page.evaluate("flowtape.screen.ticket.sent.size") == 0
    assert desk.asked == []


def test_decimal_text_becomes_units_exactly(quiet_ticket: tuple[Watched, PaperDesk]) -> None:
    ticket, _ = quiet_ticket
    cases = [("0.1", 8), ("90071992.54740991", 8), ("64210.10", 2), (" 7. ", 0), (".001", 3)]
    units = ticket.page.evaluate(
        """async cases => {
          const { toUnits, fromUnits } = await import("/assets/exact.js");
          return cases.map(([text, decimals]) => {
            const { units } = toUnits(text, decimals, "it");
            return [units, fromUnits(units, decimals)];
          });
        }""",
        cases,
    )
    assert units == [
        [10_000_000, "0.1"],
        [9_007_199_254_740_991, "90071992.54740991"],
        [6_421_010, "64210.1"],
        [7, "7"],
        [1, "0.001"],
    ]


def test_an_outstanding_answer_and_a_refusal_are_shown(ticket: Watched, desk: PaperDesk) -> None:
    page = ticket.page
    desk.open_.clear()
    desk.refusal = "PRICE_FILTER: the price is not a multiple of 0.1"
    page.locator("#ticket-qty").fill("2")
    page.locator("#ticket-sell").click()
    busy = "document.getElementById('ticket-sell').classList.contains('busy')"
    ticket.until(busy)
    page.locator("#ticket-sell").click()
    page.wait_for_timeout(300)
    assert page.evaluate(busy)
    desk.open_.set()
    toast(ticket, f"Sell 2 at market refused: {desk.refusal}")
    assert not page.evaluate(busy)
    assert len(desk.asked) == 1
    assert ticket.errors == []


def test_a_click_with_shift_takes_the_price_over(ticket: Watched) -> None:
    page = ticket.page
    box = page.evaluate("flowtape.screen.frameOf('price')")
    page.keyboard.press("x")
    ticket.until("!flowtape.screen.camera.autoY")
    for x in (box["left"] + 200, box["left"] + box["width"] + 30):
        page.locator("#ticket-price").fill("")
        page.evaluate("document.activeElement.blur()")
        y = box["top"] + box["height"] / 4
        page.mouse.click(x, y)
        assert page.locator("#ticket-price").input_value() == ""
        page.keyboard.down("Shift")
        page.mouse.click(x, y)
        page.keyboard.up("Shift")
        price = float(page.locator("#ticket-price").input_value())
        top, bottom = page.evaluate("[flowtape.screen.camera.top, flowtape.screen.camera.bottom]")
        assert price == pytest.approx(top - (top - bottom) / 4, abs=(top - bottom) / 100)
    assert ticket.stats()["following"]
    page.locator("#ticket-market").click()
    assert page.locator("#ticket-price").input_value() == ""


def test_the_ticket_is_closed_while_looking_back(
    dashboard: Start, watch: Watch, desk: PaperDesk
) -> None:
    screen = watch().open(dashboard(goes_on=True, at_s=1200, speed=1, desk=desk).url)
    page = screen.page
    page.locator("#ticket-qty").fill("1")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("l")
    screen.until("document.getElementById('ticket-fields').disabled")
    assert page.locator("#ticket-note").inner_text() == "Looking back: jump to now to trade"
    page.keyboard.press("Shift+B")
    toast(screen, "Looking back: jump to now to trade")
    page.keyboard.press("n")
    screen.until("!document.getElementById('ticket-fields').disabled")
    page.keyboard.press("Shift+B")
    toast(screen, "Buy 1 at market placed as #1")
    assert len(desk.asked) == 1
    assert screen.errors == []


def test_no_one_orders_from_a_ticket_that_is_out_of_sight(ticket: Watched, desk: PaperDesk) -> None:
    page = ticket.page
    page.locator("#ticket-qty").fill("1")
    page.evaluate("document.activeElement.blur()")
    page.set_viewport_size({"width": 1000, "height": 700})
    page.locator("#ticket").wait_for(state="hidden")
    page.keyboard.press("Shift+B")
    page.locator("#ticket").wait_for(state="visible")
    page.wait_for_timeout(300)
    assert desk.asked == []
    page.keyboard.press("Shift+B")
    toast(ticket, "Buy 1 at market placed as #1")


def test_each_symbol_has_its_own_ticket(dashboard: Start, watch: Watch, desk: PaperDesk) -> None:
    screen = watch().open(dashboard(desk=desk, symbols=("BTCUSDT", "ETHUSDT"), speed=1).url)
    page = screen.page
    page.locator("#ticket-qty").fill("1")
    page.locator("#ticket-price").fill("64000")
    page.locator("#ticket-buy").click()
    toast(screen, "Buy 1 @ 64,000 placed as #1")
    page.locator("#symbols").get_by_text("ETHUSDT").click()
    screen.until("(flowtape.screen.store.header?.feed ?? 0) === 1")
    assert page.locator("#ticket-qty").input_value() == ""
    assert page.locator("#ticket-price").input_value() == ""
    page.locator("#ticket-orders li").wait_for(state="detached")
    page.locator("#ticket-qty").fill("3")
    page.locator("#ticket-buy").click()
    toast(screen, "Buy 3 at market placed as #2")
    assert [t.market for t in desk.asked] == [0, 1]
    assert screen.errors == []
