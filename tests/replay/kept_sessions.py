"""Small generated tapes, and sessions over them that are kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from flowtape.replay.generate import GeneratorConfig, generate
from flowtape.replay.sessions import Range, genesis_of
from flowtape.replay.summary import summary_of
from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import Tape, TapeStore
from flowtape.replay.together import Tapes
from flowtape.stream.config import EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.session import Session, SessionWriter
from flowtape.stream.strategy import Strategy

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

Person = Callable[[Engine], None]
"""What a person does between two pieces of inputs."""


@dataclass(frozen=True, slots=True)
class Place:
    """Tapes below a folder, and the folder that sessions over them are kept in."""

    tapes: TapeStore
    sessions: Path

    @classmethod
    def below(cls, root: Path) -> "Place":
        return cls(TapeStore(root / "tapes"), root / "sessions")

    def add(self, config: GeneratorConfig, *, seed: int, trades_count: int) -> str:
        """Write a generated tape; returns its symbol."""
        trades = generate(config, seed=seed, trades_count=trades_count)
        add_trades(self.tapes, config.instrument, trades)
        return config.instrument.symbol

    def open_tape(self, ref: str, from_us: int | None, to_us: int | None) -> Tape:
        return self.tapes.open(ref, from_us, to_us)

    def keep(
        self,
        symbols: Sequence[str],
        config: EngineConfig,
        strategy: Strategy | None,
        *,
        person: Person | None = None,
        piece_rows: int = 9_999,
        source_sha256: str | None = None,
    ) -> tuple[Session, Engine]:
        """Run a session over whole tapes, in pieces; a person may act behind each of them.

        Where the strategy fails, what was kept so far stays, as when a process is killed. With
        `source_sha256` that stands for the strategy's file.
        """
        tapes = [self.open_tape(symbol, None, None) for symbol in symbols]
        genesis = genesis_of([Range(tape) for tape in tapes], config, strategy, None)
        if source_sha256 is not None and genesis.strategy is not None:
            identity = replace(genesis.strategy, sha256=source_sha256)
            genesis = replace(genesis, strategy=identity)
        writer = SessionWriter.create(self.sessions, genesis, NOW, places=symbols, sync="none")
        try:
            engine = Engine(
                genesis.instruments,
                genesis.config,
                strategy,
                shown=False,
                recorded=(writer.chain, writer),
            )
            stream = tapes[0] if len(tapes) == 1 else Tapes(tapes)
            for segment in stream.segments():
                for at in range(0, len(segment), piece_rows):
                    engine.apply(segment.slice(at, min(at + piece_rows, len(segment))))
                    if person is not None:
                        person(engine)
            engine.end()
            writer.finish(summary_of(engine, writer.chain.value))
        finally:
            writer.close()
        return Session.open(writer.folder), engine
