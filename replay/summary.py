"""What became of a session, in a few figures."""

from flowtape.replay.metrics import measure
from flowtape.stream.engine import Engine
from flowtape.stream.session import Summary


def summary_of(engine: Engine, digest: bytes) -> Summary:
    """Return what became of an engine whose stream has ended."""
    snapshot, ledger = engine.snapshot, engine.ledger
    return Summary(
        digest=digest.hex(),
        input_count=int(snapshot["input"]),
        trade_count=engine.trade_count,
        start_us=engine.start_us,
        end_us=int(snapshot["stream_us"]),
        order_count=len(ledger.placed()),
        fill_count=ledger.fills.head,
        net_pnl=measure(engine.instruments, engine.config, ledger, snapshot).net_pnl,
    )
