"""What a source is told about waiting, and what it tells about itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceTimes:
    """How long a source waits for what, in seconds.

    `quiet_s` without an event makes a `Clock`; `rotate_s` is the age at which a connection is
    replaced, below the venue's 24 hours; `stable_s` of data end the growth of reconnect delays
    between `retry_base_s` and `retry_cap_s`; `repair_retry_s` caps the delays between queries;
    `finish_s` is how long a source that is to finish waits for trades that are being repaired;
    `rules_s` is how often, about, the venue is asked for its rules of orders, `inf` for never.
    """

    first_data_s: float = 10.0
    connect_s: float = 10.0
    close_s: float = 1.0
    request_s: float = 10.0
    ping_s: float = 20.0
    quiet_s: float = 0.1
    rotate_s: float = 23.5 * 3600
    stable_s: float = 30.0
    retry_base_s: float = 0.25
    retry_cap_s: float = 30.0
    repair_retry_s: float = 2.0
    finish_s: float = 2.0
    rules_s: float = 3_600.0


@dataclass(frozen=True, slots=True)
class SourceStatistics:
    """What a source has seen so far.

    `rejected` frames and rows could not be decoded; `foreign` ones were of no use here; `repaired`
    rows came over REST first; `missing` ids lie in `gaps`. The symbol is `halted` when the venue
    says that it is not traded. `lag_us` is how much longer the last frame took than the fastest one
    of its connection.
    """

    connected: bool
    halted: bool
    repairing: bool
    frames: int
    trades: int
    duplicates: int
    conflicts: int
    late: int
    voids: int
    repaired: int
    gaps: int
    missing: int
    rejected: int
    foreign: int
    reconnects: int
    lag_us: int
