import asyncio
import random

import pytest

from flowtape.connectors.binance import links
from flowtape.connectors.binance.link import (
    Closed,
    Link,
    LinkTimes,
    Opened,
    Received,
    Silent,
    run_link,
)
from flowtape.connectors.binance.links import KeepTimes, LinkKeeper
from flowtape.connectors.binance.pacing import Allowance
from flowtape.connectors.venue.connection import ConnectionRules
from flowtape.connectors.venue.faults import Stall
from flowtape.stream.errors import SourceError

TIMES = LinkTimes(first_data_s=0.2, silence_s=0.2, connect_s=2.0, close_s=0.1)


class Bench:
    """A keeper whose connections are only noted, under a clock that is set by hand."""

    def __init__(self, addresses: tuple[str, ...] = ("ws://127.0.0.1:9/ws",)) -> None:
        self.now_us = 0
        self.delays: list[float] = []
        self.canceled = 0
        self.keeper = LinkKeeper(
            addresses,
            self.report,
            self.spawn,
            link_times=TIMES,
            times=KeepTimes(rotate_s=100.0, stable_s=30.0, retry_base_s=1.0, retry_cap_s=8.0),
            attempts=Allowance(6_000).connects,
            rng=random.Random(4),
            clock_us=lambda: self.now_us,
            sleep=asyncio.sleep,
        )

    async def report(self, report: object) -> None:
        raise AssertionError("no connection runs here")

    def spawn(self, work):
        self.delays.append(work.cr_frame.f_locals["delay_s"])
        work.close()
        bench = self

        class Task:
            def cancel(self):
                bench.canceled += 1

        return Task()

    @property
    def links(self):
        return list(self.keeper._links)


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.keeper.connect()
    return bench


def test_the_old_connection_stays_until_the_new_one_brings_data(bench):
    (old,) = bench.links
    bench.keeper.opened(old)
    assert bench.keeper.proved(old, 7)
    assert not bench.keeper.proved(old, 8)
    bench.keeper.replace(old, "time for another")
    bench.keeper.replace(old, "time for another")
    assert len(bench.links) == 2
    _, new = bench.links
    bench.keeper.opened(new)
    bench.keeper.proved(old, 8)
    bench.keeper.settle(8)
    assert bench.canceled == 0
    bench.keeper.proved(new, 12)
    bench.keeper.settle(10)
    assert bench.canceled == 0, "id 11 may still come over the old one"
    bench.keeper.settle(11)
    assert (bench.canceled, bench.links) == (1, [new])


def test_an_old_connection_that_ends_is_not_replaced_twice(bench):
    (old,) = bench.links
    bench.keeper.opened(old)
    bench.keeper.replace(old, "time for another")
    bench.keeper.closed(Closed(old, "gone"))
    bench.keeper.closed(Closed(old, "gone"))
    assert bench.keeper.made_count == 2


def test_a_replacement_that_fails_is_tried_again(bench):
    (old,) = bench.links
    bench.keeper.opened(old)
    bench.keeper.replace(old, "time for another")
    _, new = bench.links
    bench.keeper.closed(Closed(new, "refused"))
    assert bench.keeper.made_count == 3
    assert old in bench.links


def test_delays_grow_until_data_flowed_for_long_enough(bench):
    (link,) = bench.links
    for _ in range(8):
        bench.keeper.opened(link)
        bench.keeper.proved(link, 7)
        bench.now_us += 1_000_000
        bench.keeper.closed(Closed(link, "gone"))
        (link,) = bench.links
    assert max(bench.delays[1:]) > 1.0
    bench.keeper.opened(link)
    bench.keeper.proved(link, 7)
    bench.now_us += 30_000_000
    bench.keeper.closed(Closed(link, "gone", pause_s=5.0))
    assert 5.0 <= bench.delays[-1] <= 6.0


def test_a_server_that_sends_everyone_away_is_not_stormed(bench):
    for _ in range(10):
        link = bench.links[-1]
        bench.keeper.opened(link)
        bench.keeper.replace(link, "time for another")
    assert max(bench.delays) > 1.0
    link = bench.links[-1]
    bench.keeper.opened(link)
    bench.keeper.proved(link, 7)
    bench.now_us += 30_000_000
    bench.keeper.replace(link, "time for another")
    assert bench.delays[-1] == 0.0


def test_connections_are_rotated_at_their_age(bench):
    (link,) = bench.links
    bench.keeper.rotate()
    bench.keeper.opened(link)
    bench.now_us = 99_999_999
    bench.keeper.rotate()
    assert bench.keeper.made_count == 1
    bench.now_us = 100_000_000
    bench.keeper.rotate()
    bench.keeper.rotate()
    assert bench.keeper.made_count == 2


def test_only_suspects_are_outrun(bench):
    (link,) = bench.links
    bench.keeper.opened(link)
    bench.keeper.outrun()
    bench.keeper.silent(Silent(link, alive=True))
    assert bench.keeper.made_count == 1
    bench.keeper.proved(link, 7)
    bench.keeper.outrun()
    assert bench.keeper.made_count == 1
    bench.keeper.silent(Silent(link, alive=True))
    bench.keeper.outrun()
    assert bench.keeper.made_count == 2


def test_an_address_that_never_worked_is_given_up(bench):
    for _ in range(2):
        bench.keeper.closed(Closed(bench.links[0], "connection refused"))
    with pytest.raises(SourceError, match=r"cannot reach ws://.*refused; check --stream-url"):
        bench.keeper.closed(Closed(bench.links[0], "connection refused"))


def test_an_address_that_worked_is_never_given_up(bench):
    bench.keeper.opened(bench.links[0])
    for _ in range(50):
        bench.keeper.closed(Closed(bench.links[0], "connection refused", permanent=True))
    assert bench.keeper.made_count == 51


class Attempts:
    """A keeper whose attempts are noted with their times and fail at once, in virtual time."""

    def __init__(self, monkeypatch, addresses=("ws://127.0.0.1:9/ws",), pause_s=0.0):
        self.made: list[tuple[float, str]] = []
        self.now_s = 0.0
        self.closed: list[Closed] = []

        async def fail(link, url, report, times, clock_us):
            self.made.append((self.now_s, url))
            await report(Closed(link, "no", pause_s=pause_s))

        async def note(report):
            self.closed.append(report)

        async def sleep(seconds):
            self.now_s += seconds

        monkeypatch.setattr(links, "run_link", fail)
        self.tasks: list[asyncio.Task[None]] = []
        self.keeper = LinkKeeper(
            addresses,
            note,
            self.spawn,
            link_times=TIMES,
            times=KeepTimes(rotate_s=100.0, stable_s=30.0, retry_base_s=0.001, retry_cap_s=0.001),
            attempts=Allowance(6_000).connects,
            rng=random.Random(4),
            clock_us=lambda: int(self.now_s * 1e6),
            sleep=sleep,
        )
        self.keeper.opened(Link(-1))

    def spawn(self, work):
        task = asyncio.create_task(work)
        self.tasks.append(task)
        return task

    async def run(self, count: int) -> None:
        self.keeper.connect()
        while len(self.made) < count:
            await self.tasks[-1]
            self.keeper.closed(self.closed.pop())
        await self.tasks[-1]


async def test_connections_are_tried_no_faster_than_the_venue_allows(monkeypatch):
    attempts = Attempts(monkeypatch)
    await attempts.run(200)
    times = [at_s for at_s, _ in attempts.made]
    for i, at_s in enumerate(times):
        assert sum(at_s <= other < at_s + 300 for other in times[i:]) <= 250
    assert times[10] < 1.0, "a few attempts are quick"


async def test_a_pause_that_the_server_named_is_kept_by_every_attempt(monkeypatch):
    attempts = Attempts(monkeypatch, pause_s=7.0)
    await attempts.run(3)
    (first, _), (second, _), (third, _) = attempts.made[:3]
    assert second - first >= 7.0
    assert third - second >= 7.0
    attempts.keeper.connect()
    await attempts.tasks[-1]
    assert attempts.made[-1][0] >= third + 7.0


async def test_the_next_address_is_taken_when_one_brings_no_data(monkeypatch):
    attempts = Attempts(monkeypatch, addresses=("ws://a", "ws://b", "ws://c"))
    await attempts.run(5)
    assert [url for _, url in attempts.made[:5]] == [f"ws://{host}" for host in "abcab"]


def test_an_address_that_brought_data_is_kept():
    bench = Bench(("ws://a", "ws://b"))
    bench.keeper.connect()
    bench.keeper.opened(bench.links[0])
    bench.keeper.proved(bench.links[0], 7)
    bench.keeper.closed(Closed(bench.links[0], "gone"))
    assert bench.keeper._address == "ws://a"
    bench.keeper.replace(bench.links[0], "silent from the start")
    assert bench.keeper._address == "ws://b"


async def test_pings_before_the_last_frame_are_no_sign_of_life(open_venue, instrument, make_trades):
    rules = ConnectionRules(ping_s=0.02, messages_per_s=1_000)
    venue = await open_venue(instrument, make_trades(3), rules=rules, faults=[Stall(1_001)])
    keeper = Bench().keeper
    keeper.connect()
    (link,) = keeper._links
    reports: asyncio.Queue[object] = asyncio.Queue()
    running = asyncio.create_task(
        run_link(
            link,
            f"{venue.ws_url}/ws/btcusdt@aggTrade",
            reports.put,
            TIMES,
            clock_us=lambda: 7,
        )
    )
    assert await reports.get() == Opened(link)
    await asyncio.sleep(0.1)
    await venue.publish(2)
    report = await reports.get()
    assert isinstance(report, Received)
    assert report.received_us == 7
    assert await asyncio.wait_for(reports.get(), 5) == Silent(link, alive=False)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
