"""A session that goes on whatever is shown of it, and can be looked back on; without an engine."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowtape.stream.errors import InputError
from flowtape.stream.ports import StepUnit, TransportState
from flowtape.stream.view import MarketView
from tests.dashboards.feeder import Feeder


class LiveSession(Feeder):
    """The present of a live market; `past` plays what lies behind it while a screen looks back."""

    def __init__(self, **options: Any) -> None:
        self.past: Feeder | None = None
        self.trouble = ""
        self._symbols = options.get("symbols", ("BTCUSDT",))
        super().__init__(**{"speed": 1.0, **options}, live=True)

    def _look(self, number: int) -> MarketView:
        past = self.past
        return self.views[number] if past is None else past.views[number]

    def close(self) -> None:
        self._leave_past()
        super().close()

    def state(self) -> TransportState:
        now, past = replace(super().state(), trouble=self.trouble), self.past
        if past is None:
            return replace(now, now_us=now.clock_us)
        past._end_us = now.clock_us
        return replace(
            past.state(),
            live=True,
            now_us=now.clock_us,
            looking_back=True,
            trouble=now.trouble,
        )

    def seek(self, ts_us: int) -> None:
        self.commands.append("seek")
        if self.past is not None:
            self.past.seek(ts_us)
            return
        at_s = (ts_us - self._start_us) / 1e6
        past = Feeder(symbols=self._symbols, markets=self.markets, at_s=at_s)
        self.past = past.start()

    def to_now(self) -> None:
        self.commands.append("now")
        self._leave_past()

    def play(self) -> None:
        if self.past is not None:
            self.past.play()

    def pause(self) -> None:
        self._steered("be paused").pause()

    def set_speed(self, speed: float) -> None:
        self._steered(f"run at {speed:g}x").set_speed(speed)

    def step(self, unit: StepUnit) -> None:
        self._steered(f"go on by one {unit}").step(unit)

    def overview(self, bins_count: int) -> NDArray[np.int64]:
        trades = self.markets[0].trades
        span_us = max(1, int(self._clock_us) - self._start_us)
        at = (trades.ts_us - self._start_us) * bins_count // span_us
        known = at < bins_count
        return np.bincount(at[known], trades.qty_lots[known], bins_count).astype(np.int64)

    def _steered(self, what: str) -> Feeder:
        if self.past is None:
            raise InputError(f"a live feed cannot {what}")
        return self.past

    def _leave_past(self) -> None:
        past, self.past = self.past, None
        if past is not None:
            past.close()
