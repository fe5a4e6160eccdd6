"""The weather of a synthetic market: how busy, how volatile and how directed each second is."""

from dataclasses import dataclass

import numpy as np

from flowtape.replay.generator_tables import ONE, Bits, exp_fixed, exponential_table, normal_table
from flowtape.stream.trades import I64

_DAY_S = 86_400
# Busyness by UTC hour in percent of the ordinary: quiet before Asia wakes up, busy while Europe
# and America are both awake.
_HOURS_PERCENT = (
    *(105, 95, 85, 75, 70, 70, 80, 95, 105, 110, 105, 100),
    *(110, 140, 165, 160, 140, 120, 110, 105, 100, 95, 95, 105),
)


@dataclass(frozen=True, slots=True)
class Mood:
    """One value for each second.

    `rate_q16` and `vol_q16` are factors on the ordinary, in 1/65536; `trend` is 1, 0 or -1.
    """

    rate_q16: I64
    vol_q16: I64
    trend: I64


@dataclass(frozen=True, slots=True)
class _Kind:
    weight: int
    mean_s: int
    rate_percent: int
    vol_percent: int
    trend: int


_KINDS = (
    _Kind(weight=20, mean_s=900, rate_percent=60, vol_percent=50, trend=0),
    _Kind(weight=30, mean_s=1_200, rate_percent=90, vol_percent=80, trend=0),
    _Kind(weight=20, mean_s=800, rate_percent=120, vol_percent=110, trend=1),
    _Kind(weight=20, mean_s=800, rate_percent=120, vol_percent=110, trend=-1),
    _Kind(weight=10, mean_s=240, rate_percent=220, vol_percent=230, trend=0),
)


class Moods:
    """An endless run of moods; each lasts some minutes."""

    def __init__(self, bits: Bits) -> None:
        self._bits = bits
        self._kind = _KINDS[1]
        self._left_s = 600
        self._slow_q16 = 0
        self._fast_q16 = 0

    def next_seconds(self, first_s: int, count: int) -> Mood:
        """Return the next `count` seconds; the first is `first_s` seconds after 1970."""
        kinds = [self._next_kind() for _ in range(count)]
        slow = self._wander("_slow_q16", count, span=1_200, sd_percent=45)
        fast = self._wander("_fast_q16", count, span=12, sd_percent=55)
        second = (first_s + np.arange(count)) % _DAY_S
        hours = np.array(_HOURS_PERCENT, np.int64)
        hour, into = second // 3_600, second % 3_600
        shape = hours[hour] + (hours[(hour + 1) % 24] - hours[hour]) * into // 3_600
        rate = np.array([kind.rate_percent for kind in kinds]) * shape * 6
        vol = np.array([kind.vol_percent for kind in kinds]) * ONE // 100
        return Mood(
            np.maximum(rate * exp_fixed(slow + fast) // 60_000, 64),
            vol * exp_fixed(slow + fast // 2) >> 16,
            np.array([kind.trend for kind in kinds], np.int64),
        )

    def _next_kind(self) -> _Kind:
        if self._left_s <= 0:
            ticket = self._bits.one() * sum(kind.weight for kind in _KINDS) >> 16
            for kind in _KINDS:
                ticket -= kind.weight
                if ticket < 0:
                    self._kind = kind
                    break
            length = int(exponential_table()[self._bits.one()]) * self._kind.mean_s >> 16
            self._left_s = 60 + length
        self._left_s -= 1
        return self._kind

    def _wander(self, name: str, count: int, *, span: int, sd_percent: int) -> I64:
        # An Ornstein-Uhlenbeck walk with relaxation time `span` s, in integers.
        state: int = getattr(self, name)
        kick = round((2 / span) ** 0.5 * 1_000) * sd_percent
        noise = (normal_table()[self._bits.u16(count)] * kick // 100_000).tolist()
        path = []
        for step in noise:
            state += step - state // span
            path.append(state)
        setattr(self, name, state)
        return np.array(path, np.int64)
