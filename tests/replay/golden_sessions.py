"""Whole sessions over generated tapes, and the digests they came to.

golden_sessions.json holds them, together with the version of the kernel's semantics and that of a
session's genesis they were made with. `python -m tests.replay.golden_sessions --write` makes it
anew. It refuses to write other digests under the same versions: raise FLOW_SEMANTICS_VERSION in
kernel/include/flow_types.h (and in crates/flowtape-sys) when equal inputs lead to other results, or
SCHEMA in stream/genesis.py when a genesis says other things, and tell of it in CHANGELOG.md.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flowtape._kernel import SEMANTICS_VERSION
from flowtape.replay.generate import GeneratorConfig
from flowtape.stream.config import EngineConfig, MarketSettings, TimeBars
from flowtape.stream.engine import Engine
from flowtape.stream.execution import AccountKind, FeeTier, LaneRules, VenueRules
from flowtape.stream.genesis import SCHEMA
from flowtape.stream.instrument import Instrument
from flowtape.stream.orderflow import OrderFlow, Sweeps
from flowtape.stream.session import Session
from flowtape.stream.strategy import Strategy
from tests.replay.golden_strategies import Instructor, Pair, Quoter
from tests.replay.kept_sessions import Person, Place

GOLDEN = Path(__file__).with_suffix(".json")

VERSIONS = {"semantics_version": SEMANTICS_VERSION, "genesis_schema": SCHEMA}

_COARSE = GeneratorConfig.preset("coarse")
_QUIET = replace(
    _COARSE,
    instrument=Instrument("QUIETUSDT", "um", 2, 3),
    order_rate_mhz=300,
    burst_ppm=0,
    noise_ticks_q16=8_000,
)
_CASCADE = replace(
    _COARSE,
    instrument=Instrument("CASCADEUSDT", "um", 2, 3),
    burst_ppm=150_000,
    burst_count_max=2_000,
    sweep_ppm=400_000,
    impact_ticks_q16=40_000,
    permanent_q16=20_000,
)
_FINE = GeneratorConfig.preset("fine")

_RULES = VenueRules(qty_max_lots=200_000, price_up_ppm=1_050_000, price_down_ppm=950_000)
_SETTLED = EngineConfig(equity_grid_us=60_000_000, bubble_band_ticks=3)


def _clicks() -> Person:
    """A person who places, amends and cancels, and anchors a VWAP."""
    orders: list[int] = []

    def act(engine: Engine) -> None:
        last = int(engine.snapshot["last_ticks"])
        orders.append(engine.orders.buy(700, last - 2))
        engine.orders.amend(orders[-1], limit_ticks=last - 1)
        engine.orders.sell(650)
        if len(orders) % 3 == 0:
            engine.market.set_anchor(2)
            engine.orders.cancel_all()

    return act


@dataclass(frozen=True, slots=True)
class GoldenSession:
    """A session as it is made; the seed of its first tape is `seed`, of the next one more."""

    tapes: Sequence[GeneratorConfig]
    trades_count: int
    seed: int
    config: EngineConfig
    strategy: Callable[[], Strategy] | None
    person: Callable[[], Person] | None = None


SESSIONS = {
    "quiet, quotes": GoldenSession((_QUIET,), 5_000, 1, _SETTLED, Quoter),
    "normal, quotes over two blocks": GoldenSession((_COARSE,), 70_000, 2, _SETTLED, Quoter),
    "cascade, instructions on isolated margin": GoldenSession(
        (_CASCADE,),
        30_000,
        3,
        replace(
            _SETTLED,
            account=AccountKind.ISOLATED,
            leverage=50,
            initial_cash="600",
            latency_us=(5_000, 20_000, 90_000),
            ioc_window_us=200_000,
            seed=7,
        ),
        lambda: Instructor(lots=3_000),
    ),
    "two instruments": GoldenSession(
        (_COARSE, _QUIET),
        7_000,
        4,
        replace(_SETTLED, markets=(MarketSettings(bubble_band_ticks=5), MarketSettings())),
        Pair,
    ),
    "spot, lanes and fees": GoldenSession(
        (_FINE,),
        20_000,
        6,
        replace(
            _SETTLED,
            account=AccountKind.SPOT,
            initial_cash="250000",
            rules=_RULES,
            fee_tiers=(FeeTier("50000", 500_000, 800_000), FeeTier("200000", -100_000, 600_000)),
            lanes=(
                LaneRules(queue_ppm=100_000, participation_ppm=900_000),
                LaneRules(queue_ppm=400_000, participation_ppm=300_000, slip_ticks=5),
                LaneRules(queue_ppm=800_000, participation_ppm=100_000, slip_ticks=50),
            ),
        ),
        lambda: Quoter(lots=20_000, away_ticks=300),
    ),
    "a person's orders": GoldenSession(
        (_COARSE,),
        25_000,
        8,
        replace(
            _SETTLED,
            bars=(TimeBars(60_000_000, row_ticks=2),),
            orderflow=OrderFlow(vwap=True, sweeps=Sweeps(level_count=4)),
        ),
        None,
        _clicks,
    ),
}


def run(name: str, root: Path) -> tuple[Session, Engine]:
    """Make one of the sessions below a folder."""
    golden, place = SESSIONS[name], Place.below(root)
    symbols = [
        place.add(config, seed=golden.seed + number, trades_count=golden.trades_count)
        for number, config in enumerate(golden.tapes)
    ]
    return place.keep(
        symbols,
        golden.config,
        None if golden.strategy is None else golden.strategy(),
        person=None if golden.person is None else golden.person(),
        piece_rows=1_777,
        # What stands in the strategy's file is no matter of digests.
        source_sha256="0" * 64,
    )


def told(session: Session) -> dict[str, Any]:
    """Return what is kept of a session: its numbers, and the hashes of its genesis and links."""
    summary = session.summary
    assert summary is not None
    links = session.links()
    return {
        "digest": summary.digest,
        "genesis": session.genesis.sha256.hex(),
        "input_count": summary.input_count,
        "command_count": len(session.commands()),
        "order_count": summary.order_count,
        "fill_count": summary.fill_count,
        "net_pnl": summary.net_pnl,
        "links": [
            {
                "input": int(link["input"]),
                **{part: link[part].tobytes().hex() for part in ("inputs", "outputs", "state")},
                "chain": link["chain"].tobytes().hex(),
            }
            for link in links
        ],
    }


def made() -> dict[str, Any]:
    """Make every session, and return what golden_sessions.json would hold."""
    found = {}
    for name in SESSIONS:
        with tempfile.TemporaryDirectory() as root:
            found[name] = told(run(name, Path(root))[0])
    return VERSIONS | {"sessions": found}


def differences(kept: Any, now: Any, path: str = "") -> list[str]:
    """Return what differs between two golden files, as `path: kept, now`."""
    if isinstance(kept, dict) and isinstance(now, dict):
        names = [*kept, *(name for name in now if name not in kept)]
        steps = [(f"{path}/{name}", kept.get(name), now.get(name)) for name in names]
    elif isinstance(kept, list) and isinstance(now, list) and len(kept) == len(now):
        steps = [(f"{path}/{i}", *two) for i, two in enumerate(zip(kept, now, strict=True))]
    else:
        return [] if kept == now else [f"{path}: {kept!s:.40}, now {now!s:.40}"]
    return [line for step, a, b in steps for line in differences(a, b, step)]


def refusal(kept: dict[str, Any] | None, now: dict[str, Any]) -> str | None:
    """Return why a golden file must not be written over another one; None when it may.

    Sessions that are new or gone change no digest.
    """
    if kept is None or any(kept[name] != now[name] for name in VERSIONS):
        return None
    both = set(kept["sessions"]) & set(now["sessions"])
    changed = differences(*({name: one["sessions"][name] for name in both} for one in (kept, now)))
    if not changed:
        return None
    return (
        f"digests changed, but semantics version {SEMANTICS_VERSION} and genesis schema {SCHEMA} "
        "did not; raise the one that is meant, and tell of it in CHANGELOG.md:\n"
        + "\n".join(changed)
    )


def main(arguments: Sequence[str], golden: Path = GOLDEN) -> int:
    """Write golden_sessions.json, or say what it would hold."""
    now = made()
    text = json.dumps(now, indent=1) + "\n"
    if list(arguments) != ["--write"]:
        sys.stdout.write(text)
        return 0
    why_not = refusal(json.loads(golden.read_text()) if golden.exists() else None, now)
    if why_not is not None:
        sys.stderr.write(why_not + "\n")
        return 1
    golden.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
