"""Keeping the sessions that commands run, when `--record` asks for it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flowtape.cli import common
from flowtape.stream.errors import InputError

if TYPE_CHECKING:
    from flowtape.replay.tapes import Tape
    from flowtape.stream.config import EngineConfig
    from flowtape.stream.engine import Engine
    from flowtape.stream.session import Session, SessionWriter
    from flowtape.stream.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Inputs:
    """Tapes, what they were asked for by, and the times asked of them."""

    refs: list[str]
    tapes: "list[Tape]"
    start_us: int | None
    end_us: int | None


@contextlib.contextmanager
def kept(
    inputs: Inputs,
    config: "EngineConfig",
    strategy: "Strategy | None",
    *,
    name: str | None,
    label: str,
    home: Path | None,
) -> "Iterator[SessionWriter]":
    """Keep a session below the home folder; its journals are sealed however it ends."""
    from flowtape.replay.sessions import Range, genesis_of
    from flowtape.stream.session import SessionWriter

    # A folder is found again from anywhere.
    places = [str(Path(ref).absolute()) if Path(ref).exists() else ref for ref in inputs.refs]
    ranges = [Range(tape, inputs.start_us, inputs.end_us) for tape in inputs.tapes]
    writer = SessionWriter.create(
        common.sessions_dir(home),
        genesis_of(ranges, config, strategy, name),
        datetime.now(UTC),
        label=label,
        places=places,
    )
    try:
        yield writer
    finally:
        writer.close()


def finish(writer: "SessionWriter", engine: "Engine") -> str:
    """Say what became of a session that has ended; returns a line for people."""
    from flowtape.replay.sessions import summary_of

    summary = summary_of(engine, writer.chain.value)
    writer.finish(summary)
    name = writer.folder.name
    return f"session {name} digest {summary.digest}\ncheck it with: flowtape verify {name}"


def strategy_of(session: "Session", name: str | None) -> "Strategy":
    """Make the strategy of a session anew, from where it lies now if that is named."""
    from flowtape.stream.genesis import StrategyIdentity

    identity = session.genesis.strategy
    if identity is None:
        raise InputError(f"session {session.id} ran no strategy; there is nothing to decide again")
    settings = [f"{key}={value}" for key, value in identity.parameters.items()]
    chosen = common.strategy_named(name or identity.name, settings)
    assert chosen is not None
    if StrategyIdentity.of(chosen).sha256 != identity.sha256:
        typer.echo("the strategy's file has changed since the session was made", err=True)
    return chosen
