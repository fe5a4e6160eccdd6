"""How a symbol is listed while a source runs: its status, and its rules, which change."""

import logging
import math
import random
from collections.abc import Callable

from flowtape.connectors.binance.asking import TRADING
from flowtape.connectors.binance.filters import rules_of
from flowtape.connectors.binance.pacing import Backoff
from flowtape.connectors.binance.rest import Listed
from flowtape.stream.execution import VenueRules
from flowtape.stream.instrument import Instrument
from flowtape.stream.ports import Rules
from flowtape.stream.venue_rules import RULE_NAMES, differences, in_words

STATUS_EVERY_US = 300_000_000
HALTED_EVERY_US = 30_000_000
"""How often a silent symbol's status is asked for, and one that is known to be halted."""

JITTER = 0.1
"""Delays between questions are up to so much longer or shorter, so that not all come at once."""

RETRY_S = 60.0

_log = logging.getLogger(__name__)


class ListingWatch:
    """What is known of a symbol's listing, and when to ask again.

    Args:
        every_s: how often the rules are asked for; `inf` for never.
        changed: called with the rules that changed, names and values.
        rng: source of jitter.
        now_us: our clock.
    """

    def __init__(
        self,
        every_s: float,
        changed: Callable[[dict[str, int]], None] | None,
        rng: random.Random,
        now_us: int,
    ) -> None:
        self.halted = False
        self.rules = VenueRules()
        self._every_s = every_s
        self._changed = changed
        self._rng = rng
        self._retry = Backoff(min(RETRY_S, every_s), min(32 * RETRY_S, every_s), rng)
        self._status_us = now_us
        self._due_us: int | None = None
        self._asked = False
        self._warned: set[str] = set()
        self._news: Rules | None = None

    def begin(self, listed: Listed, instrument: Instrument, now_us: int) -> None:
        """Take the listing as it is when the source is opened."""
        unknown = self._take_rules(listed, instrument)
        self._news = Rules(listed.server_us, self.rules, unknown)
        self._plan(now_us)

    def silent(self, now_us: int) -> bool:
        """Take note that nothing comes; tells whether to ask how the symbol stands."""
        if now_us < self._status_us or self._asked:
            return False
        self._status_us = now_us + STATUS_EVERY_US
        self._asked = True
        return True

    def is_due(self, now_us: int) -> bool:
        """Tell whether it is time to ask for the rules again."""
        if self._due_us is None or now_us < self._due_us or self._asked:
            return False
        self._asked = True
        return True

    def traded(self) -> None:
        """Take note of a trade: the symbol is not halted."""
        self.halted = False

    def told(self, listed: Listed, instrument: Instrument, now_us: int) -> None:
        """Take an answer."""
        self._asked = False
        self._retry.reset()
        self._plan(now_us)
        halted = listed.info.status != TRADING
        if halted != self.halted:
            _log.warning("%s is now %s", instrument.symbol, listed.info.status)
        self.halted = halted
        if halted:
            self._status_us = min(self._status_us, now_us + HALTED_EVERY_US)
        before = self.rules
        unknown = self._take_rules(listed, instrument)
        if changes := differences(before, self.rules):
            _log.warning("%s: %s", instrument.symbol, in_words(instrument, changes))
            self._news = Rules(listed.server_us, self.rules, unknown)
            if self._changed is not None:
                self._changed({RULE_NAMES[number]: value for number, value in changes})

    def not_told(self, now_us: int, pause_s: float) -> None:
        """Take note that there was no answer, and how long the venue wants not to be asked."""
        self._asked = False
        if self._due_us is not None and self._due_us <= now_us:
            self._due_us = now_us + int(self._retry.next_s(max(1.0, pause_s)) * 1e6)

    def take_news(self) -> Rules | None:
        """Return the rules if they are news, once."""
        news, self._news = self._news, None
        return news

    def _take_rules(self, listed: Listed, instrument: Instrument) -> tuple[str, ...]:
        self.rules, left = rules_of(listed.info, instrument, self.rules)
        for text in left.values():
            if text not in self._warned:
                self._warned.add(text)
                _log.warning("%s", text)
        return tuple(left)

    def _plan(self, now_us: int) -> None:
        if math.isfinite(self._every_s):
            part = self._rng.uniform(1 - JITTER, 1 + JITTER)
            self._due_us = now_us + int(self._every_s * part * 1e6)
