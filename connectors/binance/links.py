"""Keep one good connection: reconnect, and replace without a hole by opening before closing."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from flowtape.connectors.binance.link import Closed, Link, LinkTimes, Report, Silent, run_link
from flowtape.connectors.binance.pacing import Backoff, Sleep, TokenBucket
from flowtape.stream.errors import SourceError

FIRST_ATTEMPTS = 3
"""So many failures before the first connection ever stood are taken for a wrong address."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeepTimes:
    """When connections are renewed, in seconds.

    `rotate_s` is the age at which a connection is replaced; `stable_s` of data end the growth of
    the delays between `retry_base_s` and `retry_cap_s`.
    """

    rotate_s: float
    stable_s: float
    retry_base_s: float
    retry_cap_s: float


class LinkKeeper:
    """The connections to one market, of which one is meant to bring data.

    Of several addresses the next one is taken when a connection ended without having brought data.

    A connection that is to be replaced is `retiring`: it stays until the one after it brings data
    and everything before its first trade is accounted for. Reports of `run_link` go through the
    caller's inbox and come back to the methods. Each one spends from `attempts`.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        report: Report,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        *,
        link_times: LinkTimes,
        times: KeepTimes,
        attempts: TokenBucket,
        rng: random.Random,
        clock_us: Callable[[], int],
        sleep: Sleep,
    ) -> None:
        self._addresses = addresses
        self._address_at = 0
        self._report = report
        self._spawn = spawn
        self._link_times = link_times
        self._times = times
        self._clock_us = clock_us
        self._sleep = sleep
        self._backoff = Backoff(times.retry_base_s, times.retry_cap_s, rng)
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._attempts = attempts
        self._free_us = 0
        self._ever_opened = False
        self.made_count = 0

    @property
    def standing(self) -> bool:
        """Tell whether a connection stands."""
        return any(link.opened_us is not None for link in self._links)

    def connect(self, delay_s: float = 0.0) -> None:
        """Open a connection after a delay."""
        link = Link(self.made_count)
        self.made_count += 1
        self._links[link] = self._spawn(self._run(link, delay_s))

    async def _run(self, link: Link, delay_s: float) -> None:
        await self._sleep(delay_s)
        while (pause_us := self._free_us - self._clock_us()) > 0:
            await self._sleep(pause_us / 1e6)
        await self._sleep(self._attempts.spend(1, self._clock_us()))
        await run_link(link, self._address, self._report, self._link_times, self._clock_us)

    @property
    def _address(self) -> str:
        return self._addresses[self._address_at]

    def opened(self, link: Link) -> None:
        """Take note that a connection stands."""
        self._ever_opened = True
        link.opened_us = self._clock_us()

    def proved(self, link: Link, agg_id: int) -> bool:
        """Take note that a connection brought a trade; tells whether it was its first."""
        link.suspect = False
        if link.data_us is not None:
            return False
        link.data_us = self._clock_us()
        link.first_id = agg_id
        return True

    def settle(self, last_id: int) -> None:
        """Close connections that are no longer needed when all ids to `last_id` are accounted for.

        What a new connection lacks, because it came too late for it, may still be on its way over
        the old one.
        """
        if len(self._links) > 1 and any(
            not link.retiring and link.first_id is not None and link.first_id <= last_id + 1
            for link in self._links
        ):
            self._close_retiring()

    def silent(self, report: Silent) -> None:
        """Take note that a connection brought nothing; replaces it when the server is mute too."""
        report.link.suspect = True
        if not report.alive and report.link in self._links:
            self.replace(report.link, "nothing came for too long")

    def outrun(self) -> None:
        """Take note that REST has trades that silent connections did not bring."""
        for link in [link for link in self._links if link.suspect]:
            self.replace(link, "REST has trades that the connection did not bring")

    def replace(self, link: Link, why: str) -> None:
        """Open a connection in place of another, unless that is under way.

        At once when the other served well; else after a delay, so that a server which sends every
        client away is not stormed.
        """
        if not link.retiring:
            _log.warning("%s; opening another connection", why)
            self._close_retiring()
            link.retiring = True
            self._choose_address(link)
            self.connect(0.0 if self._served_well(link) else self._backoff.next_s())

    def rotate(self) -> None:
        """Replace connections that are about to be ended by the venue for their age."""
        oldest_us = self._clock_us() - self._times.rotate_s * 1e6
        for link in list(self._links):
            if not link.retiring and link.opened_us is not None and link.opened_us <= oldest_us:
                self.replace(link, "the connection is old enough for the venue to end it soon")

    def closed(self, report: Closed) -> None:
        """Take note that a connection ended, and connect again if it was the last good one.

        Raises SourceError when the address never worked.
        """
        link = report.link
        self._free_us = max(self._free_us, self._clock_us() + int(report.pause_s * 1e6))
        if self._links.pop(link, None) is None:
            return
        hopeless = report.permanent and len(self._addresses) == 1
        if not self._ever_opened and (hopeless or self._backoff.failures + 1 >= FIRST_ATTEMPTS):
            raise SourceError(f"cannot reach {self._address}: {report.why}; check --stream-url")
        if any(not other.retiring for other in self._links):
            return
        self._choose_address(link)
        self._served_well(link)
        delay_s = self._backoff.next_s(report.pause_s)
        _log.warning("%s; connecting again in %.2f s", report.why, delay_s)
        self.connect(delay_s)

    def _choose_address(self, after: Link) -> None:
        if after.data_us is None:
            self._address_at = (self._address_at + 1) % len(self._addresses)

    def _served_well(self, link: Link) -> bool:
        if link.data_us is None or self._clock_us() - link.data_us < self._times.stable_s * 1e6:
            return False
        self._backoff.reset()
        return True

    def _close_retiring(self) -> None:
        for link in [link for link in self._links if link.retiring]:
            self._links.pop(link).cancel()
