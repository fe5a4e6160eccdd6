import asyncio
import random

import pytest

from flowtape.connectors.binance.link import Closed, LinkTimes, Opened, Received, Silent, run_link
from flowtape.connectors.binance.links import KeepTimes, LinkKeeper
from flowtape.connectors.venue.connection import ConnectionRules
from flowtape.connectors.venue.faults import Stall
from flowtape.stream.errors import SourceError

TIMES = LinkTimes(first_data_s=0.2, silence_s=0.2, connect_s=2.0, close_s=0.1)


class Bench:
    """A keeper whose connections are only noted, under a clock that is set by hand."""

    def __init__(self) -> None:
        self.now_us = 0
        self.delays: list[float] = []
        self.canceled = 0
        self.keeper = LinkKeeper(
            "ws://127.0.0.1:9/ws",
            self.report,
            self.spawn,
            link_times=TIMES,
            times=KeepTimes(rotate_s=100.0, stable_s=30.0, retry_base_s=1.0, retry_cap_s=8.0),
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
    assert bench.keeper.proved(old)
    assert not bench.keeper.proved(old)
    bench.keeper.replace(old)
    bench.keeper.replace(old)
    assert len(bench.links) == 2
    _, new = bench.links
    bench.keeper.opened(new)
    bench.keeper.proved(old)
    assert bench.canceled == 0
    bench.keeper.proved(new)
    assert (bench.canceled, bench.links) == (1, [new])


def test_an_old_connection_that_ends_is_not_replaced_twice(bench):
    (old,) = bench.links
    bench.keeper.opened(old)
    bench.keeper.replace(old)
    bench.keeper.closed(Closed(old, "gone"))
    bench.keeper.closed(Closed(old, "gone"))
    assert bench.keeper.made_count == 2


def test_a_replacement_that_fails_is_tried_again(bench):
    (old,) = bench.links
    bench.keeper.opened(old)
    bench.keeper.replace(old)
    _, new = bench.links
    bench.keeper.closed(Closed(new, "refused"))
    assert bench.keeper.made_count == 3
    assert old in bench.links


def test_delays_grow_until_data_flowed_for_long_enough(bench):
    (link,) = bench.links
    for _ in range(8):
        bench.keeper.opened(link)
        bench.keeper.proved(link)
        bench.now_us += 1_000_000
        bench.keeper.closed(Closed(link, "gone"))
        (link,) = bench.links
    assert max(bench.delays[1:]) > 1.0
    bench.keeper.opened(link)
    bench.keeper.proved(link)
    bench.now_us += 30_000_000
    bench.keeper.closed(Closed(link, "gone", pause_s=5.0))
    assert 5.0 <= bench.delays[-1] <= 6.0


def test_a_server_that_sends_everyone_away_is_not_stormed(bench):
    for _ in range(10):
        link = bench.links[-1]
        bench.keeper.opened(link)
        bench.keeper.replace(link)
    assert max(bench.delays) > 1.0
    link = bench.links[-1]
    bench.keeper.opened(link)
    bench.keeper.proved(link)
    bench.now_us += 30_000_000
    bench.keeper.replace(link)
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
    bench.keeper.proved(link)
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
            delay_s=0.0,
            clock_us=lambda: 7,
            sleep=asyncio.sleep,
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
