"""What order flow an engine works out; the meanings stand in `docs/ORDERFLOW.md`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from flowtape.stream.records import ORDERFLOW_CONFIG, Records


@dataclass(frozen=True, slots=True)
class TimeBars:
    """Bars on a grid of stream time.

    Attributes:
        span_us: from one to the next.
        row_ticks: price span of a row of their footprints; 0: no footprints.
    """

    kind: ClassVar[int] = 0

    span_us: int
    row_ticks: int = 0

    @property
    def threshold(self) -> int:
        """What ends a bar, in the kernel's unit."""
        return self.span_us


@dataclass(frozen=True, slots=True)
class TickBars:
    """Bars of a number of trades; `row_ticks` as in `TimeBars`, 0: no footprints."""

    kind: ClassVar[int] = 1

    trades_count: int
    row_ticks: int = 0

    @property
    def threshold(self) -> int:
        """What ends a bar, in the kernel's unit."""
        return self.trades_count


@dataclass(frozen=True, slots=True)
class VolumeBars:
    """Bars of a volume in lots; `row_ticks` as in `TimeBars`, 0: no footprints."""

    kind: ClassVar[int] = 2

    lots: int
    row_ticks: int = 0

    @property
    def threshold(self) -> int:
        """What ends a bar, in the kernel's unit."""
        return self.lots


@dataclass(frozen=True, slots=True)
class DollarBars:
    """Bars of a notional, ticks times lots; `row_ticks` as in `TimeBars`, 0: no footprints."""

    kind: ClassVar[int] = 3

    ticklots: int
    row_ticks: int = 0

    @property
    def threshold(self) -> int:
        """What ends a bar, in the kernel's unit."""
        return self.ticklots


@dataclass(frozen=True, slots=True)
class DeltaBars(VolumeBars):
    """Bars that end when bought minus sold volume reaches `lots` up or down."""

    kind: ClassVar[int] = 4


@dataclass(frozen=True, slots=True)
class TickImbalanceBars(TickBars):
    """Bars that end when one side has made `trades_count` more trades than the other."""

    kind: ClassVar[int] = 5


@dataclass(frozen=True, slots=True)
class TickRunBars(TickBars):
    """Bars that end when one side has made `trades_count` trades."""

    kind: ClassVar[int] = 6


@dataclass(frozen=True, slots=True)
class VolumeRunBars(VolumeBars):
    """Bars that end when one side has traded `lots`."""

    kind: ClassVar[int] = 7


BarSeries = TimeBars | TickBars | VolumeBars | DollarBars


@dataclass(frozen=True, slots=True)
class Footprints:
    """How footprints are read, in every series that has them.

    Attributes:
        rows_max: rows of a bar, a power of two to 1024; wider ranges get wider rows.
        imbalance_ppm: a row's volume against the other side's diagonally next to it; 0: no marks.
        imbalance_min_lots: volume below which nothing is marked.
        stack_count: neighbouring marked rows that make a stack.
    """

    rows_max: int = 256
    imbalance_ppm: int = 3_000_000
    imbalance_min_lots: int = 0
    stack_count: int = 3


@dataclass(frozen=True, slots=True)
class LargeBubbles:
    """Which bubbles are large: those from a quantile of the newest ones' volume on.

    Attributes:
        window_count: bubbles looked back, to 65536.
        ppm: the quantile in millionths.
        min_count: bubbles before any is large.
    """

    window_count: int = 4096
    ppm: int = 990_000
    min_count: int = 100


@dataclass(frozen=True, slots=True)
class RecentTime:
    """Volume and trades of a moving piece of stream time, on a grid of `slot_us` microseconds."""

    slot_us: int = 1_000_000
    slot_count: int = 60


@dataclass(frozen=True, slots=True)
class Sweeps:
    """Runs of one aggressor through at least `level_count` prices within `window_us`."""

    level_count: int
    window_us: int = 0


@dataclass(frozen=True, slots=True)
class Absorption:
    """At least `lots` against one price that holds, and a turn by `turn_ticks`."""

    lots: int
    window_us: int
    turn_ticks: int


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """At least `count` new extremes with falling volume, and a turn by `turn_ticks`."""

    count: int
    turn_ticks: int


@dataclass(frozen=True, slots=True)
class OrderFlow:
    """What is worked out besides bars and bubbles; what is switched off costs nothing.

    Attributes:
        footprints: how footprints are read.
        value_area_ppm: volume that a value area holds at least.
        large_bubbles: which bubbles are large; None: not said.
        vwap: keep VWAP and its variance, of the session and of anchors.
        anchor_on_utc_day: set anchor 0 at each UTC day.
        size_class_lots: thresholds of delta by trade size, rising, at most 8.
        recent_trades_count: trades of the trade imbalance, to 65536; 0: none.
        recent_time: the moving piece of time of intensity and imbalance; None: none.
        sweeps, absorption, exhaustion: which marks are made; None: none.
        sums: where there are no bars, keep the sums of the session; bars bring them anyway.
    """

    footprints: Footprints = field(default_factory=Footprints)
    value_area_ppm: int = 700_000
    large_bubbles: LargeBubbles | None = field(default_factory=LargeBubbles)
    vwap: bool = False
    anchor_on_utc_day: bool = True
    size_class_lots: tuple[int, ...] = ()
    recent_trades_count: int = 0
    recent_time: RecentTime | None = None
    sweeps: Sweeps | None = None
    absorption: Absorption | None = None
    exhaustion: Exhaustion | None = None
    sums: bool = True


NO_ORDER_FLOW = OrderFlow(large_bubbles=None, vwap=False, recent_time=None)


def make_orderflow(
    flow: OrderFlow,
    bars: Sequence[BarSeries],
    *,
    bubbles_on: bool,
    bubble_window_us: int,
    bubble_band_ticks: int,
    profile_rows_max: int,
) -> Records:
    """Return the kernel's settings, one record of `records.ORDERFLOW_CONFIG`.

    Raises ValueError or OverflowError for settings that no record can hold.
    """
    large = (flow.large_bubbles if bubbles_on else None) or LargeBubbles(window_count=0)
    recent = flow.recent_time or RecentTime(0, 1)
    sweeps = flow.sweeps or Sweeps(0)
    absorption = flow.absorption or Absorption(0, 0, 1)
    exhaustion = flow.exhaustion or Exhaustion(0, 1)
    record = np.zeros(1, ORDERFLOW_CONFIG)
    settings = {
        "series_count": len(bars),
        "sums_on": flow.sums and not bars,
        "footprint_rows_max": flow.footprints.rows_max,
        "value_area_ppm": flow.value_area_ppm,
        "imbalance_ppm": flow.footprints.imbalance_ppm,
        "imbalance_min_lots": flow.footprints.imbalance_min_lots,
        "imbalance_stack_count": flow.footprints.stack_count,
        "bubbles_on": bubbles_on,
        "bubble_window_us": bubble_window_us,
        "bubble_band_ticks": bubble_band_ticks,
        "large_window_count": large.window_count,
        "large_ppm": large.ppm,
        "large_min_count": large.min_count,
        "profile_rows_max": profile_rows_max,
        "vwap_on": flow.vwap,
        "anchor_on_utc_day": flow.vwap and flow.anchor_on_utc_day,
        "size_class_count": len(flow.size_class_lots),
        "recent_trades_count": flow.recent_trades_count,
        "recent_slot_us": recent.slot_us,
        "recent_slot_count": recent.slot_count,
        "sweep_level_count": sweeps.level_count,
        "sweep_window_us": sweeps.window_us,
        "absorption_lots": absorption.lots,
        "absorption_window_us": absorption.window_us,
        "absorption_ticks": absorption.turn_ticks,
        "exhaustion_count": exhaustion.count,
        "exhaustion_ticks": exhaustion.turn_ticks,
    }
    for name, value in settings.items():
        record[name] = value
    for place, one in enumerate(bars):
        record["series"][0, place] = (one.kind, one.threshold, one.row_ticks)
    for place, lots in enumerate(flow.size_class_lots):
        if place == record["size_class_lots"].shape[1]:
            raise ValueError(f"at most {place} size classes, were {len(flow.size_class_lots)}")
        record["size_class_lots"][0, place] = lots
    return record
