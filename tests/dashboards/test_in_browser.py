"""What people see, driven in headless Chromium against the seeded feeder."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from flowtape.dashboards.frames import encode
from flowtape.stream.records import i128
from flowtape.stream.view import Cursor
from tests.dashboards.conftest import COUNT_PIXELS, Dashboard, Watched, dashboards, visitors
from tests.dashboards.feeder import Feeder
from tests.dashboards.test_frames import decode

pytestmark = pytest.mark.browser

Start = Callable[..., Dashboard]
Watch = Callable[[], Watched]


@pytest.fixture(scope="module")
def untouched(browser: Browser) -> Iterator[tuple[Dashboard, Watched]]:
    """A dashboard and a screen of it, for tests that touch neither."""
    with dashboards() as start, visitors(browser) as new:
        board = start()
        yield board, new().open(board.url)


def test_screen_shows_both_sides_without_an_error(untouched: tuple[Dashboard, Watched]) -> None:
    _, screen = untouched
    screen.until("flowtape.stats.snapshot().visible > 500 && !flowtape.screen.tiles.pending")
    colours = screen.page.evaluate("flowtape.screen.colours")
    for side in ("buy", "sell"):
        assert screen.page.evaluate(COUNT_PIXELS, colours[side]) > 300, side
    assert screen.page.title() == "BTCUSDT · flowtape"
    assert screen.page.locator("#last").inner_text().replace(",", "")[:2] == "64"
    for side in ("buy", "sell"):
        screen.until(f"document.querySelectorAll('#rows .row.{side}').length > 0")
    assert screen.page.locator("#rows .row:not(:empty)").count() > 15
    assert screen.errors == []


def test_clock_advances_pauses_seeks_and_steps(dashboard: Start, watch: Watch) -> None:
    board = dashboard(speed=20)
    screen = watch().open(board.url)
    before = screen.stats()["clock_ms"]
    screen.until(f"flowtape.stats.snapshot().clock_ms > {before} + 5000")

    screen.page.keyboard.press("Space")
    screen.until("flowtape.stats.snapshot().playing === false")
    screen.page.wait_for_timeout(400)
    stopped = screen.stats()["clock_ms"]
    screen.page.wait_for_timeout(400)
    assert abs(screen.stats()["clock_ms"] - stopped) < 1
    assert board.feeder.state().clock_us / 1000 == pytest.approx(stopped, abs=5)

    screen.page.keyboard.press("ArrowRight")
    bar_end = (int(stopped) // 1000 + 1) * 1000
    screen.until(f"Math.abs(flowtape.stats.snapshot().clock_ms - {bar_end}) < 1")
    trades = screen.stats()["trades"]
    screen.page.locator("#steps button[data-unit=trade]").click()
    screen.until(f"flowtape.stats.snapshot().trades === {trades + 1}")

    restarts = screen.stats()["restarts"]
    box = screen.page.locator("#seek").bounding_box()
    assert box is not None
    screen.page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 10)
    state = board.feeder.state()
    target = (state.start_us + 0.75 * (state.end_us - state.start_us)) / 1000
    screen.until(f"Math.abs(flowtape.stats.snapshot().clock_ms - {target}) < 3000")
    assert screen.stats()["restarts"] == restarts + 1
    backward = target - 10_000
    screen.page.keyboard.press("Shift+ArrowLeft")
    screen.until(f"Math.abs(flowtape.stats.snapshot().clock_ms - {backward}) < 3000")
    assert screen.errors == []


@pytest.mark.parametrize(("key", "speed"), [("2", 10), ("4", 100)])
def test_speed_is_right(dashboard: Start, watch: Watch, key: str, speed: float) -> None:
    screen = watch().open(dashboard(speed=1).url)
    screen.page.keyboard.press(key)
    screen.until(f"flowtape.stats.snapshot().speed === {speed}")
    screen.page.wait_for_timeout(500)
    measure = "[performance.now(), flowtape.stats.snapshot().clock_ms]"
    wall_before, before = screen.page.evaluate(measure)
    screen.page.wait_for_timeout(2000)
    wall_after, after = screen.page.evaluate(measure)
    assert (after - before) / (wall_after - wall_before) == pytest.approx(speed, rel=0.2)


def test_speed_is_entered_and_a_bad_one_is_explained(dashboard: Start, watch: Watch) -> None:
    board = dashboard(speed=1)
    screen = watch().open(board.url)
    entry = screen.page.locator("#speed")
    entry.fill("2.5")
    entry.press("Enter")
    screen.until("flowtape.stats.snapshot().speed === 2.5")
    for text, words in (("0", "0.1 to 10000"), ("fast", "is no speed")):
        entry.fill(text)
        entry.press("Enter")
        screen.until(f"document.getElementById('toast').textContent.includes({json.dumps(words)})")
    assert board.feeder.state().speed == 2.5
    screen.page.keyboard.press("5")
    screen.until("flowtape.stats.snapshot().ended")
    screen.until("document.getElementById('state').textContent === 'end of tape'")


def test_two_browsers_show_the_same_last_trade(dashboard: Start, watch: Watch) -> None:
    board = dashboard()
    first, second = watch().open(board.url), watch().open(board.url)
    first.page.keyboard.press("Space")
    for screen in (first, second):
        screen.until("flowtape.stats.snapshot().playing === false")
        screen.page.wait_for_timeout(400)
    keys = ("last", "trades", "bubbles", "candles")
    one, other = first.stats(), second.stats()
    assert {key: one[key] for key in keys} == {key: other[key] for key in keys}
    texts = [s.page.locator("#rows .row").first.inner_text() for s in (first, second)]
    assert texts[0] == texts[1]


def test_frames_survive_the_journey(dashboard: Start, watch: Watch) -> None:
    board = dashboard(with_fills=True, at_s=60, speed=1)
    screen = watch().open(board.url)
    view = board.feeder.views[0]
    for notice, cursor in (("gap: 12 trades are missing · ±", Cursor()), ("", Cursor(epoch=1))):
        update = view.read(cursor, with_profile=notice != "")
        frame = encode(
            update,
            board.feeder.state(),
            feed=0,
            notice=notice,
            atoms_per_ticklot=1000,
            quote_decimals=5,
            profile_row_ticks=100,
        )
        header, columns = decode(frame)
        seen = screen.page.evaluate(
            """bytes => {
              const buffer = new Uint8Array(bytes).buffer;
              const { header, sections } = flowtape.decode(buffer, flowtape.layout);
              const columns = {};
              for (const [section, content] of Object.entries(sections)) {
                for (const [name, column] of Object.entries(content)) {
                  if (name !== "count") columns[`${section}.${name}`] = Array.from(column);
                }
              }
              return { header, columns };
            }""",
            list(frame),
        )
        assert set(seen["columns"]) == set(columns)
        for name, column in columns.items():
            np.testing.assert_array_equal(np.asarray(seen["columns"][name], column.dtype), column)
        for name, value in header.items():
            np.testing.assert_equal(float(seen["header"][name]), float(value))


def test_foreign_bytes_are_not_taken_for_a_frame(untouched: tuple[Dashboard, Watched]) -> None:
    _, screen = untouched
    outcome = screen.page.evaluate(
        """() => [new ArrayBuffer(800), new ArrayBuffer(3)].map((bytes) => {
          try { flowtape.decode(bytes, flowtape.layout); return "taken"; }
          catch (error) { return error.name; }
        })"""
    )
    assert outcome == ["Error", "RangeError"]


def test_candles_and_delta_equal_the_trades(dashboard: Start, watch: Watch) -> None:
    board = dashboard(at_s=900)
    screen = watch().open(board.url)
    screen.page.keyboard.press("Space")
    screen.until("flowtape.stats.snapshot().playing === false")
    screen.page.locator("#spans").get_by_text("15s", exact=True).click()
    screen.page.wait_for_timeout(500)
    shown: Any = screen.page.evaluate(
        """() => {
          const c = flowtape.screen.store.candles;
          const names = ["ts", "open", "high", "low", "close", "buy", "sell", "cum"];
          return Object.fromEntries(names.map((n) => [n, Array.from(c[n].subarray(0, c.length))]));
        }"""
    )
    trades = board.feeder.markets[0].trades.slice(0, board.feeder._applied[0])
    bucket = trades.ts_us // 15_000_000
    at = np.flatnonzero(np.concatenate([[True], np.diff(bucket) != 0]))
    stop = np.append(at[1:], len(trades))
    buy = np.add.reduceat(np.where(trades.side > 0, trades.qty_lots, 0), at)
    sell = np.add.reduceat(np.where(trades.side < 0, trades.qty_lots, 0), at)
    expected = {
        "ts": bucket[at] * 15_000.0,
        "open": trades.price_ticks[at] / 100,
        "high": np.maximum.reduceat(trades.price_ticks, at) / 100,
        "low": np.minimum.reduceat(trades.price_ticks, at) / 100,
        "close": trades.price_ticks[stop - 1] / 100,
        "buy": buy / 1000,
        "sell": sell / 1000,
        "cum": np.cumsum(buy - sell) / 1000,
    }
    for name, column in expected.items():
        np.testing.assert_allclose(shown[name], column, rtol=1e-9, atol=1e-9, err_msg=name)


def test_tiles_drawn_piece_by_piece_equal_tiles_drawn_at_once(
    dashboard: Start, watch: Watch
) -> None:
    screen = watch().open(dashboard(speed=60).url)
    screen.page.wait_for_timeout(1500)
    screen.page.keyboard.press("Space")
    screen.until("flowtape.stats.snapshot().playing === false")
    screen.page.wait_for_timeout(1500)
    differing = screen.page.evaluate(
        """async () => {
          const { screen } = flowtape;
          const canvas = screen.views.price.canvas_view.primary.canvas;
          const { width, height } = canvas;
          const grab = () => canvas.getContext("2d").getImageData(0, 0, width, height).data;
          const next = () => new Promise(requestAnimationFrame);
          const settled = async () => {
            do await next(); while (screen.tiles.pending || screen.dirty);
            await next();
          };
          screen.dirty = true;
          await settled();
          const before = grab();
          screen.tiles.invalidate();
          screen.dirty = true;
          await settled();
          const after = grab();
          let count = 0;
          for (let i = 0; i < after.length; i += 4) {
            const red = Math.abs(before[i] - after[i]);
            if (red + Math.abs(before[i + 1] - after[i + 1]) > 90) count++;
          }
          return count / (after.length / 4);
        }"""
    )
    assert differing < 0.002


def test_a_stalled_browser_is_not_buried(dashboard: Start, watch: Watch) -> None:
    board = dashboard()
    screen = watch().open(board.url)
    seq = screen.stats()["seq"]
    screen.page.evaluate(
        "() => { const t = performance.now(); while (performance.now() - t < 1500); }"
    )
    stats = screen.stats()
    assert stats["seq"] - seq <= 3 + 3
    assert stats["seq"] - stats["ack"] <= 3
    now_ms = board.feeder.state().clock_us / 1000
    screen.until(f"flowtape.stats.snapshot().clock_ms >= {now_ms}", timeout_s=1.0)
    screen.until(f"flowtape.stats.snapshot().ack > {stats['seq'] + 5}", timeout_s=2)
    assert screen.errors == []


def test_dragging_stops_following_until_asked(dashboard: Start, watch: Watch) -> None:
    screen = watch().open(dashboard().url)
    live = screen.page.locator("#live")
    assert not live.is_visible()
    for gesture in ("drag", "wheel"):
        screen.page.mouse.move(500, 250)
        if gesture == "drag":
            screen.page.mouse.down()
            screen.page.mouse.move(650, 260, steps=4)
            screen.page.mouse.up()
        else:
            screen.page.mouse.wheel(0, -240)
        screen.until("!flowtape.stats.snapshot().following")
        live.wait_for(state="visible")
        if gesture == "drag":
            live.click()
        else:
            screen.page.keyboard.press("c")
        screen.until("flowtape.stats.snapshot().following")
    screen.page.keyboard.press("z")
    box = screen.page.evaluate("flowtape.screen.frameOf('price')")
    screen.page.mouse.move(box["left"] + box["width"] + 30, box["top"] + 100)
    span = "flowtape.screen.camera.top - flowtape.screen.camera.bottom"
    before = screen.page.evaluate(span)
    screen.page.mouse.wheel(0, 150)
    screen.until("!flowtape.screen.camera.autoY")
    assert screen.page.evaluate(span) > before
    assert screen.stats()["following"]
    screen.page.keyboard.press("x")
    screen.until("flowtape.screen.camera.autoY")
    assert screen.errors == []


def test_hovering_a_bubble_tells_about_it(dashboard: Start, watch: Watch) -> None:
    screen = watch().open(dashboard().url)
    screen.page.keyboard.press("Space")
    screen.until("flowtape.stats.snapshot().playing === false")
    screen.page.wait_for_timeout(900)
    found = screen.page.evaluate(
        """() => {
          const { store, camera, frameOf } = flowtape.screen;
          const box = flowtape.screen.frameOf("price");
          const { ts, price, qty, trades, length } = store.bubbles;
          let best = -1;
          for (let i = store.bubbles.slotAt(camera.start + 60000); i < length; i++) {
            if (best < 0 || qty[i] > qty[best]) best = i;
          }
          const ky = box.height / (camera.top - camera.bottom);
          return { x: box.left + (ts[best] - camera.start) / camera.msPerPx,
                   y: box.top + (camera.top - price[best]) * ky,
                   qty: qty[best], us: Math.round(ts[best] * 1000) };
        }"""
    )
    screen.page.mouse.move(found["x"], found["y"])
    tooltip = screen.page.locator("#tooltip")
    tooltip.wait_for(state="visible")
    text = tooltip.inner_text()
    assert f"{found['qty']:,.3f}" in text
    assert f"{found['us'] % 1_000_000:06d}" in text
    assert "aggressor" in text


def test_symbols_are_switched_on_one_clock(dashboard: Start, watch: Watch) -> None:
    board = dashboard(symbols=("BTCUSDT", "ETHUSDT"))
    screen = watch().open(board.url)
    first = screen.stats()["last"]
    screen.page.locator("#symbols").get_by_text("ETHUSDT").click()
    screen.until("document.title === 'ETHUSDT · flowtape'")
    screen.until("(flowtape.screen.store.header?.feed ?? 0) === 1")
    assert screen.stats()["last"] != first
    assert screen.errors == []


def test_own_trading_is_shown_only_when_there_is_any(dashboard: Start, watch: Watch) -> None:
    board = dashboard(with_fills=True)
    screen = watch().open(board.url)
    screen.page.locator("#account").wait_for(state="visible")
    screen.page.keyboard.press("Space")
    screen.until("flowtape.stats.snapshot().playing === false")
    account = board.feeder.views[0].snapshot
    equity = i128(account["equity_atoms"]) / 1e5
    screen.until(f"document.getElementById('own-equity').textContent === '{equity:,.2f}'")
    position = int(account["position_lots"]) / 1000
    shown = screen.page.locator("#own-position").inner_text()
    assert shown == (f"+{position:g}" if position > 0 else "0")
    other = watch().open(dashboard().url)
    assert not other.page.locator("#account").is_visible()
    assert screen.errors == other.errors == []


def test_before_the_first_trade_the_screen_says_so(dashboard: Start, watch: Watch) -> None:
    board = dashboard(speed=0.1, at_s=0)
    board.feeder.pause()
    board.feeder.seek(0)
    waiting = watch().open(board.url)
    assert "Waiting for the first trade" in waiting.page.locator("#waiting").inner_text()
    board.feeder.views[0].notice = "gap: 120 trades are missing"
    board.feeder.step("batch")
    waiting.page.locator("#waiting").wait_for(state="hidden")
    notice = waiting.page.locator("#notice")
    notice.wait_for(state="visible")
    assert notice.inner_text() == "gap: 120 trades are missing"
    assert waiting.errors == []


def test_looks_are_switched_and_remembered(dashboard: Start, watch: Watch) -> None:
    board = dashboard()
    screen = watch().open(board.url)
    background = "getComputedStyle(document.body).backgroundColor"
    dark = screen.page.evaluate(background)
    screen.page.keyboard.press("t")
    screen.page.keyboard.press("p")
    assert screen.page.evaluate(background) != dark
    colours = screen.page.evaluate("flowtape.screen.colours")
    screen.page.wait_for_timeout(600)
    assert screen.page.evaluate(COUNT_PIXELS, colours["buy"]) > 200
    screen.page.reload()
    screen.until("(window.flowtape?.stats.received_frames ?? 0) > 2")
    assert screen.page.evaluate("flowtape.screen.colours") == colours
    assert screen.errors == []


def test_a_lost_connection_is_shown_and_comes_back(watch: Watch) -> None:
    feeder = Feeder(span_s=1800, at_s=600, speed=20).start()
    board = Dashboard(feeder)
    screen = watch().open(board.url)
    port = board.server.port
    board.close()
    screen.page.locator("#lost").wait_for(state="visible")
    again = Dashboard(feeder, port)
    try:
        screen.until("document.getElementById('lost-text').textContent.includes('new link')")
        other = watch().open(again.url)
        assert other.stats()["last"] is not None
    finally:
        again.close()
        feeder.close()


def test_a_dropped_socket_reconnects_by_itself(dashboard: Start, watch: Watch) -> None:
    board = dashboard()
    screen = watch().open(board.url)
    screen.page.evaluate("window.before = true")
    board.drop_sockets()
    screen.until("window.before === undefined && (window.flowtape?.stats.received_frames ?? 0) > 2")
    assert not screen.page.locator("#lost").is_visible()
    assert board.links


def test_without_the_link_the_page_explains_itself(
    browser: Browser, untouched: tuple[Dashboard, Watched]
) -> None:
    board, _ = untouched
    page = browser.new_page()
    reply = page.goto(f"http://127.0.0.1:{board.server.port}/")
    assert reply is not None
    assert reply.status == 401
    assert "Open the link that flowtape printed" in page.locator("p").inner_text()
    page.close()


def test_a_foreign_site_cannot_connect(untouched: tuple[Dashboard, Watched]) -> None:
    board, screen = untouched
    page = screen.page.context.new_page()
    page.goto("about:blank")
    outcome = page.evaluate(
        """url => new Promise((done) => {
          const socket = new WebSocket(url, ["bokeh", "x"]);
          socket.onopen = () => done("open");
          socket.onerror = () => done("refused");
        })""",
        f"ws://127.0.0.1:{board.server.port}/ws",
    )
    assert outcome == "refused"
    page.close()
