"""Measure how smoothly headless Chromium shows a dense market at 100x.

Reports the interval between frames and the main thread's time per frame at several numbers of
visible bubbles. The market is a generated tape that the engine plays in this process, so kernel,
server and browser share the machine's cores. Run from the project's root:
`python -m benchmarks.dashboard`.
"""

import argparse
import asyncio
import json
import shutil
import sys
import threading
from dataclasses import asdict, dataclass, replace

import numpy as np
from playwright.sync_api import Page, sync_playwright

from flowtape.dashboards.server import DashboardServer, serve
from flowtape.replay.generate import GeneratorConfig, generate
from flowtape.replay.parts import TapeColumns
from flowtape.replay.player import Player
from flowtape.replay.track import Track
from flowtape.stream.config import EngineConfig, bubble_band_ticks
from flowtape.stream.engine import Engine
from flowtape.stream.ports import Feed
from flowtape.stream.trades import Trades

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu"]
SIZE = {"width": 1600, "height": 900}
SPEED = 100.0
WINDOW_S = 850


@dataclass(frozen=True)
class Result:
    visible: int
    bubbles_per_s: float
    fps: float
    median_ms: float
    p95_ms: float
    p99_ms: float
    script_ms: float
    task_ms_per_frame: float
    task_share: float
    round_trip_ms: float
    rebuilds: int


class Market:
    """A generated tape of a given density, as a track takes it."""

    def __init__(self, trades_per_s: int, span_s: int) -> None:
        preset = GeneratorConfig.preset("fine")
        # The preset's orders make about 17 trades a second.
        config = replace(preset, order_rate_mhz=preset.order_rate_mhz * trades_per_s // 17)
        self.instrument = config.instrument
        trades = Trades.concat(
            list(generate(config, seed=3, trades_count=int(1.2 * trades_per_s * span_s)))
        )
        self.columns = TapeColumns(trades.ts_us, trades.price_ticks, trades.qty_lots, trades.side)

    def segments(self) -> list[TapeColumns]:
        return [self.columns]

    def player(self) -> tuple[Engine, Player]:
        """Return an engine and its playback, as far in as the screen's window is wide."""
        config = EngineConfig(bubble_band_ticks=bubble_band_ticks(int(self.columns.price_ticks[0])))
        engine = Engine(self.instrument, config)
        player = Player([Track(engine, self)], speed=SPEED)
        player.seek(player.state().start_us + WINDOW_S * 1_000_000)
        return engine, player


class Server:
    """A dashboard on a loop of its own."""

    def __init__(self, feed: Feed) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: DashboardServer = asyncio.run_coroutine_threadsafe(
            serve([feed]), self._loop
        ).result(10)

    @property
    def url(self) -> str:
        return self._server.url

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


def measure(page: Page, seconds: float) -> Result:
    for _ in range(200):  # not wait_for_function: the page forbids eval
        if page.evaluate("(window.flowtape?.stats.frames ?? 0) > 120"):
            break
        page.wait_for_timeout(100)
    cdp = page.context.new_cdp_session(page)
    # Thread time: other work on the machine must not count as ours.
    cdp.send("Performance.enable", {"timeDomain": "threadTicks"})

    def task_s() -> float:
        metrics = cdp.send("Performance.getMetrics")["metrics"]
        return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))

    before, first = page.evaluate("flowtape.stats.snapshot()"), task_s()
    page.wait_for_timeout(seconds * 1000)
    after, last = page.evaluate("flowtape.stats.snapshot()"), task_s()
    frames = after["frames"] - before["frames"]
    recent = page.evaluate(f"flowtape.stats.recent({frames})")
    deltas = np.asarray(recent["deltas_ms"])
    took_s = float(deltas.sum()) / 1000
    return Result(
        visible=(before["visible"] + after["visible"]) // 2,
        bubbles_per_s=round((after["visible"]) / WINDOW_S * SPEED, 1),
        fps=round(1000 / float(np.median(deltas)), 1),
        median_ms=round(float(np.median(deltas)), 2),
        p95_ms=round(float(np.quantile(deltas, 0.95)), 2),
        p99_ms=round(float(np.quantile(deltas, 0.99)), 2),
        script_ms=round(float(np.mean(recent["costs_ms"])), 2),
        task_ms_per_frame=round(1000 * (last - first) / frames, 2),
        task_share=round((last - first) / took_s, 3),
        round_trip_ms=round(after["round_trip_ms"], 1),
        rebuilds=after["rebuilds"] - before["rebuilds"],
    )


def run(page: Page, market: Market, seconds: float) -> Result:
    engine, player = market.player()
    player.start()
    server = Server(Feed(player, lambda: engine.view))
    try:
        page.goto(server.url)
        return measure(page, seconds)
    finally:
        page.goto("about:blank")
        server.stop()
        player.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="measured span of each run")
    parser.add_argument("--rates", default="17,110,170", help="trades per second of the market")
    parser.add_argument("--repeats", type=int, default=3, help="the quietest run counts")
    parser.add_argument("--url", help="measure this running dashboard instead of our own market")
    parser.add_argument("--span", help="candle span to choose first, such as 1m; with --url")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=FLAGS)
        page = browser.new_page(viewport=SIZE)
        if arguments.url:
            page.goto(arguments.url)
            page.wait_for_timeout(2000)
            if arguments.span:
                page.evaluate(f"flowtape.screen.setSpan({arguments.span!r})")
            results.append(measure(page, arguments.seconds))
            print(results[0])
            browser.close()
            return
        span_s = int(WINDOW_S + SPEED * (arguments.seconds + 12))
        markets = [Market(int(rate), span_s) for rate in arguments.rates.split(",")]
        # In turns, so that what else the machine does falls on all of them alike.
        rounds = [
            [run(page, market, arguments.seconds) for market in markets]
            for _ in range(arguments.repeats)
        ]
        for tries in zip(*rounds, strict=True):
            results.append(min(tries, key=lambda result: result.task_ms_per_frame))
            if not arguments.json:
                print(results[-1])
        browser.close()
    ratio = results[-1].task_ms_per_frame / results[0].task_ms_per_frame
    if arguments.json:
        json.dump({"runs": [asdict(r) for r in results], "cost_ratio": ratio}, sys.stdout)
    else:
        print(f"cost per frame, {results[-1].visible} against {results[0].visible}: {ratio:.2f}")


if __name__ == "__main__":
    main()
