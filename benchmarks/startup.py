"""How long a person waits: for the help, and for the first bubbles of the demo."""

import re
import shutil
import statistics
import subprocess
import sys
import time

from playwright.sync_api import sync_playwright

REPEATS = 5
CHROMIUM_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]


def help_s() -> float:
    before = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "flowtape.cli.main", "--help"], check=True, capture_output=True
    )
    return time.perf_counter() - before


def first_bubbles_s() -> float:
    """From starting `flowtape demo` to bubbles painted in a browser that was already open."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        before = time.perf_counter()
        demo = subprocess.Popen(
            [sys.executable, "-u", "-m", "flowtape.cli.main", "demo", "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert demo.stdout is not None
            link = next(
                found.group()
                for line in demo.stdout
                if (found := re.search(r"http://\S+", line)) is not None
            )
            page.goto(link)
            # Polled: the page forbids the eval that wait_for_function needs.
            while not page.evaluate("window.flowtape?.stats.snapshot().visible > 0"):
                assert time.perf_counter() - before < 30
                page.wait_for_timeout(20)
            return time.perf_counter() - before
        finally:
            demo.terminate()
            demo.wait(timeout=10)
            browser.close()


def main() -> None:
    answered = statistics.median(help_s() for _ in range(REPEATS))
    shown = statistics.median(first_bubbles_s() for _ in range(3))
    print(f"flowtape --help                  {answered:8.2f} s  (bar: 0.4)")
    print(f"demo to its first bubbles        {shown:8.2f} s  (bar: 5)")


if __name__ == "__main__":
    main()
