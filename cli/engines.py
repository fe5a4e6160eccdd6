"""Engines as commands want them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowtape.replay.tapes import Tape
    from flowtape.replay.together import Tapes
    from flowtape.stream.config import EngineConfig
    from flowtape.stream.engine import Engine
    from flowtape.stream.session import SessionWriter
    from flowtape.stream.strategy import Strategy


def stream_of(tapes: "list[Tape]") -> "Tape | Tapes":
    """Return the trades of one tape, or of several in one order."""
    from flowtape.replay.together import Tapes

    return tapes[0] if len(tapes) == 1 else Tapes(tapes)


def config_of(
    tapes: "list[Tape]",
    strategy: "Strategy | None",
    settings: dict[str, object],
    *,
    order_flow: bool = True,
) -> "EngineConfig":
    """Return settings that fit the tapes: bubbles by their first prices."""
    from flowtape.replay.backtest import EQUITY_GRID_US
    from flowtape.stream.config import EngineConfig, MarketSettings, bubble_band_ticks

    firsts = [int(tape.full_trades(0, 1).price_ticks[0]) for tape in tapes]
    config = EngineConfig(
        markets=tuple(MarketSettings(bubble_band_ticks=bubble_band_ticks(p)) for p in firsts),
        equity_grid_us=EQUITY_GRID_US if strategy is not None else 0,
        **settings,  # type: ignore[arg-type]
    )
    return config if order_flow else config.without_order_flow()


def engine_of(
    tapes: "list[Tape]",
    strategy: "Strategy | None",
    config: "EngineConfig",
    *,
    shown: bool = True,
    writer: "SessionWriter | None" = None,
) -> "Engine":
    """Return an engine for the tapes, which a writer keeps the session of."""
    from flowtape.stream.engine import Engine

    return Engine(
        [tape.instrument for tape in tapes],
        config,
        strategy,
        shown=shown,
        # A session that is kept has the same state whoever may trade in it.
        tradable=strategy is not None or writer is not None,
        recorded=None if writer is None else (writer.chain, writer),
    )
