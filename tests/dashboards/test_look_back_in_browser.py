"""Looking back on a session that goes on, driven in headless Chromium."""

from collections.abc import Callable

import pytest

from tests.dashboards.conftest import COUNT_PIXELS, Dashboard, Watched

pytestmark = pytest.mark.browser

Start = Callable[..., Dashboard]
Watch = Callable[[], Watched]


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


def test_bubbles_of_the_other_view_leave_the_glass(dashboard: Start, watch: Watch) -> None:
    board = dashboard(goes_on=True, at_s=1200, speed=1)
    screen = watch().open(board.url)
    screen.until("flowtape.stats.snapshot().bubbles > 1000 && !flowtape.screen.tiles.pending")
    buys = f"({COUNT_PIXELS})('{screen.page.evaluate('flowtape.screen.colours')['buy']}')"
    screen.until(f"{buys} > 3000")
    many = screen.page.evaluate(buys)
    generation = screen.page.evaluate("flowtape.screen.tiles.set.generation")
    board.feeder.seek(0)
    screen.until("flowtape.stats.snapshot().looking_back")
    board.feeder.pause()
    screen.until(f"flowtape.screen.tiles.set.generation > {generation}")
    screen.until("flowtape.stats.snapshot().bubbles < 200 && !flowtape.screen.tiles.pending")
    screen.until(f"{buys} < {many / 2}", 20)
    board.feeder.to_now()
    screen.until("flowtape.stats.snapshot().bubbles > 1000 && !flowtape.screen.tiles.pending")
    screen.until(f"{buys} > {many / 2}", 20)
    assert screen.errors == []


def test_a_live_feed_without_a_past_has_no_seek_bar(dashboard: Start, watch: Watch) -> None:
    screen = watch().open(dashboard(live=True, speed=1).url)
    for part in ("#seek", "#last-minutes", "#speeds", "#look-back"):
        assert not screen.page.locator(part).is_visible(), part
    screen.until("document.getElementById('state').textContent === 'live'")
    assert screen.errors == []


def test_trouble_with_the_feed_is_told_while_it_lasts(dashboard: Start, watch: Watch) -> None:
    board = dashboard(goes_on=True, at_s=600, speed=1)
    screen = watch().open(board.url)
    screen.until("document.getElementById('state').textContent === 'live'")
    board.feeder.views[0].notice = "gap: 3 trades missing"
    board.feeder.trouble = "BTCUSDT: no connection for 3 s, trying again"
    screen.until("document.getElementById('state').textContent === 'feed trouble'")
    told = "BTCUSDT: no connection for 3 s, trying again · gap: 3 trades missing"
    screen.until(f"document.getElementById('notice').textContent === '{told}'")
    assert screen.page.locator("#notice").is_visible()
    # It is told in the past, too, whose own bar says nothing of the feed.
    board.feeder.seek(int(board.feeder.state().start_us))
    screen.until("flowtape.stats.snapshot().looking_back")
    screen.until("document.getElementById('notice').textContent.startsWith('BTCUSDT')")
    screen.until("document.getElementById('state').hidden")
    board.feeder.to_now()
    board.feeder.trouble = ""
    screen.until("document.getElementById('state').textContent === 'live'")
    assert screen.page.locator("#notice").text_content() == "gap: 3 trades missing"
    assert screen.errors == []
